"""The ledger of masked sums: sessions, their price, heads of others, and a ledger that is barred."""

from fractions import Fraction

import pytest

from silosynth.client import entries
from silosynth.client.entries import Barred, Ended, Freed, Planned, PlannedStep, Reserved, Sessioned, Settled
from silosynth.client.heads import Of
from silosynth.client.ledger import Ledger
from silosynth.client.refusal import Reason, Refused
from silosynth.common.errors import Tampered
from silosynth.common.privacy import Gaussian, View
from silosynth.common.secagg.messages import NOTHING, Head

EVENT = Gaussian(Fraction(7, 2), 4)
COST = Fraction(4, 49)
STUDY, OTHER = "a" * 64, "b" * 64
NONCE = bytes(range(32))
WITNESS, OWN_KEY, SEEN = b"w" * 32, b"o" * 32, Head(99, b"s" * 32)


def planned(study=STUDY, *, floor=2, attempts=3):
    return Planned(study, "a study", "1e-05", True, (PlannedStep("sum", 4, EVENT),), attempts, floor)


def reserved(release, attempt=0, *, study=STUDY, session="s", shares=4, context="c", number=1):
    return Reserved(study, release, attempt, context, Gaussian(EVENT.multiplier, shares), session, number)


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


def lose(ledger):
    """As a process does that holds nothing."""
    ledger.lose_sessions(())


RETRIES = 4 - 2 + 1


def test_numbers_rise_over_all_studies_and_the_head_is_that_of_the_entry(ledger):
    for number, study in enumerate((STUDY, OTHER, STUDY), 1):
        ledger.end_session(study, 1)
        given, head = ledger.open_session(study, NONCE, anything)
        newest = list(ledger.entries())[-1]
        assert (given, newest.record) == (number, Sessioned(study, number, NONCE.hex()))
        assert head == Head(newest.seq, bytes.fromhex(newest.hash))
        assert ledger.is_ancestor(head)


