"""The ledger: what may follow what, and what is charged."""

import hashlib
import sqlite3
import stat
import threading
from fractions import Fraction

import pytest
from ledger_made import COST, EVENT, OTHER, STUDY, answered, anything, cap_of, planned, refused_with, reserved

from silosynth.client.entries import Committed, Opened, Receipted
from silosynth.client.ledger import Ledger
from silosynth.client.refusal import Reason, Refused
from silosynth.common.privacy import Gaussian, NoPrivacy, Repeated, View


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    opened = Ledger(path)
    yield opened
    opened.close()


@pytest.fixture
def running(ledger):
    ledger.plan(planned(), anything)
    return ledger


def test_it_is_the_owners_file_alone(ledger, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (first,) = ledger.entries()
    assert isinstance(first.record, Opened)


def test_a_plan_pays_for_all_its_releases_in_both_views(running):
    assert running.spent(View.AGGREGATE) == 4 * COST
    assert running.spent(View.LOCAL) == 16 * COST


def test_the_same_plan_again_costs_nothing_and_asks_nobody(running):
    running.plan(planned(), cap_of(Fraction(0)))
    assert running.spent(View.AGGREGATE) == 4 * COST


def test_a_study_cannot_be_planned_otherwise(running):
    with refused_with(Reason.OUT_OF_PLAN):
        running.plan(planned(repeats=1), anything)


def test_a_plan_over_the_cap_leaves_no_trace(ledger):
    with refused_with(Reason.LIFETIME_CAP):
        ledger.plan(planned(), cap_of(4 * COST - Fraction(1, 10**30)))
    assert ledger.verify() == 1
    ledger.plan(planned(), cap_of(4 * COST))


def test_releases_of_the_plan_cost_nothing_more(running):
    for release in range(4):
        answered(running, release)
    assert running.spent(View.AGGREGATE) == 4 * COST


def test_a_retry_is_an_ordinary_charge_against_the_cap(running):
    answered(running, 0)
    running.reserve(reserved(0, 1), cap_of(5 * COST))
    assert running.spent(View.AGGREGATE) == 5 * COST
    assert running.spent(View.LOCAL) == 20 * COST
    with refused_with(Reason.LIFETIME_CAP):
        running.reserve(reserved(0, 2), cap_of(5 * COST))


def test_a_reservation_without_commit_stands_and_costs_nothing_again(running, path):
    running.reserve(reserved(0, 0), anything)
    running.reserve(reserved(0, 1), anything)
    before = running.spent(View.AGGREGATE)
    again = Ledger(path)
    again.reserve(reserved(0, 1), cap_of(Fraction(0)))
    assert again.spent(View.AGGREGATE) == before
    assert again.commit(STUDY, 0, 1, b"y", 1).payload == b"y"
    again.close()


@pytest.mark.parametrize(
    ("done", "wanted", "reason"),
    [
        ([], reserved(1), Reason.OUT_OF_ORDER),
        ([], reserved(4), Reason.OUT_OF_PLAN),
        ([], reserved(-1), Reason.OUT_OF_PLAN),
        ([], reserved(0, event=Gaussian(Fraction(3), 4)), Reason.OUT_OF_PLAN),
        ([], reserved(0, event=Gaussian(Fraction(7, 2), 5)), Reason.OUT_OF_PLAN),
        ([], reserved(0, event=Repeated(1, EVENT)), Reason.OUT_OF_PLAN),
        ([], reserved(0, study=OTHER), Reason.NOT_APPROVED),
        ([(0, 0)], reserved(0, context="d"), Reason.ANSWERED_DIFFERENTLY),
        ([(0, 0)], reserved(2), Reason.OUT_OF_ORDER),
        ([(0, 2)], reserved(0, 1), Reason.OUT_OF_ORDER),
        ([(0, 0), (1, 0)], reserved(0), Reason.OUT_OF_ORDER),
        ([(0, 0), (1, 0)], reserved(0, 1), Reason.OUT_OF_ORDER),
    ],
)
def test_what_cannot_be_reserved(running, done, wanted, reason):
    for release, attempt in done:
        answered(running, release, attempt)
    with refused_with(reason):
        running.reserve(wanted, anything)


def test_a_release_waits_for_the_one_before_to_be_committed(running):
    running.reserve(reserved(0), anything)
    with refused_with(Reason.OUT_OF_ORDER):
        running.reserve(reserved(1), anything)
    with refused_with(Reason.ANSWERED_DIFFERENTLY):
        running.reserve(reserved(0, context="d"), anything)


def test_a_release_follows_even_if_a_retry_of_the_one_before_was_never_computed(running):
    answered(running, 0)
    running.reserve(reserved(0, 1), anything)
    answered(running, 1)


def test_a_request_is_recalled_byte_for_byte_and_no_other(running):
    kept = answered(running, 0, payload=b"noised")
    assert running.recall(STUDY, 0, 0, "c") == kept
    assert kept.receipt == running.head
    assert running.recall(STUDY, 0, 0, "d") is None
    assert running.recall(STUDY, 0, 1, "c") is None
    assert running.recall(OTHER, 0, 0, "c") is None
    answered(running, 1)
    assert running.recall(STUDY, 0, 0, "c") is None


def test_nothing_is_recalled_before_a_commit(running):
    running.reserve(reserved(0), anything)
    assert running.recall(STUDY, 0, 0, "c") is None


def test_only_the_newest_payload_of_each_study_is_kept(running, path):
    running.plan(planned(OTHER), anything)
    answered(running, 0)
    answered(running, 0, study=OTHER)
    answered(running, 1, payload=b"z")
    with sqlite3.connect(path) as db:
        assert sorted(db.execute("SELECT study, release, payload FROM outbox")) == [
            (STUDY, 1, b"z"),
            (OTHER, 0, b"x" * 16),
        ]
    db.close()
    sizes = [entry.record.octets for entry in running.entries() if isinstance(entry.record, Committed)]
    assert sizes == [16, 16, 1]


def test_the_first_commit_wins_whoever_made_it(running, path):
    running.reserve(reserved(0), anything)
    other = Ledger(path)
    other.reserve(reserved(0), anything)
    first = other.commit(STUDY, 0, 0, b"first", 1)
    assert running.commit(STUDY, 0, 0, b"second", 1) == first
    assert running.recall(STUDY, 0, 0, "c") == first
    other.close()


def test_only_the_newest_reservation_can_be_committed(running):
    with refused_with(Reason.OUT_OF_ORDER):
        running.commit(STUDY, 0, 0, b"", 0)
    running.reserve(reserved(0), anything)
    running.reserve(reserved(0, 1), anything)
    with refused_with(Reason.OUT_OF_ORDER):
        running.commit(STUDY, 0, 0, b"", 0)


def test_closing_a_study_credits_back_what_was_never_begun_and_nothing_else(running):
    answered(running, 0)
    running.reserve(reserved(1), anything)  # perhaps computed, never committed: stays charged
    running.void(STUDY)
    assert running.spent(View.AGGREGATE) == 2 * COST
    assert running.spent(View.LOCAL) == 8 * COST
    for act in (
        lambda: running.plan(planned(), anything),
        lambda: running.reserve(reserved(1), anything),
        lambda: running.commit(STUDY, 1, 0, b"", 0),
        lambda: running.void(STUDY),
    ):
        with refused_with(Reason.STUDY_CLOSED):
            act()
    assert running.recall(STUDY, 0, 0, "c") is not None


def test_a_study_that_never_began_is_credited_back_whole(running):
    running.void(STUDY)
    assert running.spent(View.AGGREGATE) == 0


@pytest.mark.parametrize("plan", [planned(event=NoPrivacy()), planned(private=False)])
def test_what_has_no_noise_or_a_predictable_one_is_marked_for_ever(ledger, plan):
    found = []
    ledger.plan(plan, found.append)
    ledger.void(STUDY)
    ledger.plan(planned(OTHER), found.append)
    assert [after.lifetime.noiseless for after in found] == [True, True]
    assert [after.study.noiseless for after in found] == [True, False]


def test_refusals_and_receipts_are_written_down(running):
    receipt = running.refuse(STUDY, Reason.BAD_TASK)
    assert receipt == running.head
    assert (running.refusals(STUDY), running.refusals(OTHER)) == (1, 0)
    running.receipt(STUDY, "f" * 64)
    assert list(running.entries())[-1].record == Receipted(STUDY, "f" * 64)


def test_two_studies_cannot_race_over_the_cap(path):
    Ledger(path).close()
    limit, studies = 10 * 4 * COST, [hashlib.sha256(bytes([n])).hexdigest() for n in range(16)]
    outcomes = []
    start = threading.Barrier(4)

    def approve(mine):
        ledger = Ledger(path)
        start.wait()
        for study in mine:
            try:
                ledger.plan(planned(study), cap_of(limit))
                outcomes.append(True)
            except Refused:
                outcomes.append(False)
        ledger.close()

    threads = [threading.Thread(target=approve, args=(studies[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 6 + [True] * 10
    ledger = Ledger(path)
    assert ledger.spent(View.AGGREGATE) == limit
    ledger.close()


def test_one_ledger_serves_threads(running):
    threads = [threading.Thread(target=running.refuse, args=(STUDY, Reason.BAD_TASK)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert running.refusals(STUDY) == 8


def test_a_failed_append_leaves_nothing_behind(running):
    before = running.verify()

    def broken(_):
        raise RuntimeError("a bug in a policy")

    with pytest.raises(RuntimeError):
        running.reserve(reserved(0, 1), broken)
    assert running.verify() == before
    running.reserve(reserved(0, 1), anything)
