"""The coordinator's maths: Adam, odds that add up, steps that leave nothing behind, calibration, the choice."""

import math

import numpy as np
import pytest
import torch
from gan_made import BINS, Reference, as_they_are, network
from torch import nn

from silosynth.common.engines import gan as engine
from silosynth.common.engines.gan_learning import (
    Critic,
    Lesson,
    Network,
    calibrated,
    critic_gradient,
    generator_gradient,
    misfit,
    taught,
)
from silosynth.common.engines.gan_net import discriminate, discriminator, fakes, initial_generator, one_hot
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.gan_terms import FAKE, Gradients, clipped_sum

MARGINALS = tuple(np.random.default_rng(8).dirichlet(np.ones(size) * 3) for size in BINS)
SETTINGS = engine.Settings(batch=400, generator_steps=2, generator_rate=0.01, likeness=1.0)


def lesson(seed=0, settings=SETTINGS, number=0):
    return Lesson(number, settings, MARGINALS, np.random.default_rng(seed))


def made(seed=0):
    shape, critic, _ = network(seed)
    return shape, critic, initial_generator(shape, MARGINALS, 1.0, np.random.default_rng(seed))


def gradients(shape, critic):
    return Gradients(shape, critic, as_they_are(shape.bins))


def test_steps_are_adam_s():
    rng = np.random.default_rng(0)
    parameter = nn.Parameter(torch.from_numpy(rng.standard_normal(50).astype(np.float32)))
    theirs = torch.optim.Adam([parameter], lr=0.01, betas=(0.5, 0.99))
    ours = Network.begun(parameter.detach().numpy().copy())
    for step in range(1, 8):
        gradient = rng.standard_normal(50).astype(np.float32)
        parameter.grad = torch.from_numpy(gradient)
        theirs.step()
        ours = ours.stepped(gradient, step, 0.01)
    np.testing.assert_allclose(ours.weights, parameter.detach().numpy(), rtol=0, atol=1e-6)
    assert np.array_equal(Network.of(ours.stacked).stacked, ours.stacked)
    assert ours.finite
    assert not ours.stepped(np.full(50, np.nan, dtype=np.float32), 8, 0.01).finite


def test_a_step_of_the_generator_leaves_nothing_in_the_discriminator():
    shape, critic, weights = made()
    tensor = torch.from_numpy(critic)
    before, at = critic.copy(), lesson()
    (after, _) = taught(shape, Network.begun(weights), weights, [Critic(0.0, critic)], at)
    assert not np.array_equal(after.weights, weights)
    assert np.array_equal(critic, before)
    assert tensor.grad is None
    assert not tensor.requires_grad
    bins = fakes(shape, weights, 100, np.random.default_rng(1))
    clean, used = (critic_gradient(gradients(shape, of), np.zeros(shape.size), bins, 0.1) for of in (before, critic))
    assert clean.tobytes() == used.tobytes()


def test_the_generator_learns_to_be_called_real():
    shape, critic, weights = made(1)
    student, average = Network.begun(weights), weights
    for number in range(40):
        student, average = taught(shape, student, average, [Critic(0.0, critic)], lesson(number, number=number))
    net = discriminator(shape, torch.from_numpy(critic))
    first, last = (
        float(discriminate(shape, net, one_hot(shape, fakes(shape, of, 2000, np.random.default_rng(9)))).mean())
        for of in (weights, average)
    )
    assert last > first + 0.1


def test_odds_of_sites_add_up_in_their_shares():
    shape, critic, weights = made(2)
    other = made(3)[1]
    alone = generator_gradient(shape, weights, [Critic(0.0, critic)], lesson())
    twice = generator_gradient(shape, weights, [Critic(math.log(0.3), critic), Critic(math.log(0.7), critic)], lesson())
    mostly = generator_gradient(shape, weights, [Critic(0.0, critic), Critic(-50.0, other)], lesson())
    mixed = generator_gradient(shape, weights, [Critic(math.log(0.5), n) for n in (critic, other)], lesson())
    np.testing.assert_allclose(twice, alone, rtol=0, atol=1e-5 * np.abs(alone).max())
    np.testing.assert_allclose(mostly, alone, rtol=0, atol=1e-5 * np.abs(alone).max())
    assert np.abs(mixed - alone).max() > 1e-2 * np.abs(alone).max()


