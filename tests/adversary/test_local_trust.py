"""Where nobody is trusted a site samples and learns by itself: plans and tasks made to hurt it there."""

from dataclasses import replace
from fractions import Fraction

import mechanism_checks as checks
import numpy as np
import pytest
from engine_fixtures import rows, study
from gan_made import gan_study
from sampled_checks import Given, sampled_sum
from scipy.stats import binom

from silosynth.client.engines.gan import Gan as SiteHalf
from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise, open_noised
from silosynth.client.policy import Cap, Caps, Policy
from silosynth.client.refusal import Reason, Refused
from silosynth.common import accounting, sampled, scale
from silosynth.common.engine import Units
from silosynth.common.engines import gan as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.errors import MalformedFrame
from silosynth.common.privacy import Composed, Gaussian, Sampled
from silosynth.common.privacy_loss import MOST_STEPS
from silosynth.common.schema import Column, Kind, Schema
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
    ("rate", "capacity", "rows_each"),
    [
        (Fraction(1, 2), 8_000_000, 1),
        (Fraction(3, 100), 100_000, 1),
        (Fraction(1, 1000), 1_000_000, 1),
        (Fraction(3, 10), 64_000, 64),
        (Fraction(1, 10), 2000, 10),
    ],
)
def test_samples_that_do_not_fit_are_paid_for_in_any_ledger(rate, capacity, rows_each):
    """An overflow is seen, as a refusal. In either world: so its chance counts 1 + e^epsilon times.

    A ledger may hold as many plans as certificates, each of as many sums as the accountant adds up, and accounting.py
    says that delta has room up to an epsilon of 7.
    """
    slots = scale.sampled_slots(rate, capacity, rows_each)
    overflow = binom.logsf(slots // rows_each, capacity // rows_each, float(rate))
    sums = sampled.MOST_CERTIFIED * MOST_STEPS
    left = accounting.SLACK - sampled.MOST_CERTIFIED * sampled.SLACK
    assert overflow + np.log(sums) + np.log1p(np.exp(7)) < np.log(left / 2)


def hostile_matrix(rng, many, columns):
    """Gradients of every size a float32 has, some not finite, some a last bit above the clip norm."""
    size = 10.0 ** rng.uniform(-45, 38.5, (many, 1))
    alike = np.full(columns, columns**-0.5)
    with np.errstate(all="ignore"):
        drawn = (rng.standard_normal((many, columns)) * size).astype(np.float32)
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


# Tasks to train a discriminator

SMALL = {"width": 16, "components": 30, "fakes": 100, "steps": 2, "local_steps": 2}
GAN = gan_study(1.0, capacity=1300, trust=Trust.LOCAL, **SMALL)
COARSENING = Coarsening(tuple(tuple(min(cell, 2) for cell in range(size)) for size in GAN.schema.sizes))
LARGEST = float(np.finfo(np.float32).max)


def training(of=GAN, coarsening=COARSENING, weights=0.1, **given):
    shape = engine.shape(of, coarsening)
    facts = {"units": 300, "capacity": 1300, "steps": 0, "seed": 7} | given
    network = np.full((engine.MOMENTS, shape.size), weights, dtype=np.float32)
    generator = np.full(shape.generator_size, weights, dtype=np.float32)
    return engine.TrainDiscriminator(coarsening, **facts, discriminator=network, generator=generator)


def verdict(task, held):
    """What becomes of a task: an exception's type, or that it was answered as it was claimed."""
    half, used = SiteHalf(GAN), checks.metered(SystemNoise(), capacity=1300, rows_each=1)
    try:
        task = engine.put_together(GAN, engine.take_apart(task))
        noised = half.answer(task, held, used)
        open_noised(noised, used, half.claim(task).size)
    except (MalformedFrame, RuntimeError, ArithmeticError, ValueError) as error:
        return type(error)
    return used.events == (half.claim(task).event,)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a learner that runs away does so on noised sums
@pytest.mark.parametrize(
    "given",
    [
        {"units": 2**63 - 1},
        {"steps": 2**63 - 1, "seed": 2**63 - 1},
        {"weights": LARGEST},
        {"weights": -LARGEST},
        {"weights": 1e30},
        {"weights": -0.0},
        {"weights": 1e-45},
    ],
    ids=str,
)
def test_what_becomes_of_a_hostile_task_does_not_depend_on_rows(given):
    task = training(**given)
    nobody, all_alike = Units(rows(0), np.arange(0)), Units(np.repeat(rows(1), 1300, axis=0), np.arange(1300))
    assert len({verdict(task, held) for held in (nobody, all_alike, Units(rows(700), np.arange(700)))}) == 1


@pytest.mark.parametrize("capacity", [1, 1299, 2**62])
def test_a_task_cannot_say_how_many_rows_a_site_has_declared(capacity):
    """A block is filled up with fakes: 4,000 beside 64 rows where the site is said to have one row."""
    parts = engine.take_apart(training(capacity=capacity))
    with pytest.raises(MalformedFrame, match="declared"):
        engine.put_together(GAN, parts)


def test_a_coarsening_that_makes_networks_too_large_is_refused_before_anything_is_computed():
    ages = Schema(tuple(Column(f"age{i}", Kind.INTEGER, low=0, high=999) for i in range(5)))
    of = gan_study(1.0, schema=ages, capacity=1300, trust=Trust.LOCAL, **(SMALL | {"width": 1024}))
    fine = Coarsening(tuple(tuple(range(size)) for size in ages.sizes))
    assert engine.shape(of, fine).size > 2**20
    with pytest.raises(MalformedFrame, match="too large"):
        engine.put_together(of, engine.take_apart(training(of, fine)))
