"""Prices of sampled sums against other accountants, and broken on purpose: each mutant must fail the check for it."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from engine_fixtures import study

from silosynth.client import books, rules
from silosynth.client.books import Books, price
from silosynth.client.entries import Planned, PlannedStep, Reserved
from silosynth.client.refusal import Refused
from silosynth.client.rules import HonestPlan
from silosynth.common import accounting, privacy_loss, sampled
from silosynth.common.privacy import Certified, Composed, Gaussian, Repeated, Sampled, View, mu_squared
from silosynth.common.sampled import certify, epsilon_of
from silosynth.common.study import Budget, Step, Study, Trust

DELTA = 1e-5
COUNTS = Fraction(3)


def history(rate, multiplier, count):
    return Repeated(count, Sampled(Fraction(rate).limit_denominator(1000), Gaussian(Fraction(multiplier), 1)))


def by_pld(event, *, counts=0):
    """dp-accounting's losses of one sampled history, and `counts` full sums at COUNTS."""
    found = privacy_loss_distribution.from_gaussian_mechanism(
        float(event.event.event.multiplier), sampling_prob=float(event.event.rate), value_discretization_interval=5e-4
    ).self_compose(event.count)
    if counts:
        full = privacy_loss_distribution.from_gaussian_mechanism(
            float(COUNTS) / math.sqrt(counts), value_discretization_interval=5e-4
        )
        found = found.compose(full)
    return found


