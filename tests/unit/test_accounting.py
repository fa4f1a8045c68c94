"""Closed forms against 400-bit arithmetic, against dp-accounting, and against the looser zCDP conversion."""

import math
from fractions import Fraction

import mpmath
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import pld_privacy_accountant
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from silosynth.common.accounting import SLACK, advantage, delta, epsilon, mu_squared_for, tpr_at

MUS = [1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 50.0]
EPSILONS = [0.0, 1e-3, 0.01, 0.1, 1.0, 3.0, 10.0, 50.0, 500.0]


@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize("eps", EPSILONS)
def test_delta_is_the_closed_form(mu, eps):
    with mpmath.workprec(400):
        m, e = mpmath.mpf(mu), mpmath.mpf(eps)
        exact = mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m) + mpmath.mpf(2) ** -40
    assert delta(mu, eps) == pytest.approx(float(exact), rel=1e-11)


@given(st.floats(0, 50), st.floats(0, 500), st.floats(0, 10))
def test_delta_falls_with_epsilon_and_rises_with_mu(mu, eps, more):
    assert SLACK <= delta(mu, eps) <= 1 + SLACK
    assert delta(mu, eps + more) <= delta(mu, eps) * (1 + 1e-9)
    assert delta(mu + more, eps) >= delta(mu, eps) * (1 - 1e-9)


def test_nothing_asked_costs_nothing():
    assert delta(0.0, 0.0) == SLACK
    assert epsilon(Fraction(0), 1e-9) == 0.0
    assert epsilon(Fraction(1, 10**20), 1e-6) == 0.0  # delta alone pays for it


@given(st.fractions(Fraction(1, 10**6), 2500), st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3, 0.1]))
def test_epsilon_is_rounded_up_and_by_little(mu_squared, allowed):
    eps = epsilon(mu_squared, allowed)
    mu = math.sqrt(mu_squared)
    assert delta(mu, eps) <= allowed
    if eps > 0:
        assert delta(mu, eps * (1 - 1e-7) - 1e-9) > allowed


@given(st.floats(1e-3, 300), st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3]))
def test_a_plan_that_spends_all_it_may_costs_no_more_than_it_says(eps, allowed):
    spend = mu_squared_for(eps, allowed)
    assert epsilon(spend, allowed) <= eps
    assert epsilon(spend * Fraction(10**7 + 1, 10**7), allowed) > eps  # and it may spend no more


@given(st.fractions(Fraction(1, 100), 100))
def test_what_was_spent_may_be_spent(mu_squared):
    allowed = mu_squared_for(epsilon(mu_squared, 1e-5), 1e-5)
    assert 1 - Fraction(1, 10**6) < allowed / mu_squared <= 1 + Fraction(1, 10**6)


@pytest.mark.parametrize("mu_squared", [Fraction(1, 100), Fraction(1, 4), Fraction(2), Fraction(25)])
@pytest.mark.parametrize("allowed", [1e-6, 1e-5])
def test_a_numerical_accountant_agrees(mu_squared, allowed):
    accountant = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-4 * max(1, float(mu_squared)))
    accountant.compose(dp_event.GaussianDpEvent(1 / math.sqrt(mu_squared)))
    numerical = accountant.get_epsilon(allowed)
    ours = epsilon(mu_squared, allowed)
    assert ours == pytest.approx(numerical, rel=1e-3)
    # Theirs rounds up to a grid, ours pays the slack: neither may be the smaller by more than that.
    assert ours <= numerical * (1 + 1e-5)
    assert numerical <= ours * (1 + 1e-3)


@pytest.mark.parametrize("mu_squared", [Fraction(1, 100), Fraction(1), Fraction(9)])
def test_the_zcdp_route_is_sound_and_looser(mu_squared):
    # Canonne, Kamath, Steinke 2020, proposition 12: the discrete Gaussian is mu^2/2-zCDP, without any bridge.
    rho, allowed = float(mu_squared) / 2, 1e-6

    def at(log_order):
        order = 1 + math.exp(log_order)
        return rho * order + (math.log(1 / allowed) + (order - 1) * math.log1p(-1 / order) - math.log(order)) / (
            order - 1
        )

    loose = minimize_scalar(at, bounds=(-5, 12), method="bounded").fun
    assert 1.02 < loose / epsilon(mu_squared, allowed) < 1.2


@pytest.mark.parametrize("allowed", [0.0, SLACK, 1.0, -1.0, math.nan])
def test_impossible_deltas_are_refused(allowed):
    with pytest.raises(ValueError, match="delta must lie"):
        epsilon(Fraction(1), allowed)
    with pytest.raises(ValueError, match="delta must lie"):
        mu_squared_for(1.0, allowed)


@pytest.mark.parametrize("eps", [0.0, -1.0, math.inf, math.nan])
def test_impossible_epsilons_are_refused(eps):
    with pytest.raises(ValueError, match="positive and finite"):
        mu_squared_for(eps, 1e-5)


def test_negative_losses_are_refused():
    with pytest.raises(ValueError, match="not negative"):
        delta(-1.0, 1.0)
    with pytest.raises(ValueError, match="not negative"):
        delta(1.0, -1.0)


@pytest.mark.parametrize(("eps", "gain", "found"), [(1.0, 0.094, 0.0022), (3.0, 0.254, 0.0073), (8.0, 0.556, 0.06)])
def test_what_an_adversary_gains(eps, gain, found):
    # Values of riskcal 1.5.1 at delta 1e-6, to the digits that were noted.
    mu = math.sqrt(mu_squared_for(eps, 1e-6))
    assert advantage(mu) == pytest.approx(gain, abs=1e-3)
    assert tpr_at(mu, 1e-3) == pytest.approx(found, rel=0.05)


def test_an_adversary_gains_nothing_from_nothing():
    assert advantage(0.0) == 0.0
    assert tpr_at(0.0, 0.01) == pytest.approx(0.01)
    # The best threshold test reaches the advantage.
    assert max(tpr_at(1.0, i / 1000) - i / 1000 for i in range(1, 1000)) == pytest.approx(advantage(1.0), abs=1e-5)
