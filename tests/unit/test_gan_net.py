"""The networks as flat vectors: torch's own layers give the same numbers, fakes the generator's frequencies."""

import numpy as np
import pytest
import torch
from gan_made import BINS, Reference, network, one_hot
from scipy import stats
from torch import nn
from torch.nn.utils import vector_to_parameters

from silosynth.common.engines.gan_net import (
    SLOPE,
    by_column,
    discriminate,
    discriminator,
    fakes,
    generator,
    initial_generator,
    scores,
    standard_normal,
)
from silosynth.common.engines.gan_shape import Shape

MARGINALS = tuple(np.random.default_rng(8).dirichlet(np.ones(size) * 3) for size in BINS)


def generator_reference(shape, flat):
    made = nn.Sequential(
        nn.Linear(shape.noise, shape.tall),
        nn.LayerNorm(shape.tall),
        nn.LeakyReLU(SLOPE),
        nn.Linear(shape.tall, shape.tall),
        nn.LayerNorm(shape.tall),
        nn.LeakyReLU(SLOPE),
        nn.Linear(shape.tall, shape.all_bins),
    )
    vector_to_parameters(torch.from_numpy(flat.copy()), made.parameters())
    return made


@pytest.mark.parametrize("pull", [0.0, 0.7])
def test_a_discriminator_s_flat_weights_are_those_of_torch_s_layers_in_order(pull):
    shape, flat, codes = network(pull=pull)
    rows = one_hot(shape, codes)
    ours = discriminate(shape, discriminator(shape, torch.from_numpy(flat)), rows)
    torch.testing.assert_close(ours, Reference(shape, flat)(rows)[:, 0])


def test_a_generator_s_flat_weights_are_those_of_torch_s_layers_in_order():
    shape, rng = Shape(BINS, 7, 6, 3), np.random.default_rng(1)
    flat = initial_generator(shape, MARGINALS, rng) + rng.normal(0, 0.3, shape.generator_size).astype(np.float32)
    noise = standard_normal(20, 3, rng)
    ours = scores(generator(shape, torch.from_numpy(flat)), noise)
    torch.testing.assert_close(ours, generator_reference(shape, flat)(noise))


def test_layers_are_views_that_share_memory_and_gradient():
    shape, flat, codes = network()
    weights = torch.from_numpy(flat.copy()).requires_grad_()
    discriminate(shape, discriminator(shape, weights), one_hot(shape, codes)).sum().backward()
    assert weights.grad is not None
    assert (weights.grad != 0).float().mean() > 0.8


def test_a_new_generator_has_about_the_noisy_frequencies():
    shape = Shape(BINS, 16, 64, 16)
    flat = initial_generator(shape, MARGINALS, np.random.default_rng(2))
    bins = fakes(shape, flat, 20_000, np.random.default_rng(3))
    for column, wanted in enumerate(MARGINALS):
        found = np.bincount(bins[:, column], minlength=wanted.size) / len(bins)
        assert np.abs(found - wanted).sum() / 2 < 0.06


def test_fakes_follow_the_softmax_of_their_scores():
    shape = Shape(BINS, 7, 6, 3)
    flat = initial_generator(shape, MARGINALS, np.random.default_rng(4))
    generator(shape, torch.from_numpy(flat)).head.zero_()  # so that rows are alike and columns independent
    bins, expected = fakes(shape, flat, 50_000, np.random.default_rng(5)), []
    bias = generator(shape, torch.from_numpy(flat)).head_bias
    for column, logits in enumerate(by_column(shape, bias)):
        expected.append(logits.softmax(0).double().numpy())
        observed = np.bincount(bins[:, column], minlength=BINS[column])
        assert stats.chisquare(observed, expected[-1] / expected[-1].sum() * len(bins)).pvalue > 1e-6  # false alarms
    pairs = np.bincount(bins[:, 1] * BINS[2] + bins[:, 2], minlength=BINS[1] * BINS[2])
    joint = np.outer(expected[1], expected[2]).ravel()
    assert stats.chisquare(pairs, joint / joint.sum() * len(bins)).pvalue > 1e-6


def test_fakes_are_a_function_of_weights_and_seed():
    shape = Shape(BINS, 7, 6, 3)
    flat = initial_generator(shape, MARGINALS, np.random.default_rng(6))
    one, other, third = (fakes(shape, flat, 100, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)
    assert one.shape == (100, len(BINS))
    assert ((one >= 0) & (one < np.array(BINS))).all()