def by_prv(event, *, counts=0):
    """Opacus's epsilon of the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant  # noqa: PLC0415  # warns when it is loaded

        accountant = PRVAccountant()
        accountant.history = [(float(event.event.event.multiplier), float(event.event.rate), event.count)]
        if counts:
            accountant.history.append((float(COUNTS), 1.0, counts))
        return accountant.get_epsilon(DELTA, eps_error=0.005)


@pytest.mark.parametrize("counts", [0, 2])
@pytest.mark.parametrize(
    ("rate", "multiplier", "count"), [(0.05, 1, 1000), (0.02, Fraction(4, 5), 600), (0.1, 3, 500), (0.2, 8, 300)]
)
def test_three_accountants_agree(rate, multiplier, count, counts):
    event = history(rate, multiplier, count)
    ours = epsilon_of(Composed((event, *(Gaussian(COUNTS, 1),) * counts)), DELTA)
    assert ours == pytest.approx(by_pld(event, counts=counts).get_epsilon_for_delta(DELTA), rel=0.002)
    assert ours == pytest.approx(by_prv(event, counts=counts), rel=0.02)


# Certificates. The other accountant's convolution is good to 1e-12 or so: deltas are compared above that.

HISTORY = history(0.03, Fraction(9, 10), 300)
TRUE_STEPS = {"count": 300, "rate": 0.03, "multiplier": 0.9}


def check_certificate_covers():
    """Delta of the history, by the other accountant, is at most that of the certificate, at random epsilons."""
    mu = math.sqrt(certify(HISTORY))
    epsilons = np.sort(np.random.default_rng(5).uniform(0, 18, 300))
    deltas = by_pld(HISTORY).get_delta_for_epsilon(epsilons)
    seen = deltas > 1e-11
    assert seen.sum() > 100
    allowed = 2.0**-44 + privacy_loss.gaussian(mu, epsilons)
    assert (deltas[seen] <= allowed[seen] * (1 + 1e-4)).all()


def check_slack_is_paid_for():
    assert sampled.MOST_CERTIFIED * sampled.SLACK < accounting.SLACK


def check_claims_are_computed_again():
    """A plan is refused where its certificate covers less than what the plan does, or where it has none."""
    honest = learning_study()
    HonestPlan().check(honest)
    step = honest.plan[0]
    half = certify(Repeated(step.repeats // 2, step.event(1)))
    for plan in (
        _claiming(step, half),
        _claiming(step, step.certified * Fraction(999, 1000)),
        _claiming(step, None),
        Step("sum", 1, Fraction(5), certified=Fraction(1, 25)),
        Step("sum", 1, Fraction(5), certified=Fraction(1)),
    ):
        with pytest.raises(Refused, match="dearer"):
            HonestPlan().check(_replaced(honest, plan))


def check_epsilon_is_that_of_the_whole_plan():
    honest = learning_study()
    cheaper = Budget(honest.budget.epsilon * 0.99, DELTA, 0)
    with pytest.raises(Refused, match="dearer"):
        HonestPlan().check(_replaced(honest, *honest.plan, budget=cheaper))


def check_a_retry_has_no_discount():
    """Another attempt is a sum by itself, not one of many that hide which of them a person is in."""
    plan, step = ledger_plan()
    again = Reserved(plan.study, 0, 1, "c", step.event)
    assert Books().charge(again) == price(step.event)
    assert Books().charge(again).local == mu_squared(step.event, View.LOCAL) > step.certified / step.repeats


def check_a_begun_history_is_not_credited():
    plan, step = ledger_plan()
    account = books.Account(plan, price(plan.event()))
    assert account.unreserved.local == step.certified + 2
    begun = books.Account(plan, account.spent, Reserved(plan.study, 0, 0, "c", step.event))
    assert begun.unreserved.local == 2
    assert begun.unreserved.local == price(plan.event(step.repeats)).local


def learning_study():
    base = study(2.0, trust=Trust.LOCAL)
    step = Step("learn", 4, within=(Step("gradient", 30, Fraction(2), Fraction(1, 20)),))
    step = _claiming(step, certify(step.history(1)))
    return _replaced(base, step, budget=Budget(epsilon_of(step.history(1), DELTA) + 1e-9, DELTA, 0))


def ledger_plan():
    """A certified step of 4 releases, and 2 full sums at multiplier 1."""
    event = Composed((Repeated(30, Sampled(Fraction(1, 20), Gaussian(Fraction(2), 1))),))
    step = PlannedStep("learn", 4, event, certify(Repeated(4, event)))
    return Planned("a" * 64, "s", "1e-05", True, (step, PlannedStep("sum", 2, Gaussian(Fraction(1), 1)))), step


def _claiming(step, number):
    return Step(step.kind, step.repeats, within=step.within, certified=number)


def _replaced(of, *plan, budget=None):
    return Study(of.name, of.schema, budget or of.budget, trust=of.trust, roster=of.roster, plan=plan)


CHECKS = [
    check_certificate_covers,
    check_slack_is_paid_for,
    check_claims_are_computed_again,
    check_epsilon_is_that_of_the_whole_plan,
    check_a_retry_has_no_discount,
    check_a_begun_history_is_not_credited,
]


@pytest.mark.parametrize("check", CHECKS)
def test_holds(check):
    check()


# Mutants

MUTANTS = []
true_losses, true_step_rest = privacy_loss._losses, PlannedStep.rest


def caught_by(check):
    def register(mutate):
        MUTANTS.append(pytest.param(mutate, check, id=mutate.__name__))
        return mutate

    return register


@caught_by(check_certificate_covers)
def only_units_that_join(patch):
    patch.setattr(privacy_loss, "_losses", lambda part, step, *, joins: true_losses(part, step, joins=True))


@caught_by(check_certificate_covers)
def half_of_the_steps(patch):
    def fewer(part, step, *, joins):
        return true_losses(privacy_loss.Steps(part.count // 2, part.rate, part.multiplier), step, joins=joins)

    patch.setattr(privacy_loss, "_losses", fewer)


@caught_by(check_certificate_covers)
def slack_of_an_ordinary_delta(patch):
    patch.setattr(sampled, "SLACK", 1e-6)


@caught_by(check_slack_is_paid_for)
def slack_that_no_delta_has_room_for(patch):
    patch.setattr(sampled, "SLACK", 2.0**-42)


@caught_by(check_claims_are_computed_again)
def any_certificate_is_believed(patch):
    patch.setattr(rules, "covers", lambda certified: True)


@caught_by(check_claims_are_computed_again)
def a_certificate_of_half_the_steps_will_do(patch):
    def half(certified):
        return sampled.covers(
            Certified(Repeated(certified.event.count // 2, certified.event.event), certified.mu_squared)
        )

    patch.setattr(rules, "covers", half)


@caught_by(check_epsilon_is_that_of_the_whole_plan)
def the_stated_epsilon_is_believed(patch):
    patch.setattr(rules, "epsilon_of", lambda event, delta, view: 0.0)


@caught_by(check_a_retry_has_no_discount)
def a_retry_at_the_price_of_one_of_many(patch):
    def amplified(event):
        return books.Price(*[certify(event)] * 2)

    patch.setattr(books, "price", amplified)


@caught_by(check_a_begun_history_is_not_credited)
def what_was_begun_is_credited_by_the_step(patch):
    def partly(step, first):
        left = step.repeats - max(0, first)
        part = step.certified and step.certified * left / step.repeats
        whole = Repeated(left, step.event) if left > 0 else None
        return Certified(whole, part) if whole and part else whole

    patch.setattr(PlannedStep, "rest", partly)


@pytest.fixture(autouse=True)
def _forget():
    """Prices are remembered: neither a mutant's nor the truth may outlive its test."""
    for remembered in (sampled._curve, privacy_loss.curve):
        remembered.cache_clear()
    yield
    for remembered in (sampled._curve, privacy_loss.curve):
        remembered.cache_clear()


@pytest.mark.parametrize(("mutate", "check"), MUTANTS)
def test_a_mutant_is_caught(mutate, check, monkeypatch):
    mutate(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check()
