"""What a ledger charges for two disjoint parts of a study's units, and what it gives back."""

from dataclasses import replace
from fractions import Fraction

import pytest
from ledger_made import anything

from silosynth.client import books
from silosynth.client.books import FREE, Account, Books, Price, price
from silosynth.client.entries import Planned, PlannedStep, Reserved, read, write
from silosynth.client.ledger import Ledger
from silosynth.common.event_json import event_from_json, event_to_json
from silosynth.common.privacy import (
    Certified,
    Composed,
    Gaussian,
    NoPrivacy,
    Parallel,
    Part,
    Repeated,
    Sampled,
    View,
    mu_squared,
)
from silosynth.common.sampled import epsilon_of

STUDY = "a" * 64
EVENT = Gaussian(Fraction(7, 2), 4)
COST = Fraction(4, 49)


def plan(train=4, holdout=4, *, event=EVENT, floor=None):
    """`train` and `holdout` releases of equal events."""
    steps = (PlannedStep("sum", train, event), PlannedStep("holdout-pairs", holdout, event, None, Part.HOLDOUT))
    return Planned(STUDY, "a study", "1e-05", True, tuple(step for step in steps if step.repeats), 3, floor)


def reserved(release, attempt=0, **session):
    return Reserved(STUDY, release, attempt, "c", EVENT, **session)


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def begin(ledger, releases, first=0):
    for release in range(first, first + releases):
        ledger.reserve(reserved(release), anything)
        ledger.commit(STUDY, release, 0, b"x" * 16, 2)


@pytest.mark.parametrize(("train", "holdout", "dearer"), [(4, 4, 4), (4, 1, 4), (1, 4, 4), (4, 0, 4)])
def test_a_plan_costs_its_dearer_part(ledger, train, holdout, dearer):
    ledger.plan(plan(train, holdout), anything)
    assert (ledger.spent(View.AGGREGATE), ledger.spent(View.LOCAL)) == (dearer * COST, 4 * dearer * COST)


@pytest.mark.parametrize(
    ("begun", "left"),
    [(0, 0), (2, 2), (4, 4), (6, 4), (8, 4)],
)
def test_a_void_leaves_the_dearer_of_what_was_begun(ledger, begun, left):
    """With two of four training releases begun the rest of the plan costs four, and half of the plan is given back."""
    ledger.plan(plan(), anything)
    begin(ledger, begun)
    ledger.void(STUDY)
    assert ledger.spent(View.AGGREGATE) == left * COST


def test_what_is_left_is_not_what_is_credited(ledger, monkeypatch):
    """The counterexample: T = E, half of training begun. The rest, priced as parallel, is all of E: nothing would stay
    charged, although training units have paid half of T."""
    account = Account(plan(), price(plan().event()), newest=reserved(1))
    assert account.unreserved.aggregate == 4 * COST
    assert account.credit.aggregate == 2 * COST
    monkeypatch.setattr(Account, "credit", Account.unreserved)  # the mutant
    ledger.plan(plan(), anything)
    begin(ledger, 2)
    ledger.void(STUDY)
    assert ledger.spent(View.AGGREGATE) == 0  # what the test above does not let pass


def test_what_was_without_noise_is_never_credited():
    account = Account(plan(event=NoPrivacy()), Price(noiseless=True))
    assert account.credit is FREE


def test_a_begun_certified_step_is_begun_whole():
    step = PlannedStep("learn", 3, EVENT, Fraction(1, 8))
    planned = replace(plan(0, 2), steps=(step, *plan(0, 2).steps))
    assert planned.begun(1) == Parallel((Composed((step.history,)), Composed(())))
    account = Account(planned, price(planned.event()), newest=reserved(0))
    assert account.credit.aggregate == max(Fraction(1, 8), 2 * COST) - Fraction(1, 8)


@pytest.mark.parametrize(("begun", "rest"), [(2, 4), (6, 2), (7, 1)])
def test_after_a_lost_session_the_dearer_rest_is_paid_for_again(ledger, begun, rest):
    """A training unit has paid T and what is left of training again, a held-out one E and what is left of it again."""
    ledger.plan(plan(floor=2), anything)
    number, _ = ledger.open_session(STUDY, bytes(32), anything)
    for release in range(begun):
        ledger.reserve(reserved(release, session="r", number=number), anything)
    ledger.lose_sessions([])
    before = ledger.spent(View.AGGREGATE)
    ledger.open_session(STUDY, b"2" * 32, anything)
    assert ledger.spent(View.AGGREGATE) - before == rest * COST


def test_retries_of_a_lost_session_cover_the_dearest_kind_of_either_part():
    dear = Gaussian(Fraction(1), 4)
    steps = (PlannedStep("sum", 2, EVENT), PlannedStep("holdout-pairs", 1, dear, None, Part.HOLDOUT))
    planned = Planned(STUDY, "a study", "1e-05", True, steps, 3, 2)
    assert Account(planned, FREE).retried == Price(planned.retries * Fraction(1), planned.retries * Fraction(4))


def test_a_retry_costs_its_event_in_full(ledger):
    ledger.plan(plan(), anything)
    begin(ledger, 5)  # one of the held-out units' own
    ledger.reserve(reserved(4, attempt=1), anything)
    assert ledger.spent(View.AGGREGATE) == 5 * COST


def test_a_plan_in_parts_is_read_back_from_its_entry():
    body = write("now", plan())
    assert read(1, body, bytes(32)).record == plan()
    assert '[["sum",4,' in body
    assert 'null,"holdout"]' in body


def test_parts_in_a_ledger_are_those_there_are():
    body = write("now", plan()).replace('"holdout"', '"nobody"')
    with pytest.raises(Exception, match="cannot be read"):
        read(1, body, bytes(32))


def test_the_price_of_parts_is_the_larger_one_in_each_view():
    one, other = Gaussian(Fraction(2), 1), Gaussian(Fraction(4), 9)  # 1/4, 1/4 against 1/16, 9/16
    both = Parallel((one, other))
    assert (mu_squared(both, View.AGGREGATE), mu_squared(both, View.LOCAL)) == (Fraction(1, 4), Fraction(9, 16))
    assert epsilon_of(both, 1e-5, View.LOCAL) == epsilon_of(other, 1e-5, View.LOCAL)
    assert mu_squared(Parallel(()), View.LOCAL) == 0
    assert event_from_json(event_to_json(Repeated(2, both))) == Repeated(2, both)
    assert books.dearest([Price(Fraction(1), Fraction(2)), Price(Fraction(2), Fraction(1))]) == Price(
        Fraction(2), Fraction(2)
    )


def test_parts_stand_in_no_history_of_samples():
    sampled = Sampled(Fraction(1, 10), Gaussian(Fraction(2), 1))
    assert epsilon_of(Parallel((Repeated(20, sampled), EVENT)), 1e-5) == max(
        epsilon_of(Repeated(20, sampled), 1e-5), epsilon_of(EVENT, 1e-5)
    )
    assert epsilon_of(Composed((Parallel((sampled,)),)), 1e-5) == float("inf")
    assert mu_squared(Parallel((Certified(sampled, Fraction(1, 3)), EVENT)), View.AGGREGATE) == Fraction(1, 3)


def test_books_read_what_a_ledger_wrote(tmp_path, ledger):
    ledger.plan(plan(), anything)
    begin(ledger, 3)
    ledger.void(STUDY)
    again = Books()
    for entry in ledger.entries():
        again.fold(entry)
    assert again.lifetime.aggregate == ledger.spent(View.AGGREGATE) == 3 * COST
