"""Different questions to different sites, and answers used twice. Each fails, and succeeds without its defence."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from secagg_enemy import Colluder, confirmed_by_force, forged, opens, stripped
from secagg_made import (
    R32,
    R64,
    TASK,
    Session,
    agreement_of,
    answers,
    asked,
    derived,
    elements,
    secrets_of,
    signer_of,
    site_session,
)

from silosynth.common.secagg import masks, messages
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.messages import Masked, Reply, write_reply
from silosynth.common.secagg.ring import ring_for
from silosynth.common.secagg.rounds import Round

AGREEMENT = agreement_of(4)
ALL = (0, 1, 2, 3)
HONEST = (0, 1, 2)
VALUES = answers(4, 8)
CONTEXT = Round.context


def unbound(monkeypatch, field):
    """Take a field out of what masks are bound to."""
    nothing = {"release": 0, "attempt": 0, "members": (), "task": bytes(32), "ring": R32, "size": 1}
    if field == "transcript":
        monkeypatch.setattr(Round, "context", lambda self, agreement, _transcript: CONTEXT(self, agreement, bytes(32)))
    else:
        blank = {field: nothing[field]}
        monkeypatch.setattr(
            Round, "context", lambda self, agreement, transcript: CONTEXT(replace(self, **blank), agreement, transcript)
        )
    if field == "release":  # bound a second time: secrets move forward with it
        monkeypatch.setattr(masks.Ratchet, "forward", lambda _self, _release: None)


# Other questions to site 0 than to sites 1 and 2; site 3 colludes. For sets: a triangle of honest sites, three sets.

PLAIN = asked(ALL, release=1, attempt=1)
EQUIVOCATIONS = {
    "release": (replace(PLAIN, release=2), PLAIN, PLAIN),
    "attempt": (replace(PLAIN, attempt=2), PLAIN, PLAIN),
    "members": (replace(PLAIN, members=(0, 1, 3)), PLAIN, replace(PLAIN, members=(1, 2, 3))),
    "task": (replace(PLAIN, task=derived("other weights")), PLAIN, PLAIN),
    "size": (replace(PLAIN, size=5), PLAIN, PLAIN),
}


def equivocated(field):
    """The sum of what honest sites sent, as far as it goes, without the colluder's masks; and the sum it hides."""
    session = Session.confirmed(AGREEMENT)
    transcript, colluder = session.coordinator.transcript, [Colluder(AGREEMENT, 3)]
    size = min(question.size for question in EQUIVOCATIONS[field])
    total, hidden = np.zeros(size, dtype=np.uint32), np.zeros(size, dtype=np.int64)
    for i, question in zip(HONEST, EQUIVOCATIONS[field], strict=True):
        value = VALUES[i][: question.size]
        sent = session.sites[i].begin(question).mask(value)
        total += stripped(sent, i, question, transcript, colluder)[:size]
        hidden += value[:size]
    return total, hidden


each = pytest.mark.parametrize("field", EQUIVOCATIONS)


@each
def test_different_questions_open_nothing(field):
    assert not opens(*equivocated(field))


@each
def test_they_open_a_mixed_sum_where_the_context_does_not_bind_them(field, monkeypatch):
    unbound(monkeypatch, field)
    assert opens(*equivocated(field))


def test_the_same_question_opens_the_honest_total_without_the_colluder_s_answer():
    session = Session.confirmed(AGREEMENT)
    sent = [session.sites[i].begin(PLAIN).mask(VALUES[i]) for i in HONEST]
    transcript, colluder = session.coordinator.transcript, [Colluder(AGREEMENT, 3)]
    total = sum(stripped(one, i, PLAIN, transcript, colluder) for i, one in enumerate(sent))
    assert opens(total, sum(VALUES[:3]))


def noise_key(ring):
    return Session.confirmed(AGREEMENT).sites[0].begin(replace(PLAIN, ring=ring)).noise_key


def test_another_ring_is_another_context(monkeypatch):
    assert noise_key(R32) != noise_key(R64)
    unbound(monkeypatch, "ring")
    assert noise_key(R32) == noise_key(R64)


# Different transcripts to different sites: colluder 3 has two openings.


