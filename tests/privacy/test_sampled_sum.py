"""Sums over Poisson samples: how far a person can move one, who takes part, and the noise on it."""

from fractions import Fraction

import mechanism_checks as checks
import numpy as np
import pytest
import sampled_checks
import torch
from torch import nn

from silosynth.client import sampling
from silosynth.client.local_gradients import OpacusGradients
from silosynth.common import scale

FEATURES, HIDDEN, PEOPLE = 101, 35, 420


def test_a_person_moves_it_by_the_grid_at_most_and_nearly_so():
    sampled_checks.check_sampled_sum_is_bounded()


@pytest.mark.parametrize("size", [0.3, 3.0, 30.0])
def test_it_is_that_of_one_backward_pass_for_each_unit(size):
    sampled_checks.check_sampled_sum_is_that_of_brute_force(size)


def test_coins_are_of_poisson():
    sampled_checks.check_coins_are_of_poisson()


def test_coins_are_secret():
    sampled_checks.check_coins_are_secret()


def test_noise_has_the_claimed_size():
    sampled_checks.check_noise_of_samples_has_the_claimed_size()


def test_an_answer_has_the_law_of_its_price():
    sampled_checks.check_an_answer_has_the_law_of_its_price()


@pytest.fixture(scope="module")
def rows():
    torch.set_num_threads(1)
    return np.random.default_rng(5).integers(0, 1000, (PEOPLE, FEATURES)).astype(np.int32)


def _hostile():
    """Weights that make a sign of the last bit of a row's activations (see test_coupling.py), through Opacus."""
    seed, half = torch.Generator().manual_seed(0), HIDDEN // 2
    first, second = torch.zeros(HIDDEN, FEATURES), torch.zeros(1, HIDDEN)
    first[:half] = first[half : 2 * half] = torch.randn(half, FEATURES, generator=seed)
    second[0, :half] = torch.randn(half, generator=seed) * 1e30
    second[0, half : 2 * half] = -second[0, :half]
    module = nn.Sequential(
        nn.Linear(FEATURES, HIDDEN, bias=False),
        nn.Linear(HIDDEN, 1, bias=False),
        nn.Tanh(),
        nn.Linear(1, 8, bias=False),
    )
    nn.utils.vector_to_parameters(torch.cat([first.flatten(), second.flatten(), torch.ones(8)]), module.parameters())

    def encode(codes):
        return torch.from_numpy(codes).float() / 1000

    def none(block):
        return torch.zeros(0, FEATURES)

    return OpacusGradients(module, encode, none, lambda outputs, rows: outputs.sum(1), 0.0)


def _moved(rows, people, *, capacity, key=0):
    """|f(D + u) - f(D)| / Delta, where u is the last of `people`: under one key the others keep their slots."""
    before, after = (
        sampled_checks.sampled_sum(
            checks.Silent(key), checks.units(rows[:n], columns=FEATURES), _hostile(),
            rate=Fraction(1), capacity=capacity or n,
        )[0].astype(float)
        for n in (people - 1, people)
    )  # fmt: skip
    return np.linalg.norm(after - before) / scale.SUM_GRID


def test_fixed_blocks_and_slots_hold_the_bound(rows):
    moved = [_moved(rows, people, capacity=448, key=people % 251) for people in (2, 36, 64, 65, 231, 420)]
    assert 0.9 <= max(moved) <= 1


def test_a_naive_mechanism_does_not(rows, monkeypatch):
    # The mutant: one batch of exactly the rows, in their order; everything else as it is.
    monkeypatch.setattr("silosynth.client.mechanism.random_injection", lambda _, n, __: np.arange(n))

    def moved(people):
        def one_batch(rate, capacity, rows_per_unit):
            monkeypatch.setattr(sampling, "SAMPLED_BLOCK", capacity)
            return capacity

        monkeypatch.setattr(scale, "sampled_slots", one_batch)
        return _moved(rows, people, capacity=None)

    assert any(moved(people) > 1.5 for people in (*range(2, 130, 3), 256, 257, 384))


@pytest.mark.parametrize("people", [0, 1, 64, 100])
def test_empty_slots_add_nothing_even_if_their_code_is_poison(people):
    gradients = sampled_checks.Given(sampled_checks.hostile_gradients())
    answer, _ = sampled_checks.sampled_sum(
        checks.Silent(), checks.units(np.full(people, 8)), gradients, rate=Fraction(1), capacity=200
    )
    assert answer.tolist() == [people * (scale.SUM_GRID - 1), 0, 0, 0, 0, 0]


def test_every_block_is_computed_whoever_takes_part():
    shapes = set()
    for people in (0, 1, 300):
        spy = sampled_checks.Given(np.zeros((2, 1)))
        sampled_checks.sampled_sum(checks.Silent(), checks.units(np.ones(people)), spy, capacity=300)
        shapes.add(tuple(codes.shape for codes in spy.seen))
    assert shapes == {((64, 1),) * (scale.sampled_slots(sampled_checks.RATE, 300, 64) // 64)}
