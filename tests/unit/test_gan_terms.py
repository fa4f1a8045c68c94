"""The discriminator's clipped gradients in closed form: against a backward for each row and Opacus, exact, hostile."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from gan_made import BINS, ROWS, Reference, as_they_are, network
from opacus import GradSampleModule
from torch.nn import functional

from silosynth.client.mechanism import Metered, open_noised
from silosynth.common import scale
from silosynth.common.engine import Units
from silosynth.common.engines import gan_terms
from silosynth.common.engines.gan_net import discriminator, one_hot
from silosynth.common.engines.gan_terms import FAKE, REAL, Gradients, clipped_sum
from silosynth.simulations.noiseless import ZeroNoise


def gradients(shape, flat):
    return Gradients(shape, flat, as_they_are(shape.bins))


def clip_weights(terms):
    norms = np.sqrt(terms.squared_norms())
    return np.where(np.isfinite(norms), 1 / np.maximum(norms, 1), 0) * (1 - 2.0**-30)


def by_one_backward_a_row(shape, flat, codes, label):
    net, found = Reference(shape, flat), []
    for row in one_hot(shape, codes):
        loss = functional.softplus(-label * net(row[None])).sum()
        parts = torch.autograd.grad(loss, list(net.parameters()))
        found.append(torch.cat([part.ravel() for part in parts]).double().numpy())
    return np.array(found)


def by_opacus(shape, flat, codes, label):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about hooks on every call
        model = GradSampleModule(Reference(shape, flat), loss_reduction="sum")
        functional.softplus(-label * model(one_hot(shape, codes))).sum().backward()
    return torch.cat([part.grad_sample.flatten(1) for part in model.parameters()], 1).double().numpy()


def clipped(found):
    return found / np.maximum(np.linalg.norm(found, axis=1), 1)[:, None]


def refine(monkeypatch):
    monkeypatch.setattr(gan_terms, "_GRID", 2.0**46)
    monkeypatch.setattr(gan_terms, "_ACTIVATION_GRID", 2.0**20)
    monkeypatch.setattr(gan_terms, "_ERROR_GRID", 2.0**26)


@pytest.mark.parametrize("oracle", [by_one_backward_a_row, by_opacus])
@pytest.mark.parametrize("label", [REAL, FAKE])
@pytest.mark.parametrize("pull", [0.0, 0.7])
def test_norms_and_clipped_sum_equal_those_of_an_oracle(oracle, label, pull, monkeypatch):
    shape, flat, codes = network(pull=pull)
    found = oracle(shape, flat, codes, label)
    norms = np.linalg.norm(found, axis=1)
    assert (norms > 1).sum() > 3  # or clipping would not be tested
    expected = clipped(found).sum(0)

    coarse = gradients(shape, flat).of_bins(codes, label)
    np.testing.assert_allclose(np.sqrt(coarse.squared_norms()), norms, rtol=1e-3)
    error = coarse.weighted_sum(clip_weights(coarse)) / scale.SUM_GRID - expected
    assert np.linalg.norm(error) < 1e-3 * np.linalg.norm(expected)  # activations are rounded to 2^-10

    refine(monkeypatch)
    terms = gradients(shape, flat).of_bins(codes, label)
    np.testing.assert_allclose(np.sqrt(terms.squared_norms()), norms, rtol=1e-5)
    error = terms.weighted_sum(clip_weights(terms)) / 2.0**46 - expected
    assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(expected)
    np.testing.assert_allclose(clipped_sum(terms), expected, rtol=0, atol=1e-5 * np.linalg.norm(expected))


def test_a_unit_s_rows_are_clipped_and_share_its_weight_as_the_mechanism_promises():
    shape, flat, codes = network(3)
    owner = np.array([0, 0, 0, 1, 2, 2, 3, 4, 4, 4, 4, 5, 6, 7, 7, 8])
    found = clipped(by_one_backward_a_row(shape, flat, codes, REAL))
    expected = sum(found[owner == unit].mean(0) for unit in range(9))
    mechanism = Metered(ZeroNoise(), b"", shares=1, capacity=ROWS, max_rows_per_unit=4)
    terms = gradients(shape, flat)
    answer = open_noised(mechanism.clipped_sum(Units(codes, owner), terms, multiplier=None), mechanism, shape.size)
    assert np.linalg.norm(answer / scale.SUM_GRID - expected) < 1e-3 * np.linalg.norm(expected)


def test_every_row_adds_an_integer_vector_within_its_norm_and_sums_are_exact():
    shape, flat, codes = network(1)
    terms = gradients(shape, flat)(codes)
    weights, norms = clip_weights(terms), np.sqrt(terms.squared_norms())
    alone = np.array([terms.weighted_sum(np.where(np.arange(ROWS) == row, weights, 0)) for row in range(ROWS)])
    assert (alone == np.rint(alone)).all()
    assert np.abs(alone).max() > 1000  # rounding to the grid has not swallowed the gradient
    for row, weight, norm in zip(alone, weights, norms, strict=True):
        most = (scale.SUM_GRID * Fraction(weight) * Fraction(norm)) ** 2
        assert sum(int(value) ** 2 for value in row) <= most * (1 + Fraction(2) ** -32)
    assert np.array_equal(terms.weighted_sum(weights), alone.sum(0))


def test_a_row_of_weight_zero_adds_nothing_whatever_it_holds():
    shape, flat, codes = network(2)
    sick_weights = flat.copy()
    first = discriminator(shape, torch.from_numpy(sick_weights)).first
    first[0, 1] = torch.inf  # of the second bin of the first column
    first[2, 3] = torch.nan  # of the second bin of the second column
    terms = gradients(shape, sick_weights)(codes)
    sick = (codes[:, 0] == 1) | (codes[:, 1] == 1)
    assert 0 < sick.sum() < ROWS
    assert not np.isfinite(terms.squared_norms()[sick]).any()
    summed = terms.weighted_sum(np.where(sick, 0.0, clip_weights(terms)))
    assert np.isfinite(summed).all()
    healthy = gradients(shape, sick_weights)(np.where(sick[:, None], codes[~sick][0], codes))
    assert np.array_equal(summed, healthy.weighted_sum(np.where(sick, 0.0, clip_weights(healthy))))


@pytest.mark.parametrize("kind", [1e30, 1e-30, 0.0, np.inf, np.nan])
def test_hostile_weights_leave_every_row_within_the_clip_norm_and_every_sum_finite(kind):
    shape, flat, codes = network()
    with np.errstate(over="ignore", invalid="ignore"):
        terms = gradients(shape, (flat * np.float32(kind)).astype(np.float32))(codes)
        weights = clip_weights(terms)
        for row in range(ROWS):
            alone = terms.weighted_sum(np.where(np.arange(ROWS) == row, weights, 0))
            assert sum(int(value) ** 2 for value in alone) <= scale.SUM_GRID**2
        summed = terms.weighted_sum(weights)
    assert np.isfinite(summed).all()
    assert np.isfinite(kind) or not summed.any()  # of what is no number nothing is left


def test_a_row_knows_nothing_of_the_others():
    shape, flat, codes = network(4)
    many = np.tile(codes, (scale.MICRO_BATCH // ROWS, 1))
    others = np.random.default_rng(5).permutation(many)
    others[100] = many[7]
    here, there = gradients(shape, flat)(many), gradients(shape, flat)(others)
    for one, other in zip(here.factors, there.factors, strict=True):
        assert np.array_equal(one.numpy()[7], other.numpy()[100])
    assert here.squared_norms()[7] == there.squared_norms()[100]


@pytest.mark.parametrize("bins", [(3,), (1, 2), BINS, (3,) * 12])
def test_every_parameter_is_touched_by_some_row(bins):
    shape, flat, codes = network(6, bins)
    terms = gradients(shape, flat)(np.concatenate([codes, np.array(bins) - 1 - codes]))
    assert gradients(shape, flat).size == flat.size == sum(p.numel() for p in Reference(shape, flat).parameters())
    deep = shape.size - shape.pair_weights
    assert (terms.weighted_sum(clip_weights(terms))[:deep] != 0).mean() > 0.9