def two_transcripts():
    """The sum over honest sites of which site 0 joined another transcript than the others, without known masks."""
    openings = [site_session(AGREEMENT, i).opening for i in HONEST]
    mine = [forged(AGREEMENT, 3), forged(AGREEMENT, 3, nonce=derived("another nonce"))]
    one, first = confirmed_by_force(AGREEMENT, HONEST, [*openings, mine[0]])
    other, second = confirmed_by_force(AGREEMENT, HONEST, [*openings, mine[1]])
    colluder = [Colluder(AGREEMENT, 3)]
    total = stripped(first[0].begin(PLAIN).mask(VALUES[0]), 0, PLAIN, one, colluder)
    for i in (1, 2):
        total += stripped(second[i].begin(PLAIN).mask(VALUES[i]), i, PLAIN, other, colluder)
    return total


def test_different_transcripts_open_nothing():
    assert not opens(two_transcripts(), sum(VALUES[:3]))


def test_they_open_a_mixed_sum_where_keys_and_context_do_not_bind_them(monkeypatch):
    unbound(monkeypatch, "transcript")
    assert not opens(two_transcripts(), sum(VALUES[:3]))  # pairs' secrets bind it by themselves
    bound = masks.pair_info
    monkeypatch.setattr(masks, "pair_info", lambda agreement, _t, one, other: bound(agreement, bytes(32), one, other))
    assert opens(two_transcripts(), sum(VALUES[:3]))


def acknowledged_apart():
    """Confirm site 0 with acknowledgements of sites that joined another transcript."""
    session = Session.opened(AGREEMENT)
    transcript = session.coordinator.transcript
    frames = [one.opening for one in session.sites]
    frames[3] = forged(AGREEMENT, 3, nonce=derived("another nonce"))
    other = messages.write_bundle(messages.Kind.TRANSCRIPT, frames, AGREEMENT)
    session.sites[3].opening = frames[3]
    given = [session.sites[0].join(transcript, {}).acknowledgement]
    given += [one.join(other, {}).acknowledgement for one in session.sites[1:]]
    bundle = messages.write_bundle(messages.Kind.CONFIRMATION, given, AGREEMENT)
    session.sites[0].confirm(bundle, lambda _head: True)


def test_acknowledgements_of_another_transcript_are_refused():
    with pytest.raises(SumRefused) as refused:
        acknowledged_apart()
    assert (refused.value.fault, refused.value.site) == (Fault.OTHER_TRANSCRIPT, 1)


# One site's vectors of two rounds, subtracted: under one mask, its data alone would be left.


def difference(one, other, *, sessions=(1, 1), studies=(None, None)):
    """Site 0's vectors of two rounds, maybe of two sessions or studies with the same short-lived keys, subtracted."""
    vectors = []
    cache = {}
    for question, session, study, value in zip((one, other), sessions, studies, VALUES[:2], strict=True):
        agreement = agreement_of(4) if study is None else agreement_of(4, study=study)
        key = session, study
        if key not in cache:
            cache[key] = Session.confirmed(agreement, session=session)
        vectors.append(elements(cache[key].sites[0].begin(question).mask(value)))
    return vectors[0] - vectors[1]


APART = {
    "release": (PLAIN, replace(PLAIN, release=2)),
    "attempt": (PLAIN, replace(PLAIN, attempt=2)),
}


@pytest.mark.parametrize("field", APART)
def test_two_rounds_of_a_site_have_nothing_in_common(field, monkeypatch):
    assert not opens(difference(*APART[field]), VALUES[0] - VALUES[1])
    unbound(monkeypatch, field)
    assert opens(difference(*APART[field]), VALUES[0] - VALUES[1])


def test_two_sessions_have_nothing_in_common_even_with_the_same_keys(monkeypatch):
    """A machine that draws the same randomness again still has another session number, hence another transcript."""
    monkeypatch.setattr("secagg_made.secrets_of", lambda i, _session=1: secrets_of(i, 1))
    assert not opens(difference(PLAIN, PLAIN, sessions=(1, 2)), VALUES[0] - VALUES[1])
    unbound(monkeypatch, "transcript")
    bound = masks.pair_info
    monkeypatch.setattr(masks, "pair_info", lambda agreement, _t, one, other: bound(agreement, bytes(32), one, other))
    assert opens(difference(PLAIN, PLAIN, sessions=(1, 2)), VALUES[0] - VALUES[1])


