"""Privacy losses: never less than the truth, hardly more, from deltas of one half down to 1e-13."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import log_ndtr, ndtr

from silosynth.common import accounting, privacy_loss
from silosynth.common.privacy_loss import LEAST_MULTIPLIER, MOST_STEPS, Steps, curve, gaussian, under_gaussian

LEAST = 2.0**-45
CLOSE = 0.01  # relative, of a delta: a thousandth of an epsilon


def at(found, epsilon):
    """The curve's delta at the first of its points that is not below epsilon, and that point."""
    index = int(np.searchsorted(found.epsilons, epsilon))
    return found.deltas[index], found.epsilons[index]


def once(rate, sigma, epsilon, *, joins):
    """Exact delta of one sampled sum at any epsilon, for a unit that leaves or that joins."""
    if joins:
        if math.exp(-epsilon) <= 1 - rate:
            return 0.0
        x = sigma**2 * math.log((math.exp(-epsilon) - (1 - rate)) / rate) + 0.5
        mixed = math.exp(epsilon) * ((1 - rate) * ndtr(x / sigma) + rate * ndtr((x - 1) / sigma))
        return max(0.0, ndtr(x / sigma) - mixed)
    if math.exp(epsilon) <= 1 - rate:
        return -math.expm1(epsilon)
    x = sigma**2 * math.log((math.expm1(epsilon) + rate) / rate) + 0.5
    lower = math.exp(math.log(math.expm1(epsilon) + rate) + log_ndtr(-x / sigma))
    return max(0.0, rate * ndtr((1 - x) / sigma) - lower)