def test_the_first_session_of_a_study_is_in_its_plan(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    assert ledger.spent(View.AGGREGATE) == 8 * COST


def test_a_lost_session_pays_for_its_retries_and_the_next_for_what_is_left(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    ledger.reserve(reserved(0), anything)
    ledger.commit(STUDY, 0, 0, b"x", 1)
    lose(ledger)
    assert ledger.spent(View.AGGREGATE) == (8 + RETRIES) * COST
    lose(ledger)  # once
    ledger.open_session(STUDY, NONCE, anything)
    assert ledger.spent(View.AGGREGATE) == (8 + 3 + RETRIES) * COST
    assert ledger.spent(View.LOCAL) == 4 * (8 + 3 + RETRIES) * COST


def test_what_is_lost_is_charged_whatever_the_caps(ledger):
    def never(_):
        raise Refused(Reason.STUDY_CAP)

    ledger.open_session(STUDY, NONCE, anything)
    lose(ledger)
    assert ledger.spent(View.AGGREGATE) == (8 + RETRIES) * COST
    with refused_with(Reason.STUDY_CAP):
        ledger.open_session(STUDY, NONCE, never)


def test_sessions_of_all_studies_are_lost_but_those_that_are_held(ledger):
    for study in (STUDY, OTHER):
        ledger.open_session(study, NONCE, anything)
    ledger.lose_sessions([(OTHER, 2)])
    assert list(ledger.entries())[-1].record == Ended(STUDY, 1, lost=True)
    assert ledger.spent(View.AGGREGATE) == (8 + RETRIES) * COST
    ledger.lose_sessions([(OTHER, 1)])  # another one than is open
    assert list(ledger.entries())[-1].record == Ended(OTHER, 2, lost=True)


def test_a_session_whose_end_was_seen_costs_nothing_nor_does_the_next(ledger):
    for number in (1, 2, 3):
        ledger.open_session(STUDY, NONCE, anything)
        ledger.end_session(STUDY, number)
        ledger.end_session(STUDY, number)  # once
    lose(ledger)
    assert ledger.spent(View.AGGREGATE) == 8 * COST
    assert [entry.record.lost for entry in ledger.entries() if isinstance(entry.record, Ended)] == [False] * 3


def test_a_lost_session_is_not_found_again(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    lose(ledger)
    ledger.end_session(STUDY, 1)
    assert list(ledger.entries())[-1].record == Ended(STUDY, 1, lost=True)


def test_nothing_is_answered_in_a_session_that_has_ended_or_is_not_the_newest(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    ledger.end_session(STUDY, 1)
    with refused_with(Reason.NO_SESSION):
        ledger.reserve(reserved(0), anything)
    ledger.open_session(STUDY, NONCE, anything)
    for number in (0, 1, 3):
        with refused_with(Reason.NO_SESSION):
            ledger.reserve(reserved(0, number=number), anything)
    ledger.reserve(reserved(0, number=2), anything)


def test_a_study_has_one_session_at_a_time(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    with refused_with(Reason.NO_SESSION):
        ledger.open_session(STUDY, NONCE, anything)


def test_a_masked_plan_is_never_credited(ledger):
    """A copy from before the first session does not know that there was one."""
    ledger.void(STUDY)
    assert ledger.spent(View.AGGREGATE) == 8 * COST


def test_a_session_over_the_cap_is_not_opened(ledger):
    def capped(after):
        if after.lifetime.aggregate > (8 + RETRIES) * COST:
            raise Refused(Reason.STUDY_CAP)

    ledger.open_session(STUDY, NONCE, capped)
    lose(ledger)
    entries_before = ledger.verify()
    with refused_with(Reason.STUDY_CAP):
        ledger.open_session(STUDY, NONCE, capped)
    assert ledger.verify() == entries_before


def test_only_masked_studies_have_sessions_and_only_in_sessions_are_they_answered(ledger):
    ledger.plan(planned("c" * 64, floor=None), anything)
    with refused_with(Reason.BAD_SESSION):
        ledger.open_session("c" * 64, NONCE, anything)
    with refused_with(Reason.NO_SESSION):
        ledger.reserve(reserved(0, study="c" * 64), anything)
    for session in ("", "s"):
        with refused_with(Reason.NO_SESSION):
            ledger.reserve(reserved(0, session=session), anything)
    ledger.open_session(STUDY, NONCE, anything)
    with refused_with(Reason.NO_SESSION):
        ledger.reserve(reserved(0, session=""), anything)
    ledger.reserve(reserved(0), anything)
    with refused_with(Reason.NOT_APPROVED):
        ledger.open_session("d" * 64, NONCE, anything)


@pytest.mark.parametrize(("shares", "fits"), [(1, False), (2, True), (3, True), (4, True), (5, False)])
def test_as_many_may_share_the_noise_as_the_plan_and_its_floor_say(ledger, shares, fits):
    ledger.open_session(STUDY, NONCE, anything)
    if fits:
        ledger.reserve(reserved(0, shares=shares), anything)
        return
    with refused_with(Reason.OUT_OF_PLAN):
        ledger.reserve(reserved(0, shares=shares), anything)


def test_less_noise_or_another_event_is_not_the_planned_one(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    with refused_with(Reason.OUT_OF_PLAN):
        ledger.reserve(Reserved(STUDY, 0, 0, "c", Gaussian(Fraction(3), 4), "s"), anything)


def test_a_retry_costs_what_it_shares(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    ledger.reserve(reserved(0), anything)
    ledger.reserve(reserved(0, 1, shares=3), anything)
    assert (ledger.spent(View.AGGREGATE), ledger.spent(View.LOCAL)) == (9 * COST, (4 * 8 + 3) * COST)


def test_releases_may_be_left_out_but_not_taken_up_later(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    ledger.reserve(reserved(1), anything)  # 0 was asked of the others
    ledger.reserve(reserved(3), anything)
    for release in (0, 2):
        with refused_with(Reason.OUT_OF_ORDER):
            ledger.reserve(reserved(release), anything)


@pytest.mark.parametrize("attempt", [-1, 3, 100])
def test_attempts_are_as_many_as_the_study_says(ledger, attempt):
    ledger.open_session(STUDY, NONCE, anything)
    with refused_with(Reason.TOO_MANY_ATTEMPTS):
        ledger.reserve(reserved(0, attempt), anything)


def test_one_round_of_one_session_answers_a_release_and_attempt(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    ledger.reserve(reserved(0), anything)
    ledger.reserve(reserved(0), anything)  # the same
    for other in (reserved(0, session="t"), reserved(0, context="d"), reserved(0, shares=3)):
        with refused_with(Reason.ANSWERED_DIFFERENTLY):
            ledger.reserve(other, anything)


def test_what_was_committed_is_found_by_its_request_and_said_to_be_masked(ledger):
    ledger.open_session(STUDY, NONCE, anything)
    ledger.reserve(reserved(0), anything)
    kept = ledger.commit(STUDY, 0, 0, b"header and masks", 1)
    assert kept.masked
    assert ledger.recall(STUDY, 0, 0, "c") == kept
    assert ledger.recall(STUDY, 0, 0, "d") is None


def test_heads_of_others_only_rise_and_outlive_the_process(ledger, path):
    one, other, stranger = (bytes([n]) * 32 for n in range(3))
    low, high = Head(3, b"l" * 32), Head(9, b"h" * 32)
    assert ledger.heads(Of.OTHERS, [one]) == {one: NOTHING}
    ledger.keep_heads(Of.OTHERS, {one: high, other: low})
    ledger.keep_heads(Of.OTHERS, {one: low, other: high})
    ledger.keep_heads(Of.OTHERS, {one: Head(9, b"x" * 32)})  # two heads of one number: the first is kept
    again = Ledger(path)
    assert again.heads(Of.OTHERS, [one, other, stranger]) == {one: high, other: high, stranger: NOTHING}
    assert again.heads(Of.OWN, [one, other]) == {one: NOTHING, other: NOTHING}
    again.close()


def test_what_others_know_is_what_they_said_last(ledger, path):
    one = bytes(32)
    for said in (Head(9, b"h" * 32), Head(3, b"l" * 32), NOTHING, Head(2**63 - 1, b"m" * 32)):
        ledger.keep_heads(Of.OWN, {one: said})
        again = Ledger(path)
        assert again.heads(Of.OWN, [one]) == {one: said}
        assert again.heads(Of.OTHERS, [one]) == {one: NOTHING}
        again.close()


def test_an_ancestor_is_an_entry_of_this_chain(ledger):
    for entry in ledger.entries():
        assert ledger.is_ancestor(Head(entry.seq, bytes.fromhex(entry.hash)))
        assert not ledger.is_ancestor(Head(entry.seq, bytes(32)))
        assert not ledger.is_ancestor(Head(entry.seq + 1, bytes.fromhex(entry.hash)))
    assert not ledger.is_ancestor(Head(99, bytes(32)))


def test_a_barred_ledger_goes_on_with_nothing_until_a_person_frees_it(ledger, path):
    ledger.open_session(STUDY, NONCE, anything)
    ledger.reserve(reserved(0), anything)
    kept = ledger.commit(STUDY, 0, 0, b"x", 1)
    ledger.bar(STUDY, {WITNESS: SEEN, OWN_KEY: NOTHING})
    again = Ledger(path)
    acts = (
        lambda barred: barred.plan(planned(), anything),
        lambda barred: barred.plan(planned("c" * 64), anything),
        lambda barred: barred.open_session(OTHER, NONCE, anything),
        lambda barred: barred.reserve(reserved(1), anything),
        lambda barred: barred.commit(STUDY, 0, 0, b"x", 1),
        lambda barred: barred.recall(STUDY, 0, 0, "c"),
        lambda barred: barred.void(STUDY),
    )  # and what is lost is lost
    ledger.end_session(STUDY, 1)
    for barred in (ledger, again):
        for act in acts:
            with refused_with(Reason.ROLLED_BACK):
                act(barred)
    assert ledger.spent(View.AGGREGATE) == 8 * COST
    ledger.free(STUDY)
    assert again.recall(STUDY, 0, 0, "c") == kept
    assert [record for record in (entry.record for entry in again.entries()) if isinstance(record, Barred | Freed)] == [
        Barred(STUDY, ((WITNESS.hex(), 99, SEEN.hash.hex()), (OWN_KEY.hex(), 0, bytes(32).hex()))),
        Freed(STUDY),
    ]
    assert again.heads(Of.OWN, [WITNESS, OWN_KEY]) == {
        WITNESS: SEEN,
        OWN_KEY: NOTHING,
    }  # and is named in the next opening
    assert again.spent(View.AGGREGATE) == (8 + 2 * RETRIES) * COST  # of both studies, whatever was forgotten
    again.open_session(STUDY, NONCE, anything)
    again.open_session(OTHER, NONCE, anything)
    assert again.spent(View.AGGREGATE) == (8 + 2 * RETRIES + 3 + 4) * COST
    again.close()


@pytest.mark.parametrize(
    "forged",
    [
        Sessioned(STUDY, 2, NONCE.hex()),  # while one is open
        Sessioned(OTHER, 1, NONCE.hex()),
        Sessioned(OTHER, 3, NONCE.hex()),
        Sessioned("c" * 64, 2, NONCE.hex()),
        Ended(STUDY, 2, lost=False),
        Ended(OTHER, 1, lost=False),
        Ended("c" * 64, 1, lost=False),
    ],
)
def test_a_session_that_this_code_did_not_open_is_tampering(ledger, path, forged):
    ledger.open_session(STUDY, NONCE, anything)
    with ledger._transaction(writing=True):
        ledger._append(forged)
    with pytest.raises(Tampered):
        Ledger(path)


@pytest.mark.parametrize(
    "record",
    [
        Sessioned(STUDY, 7, NONCE.hex()),
        Ended(STUDY, 7, lost=True),
        Barred(STUDY, (("ab" * 32, 9, "cd" * 32),)),
        Settled(STUDY, "c" * 64),
        Freed(STUDY),
        planned(),
        reserved(1, 2),
    ],
)
def test_entries_are_read_back(record):
    assert entries.read(1, entries.write("now", record), bytes(32)).record == record
