"""A site's session: the order of things, what it checks of each, and what it hands to its caller."""

import copy

import numpy as np
import pytest
from secagg_made import (
    R64,
    Session,
    agreement_of,
    answers,
    asked,
    elements,
    head_of,
    own_chain,
    secrets_of,
    signer_of,
    site_session,
    transcript_of,
)

from silosynth.common.secagg.faults import Fault, Locked, SumRefused
from silosynth.common.secagg.messages import NOTHING, Head, Kind, read_acknowledgement, write_bundle
from silosynth.common.secagg.site import Seat

AGREEMENT = agreement_of(4)
ALL = (0, 1, 2, 3)


def refused(call, *given):
    with pytest.raises(SumRefused) as found:
        call(*given)
    return found.value.fault


def test_a_seat_is_the_one_the_roster_names():
    for site, signer in ((1, 0), (-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="does not name"):
            Seat(AGREEMENT, site, signer_of(signer))


def test_nothing_is_answered_before_the_confirmation():
    session = Session.opened(AGREEMENT)
    first = session.sites[0]
    assert refused(first.begin, asked(ALL)) is Fault.OUT_OF_PHASE
    assert refused(first.context, asked(ALL)) is Fault.OUT_OF_PHASE
    assert refused(first.confirm, b"", own_chain(0, 9)) is Fault.OUT_OF_PHASE
    first.join(session.coordinator.transcript, {})
    assert refused(first.begin, asked(ALL)) is Fault.OUT_OF_PHASE


def test_repeated_messages_get_the_same_bytes():
    session = Session.confirmed(AGREEMENT)
    transcript, confirmation = session.coordinator.transcript, session.coordinator.confirmation
    for site in session.sites:
        assert site.join(transcript, {}) is site.join(transcript, {0: head_of(0, 99)})
        site.confirm(confirmation, lambda head: True)
    assert session.sites[0].begin(asked(ALL))


def test_a_session_has_one_transcript():
    session = Session.confirmed(AGREEMENT)
    other = Session.opened(AGREEMENT, session=2)
    frames = [session.sites[0].opening, *(site.opening for site in other.sites[1:])]
    changed = transcript_of(AGREEMENT, frames)
    assert refused(session.sites[0].join, changed, {}) is Fault.OUT_OF_PHASE
    assert session.sites[0].begin(asked(ALL))


def test_an_acknowledgement_says_what_was_known_before_and_the_site_learns_of_those_who_name_it():
    session = Session.opened(AGREEMENT, count=10)
    known = {0: head_of(0, 4), 2: head_of(2, 10), 3: NOTHING}
    joined = session.sites[1].join(session.coordinator.transcript, known)
    given = read_acknowledgement(joined.acknowledgement, AGREEMENT)
    assert given.heads == (head_of(0, 4), NOTHING, head_of(2, 10), NOTHING)
    assert joined.heads == {3: head_of(3, 10)}  # 0 and 2 named nothing, but something is known of them


@pytest.mark.parametrize(
    ("named", "known", "learns"),
    [
        (NOTHING, NOTHING, True),
        (head_of(0, 4), head_of(0, 4), True),
        (head_of(0, 4), NOTHING, False),
        (NOTHING, head_of(0, 4), False),
        (head_of(0, 3), head_of(0, 4), False),
        (head_of(0, 5), head_of(0, 4), False),
        (Head(4, b"x" * 32), head_of(0, 4), False),
        (head_of(0, 10), head_of(0, 10), False),  # nothing newer is shown
        (head_of(0, 11), head_of(0, 11), False),
    ],
)
def test_only_who_names_what_is_known_of_it_may_change_it(named, known, learns):
    """S4. Whatever else happens, who lost a head cannot have it forgotten; and nobody goes on."""
    sites = [site_session(AGREEMENT, i, named={1: named} if i == 0 else None) for i in range(4)]
    transcript = transcript_of(AGREEMENT, [one.opening for one in sites])
    joined = [one.join(transcript, {0: known} if i == 1 else {}) for i, one in enumerate(sites)]
    assert (0 in joined[1].heads) == learns
    said = write_bundle(Kind.CONFIRMATION, [one.acknowledgement for one in joined], AGREEMENT)
    sites[1].confirm(said, own_chain(1, 10))
    assert sites[1].is_confirmed == learns
    if not learns:
        assert refused(sites[1].begin, asked(ALL)) is Fault.OUT_OF_PHASE


@pytest.mark.parametrize("seen", [head_of(0, 11), Head(10, bytes(32)), Head(0, b"x" * 32), Head(2**63 - 1, bytes(32))])
def test_a_head_outside_the_own_chain_locks(seen):
    session = _acknowledged({1: {0: seen}})
    with pytest.raises(Locked) as locked:
        session.sites[0].confirm(session.coordinator.confirmation, own_chain(0, 10))
    assert (locked.value.fault, locked.value.site) == (Fault.ROLLED_BACK, 1)
    assert refused(session.sites[0].begin, asked(ALL)) is Fault.OUT_OF_PHASE
    assert refused(session.sites[0].confirm, session.coordinator.confirmation, lambda head: True) is Fault.OUT_OF_PHASE
    assert refused(session.sites[0].join, session.coordinator.transcript, {}) is Fault.OUT_OF_PHASE


@pytest.mark.parametrize("seen", [head_of(0, 1), head_of(0, 10)])
def test_an_older_head_of_the_own_chain_does_not_but_is_named_in_the_next_session(seen):
    session = _acknowledged({1: {0: seen}})
    known = session.sites[0].confirm(session.coordinator.confirmation, own_chain(0, 10))
    assert known == {1: seen, 2: head_of(0, 10), 3: head_of(0, 10)}
    assert not session.sites[0].is_confirmed
    assert refused(session.sites[0].begin, asked(ALL)) is Fault.OUT_OF_PHASE


def test_a_head_outside_the_own_chain_that_was_named_is_excused():
    """By a person: a member that lies, or that saw what was lost for good, must not bar for ever."""
    excused = Head(10, b"x" * 32)
    sites = [site_session(AGREEMENT, i, count=20, named={1: excused} if i == 0 else None) for i in range(4)]
    transcript = transcript_of(AGREEMENT, [one.opening for one in sites])
    said = [one.join(transcript, {0: excused} if i == 1 else {}).acknowledgement for i, one in enumerate(sites)]
    known = sites[0].confirm(write_bundle(Kind.CONFIRMATION, said, AGREEMENT), own_chain(0, 20))
    assert sites[0].is_confirmed
    assert known[1] == head_of(0, 20)


@pytest.mark.parametrize("seen", [head_of(2, 11), Head(10, b"x" * 32)])
def test_a_member_that_is_behind_is_told_and_left(seen):
    """S4: whoever was rolled back locks itself by the acknowledgement; who noticed does not go on with it either."""
    session = _acknowledged({0: {2: seen}})
    session.sites[0].confirm(session.coordinator.confirmation, own_chain(0, 10))
    assert not session.sites[0].is_confirmed
    assert refused(session.sites[0].begin, asked(ALL)) is Fault.OUT_OF_PHASE
    with pytest.raises(Locked) as locked:
        session.sites[2].confirm(session.coordinator.confirmation, own_chain(2, 10))
    assert locked.value.seen == {0: seen}
    assert 2 not in session.sites[0].join(session.coordinator.transcript, {}).heads  # the old knowledge is kept


def test_a_site_answers_in_sets_that_hide_it():
    first = Session.confirmed(agreement_of(5, 1, 4)).sites[0]
    assert refused(first.begin, asked((1, 2, 3, 4))) is Fault.NOT_IN_SET
    assert refused(first.begin, asked((0, 1, 2))) is Fault.SET_TOO_SMALL
    assert refused(first.begin, asked((0,))) is Fault.SET_TOO_SMALL
    assert refused(first.begin, asked((0, 1, 2, 3, 5))) is Fault.NOT_A_MEMBER
    assert first.begin(asked((0, 1, 2, 3)))


def test_releases_and_attempts_only_rise():
    first = Session.confirmed(AGREEMENT).sites[0]
    first.begin(asked(ALL, release=3, attempt=2))
    for release, attempt in ((3, 2), (3, 1), (2, 9), (0, 0)):
        assert refused(first.begin, asked(ALL, release=release, attempt=attempt)) is Fault.OUT_OF_ORDER
    for release in (50, 2**32 - 1):
        assert refused(first.begin, asked(ALL, release=release)) is Fault.OUT_OF_PLAN
    first.begin(asked(ALL, release=3, attempt=3))
    first.begin(asked(ALL, release=49))


def test_a_refused_round_costs_nothing():
    session = Session.confirmed(AGREEMENT)
    for site in session.sites:
        refused(site.begin, asked(ALL, release=50))
        refused(site.begin, asked((0,), release=9))
    values = answers(4, 8)
    masked = [site.begin(asked(ALL)).mask(value) for site, value in zip(session.sites, values, strict=True)]
    assert sum(elements(one) for one in masked).view(np.int32).tolist() == sum(values).tolist()


def test_a_pad_is_used_once_even_by_a_call_that_fails():
    first = Session.confirmed(AGREEMENT).sites[0]
    pad = first.begin(asked(ALL, size=3))
    with pytest.raises(ValueError, match="size"):
        pad.mask(np.zeros(4, dtype=np.int64))
    with pytest.raises(RuntimeError, match="once"):
        pad.mask(np.zeros(3, dtype=np.int64))
    for take in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither copied nor stored"):
            take(first.begin(asked(ALL, release=1 if take is copy.copy else 2)))


def test_secrets_are_neither_copied_nor_stored():
    with pytest.raises(TypeError, match="neither copied nor stored"):
        copy.copy(secrets_of(0))


def test_the_noise_key_belongs_to_site_and_context():
    session = Session.confirmed(AGREEMENT)
    twin = Session.confirmed(AGREEMENT)
    again = twin.sites[0].begin(asked(ALL))
    pads = [session.sites[0].begin(asked(ALL)), session.sites[1].begin(asked(ALL))]
    pads += [
        session.sites[0].begin(one) for one in (asked(ALL, attempt=1), asked(ALL, release=1), asked(ALL, release=2))
    ]
    assert len({pad.noise_key for pad in pads}) == 5
    assert (again.context, again.noise_key) == (pads[0].context, pads[0].noise_key)  # a clone makes the same noise
    assert pads[0].context == session.sites[2].context(asked(ALL))


def test_a_clone_answers_with_the_same_bytes():
    one, other = Session.confirmed(AGREEMENT).sites[0], Session.confirmed(AGREEMENT).sites[0]
    value = answers(1, 8)[0]
    assert one.begin(asked(ALL)).mask(value) == other.begin(asked(ALL)).mask(value)


def test_a_closed_session_answers_nothing():
    session = Session.confirmed(AGREEMENT)
    first = session.sites[0]
    first.close()
    assert refused(first.begin, asked(ALL)) is Fault.OUT_OF_PHASE
    assert not any(any(ratchet._key) for ratchet in (first._noise, *first._pairs.values()))
    unopened = site_session(AGREEMENT, 0)
    unopened.close()
    assert refused(unopened.join, session.coordinator.transcript, {}) is Fault.OUT_OF_PHASE


def test_the_private_key_is_gone_once_secrets_are_agreed():
    session = Session.confirmed(AGREEMENT)
    assert all(site._private is None for site in session.sites)


def test_other_rings_and_sizes_are_other_contexts():
    first = Session.confirmed(AGREEMENT).sites[0]
    assert first.context(asked(ALL)) != first.context(asked(ALL, ring=R64)) != first.context(asked(ALL, size=9))


def _acknowledged(known):
    """A session in which site i knew `known[i]` before."""
    session = Session.opened(AGREEMENT, count=10)
    for i, site in enumerate(session.sites):
        session.coordinator.acknowledge(site.join(session.coordinator.transcript, known.get(i, {})).acknowledgement)
    return session