def test_two_studies_have_nothing_in_common_even_with_the_same_keys(monkeypatch):
    other = derived("another study")
    assert not opens(difference(PLAIN, PLAIN, studies=(None, other)), VALUES[0] - VALUES[1])
    monkeypatch.setattr(Round, "context", lambda self, _agreement, _t: CONTEXT(self, AGREEMENT, bytes(32)))
    bound = masks.pair_info
    monkeypatch.setattr(masks, "pair_info", lambda _agreement, _t, one, other: bound(AGREEMENT, bytes(32), one, other))
    assert opens(difference(PLAIN, PLAIN, studies=(None, other)), VALUES[0] - VALUES[1])


# The same round again, with other data: the same mask.


def begun_again(*, forget):
    session = Session.confirmed(AGREEMENT)
    first = elements(session.sites[0].begin(PLAIN).mask(VALUES[0]))
    if forget:
        session.sites[0]._last = (-1, -1)
    return first - elements(session.sites[0].begin(PLAIN).mask(VALUES[1]))


def test_a_round_is_not_begun_twice():
    with pytest.raises(SumRefused) as refused:
        begun_again(forget=False)
    assert refused.value.fault is Fault.OUT_OF_ORDER


def test_a_round_begun_twice_opens_a_difference():
    assert opens(begun_again(forget=True), VALUES[0] - VALUES[1])


# Sets too small to hide a site.


def alone(threshold=None):
    """Site 0's vector in the set of itself and the colluder, without the colluder's mask."""
    agreement = agreement_of(4)
    session, question = Session.confirmed(agreement), asked((0, 3))
    if threshold is not None:
        object.__setattr__(agreement.roster, "threshold", threshold)
    sent = session.sites[0].begin(question).mask(VALUES[0])
    return stripped(sent, 0, question, session.coordinator.transcript, [Colluder(agreement, 3)])


def test_a_small_set_is_refused():
    with pytest.raises(SumRefused) as refused:
        alone()
    assert refused.value.fault is Fault.SET_TOO_SMALL


def test_a_small_set_opens_a_site_where_the_threshold_is_below_c_plus_2():
    assert opens(alone(threshold=2), VALUES[0])


# Replies in another's name, or of another round.


def forged_reply():
    """Colluder 3 answers in the name of site 1. The total that the coordinator believes."""
    session = Session.confirmed(AGREEMENT)
    tally = session.coordinator.tally(PLAIN)
    for i in (0, 2, 3):
        tally.accept(session.sites[i].begin(PLAIN).mask(VALUES[i]))
    payload = bytes(32)
    reply = Reply(1, session.sites[3].context(PLAIN), sha256(payload).digest())
    tally.accept(Masked(write_reply(reply, AGREEMENT, signer_of(3)), payload))
    return tally.total()


def test_a_reply_in_another_s_name_is_refused():
    with pytest.raises(SumRefused) as refused:
        forged_reply()
    assert (refused.value.fault, refused.value.site) == (Fault.BAD_SIGNATURE, 1)


def test_it_spoils_the_total_where_signatures_are_not_checked(monkeypatch):
    class AnySignature:
        from_public_bytes = classmethod(lambda cls, _key: cls())
        verify = staticmethod(lambda *_given: None)

    monkeypatch.setattr(messages, "Ed25519PublicKey", AnySignature)
    assert forged_reply().tolist() != sum(VALUES).tolist()


def test_a_reply_of_another_session_or_round_does_not_count():
    session, later = (Session.confirmed(AGREEMENT, session=number) for number in (1, 2))
    tally = session.coordinator.tally(PLAIN)
    for stale in (later.sites[0].begin(PLAIN), session.sites[0].begin(replace(PLAIN, attempt=7))):
        with pytest.raises(SumRefused) as refused:
            tally.accept(stale.mask(VALUES[0]))
        assert refused.value.fault is Fault.OTHER_CONTEXT


def test_a_ring_that_public_facts_call_for_does_not_wrap():
    value, session = np.full(8, 2**30), Session.confirmed(AGREEMENT)
    for release, ring in enumerate((ring_for(sites=4, site_bound=2**30, variance=0), R32)):
        tally = session.coordinator.tally(asked(ALL, release=release, ring=ring, task=TASK))
        for one in session.sites:
            tally.accept(one.begin(tally.asked).mask(value))
        assert (tally.total() == 2**32).all() == (ring is not R32)
