"""The ledger of masked sums: sessions, their price, heads of others, and a ledger that is barred."""

from fractions import Fraction

import pytest

from silosynth.client import entries
from silosynth.client.entries import Barred, Freed, Planned, PlannedStep, Reserved, Sessioned, Settled
from silosynth.client.ledger import Ledger
from silosynth.client.refusal import Reason, Refused
from silosynth.common.errors import Tampered
from silosynth.common.privacy import Gaussian, View
from silosynth.common.secagg.messages import NOTHING, Head

EVENT = Gaussian(Fraction(7, 2), 4)
COST = Fraction(4, 49)
STUDY, OTHER = "a" * 64, "b" * 64
NONCE = bytes(range(32))


def planned(study=STUDY, *, floor=2, attempts=3):
    return Planned(study, "a study", "1e-05", True, (PlannedStep("sum", 4, EVENT),), attempts, floor)


def reserved(release, attempt=0, *, study=STUDY, session="s", shares=4, context="c"):
    return Reserved(study, release, attempt, context, Gaussian(EVENT.multiplier, shares), session)


def anything(_):
    return None


def refused_with(reason):
    return pytest.raises(Refused, match=f"^{reason.value}$")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    opened = Ledger(path)
    for study in (STUDY, OTHER):
        opened.plan(planned(study), anything)
    yield opened
    opened.close()


def test_numbers_rise_over_all_studies_and_the_head_is_that_of_the_entry(ledger):
    for number, study in enumerate((STUDY, OTHER, STUDY), 1):
        given, head = ledger.open_session(study, NONCE, 0, anything)
        newest = list(ledger.entries())[-1]
        assert (given, newest.record) == (number, Sessioned(study, number, NONCE.hex(), 0))
        assert head == Head(newest.seq, bytes.fromhex(newest.hash))
        assert ledger.is_ancestor(head)


def test_the_first_session_of_a_study_is_in_its_plan(ledger):
    ledger.open_session(STUDY, NONCE, 0, anything)
    assert ledger.spent(View.AGGREGATE) == 8 * COST


def test_a_session_after_one_that_nobody_closed_pays_for_what_is_left(ledger):
    ledger.open_session(STUDY, NONCE, 0, anything)
    ledger.reserve(reserved(0), anything)
    ledger.commit(STUDY, 0, 0, b"x", 1)
    ledger.open_session(STUDY, NONCE, 0, anything)
    retries = 4 - 2 + 1
    assert ledger.spent(View.AGGREGATE) == (8 + 3 + retries) * COST
    assert ledger.spent(View.LOCAL) == 4 * (8 + 3 + retries) * COST


def test_a_session_that_was_closed_hands_on_what_it_had_once(ledger):
    ledger.open_session(STUDY, NONCE, 0, anything)  # 1
    ledger.open_session(STUDY, NONCE, 1, anything)  # 2, of the same process
    ledger.open_session(STUDY, NONCE, 2, anything)  # 3
    assert ledger.spent(View.AGGREGATE) == 8 * COST
    ledger.open_session(STUDY, NONCE, 2, anything)  # another process says so: 2 is not the newest
    assert ledger.spent(View.AGGREGATE) == (8 + 4 + 3) * COST
    assert list(ledger.entries())[-1].record.closed == 0


def test_a_session_over_the_cap_is_not_opened(ledger):
    def capped(after):
        if after.lifetime.aggregate > 8 * COST or after.study.aggregate > 4 * COST:
            raise Refused(Reason.STUDY_CAP)

    ledger.open_session(STUDY, NONCE, 0, capped)
    entries_before = ledger.verify()
    with refused_with(Reason.STUDY_CAP):
        ledger.open_session(STUDY, NONCE, 0, capped)
    assert ledger.verify() == entries_before


def test_only_masked_studies_have_sessions_and_only_in_sessions_are_they_answered(ledger):
    ledger.plan(planned("c" * 64, floor=None), anything)
    with refused_with(Reason.BAD_SESSION):
        ledger.open_session("c" * 64, NONCE, 0, anything)
    with refused_with(Reason.NO_SESSION):
        ledger.reserve(reserved(0, study="c" * 64), anything)
    for session in ("", "s"):
        with refused_with(Reason.NO_SESSION):
            ledger.reserve(reserved(0, session=session), anything)
    ledger.open_session(STUDY, NONCE, 0, anything)
    with refused_with(Reason.NO_SESSION):
        ledger.reserve(reserved(0, session=""), anything)
    ledger.reserve(reserved(0), anything)
    with refused_with(Reason.NOT_APPROVED):
        ledger.open_session("d" * 64, NONCE, 0, anything)


@pytest.mark.parametrize(("shares", "fits"), [(1, False), (2, True), (3, True), (4, True), (5, False)])
def test_as_many_may_share_the_noise_as_the_plan_and_its_floor_say(ledger, shares, fits):
    ledger.open_session(STUDY, NONCE, 0, anything)
    if fits:
        ledger.reserve(reserved(0, shares=shares), anything)
        return
    with refused_with(Reason.OUT_OF_PLAN):
        ledger.reserve(reserved(0, shares=shares), anything)


def test_less_noise_or_another_event_is_not_the_planned_one(ledger):
    ledger.open_session(STUDY, NONCE, 0, anything)
    with refused_with(Reason.OUT_OF_PLAN):
        ledger.reserve(Reserved(STUDY, 0, 0, "c", Gaussian(Fraction(3), 4), "s"), anything)


