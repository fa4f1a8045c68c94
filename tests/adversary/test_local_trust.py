"""Where nobody is trusted a site samples and learns by itself: plans and tasks made to hurt it there."""

from dataclasses import replace
from fractions import Fraction

import mechanism_checks as checks
import numpy as np
import pytest
from engine_fixtures import study
from sampled_checks import Given, sampled_sum
from scipy.stats import binom

from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import Cap, Caps, Policy
from silosynth.client.refusal import Reason, Refused
from silosynth.common import accounting, sampled, scale
from silosynth.common.privacy import Composed, Gaussian, Sampled
from silosynth.common.privacy_loss import MOST_STEPS
from silosynth.common.study import Budget, Step, Trust

UNHEARD_OF = Fraction(10) ** 400
"""No float holds it."""

LOCAL = study(2.0, trust=Trust.LOCAL)
MUCH = Cap(100.0, 1e-5)


def learning(multiplier=Fraction(2), rate=Fraction(1, 20), certified=Fraction(1, 10), repeats=1):
    within = (Step("gradient", 10, multiplier, rate),)
    return Step("learn", repeats, within=within, certified=certified)


@pytest.mark.parametrize("epsilon", [2.0, np.inf])
@pytest.mark.parametrize(
    "plan",
    [
        (learning(certified=UNHEARD_OF),),
        (learning(certified=1 / UNHEARD_OF),),
        (learning(multiplier=UNHEARD_OF),),
        (learning(multiplier=1 / UNHEARD_OF),),
        (learning(rate=1 / UNHEARD_OF),),
        (learning(repeats=10**400),),
    ],
    ids=["dear", "cheap", "noisy", "bare", "seldom", "endless"],
)
def test_a_plan_of_numbers_that_no_float_holds_is_refused_in_a_word(tmp_path, plan, epsilon):
    hostile = replace(LOCAL, plan=plan, budget=Budget(epsilon, 1e-5, 0))
    caps = Caps(MUCH, MUCH)
    policy = Policy(frozenset({hostile.digest}), frozenset({hostile.engine}), study_caps=caps, lifetime_caps=caps)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with pytest.raises(Refused, match=f"^{Reason.BAD_PLAN.value}$"):
        Gate(policy, ledger, SystemNoise()).approve(hostile, hostile.roster[0])
    assert ledger.verify() == 1
    ledger.close()


def test_what_no_float_holds_has_no_finite_epsilon():
    some = Sampled(Fraction(1, 20), Gaussian(Fraction(2), 1))
    for history in (Sampled(some.rate, Gaussian(UNHEARD_OF, 1)), Composed((some, Gaussian(UNHEARD_OF, 1)))):
        assert sampled.epsilon_of(history, 1e-5) == np.inf


@pytest.mark.parametrize(
    ("rate", "capacity", "rows"),
    [
        (Fraction(1, 2), 8_000_000, 1),
        (Fraction(3, 100), 100_000, 1),
        (Fraction(1, 1000), 1_000_000, 1),
        (Fraction(3, 10), 64_000, 64),
        (Fraction(1, 10), 2000, 10),
    ],
)
def test_samples_that_do_not_fit_are_paid_for_in_any_ledger(rate, capacity, rows):
    """An overflow is seen, as a refusal. In either world: so its chance counts 1 + e^epsilon times.

    A ledger may hold as many plans as certificates, each of as many sums as the accountant adds up, and accounting.py
    says that delta has room up to an epsilon of 7.
    """
    slots = scale.sampled_slots(rate, capacity, rows)
    overflow = binom.logsf(slots // rows, capacity // rows, float(rate))
    sums = sampled.MOST_CERTIFIED * MOST_STEPS
    left = accounting.SLACK - sampled.MOST_CERTIFIED * sampled.SLACK
    assert overflow + np.log(sums) + np.log1p(np.exp(7)) < np.log(left / 2)


def hostile_matrix(rng, rows, columns):
    """Gradients of every size a float32 has, some not finite, some a last bit above the clip norm."""
    size = 10.0 ** rng.uniform(-45, 38.5, (rows, 1))
    alike = np.full(columns, columns**-0.5)
    with np.errstate(all="ignore"):
        drawn = (rng.standard_normal((rows, columns)) * size).astype(np.float32)
    drawn[::7] = np.nextafter(alike.astype(np.float32), np.float32(9))
    drawn[1::7] = rng.choice(np.finfo(np.float32).max * np.array([1, -1]), (len(drawn[1::7]), columns))
    drawn[2::7] = rng.choice([np.nan, np.inf, -0.0, 1.0], (len(drawn[2::7]), columns), p=[0.01, 0.01, 0.28, 0.7])
    return drawn


def test_no_matrix_moves_a_sum_by_more_than_the_grid():
    """Coins and slots coupled (client/sampling.py, rule 5), a person of one or of many rows beside others."""
    rng, worst = np.random.default_rng(11), 0
    for columns in (1, 2, 7, 64, 300):
        for _ in range(40):
            gradients = Given(hostile_matrix(rng, 60, columns), hostile_matrix(rng, 9, columns), 1024.0)
            others = rng.integers(1, 60, 90)
            owner = np.sort(rng.integers(0, 40, 90))
            person = np.resize(rng.integers(1, 60, rng.integers(1, 5)), rng.integers(1, 60))
            moved = [
                sampled_sum(checks.Silent(), held, gradients, rate=Fraction(1), capacity=256)[0].astype(object)
                for held in (
                    checks.units(others, owner),
                    checks.units(np.append(others, person), np.append(owner, np.full(len(person), 99))),
                )
            ]
            worst = max(worst, ((moved[1] - moved[0]) ** 2).sum())
    assert 0.99 * scale.SUM_GRID**2 <= worst <= scale.SUM_GRID**2