def test_a_discriminator_beyond_belief_teaches_nothing_but_the_1_ways():
    shape, critic, weights = made(4)
    certain = np.zeros_like(critic)
    discriminator(shape, torch.from_numpy(certain)).last_bias.fill_(1e6)
    nothing = generator_gradient(shape, weights, [Critic(0.0, certain)], lesson())
    assert np.isfinite(nothing).all()
    flat = np.zeros_like(critic)
    np.testing.assert_allclose(nothing, generator_gradient(shape, weights, [Critic(0.0, flat)], lesson()), atol=1e-7)


def test_a_step_of_the_discriminator_is_real_rows_and_fakes_clipped_alike():
    shape, critic, weights = made(5)
    bins = fakes(shape, weights, 1500, np.random.default_rng(3))
    alone = [clipped_sum(gradients(shape, critic).of_bins(row[None], FAKE)) for row in bins]
    assert max(map(np.linalg.norm, alone)) <= 1
    real = np.random.default_rng(4).standard_normal(shape.size)
    found = critic_gradient(gradients(shape, critic), real, bins, 0.0)
    np.testing.assert_allclose(found, real + np.mean(alone, 0), rtol=0, atol=1e-6)


def test_steepness_is_the_slope_at_fakes_and_nowhere_else():
    shape, critic, weights = made(5)
    bins, nothing = fakes(shape, weights, 50, np.random.default_rng(3)), np.zeros(shape.size)
    net, rows = Reference(shape, critic), one_hot(shape, bins).requires_grad_()
    (slopes,) = torch.autograd.grad(net(rows).sum(), rows, create_graph=True)
    (slopes.square().sum(1).mean() / 2).backward()
    expected = [(p.grad if p.grad is not None else torch.zeros_like(p)).ravel() for p in net.parameters()]
    found = [critic_gradient(gradients(shape, critic), nothing, bins, steepness) for steepness in (0.0, 2.0)]
    np.testing.assert_allclose(found[1] - found[0], 2 * torch.cat(expected).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("likeness", [0.5, 50.0])
def test_the_1_ways_pull_the_generator_towards_them(likeness):
    shape, critic, weights = made(6)
    wanted = tuple(np.roll(marginal, 1) for marginal in MARGINALS)
    settings = engine.Settings(batch=400, generator_rate=0.01, likeness=likeness)
    student, average = Network.begun(weights), weights
    for number in range(60):
        at = Lesson(number, settings, wanted, np.random.default_rng(number))
        student, average = taught(shape, student, average, [Critic(0.0, np.zeros_like(critic))], at)
    distance = {name: far(shape, of, wanted) for name, of in (("before", weights), ("after", student.weights))}
    assert distance["after"] < (0.5 if likeness > 1 else 0.95) * distance["before"]


def far(shape, weights, wanted):
    bins = fakes(shape, weights, 4000, np.random.default_rng(0))
    return sum(
        np.abs(np.bincount(bins[:, column], minlength=of.size) / len(bins) - of).sum() / 2
        for column, of in enumerate(wanted)
    )


def test_calibration_gives_every_column_its_frequencies():
    shape = Shape(BINS, 7, 50)
    weights = initial_generator(shape, MARGINALS, 1.5, np.random.default_rng(0))
    wanted = (*(np.roll(marginal, 1) for marginal in MARGINALS[:-1]), np.array([0.0, 0.5, 0.5, 0.0]))
    moved = calibrated(shape, weights, wanted)
    assert far(shape, moved, wanted) < 0.05
    assert far(shape, weights, wanted) > 0.5
    change = (moved - weights).reshape(50, -1)
    np.testing.assert_allclose(change, np.tile(change[0], (50, 1)), atol=1e-5)  # alike in all components


def test_misfit_is_the_distance_of_pair_tables():
    shape = Shape(BINS, 7, 20)
    weights = initial_generator(shape, MARGINALS, 2.0, np.random.default_rng(0))
    bins = fakes(shape, weights, 200_000, np.random.default_rng(7))
    pairs = np.bincount(shape.pairs.cells_of_bins(bins).ravel()) / len(bins)
    assert misfit(shape, weights, pairs) < 1e-4  # 71 cells, each with a variance below 1 / 200,000
    moved = np.random.default_rng(1).normal(0, 0.01, pairs.size)
    assert abs(misfit(shape, weights, pairs + moved) - np.square(moved).sum()) < 2e-3