def test_a_retry_costs_what_it_shares(ledger):
    ledger.open_session(STUDY, NONCE, 0, anything)
    ledger.reserve(reserved(0), anything)
    ledger.reserve(reserved(0, 1, shares=3), anything)
    assert (ledger.spent(View.AGGREGATE), ledger.spent(View.LOCAL)) == (9 * COST, (4 * 8 + 3) * COST)


def test_releases_may_be_left_out_but_not_taken_up_later(ledger):
    ledger.open_session(STUDY, NONCE, 0, anything)
    ledger.reserve(reserved(1), anything)  # 0 was asked of the others
    ledger.reserve(reserved(3), anything)
    for release in (0, 2):
        with refused_with(Reason.OUT_OF_ORDER):
            ledger.reserve(reserved(release), anything)


@pytest.mark.parametrize("attempt", [-1, 3, 100])
def test_attempts_are_as_many_as_the_study_says(ledger, attempt):
    ledger.open_session(STUDY, NONCE, 0, anything)
    with refused_with(Reason.TOO_MANY_ATTEMPTS):
        ledger.reserve(reserved(0, attempt), anything)


def test_one_round_of_one_session_answers_a_release_and_attempt(ledger):
    ledger.open_session(STUDY, NONCE, 0, anything)
    ledger.reserve(reserved(0), anything)
    ledger.reserve(reserved(0), anything)  # the same
    for other in (reserved(0, session="t"), reserved(0, context="d"), reserved(0, shares=3)):
        with refused_with(Reason.ANSWERED_DIFFERENTLY):
            ledger.reserve(other, anything)


def test_what_was_committed_is_found_by_its_request_and_said_to_be_masked(ledger):
    ledger.open_session(STUDY, NONCE, 0, anything)
    ledger.reserve(reserved(0), anything)
    kept = ledger.commit(STUDY, 0, 0, b"header and masks", 1)
    assert kept.masked
    assert ledger.recall(STUDY, 0, 0, "c") == kept
    assert ledger.recall(STUDY, 0, 0, "d") is None


def test_heads_of_others_only_rise_and_outlive_the_process(ledger, path):
    one, other, stranger = (bytes([n]) * 32 for n in range(3))
    low, high = Head(3, b"l" * 32), Head(9, b"h" * 32)
    assert ledger.known_heads([one]) == {one: NOTHING}
    ledger.learn_heads({one: high, other: low})
    ledger.learn_heads({one: low, other: high})
    ledger.learn_heads({one: Head(9, b"x" * 32)})  # two heads of one number: the first is kept
    again = Ledger(path)
    assert again.known_heads([one, other, stranger]) == {one: high, other: high, stranger: NOTHING}
    again.close()


def test_an_ancestor_is_an_entry_of_this_chain(ledger):
    for entry in ledger.entries():
        assert ledger.is_ancestor(Head(entry.seq, bytes.fromhex(entry.hash)))
        assert not ledger.is_ancestor(Head(entry.seq, bytes(32)))
        assert not ledger.is_ancestor(Head(entry.seq + 1, bytes.fromhex(entry.hash)))
    assert not ledger.is_ancestor(Head(99, bytes(32)))


def test_a_barred_ledger_goes_on_with_nothing_until_a_person_frees_it(ledger, path):
    ledger.open_session(STUDY, NONCE, 0, anything)
    ledger.reserve(reserved(0), anything)
    kept = ledger.commit(STUDY, 0, 0, b"x", 1)
    ledger.bar(STUDY, 2)
    again = Ledger(path)
    acts = (
        lambda barred: barred.plan(planned(), anything),
        lambda barred: barred.plan(planned("c" * 64), anything),
        lambda barred: barred.open_session(OTHER, NONCE, 0, anything),
        lambda barred: barred.reserve(reserved(1), anything),
        lambda barred: barred.commit(STUDY, 0, 0, b"x", 1),
        lambda barred: barred.recall(STUDY, 0, 0, "c"),
        lambda barred: barred.void(STUDY),
    )
    for barred in (ledger, again):
        for act in acts:
            with refused_with(Reason.ROLLED_BACK):
                act(barred)
    assert ledger.spent(View.AGGREGATE) == 8 * COST
    ledger.free(STUDY)
    assert again.recall(STUDY, 0, 0, "c") == kept
    assert [record for record in (entry.record for entry in again.entries()) if isinstance(record, Barred | Freed)] == [
        Barred(STUDY, 2),
        Freed(STUDY),
    ]
    again.close()


@pytest.mark.parametrize(
    "forged",
    [
        Sessioned(STUDY, 3, NONCE.hex(), 0),
        Sessioned(OTHER, 1, NONCE.hex(), 0),
        Sessioned(STUDY, 2, NONCE.hex(), 2),
        Sessioned("c" * 64, 2, NONCE.hex(), 0),
    ],
)
def test_a_session_that_this_code_did_not_open_is_tampering(ledger, path, forged):
    ledger.open_session(STUDY, NONCE, 0, anything)
    with ledger._transaction(writing=True):
        ledger._append(forged)
    with pytest.raises(Tampered):
        Ledger(path)


@pytest.mark.parametrize(
    "record",
    [
        Sessioned(STUDY, 7, NONCE.hex(), 6),
        Settled(STUDY, "c" * 64),
        Barred(STUDY, 3),
        Freed(STUDY),
        planned(),
        reserved(1, 2),
    ],
)
def test_entries_are_read_back(record):
    assert entries.read(1, entries.write("now", record), bytes(32)).record == record
