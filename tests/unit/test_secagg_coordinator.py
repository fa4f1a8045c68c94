"""The coordinator's session: who is awaited, what counts, what a failed attempt leaves."""

import numpy as np
import pytest
from secagg_made import R64, Session, agreement_of, answers, asked, signer_of, site_session

from silosynth.common.errors import MalformedFrame, QuorumLost
from silosynth.common.secagg.coordinator import Attempt, CoordinatorSession
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.messages import Masked, Reply, write_reply

AGREEMENT = agreement_of(5, 1, 3)
ALL = (0, 1, 2, 3, 4)


def refused(call, *given):
    with pytest.raises(SumRefused) as found:
        call(*given)
    return found.value.fault


def answer(session, question, only=None):
    """Masked answers of the members of a round, by site."""
    values = answers(5, question.size)
    chosen = question.members if only is None else only
    return {site: session.sites[site].begin(question).mask(values[site]) for site in chosen}


def test_it_says_whom_it_waits_for():
    coordinator = CoordinatorSession(AGREEMENT)
    sites = [site_session(AGREEMENT, i) for i in range(5)]
    for i in (3, 1, 0, 4):
        assert coordinator.open(sites[i].opening) == i
    assert coordinator.missing == (2,)
    with pytest.raises(SumRefused, match="every member"):
        coordinator.transcript  # noqa: B018 - a property that refuses
    coordinator.open(sites[2].opening)
    transcript = coordinator.transcript
    assert coordinator.missing == ALL
    for i in (4, 2, 0, 1):
        assert coordinator.acknowledge(sites[i].join(transcript, {}).acknowledgement) == i
    assert coordinator.missing == (3,)
    assert refused(coordinator.tally, asked(ALL)) is Fault.OUT_OF_PHASE
    with pytest.raises(SumRefused, match="every member"):
        coordinator.confirmation  # noqa: B018


def test_a_restarted_site_opens_again_until_the_transcript_is_fixed():
    coordinator = CoordinatorSession(AGREEMENT)
    first, second = (site_session(AGREEMENT, 0, session=number) for number in (1, 2))
    coordinator.open(first.opening)
    coordinator.open(second.opening)
    assert refused(coordinator.open, first.opening) is Fault.OUT_OF_ORDER
    same_number = site_session(AGREEMENT, 0, session=2, count=11)
    assert refused(coordinator.open, same_number.opening) is Fault.OUT_OF_ORDER
    for i in range(1, 5):
        coordinator.open(site_session(AGREEMENT, i).opening)
    assert second.opening in coordinator.transcript
    assert coordinator.open(second.opening) == 0
    assert refused(coordinator.open, site_session(AGREEMENT, 0, session=3).opening) is Fault.OUT_OF_PHASE


def test_acknowledgements_are_of_this_transcript():
    session, other = Session.opened(AGREEMENT), Session.confirmed(AGREEMENT, session=2)
    stale = other.sites[0].join(other.coordinator.transcript, {}).acknowledgement
    assert refused(CoordinatorSession(AGREEMENT).acknowledge, stale) is Fault.OUT_OF_PHASE
    assert refused(session.coordinator.acknowledge, stale) is Fault.OTHER_TRANSCRIPT


def test_a_coordinator_that_is_given_its_frames_again_goes_on():
    session = Session.confirmed(AGREEMENT)
    again = CoordinatorSession(AGREEMENT)
    for site in reversed(session.sites):
        again.open(site.opening)
    for site in session.sites:
        again.acknowledge(site.join(again.transcript, {}).acknowledgement)
    assert (again.transcript, again.confirmation) == (session.coordinator.transcript, session.coordinator.confirmation)
    tally = again.tally(asked(ALL, release=3, attempt=2))
    for masked in answer(session, tally.asked).values():
        tally.accept(masked)
    assert tally.total().tolist() == sum(answers(5, 8)).tolist()


@pytest.mark.parametrize("ring", [asked(ALL).ring, R64])
def test_a_total_opens_when_all_have_answered(ring):
    session = Session.confirmed(AGREEMENT)
    question = asked(ALL, ring=ring)
    tally = session.coordinator.tally(question)
    for site, masked in answer(session, question).items():
        assert refused(tally.total) is Fault.INCOMPLETE
        assert tally.accept(masked) == site
        assert tally.accept(masked) == site  # carried twice, counted once
    assert tally.missing == ()
    assert tally.total().tolist() == sum(answers(5, 8)).tolist()
    assert tally.attempts == (Attempt(0, ALL, ALL),)