def twice(rate, sigma, epsilon, *, joins):
    """Exact delta of two: the expectation, over the first loss, of what is left for the second."""

    def density(x, mean):
        return math.exp(-((x - mean) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    def left(x):
        ratio = math.log1p(rate * math.expm1((2 * x - 1) / (2 * sigma**2)))
        mixed = (1 - rate) * density(x, 0) + rate * density(x, 1)
        weight, loss = (density(x, 0), -ratio) if joins else (mixed, ratio)
        return weight * once(rate, sigma, epsilon - loss, joins=joins)

    places = np.linspace(-14 * sigma, 1 + 14 * sigma, 57)
    return sum(quad(left, low, high, epsabs=0, epsrel=1e-9)[0] for low, high in pairwise(places))


def truth(count, rate, sigma, epsilon):
    exact = once if count == 1 else twice
    return max(exact(rate, sigma, epsilon, joins=joins) for joins in (False, True))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("rate", "sigma"), [(0.01, 0.7), (0.1, 1.0), (0.5, 3.0), (0.999, 1.5)])
def test_one_and_two_sums_cost_what_they_do(count, rate, sigma):
    found = curve((Steps(count, rate, sigma),), LEAST)
    checked = 0
    for wanted in np.linspace(0, found.epsilons[-1], 12)[:-1]:
        delta, epsilon = at(found, wanted)
        exact = truth(count, rate, sigma, epsilon)
        assert exact <= delta
        if exact > 10 * LEAST:
            assert delta <= exact * (1 + CLOSE) + LEAST
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize(("count", "sigma"), [(1, 0.3), (1, 2.0), (40, 8.0), (1500, 20.0), (100_000, 1000.0)])
def test_without_sampling_it_is_a_gaussian(count, sigma):
    mu = math.sqrt(count) / sigma
    found = curve((Steps(count, 1.0, sigma),), LEAST)
    exact = gaussian(mu, found.epsilons)
    assert (exact <= found.deltas).all()
    seen = exact > 1e-12
    assert (found.deltas[seen] <= exact[seen] * (1 + 0.02)).all()
    for delta in (1e-3, 1e-6, 1e-10):
        exact_epsilon = accounting.epsilon(accounting.Fraction(mu) ** 2, delta + accounting.SLACK)
        assert exact_epsilon - 1e-6 <= found.epsilon(delta) <= exact_epsilon * 1.001 + 1e-6


def test_gaussians_by_array_are_those_of_the_accountant():
    epsilons = np.linspace(0, 20, 50)
    for mu in (0.05, 1.0, 4.0):
        one_by_one = [accounting.delta(mu, epsilon) - accounting.SLACK for epsilon in epsilons]
        assert gaussian(mu, epsilons) == pytest.approx(one_by_one, rel=1e-8, abs=1e-27)


@pytest.mark.parametrize("mu", [0.05, 1.0, 6.0])
def test_tangents_lie_under_the_curve_and_touch_it_in_the_middle(mu):
    epsilons = np.linspace(0, 8 * mu, 40)
    left, right = under_gaussian(mu, epsilons)
    weights = np.linspace(0, 1, 9)[:, None]
    straight = (1 - weights) * left + weights * right
    between = np.log((1 - weights) * np.exp(epsilons[:-1]) + weights * np.exp(epsilons[1:]))
    assert (straight <= gaussian(mu, between) * (1 + 1e-9) + 1e-16).all()
    middle = (epsilons[:-1] + epsilons[1:]) / 2
    place = (np.exp(middle) - np.exp(epsilons[:-1])) / np.diff(np.exp(epsilons))
    assert left + place * (right - left) == pytest.approx(gaussian(mu, middle), rel=1e-6, abs=1e-16)


def test_a_mixed_history_costs_more_than_its_parts_and_less_than_their_sum():
    parts = (Steps(100, 0.05, 1.0), Steps(300, 0.02, 0.8), Steps(1, 1.0, 2.0))
    alone = [curve((part,), LEAST).epsilon(1e-6) for part in parts]
    assert max(alone) < curve(parts, LEAST).epsilon(1e-6) < sum(alone)


def test_a_history_split_in_two_costs_the_same():
    whole, split = (Steps(500, 0.03, 0.9),), (Steps(200, 0.03, 0.9), Steps(300, 0.03, 0.9))
    assert curve(whole, LEAST).epsilon(1e-9) == pytest.approx(curve(split, LEAST).epsilon(1e-9), rel=1e-6)


def test_deltas_fall_and_epsilons_round_up():
    found = curve((Steps(200, 0.05, 1.0),), LEAST)
    assert (np.diff(found.deltas) <= 0).all()
    for delta in (0.1, 1e-4, 1e-9, 1e-12):
        epsilon = found.epsilon(delta)
        before = int(np.searchsorted(found.epsilons, epsilon)) - 1
        assert found.deltas[before] > delta >= found.deltas[before + 1]
    assert found.epsilon(1.0) == 0.0
    assert found.epsilon(1e-15) == math.inf


@pytest.mark.parametrize(
    "history",
    [
        (Steps(1, 1e-9, 1.0),),
        (Steps(100, 4e-3, 1.0),),
        (Steps(1, 0.9, LEAST_MULTIPLIER),),
        (Steps(1_000_000, 0.01, 100.0),),
        (Steps(1500, 0.1, 1e6),),
    ],
)
def test_unusual_histories_have_a_price(history):
    found = curve(history, LEAST)
    assert np.isfinite(found.deltas).all()
    assert math.isfinite(found.epsilon(1e-9))


@pytest.mark.parametrize("history", [(Steps(MOST_STEPS + 1, 0.1, 10.0),), (Steps(1, 0.1, LEAST_MULTIPLIER * 0.99),)])
def test_what_cannot_be_accounted_for_is_refused(history):
    with pytest.raises(ValueError, match="sums, or noise below"):
        curve(history, LEAST)


def test_losses_that_would_not_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr(privacy_loss, "_MOST_SIZE", 1 << 8)
    with pytest.raises(ValueError, match="cannot be added up"):
        curve((Steps(101, 0.01, 1.0),), LEAST)
