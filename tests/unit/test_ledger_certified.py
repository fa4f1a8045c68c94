"""Steps that are charged whole, as one history: what is paid, credited and read back."""

from fractions import Fraction

import pytest
from ledger_made import COST, EVENT, STUDY, anything, planned, refused_with, reserved

from silosynth.client import entries
from silosynth.client.entries import Planned, PlannedStep
from silosynth.client.ledger import Ledger, listing
from silosynth.client.refusal import Reason
from silosynth.common.privacy import Composed, Gaussian, Repeated, Sampled, View
from silosynth.common.sampled import MOST_CERTIFIED


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


SAMPLED = Composed((Repeated(20, Sampled(Fraction(1, 10), Gaussian(Fraction(2), 1))),))


def certified(study=STUDY, steps=1):
    learn = tuple(PlannedStep(f"learn{number}", 3, SAMPLED, Fraction(1, 8)) for number in range(steps))
    return Planned(study, "a study", "1e-05", True, (PlannedStep("first", 1, EVENT), *learn))


def begun(ledger, releases):
    for release in range(releases):
        event = SAMPLED if release else EVENT
        ledger.reserve(reserved(release, event=event), anything)
        ledger.commit(STUDY, release, 0, b"x" * 16, 2)


def test_a_certified_step_is_one_purchase(path):
    ledger = Ledger(path)
    ledger.plan(certified(), anything)
    assert ledger.spent(View.LOCAL) == 4 * COST + Fraction(1, 8)
    begun(ledger, 3)
    assert ledger.spent(View.LOCAL) == 4 * COST + Fraction(1, 8)


@pytest.mark.parametrize(("releases", "credit"), [(0, 4 * COST + Fraction(1, 8)), (1, Fraction(1, 8)), (2, 0), (4, 0)])
def test_what_is_left_of_a_certified_step_is_not_credited(path, releases, credit):
    ledger = Ledger(path)
    ledger.plan(certified(), anything)
    begun(ledger, releases)
    ledger.void(STUDY)
    assert ledger.spent(View.LOCAL) == 4 * COST + Fraction(1, 8) - credit


def test_a_retry_of_a_sampled_release_is_paid_for_as_if_nothing_were_sampled(path):
    ledger = Ledger(path)
    ledger.plan(certified(), anything)
    begun(ledger, 2)
    before = ledger.spent(View.LOCAL)
    ledger.reserve(reserved(1, 1, event=SAMPLED), anything)
    assert ledger.spent(View.LOCAL) - before == Fraction(20, 4)


def test_a_ledger_has_room_for_so_many_certified_histories_and_no_more(path):
    ledger = Ledger(path)
    ledger.plan(certified("a" * 64, steps=MOST_CERTIFIED - 1), anything)
    ledger.plan(certified("b" * 64), anything)
    ledger.plan(certified("b" * 64), anything)  # again costs nothing
    ledger.plan(planned("c" * 64), anything)
    for study, steps in (("d" * 64, 1), ("e" * 64, MOST_CERTIFIED)):
        with refused_with(Reason.LIFETIME_CAP):
            ledger.plan(certified(study, steps=steps), anything)
    ledger.close()
    assert Ledger(path).spent(View.LOCAL) == 3 * 4 * COST + 3 * 4 * COST + Fraction(MOST_CERTIFIED, 8)


def test_certified_plans_come_back_from_disk(path):
    ledger = Ledger(path)
    ledger.plan(certified(), anything)
    begun(ledger, 2)
    ledger.close()
    plan, reservation = (entry.record for entry in listing(path)[1:6:3])
    assert plan == certified()
    assert reservation.event == SAMPLED


@pytest.mark.parametrize(
    "raw",
    [
        {"event": "sampled", "rate": "1/10", "of": {"event": "no-privacy"}},
        {"event": "sampled", "rate": "11/10", "of": entries.event_to_json(Gaussian(Fraction(2), 1))},
        {"event": "sampled", "rate": 0.1, "of": entries.event_to_json(Gaussian(Fraction(2), 1))},
        {"event": "sampled", "rate": "1/10", "of": entries.event_to_json(Gaussian(Fraction(2), 2))},
        {"event": "certified", "mu_squared": "0/1", "of": entries.event_to_json(SAMPLED)},
        {"event": "certified", "mu_squared": "1/8", "of": None},
    ],
)
def test_sampled_events_that_are_none_are_not_read(raw):
    with pytest.raises(ValueError, match=r"not an event|ratio|rate|noise"):
        entries.event_from_json(raw)