def test_a_drop_out_costs_an_attempt_with_the_others():
    session = Session.confirmed(AGREEMENT)
    tally = session.coordinator.tally(asked(ALL))
    late = answer(session, asked(ALL))
    for site in (0, 2, 3, 4):
        tally.accept(late[site])
    again = tally.retry()
    assert (again.release, again.attempt, again.members) == (0, 1, (0, 2, 3, 4))
    assert refused(tally.accept, late[1]) is Fault.OTHER_CONTEXT
    for masked in answer(session, again).values():
        tally.accept(masked)
    values = answers(5, 8)
    assert tally.total().tolist() == (values[0] + values[2] + values[3] + values[4]).tolist()
    assert tally.attempts == (Attempt(0, ALL, (0, 2, 3, 4)), Attempt(1, (0, 2, 3, 4), (0, 2, 3, 4)))


def test_a_site_that_refuses_is_left_out_without_waiting_for_the_rest():
    tally = Session.confirmed(AGREEMENT).coordinator.tally(asked(ALL))
    assert tally.retry({3}).members == (0, 1, 2, 4)
    assert tally.retry((0,)).members == (1, 2, 4)


def test_one_drop_out_too_many_ends_the_sum_and_says_what_was_spent():
    session = Session.confirmed(AGREEMENT)
    tally = session.coordinator.tally(asked(ALL, release=7))
    masked = answer(session, asked(ALL, release=7))
    for site in (0, 1, 2):
        tally.accept(masked[site])
    again = tally.retry()
    tally.accept(answer(session, again, only=(1,))[1])
    with pytest.raises(QuorumLost) as lost:
        tally.retry()
    said = str(lost.value)
    assert "release 7: 1 of at least 3" in said
    assert "attempt 0: asked [0, 1, 2, 3, 4], answered [0, 1, 2]" in said
    assert "attempt 1: asked [0, 1, 2], answered [1]" in said
    assert len(tally.attempts) == 2


def test_sets_that_hide_nobody_are_not_asked():
    coordinator = Session.confirmed(AGREEMENT).coordinator
    with pytest.raises(QuorumLost, match="2 sites asked"):
        coordinator.tally(asked((0, 1)))
    assert refused(coordinator.tally, asked((0, 1, 5))) is Fault.NOT_A_MEMBER


def test_a_vector_is_the_one_that_was_signed():
    session = Session.confirmed(AGREEMENT)
    question = asked((0, 1, 2), attempt=1)
    tally = session.coordinator.tally(question)
    masked = answer(session, question)
    header, payload = masked[0]
    changed = bytes([payload[0] ^ 1]) + payload[1:]
    assert refused(tally.accept, Masked(header, changed)) is Fault.NOT_AS_SIGNED
    for wrong in (b"", payload[:-4], payload + bytes(4)):
        with pytest.raises(MalformedFrame, match="another size"):
            tally.accept(Masked(header, wrong))
    tally.accept(masked[0])
    clone = Session.confirmed(AGREEMENT)  # same keys, other data: two answers under one context
    second = clone.sites[0].begin(question).mask(np.ones(8, dtype=np.int64))
    assert refused(tally.accept, second) is Fault.ANSWERED_TWICE
    outsider = answer(session, asked((1, 2, 3), attempt=2), only=(3,))[3]
    assert refused(tally.accept, outsider) is Fault.OTHER_CONTEXT
    for site in (1, 2):
        tally.accept(masked[site])
    values = answers(5, 8)
    assert tally.total().tolist() == (values[0] + values[1] + values[2]).tolist()


def test_a_member_outside_the_set_does_not_count_even_if_it_signs_the_context():
    session = Session.confirmed(AGREEMENT)
    question = asked((0, 1, 2))
    tally = session.coordinator.tally(question)
    reply = Reply(4, session.sites[0].context(question), bytes(32))
    assert refused(tally.accept, Masked(write_reply(reply, AGREEMENT, signer_of(4)), bytes(32))) is Fault.NOT_IN_SET
