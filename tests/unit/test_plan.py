"""Plans: never dearer than the budget, and close to it."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from engine_fixtures import SCHEMA, study
from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.common.accounting import mu_squared_for
from silosynth.common.errors import InvalidStudy
from silosynth.common.plan import resolve
from silosynth.common.schema import Schema


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
