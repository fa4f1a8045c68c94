"""The networks as flat vectors: torch's own layers give the same numbers, fakes the generator's frequencies."""

import numpy as np
import pytest
import torch
from gan_made import BINS, Reference, network
from scipy import stats

from silosynth.common.engines.gan_net import (
    components,
    discriminate,
    discriminator,
    fakes,
    frequencies,
    generator,
    initial_generator,
    one_hot,
)
from silosynth.common.engines.gan_shape import Shape

MARGINALS = tuple(np.random.default_rng(8).dirichlet(np.ones(size) * 3) for size in BINS)


def made(parts, spread=2.0, seed=0):
    shape = Shape(BINS, 7, parts)
    return shape, initial_generator(shape, MARGINALS, spread, np.random.default_rng(seed))


@pytest.mark.parametrize("pull", [0.0, 0.7])
def test_a_discriminator_s_flat_weights_are_those_of_torch_s_layers_in_order(pull):
    shape, flat, codes = network(pull=pull)
    rows = one_hot(shape, codes)
    ours = discriminate(shape, discriminator(shape, torch.from_numpy(flat)), rows)
    torch.testing.assert_close(ours, Reference(shape, flat)(rows)[:, 0])
    soft = torch.rand(9, shape.all_bins)
    torch.testing.assert_close(
        discriminate(shape, discriminator(shape, torch.from_numpy(flat)), soft), Reference(shape, flat)(soft)[:, 0]
    )


def test_layers_are_views_that_share_memory_and_gradient():
    shape, flat, codes = network()
    weights = torch.from_numpy(flat.copy()).requires_grad_()
    discriminate(shape, discriminator(shape, weights), one_hot(shape, codes)).sum().backward()
    assert weights.grad is not None
    assert (weights.grad != 0).float().mean() > 0.8


def test_a_row_is_one_in_each_column():
    shape, _, codes = network()
    rows = one_hot(shape, codes)
    assert rows.shape == (len(codes), shape.all_bins)
    assert torch.equal(rows.sum(1), torch.full((len(codes),), float(len(BINS))))
    assert all(rows[r, shape.offsets[c] + codes[r, c]] == 1 for r in range(len(codes)) for c in range(len(BINS)))


def test_a_new_generator_without_spread_has_the_noisy_frequencies_in_every_component():
    shape, flat = made(5, spread=0.0)
    held = frequencies(shape, generator(shape, torch.from_numpy(flat)))
    np.testing.assert_allclose(held.numpy(), np.tile(np.concatenate(MARGINALS), (5, 1)), atol=1e-3)


@pytest.mark.parametrize("rows", [1, 3, 10, 25, 1000])
def test_every_component_is_as_frequent_as_every_other(rows):
    shape, rng = Shape(BINS, 7, 10), np.random.default_rng(rows)
    drawn = [np.bincount(components(shape, rows, rng), minlength=10) for _ in range(4000)]
    assert all(counts.sum() == rows for counts in drawn)
    assert max(counts.max() - counts.min() for counts in drawn) <= 1
    spent = np.mean(drawn, 0) * 10 / rows
    # a mean of 4,000 shares of at most 1, each with a deviation of at most 3: 6 sd are .3; false alarms below 1e-6
    assert np.abs(spent - 1).max() < 0.3


def test_fakes_follow_the_mixture_s_joint_frequencies():
    shape, flat = made(6)
    bins = fakes(shape, flat, 60_000, np.random.default_rng(5))
    held = frequencies(shape, generator(shape, torch.from_numpy(flat))).double().numpy()
    one, other = (held[:, shape.offsets[c] : shape.offsets[c + 1]] for c in (1, 2))
    expected = np.einsum("ki,kj->ij", one, other).ravel() / 6
    observed = np.bincount(bins[:, 1] * BINS[2] + bins[:, 2], minlength=expected.size)
    # components are stratified, so that counts vary less than independent draws: false alarms below 1e-6
    assert stats.chisquare(observed, expected / expected.sum() * len(bins)).pvalue > 1e-6
    independent = np.outer(one.mean(0), other.mean(0)).ravel()
    assert np.abs(expected - independent).sum() > 0.1  # or the test would not see whether columns depend on each other


def test_fakes_are_a_function_of_weights_and_seed():
    shape, flat = made(6)
    one, other, third = (fakes(shape, flat, 100, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)
    assert one.shape == (100, len(BINS))
    assert ((one >= 0) & (one < np.array(BINS))).all()


def test_places_of_pair_cells_in_the_square_of_all_bins():
    shape, _, codes = network()
    rows = one_hot(shape, codes).numpy()
    square = (rows.T @ rows).ravel()[shape.places]
    assert np.array_equal(square, np.bincount(shape.pairs.cells_of_bins(codes).ravel(), minlength=square.size))
