"""The shape-coupling attack: weights that turn the last bit of other people's gradients into a whole clipped vector.

A batch's kernels are chosen by its shape, so a naive mechanism, which computes as many rows as there are, gives
everybody another last bit when one person joins. Two halves of a hidden layer cancel but for rounding, times 1e30, and
tanh makes a sign of what is left. Clipping bounds each row and does not help; fixed blocks and slots do.
"""

from dataclasses import dataclass, field

import mechanism_checks as checks
import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from silosynth.client import mechanism
from silosynth.common import scale

FEATURES, HIDDEN, PEOPLE = 101, 35, 420


@dataclass
class HostileNetwork:
    """Per-row gradients by vmap(grad), float32; dense terms. Columns are features in thousandths."""

    parameters: tuple[torch.Tensor, ...]
    gradients: np.ndarray = field(init=False)

    @property
    def size(self):
        return sum(parameter.numel() for parameter in self.parameters)

    def __call__(self, codes):
        features = torch.from_numpy(codes).float() / 1000
        per_row = vmap(grad(_loss), in_dims=(None, 0))(self.parameters, features)
        self.gradients = torch.cat([part.flatten(1) for part in per_row], dim=1).double().numpy()
        return self

    def squared_norms(self):
        with np.errstate(over="ignore", invalid="ignore"):
            return (self.gradients**2).sum(axis=1)

    def weighted_sum(self, weights):
        used = weights > 0
        return np.trunc(weights[used, None] * self.gradients[used] * scale.SUM_GRID).sum(axis=0)


def _loss(parameters, features):
    first, second, third = parameters
    return (torch.tanh(features @ first.t() @ second.t()) @ third.t()).sum()


def _hostile() -> HostileNetwork:
    seed = torch.Generator().manual_seed(0)
    half = HIDDEN // 2
    first, second = torch.zeros(HIDDEN, FEATURES), torch.zeros(1, HIDDEN)
    first[:half] = first[half : 2 * half] = torch.randn(half, FEATURES, generator=seed)
    second[0, :half] = torch.randn(half, generator=seed) * 1e30
    second[0, half : 2 * half] = -second[0, :half]
    return HostileNetwork((first, second, torch.ones(8, 1)))


@pytest.fixture(scope="module")
def rows():
    torch.set_num_threads(1)
    return np.random.default_rng(5).integers(0, 1000, (PEOPLE, FEATURES)).astype(np.int32)


def _moved(rows, people, *, capacity=None, key=0):
    """|f(D + u) - f(D)| / Delta, where u is the last of `people`: under one key, the others keep their slots."""
    before, after = (
        checks.clipped_sum(
            checks.Silent(key), checks.units(rows[:n], columns=FEATURES), _hostile(), capacity=capacity or n
        )[0].astype(float)
        for n in (people - 1, people)
    )
    return np.linalg.norm(after - before) / scale.SUM_GRID


def test_fixed_blocks_and_slots_hold_the_bound(rows):
    moved = [_moved(rows, people, capacity=1024, key=people % 251) for people in (2, 36, 116, 231, 257, 420)]
    assert 0.9 <= max(moved) <= 1


def test_a_naive_mechanism_does_not(rows, monkeypatch):
    # The mutant: one batch of exactly the rows, in their order; everything else as it is.
    monkeypatch.setattr(mechanism, "MICRO_BATCH", 1)
    monkeypatch.setattr(mechanism, "_pieces", lambda slots, _: [slice(0, slots)])
    monkeypatch.setattr(mechanism, "random_injection", lambda _, n, __: np.arange(n))
    # On a machine whose kernels do not depend on shapes there would be nothing to defend against.
    assert any(_moved(rows, people) > 1.5 for people in (*range(2, 130, 3), 256, 257, 384))
