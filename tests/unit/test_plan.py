"""Plans: never dearer than the budget, and close to it."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from engine_fixtures import SCHEMA, study
from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.common import plan as plan_module
from silosynth.common.accounting import mu_squared_for
from silosynth.common.engines.share import Share
from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.plan import resolve
from silosynth.common.privacy import Certified, Composed
from silosynth.common.sampled import covers, epsilon_of
from silosynth.common.schema import Schema
from silosynth.common.study import Budget, Trust


def price(resolved):
    return sum(step.repeats / step.multiplier**2 for step in resolved.plan)


@settings(max_examples=60, deadline=None)
@given(
    epsilon=st.floats(0.05, 12), one_ways=st.floats(0.01, 0.4), pairs=st.floats(0.01, 0.4), steps=st.integers(1, 400)
)
def test_a_plan_spends_its_budget_and_never_more(epsilon, one_ways, pairs, steps):
    resolved = study(epsilon, share_one_ways=one_ways, share_pairs=pairs, steps=steps)
    affordable = mu_squared_for(epsilon, 1e-5)
    assert affordable * Fraction(99997, 100000) <= price(resolved) <= affordable


def test_multipliers_have_six_digits():
    for step in study(1.0).plan:
        digits = step.multiplier * 10**5
        assert digits.denominator == 1 or (step.multiplier * 10**6).denominator == 1
        assert len(str(float(step.multiplier)).replace(".", "").strip("0")) <= 6


def test_without_a_finite_epsilon_there_is_no_noise():
    assert {step.multiplier for step in study(math.inf).plan} == {None}


def test_resolving_again_changes_nothing():
    resolved = study(1.0)
    assert resolve(resolved, resolved.roster) == resolved
    assert resolve(resolved, resolved.roster).digest == resolved.digest


def test_a_larger_budget_buys_more_steps():
    assert [step.repeats for step in study(1.0).plan] == [1, 1, 50]
    assert [step.repeats for step in study(10.0).plan] == [1, 1, 100]


def test_a_single_column_needs_its_histogram_only():
    (step,) = study(1.0, schema=Schema(SCHEMA.columns[:1])).plan
    assert (step.kind, step.repeats) == ("one-ways", 1)


def test_a_wide_table_measures_no_pairs():
    wide = Schema(tuple(replace(SCHEMA.columns[2], name=f"c{k}") for k in range(51)))
    assert [step.kind for step in study(1.0, schema=wide).plan] == ["one-ways", "gradient"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("stepps", 10, "unknown; known are average, bins"),
        ("steps", 2.5, "positive whole number"),
        ("steps", 0, "positive whole number"),
        ("learning_rate", math.inf, "positive number"),
        ("share_pairs", 0.9, "add up to less than 1"),
        ("width", 65, "of at most 64"),
        ("steps", math.nan, "positive whole number"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(name, value, says):
    with pytest.raises(InvalidStudy, match=says):
        study(1.0, **{name: value})


# Where nobody is trusted

TENTH = Fraction(1, 10)


def local(monkeypatch, *shares, epsilon=1.0, sites=2):
    monkeypatch.setitem(plan_module.SPLITS, "autoregressive", lambda _: shares)
    return study(epsilon, trust=Trust.LOCAL, sites=sites)


def sampling(repeats=5, steps=20, rate=TENTH):
    inner = Share("gradient", steps, Fraction(8, 10), rate=rate)
    return Share("counts", 1, Fraction(2, 10)), Share("learn", repeats, Fraction(8, 10), within=(inner,))


def whole(resolved):
    return Composed(tuple(step.history(1) for step in resolved.plan))


def test_sums_within_a_release_spend_their_share_over_all_repeats(monkeypatch):
    inner = (Share("pairs", 1, Fraction(1, 10)), Share("gradient", 30, Fraction(6, 10)))
    counts, learn = local(
        monkeypatch, Share("counts", 1, Fraction(3, 10)), Share("learn", 4, Fraction(7, 10), within=inner)
    ).plan
    affordable = mu_squared_for(1.0, 1e-5)
    assert (learn.multiplier, learn.rate, learn.certified) == (None, None, None)
    spent = [
        step.repeats * times / step.multiplier**2 / affordable
        for step, times in ((counts, 1), *((sums, 4) for sums in learn.within))
    ]
    assert [float(part) for part in spent] == pytest.approx([0.3, 0.1, 0.6], rel=1e-4)
    assert sum(spent) <= 1


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_sampled_sums_get_what_the_others_leave(monkeypatch, epsilon):
    resolved = local(monkeypatch, *sampling(), epsilon=epsilon)
    counts, learn = resolved.plan
    assert epsilon * 0.9999 <= epsilon_of(whole(resolved), 1e-5) <= epsilon
    assert Fraction(999, 1000) < 1 / counts.multiplier**2 / (mu_squared_for(epsilon, 1e-5) / 5) <= 1
    assert covers(Certified(replace(learn, certified=None).history(1), learn.certified))
    (gradient,) = learn.within
    assert (gradient.rate, gradient.certified, counts.certified) == (TENTH, None, None)
    assert len(str(float(gradient.multiplier)).replace(".", "").strip("0")) <= 6


def test_sampling_makes_sums_cheaper(monkeypatch):
    multipliers = [
        local(monkeypatch, *sampling(rate=Fraction(rate))).plan[1].within[0].multiplier for rate in ("0.01", "0.1", "1")
    ]
    assert multipliers[0] < multipliers[1] / 4 < multipliers[2] / 16


def test_a_rate_is_written_with_few_digits(monkeypatch):
    resolved = local(monkeypatch, *sampling(rate=Fraction(0.1)))
    assert resolved.plan[1].within[0].rate == TENTH


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(11, 10)])
def test_a_rate_that_is_no_chance_is_refused_in_words(monkeypatch, rate):
    with pytest.raises(InvalidStudy, match="'rate': must lie above 0"):
        local(monkeypatch, *sampling(rate=rate))


def test_sampled_sums_without_noise_are_a_plan_too(monkeypatch):
    learn = local(monkeypatch, *sampling(), epsilon=math.inf).plan[1]
    assert (learn.noiseless, learn.sampled, learn.certified) == (True, True, None)


def test_resolving_a_sampled_plan_again_changes_nothing(monkeypatch):
    resolved = local(monkeypatch, *sampling())
    assert resolve(resolved, resolved.roster).digest == resolved.digest


def test_a_budget_that_the_accountant_cannot_reach_is_said_before_anything_is_spent(monkeypatch):
    with pytest.raises(NotPossible, match=r"epsilon 1 at delta 1e-05 cannot be reached .* raise the engine's `rate`"):
        local(monkeypatch, *sampling(repeats=10**4, steps=10**4))


def test_a_site_learns_by_itself_only_where_nobody_is_trusted(monkeypatch):
    monkeypatch.setitem(plan_module.SPLITS, "autoregressive", lambda _: sampling())
    with pytest.raises(InvalidStudy, match='trust = "local"'):
        study(1.0)


def test_two_sites_cannot_hide_in_a_sum_but_can_learn_by_themselves():
    with pytest.raises(InvalidStudy, match=r'of 2 sites 1 may collude.*trust = "local"'):
        study(1.0, sites=2)
    resolved = study(1.0, sites=2, trust=Trust.LOCAL)
    assert resolved.shares == 1
    assert resolve(replace(resolved, budget=Budget(1.0, 1e-5, 7), plan=()), resolved.roster).shares == 1
