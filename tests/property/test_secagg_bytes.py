"""Any message survives its encoding; any change of one on its way is refused or opens nothing; no bytes do harm."""

import contextlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from secagg_made import Session, agreement_of, answers, asked, own_chain, signer_of

from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg import messages
from silosynth.common.secagg.faults import SumRefused
from silosynth.common.secagg.messages import Acknowledgement, Head, Kind, Masked, Opening, Reply
from silosynth.common.secagg.ring import Ring

AGREEMENT = agreement_of(3)
ALL = (0, 1, 2)
hashes = st.binary(min_size=32, max_size=32)
numbers, counts = st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1)
heads = st.builds(Head, counts, hashes)
sites = st.integers(0, 2)
openings = st.builds(Opening, sites, numbers, heads, hashes, hashes, st.tuples(heads, heads, heads))
acknowledgements = st.builds(Acknowledgement, sites, hashes, st.tuples(heads, heads, heads))
replies = st.builds(Reply, sites, hashes, hashes)
READ = (messages.read_opening, messages.read_acknowledgement, messages.read_reply)
WRITE = (messages.write_opening, messages.write_acknowledgement, messages.write_reply)
any_message = st.one_of(
    st.tuples(st.just(0), openings), st.tuples(st.just(1), acknowledgements), st.tuples(st.just(2), replies)
)


@settings(deadline=None)
@given(any_message)
def test_messages_round_trip(given_message):
    kind, message = given_message
    frame = WRITE[kind](message, AGREEMENT, signer_of(message.site))
    assert READ[kind](frame, AGREEMENT) == message
    assert WRITE[kind](READ[kind](frame, AGREEMENT), AGREEMENT, signer_of(message.site)) == frame


@settings(deadline=None)
@given(any_message, any_message)
def test_a_signature_covers_every_field(one, other):
    """The body of one message under the signature of another: whatever fields differ, one or all."""
    (kind, message), (_, changed) = one, (one[0], other[1])
    assume(other[0] == kind and replace(changed, site=message.site) != message)
    signer = signer_of(message.site)
    frame = WRITE[kind](message, AGREEMENT, signer)
    mixed = WRITE[kind](replace(changed, site=message.site), AGREEMENT, signer)[:-64] + frame[-64:]
    with pytest.raises(SumRefused, match="signature"):
        READ[kind](mixed, AGREEMENT)


FIELDS = {"session": numbers, "head": heads, "key": hashes, "nonce": hashes, "named": st.tuples(heads, heads, heads)}


@settings(deadline=None)
@given(sites, st.sampled_from(sorted(FIELDS)), st.data())
def test_a_changed_field_of_an_opening_stops_everybody_else(site, name, data):
    session = Session.opened(AGREEMENT)
    opening = messages.read_opening(session.sites[site].opening, AGREEMENT)
    changed = replace(opening, **{name: data.draw(FIELDS[name])})
    assume(changed != opening)
    frames = [one.opening for one in session.sites]
    outsider = signer_of("nobody")
    frames[site] = messages.write_opening(changed, AGREEMENT, outsider)
    bundle = messages.write_bundle(Kind.TRANSCRIPT, frames, AGREEMENT)
    for one in session.sites:
        with pytest.raises(SumRefused):
            one.join(bundle, {})
    with pytest.raises(SumRefused):
        session.coordinator.open(frames[site])


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([Kind.TRANSCRIPT, Kind.CONFIRMATION]), st.data())
def test_changed_bytes_of_a_bundle_are_refused(kind, data):
    session = Session.opened(AGREEMENT)
    transcript = session.coordinator.transcript
    if kind is Kind.TRANSCRIPT:
        with pytest.raises((SumRefused, MalformedFrame)):
            session.sites[0].join(_damaged(transcript, data), {})
        return
    for site in session.sites:
        session.coordinator.acknowledge(site.join(transcript, {}).acknowledgement)
    with pytest.raises((SumRefused, MalformedFrame)):
        session.sites[0].confirm(_damaged(session.coordinator.confirmation, data), own_chain(0, 10))
    with pytest.raises(SumRefused):
        session.sites[0].begin(asked(ALL))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_changed_bytes_of_a_reply_are_refused(data):
    session = Session.confirmed(AGREEMENT)
    tally = session.coordinator.tally(asked(ALL))
    header, payload = session.sites[1].begin(asked(ALL)).mask(answers(1, 8)[0])
    for wrong in (Masked(_damaged(header, data), payload), Masked(header, _damaged(payload, data))):
        with pytest.raises((SumRefused, MalformedFrame)):
            tally.accept(wrong)
    assert tally.missing == ALL


ROUND_FIELDS = {
    "release": st.integers(0, 49),
    "attempt": st.integers(0, 2**32 - 1),
    "members": st.sampled_from([(0, 1, 2), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)]),
    "task": hashes,
    "ring": st.sampled_from([Ring(32), Ring(64)]),
    "size": st.integers(8, 40),
}
FOUR = agreement_of(4)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(ROUND_FIELDS)), st.data())
def test_a_changed_field_of_one_site_s_round_opens_nothing(name, data):
    """The sum stays as if uniform: here, no coordinate of eight is below 2^20, which chance allows once in 10^8."""
    question = asked((0, 1, 2, 3), release=1, attempt=1)
    other = replace(question, **{name: data.draw(ROUND_FIELDS[name])})
    assume(other != question)
    session = Session.confirmed(FOUR)
    total = np.zeros(8, dtype=np.uint32)
    for site in session.sites:
        given_round = other if site is session.sites[0] else question
        payload = site.begin(given_round).mask(np.zeros(given_round.size, dtype=np.int64)).payload
        total += np.frombuffer(payload, dtype=given_round.ring.dtype)[:8].astype(np.uint32)
    assert (total > 2**20).sum() > 4
    deviant = Session.confirmed(FOUR).sites[0].begin(other).mask(np.zeros(other.size, dtype=np.int64))
    with pytest.raises(SumRefused):
        session.coordinator.tally(question).accept(deviant)


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=600),
        st.tuples(st.integers(3, 7), st.integers(0, 4), st.binary(max_size=800)).map(
            lambda it: b"SILO\x01\x00" + bytes([it[0]]) + AGREEMENT.study + AGREEMENT.roster.digest
            + it[1].to_bytes(2, "little") + it[2]
        ),
    )
)  # fmt: skip
def test_no_bytes_do_harm(frame):
    """Only MalformedFrame and SumRefused, and never much more memory than the frame itself."""
    session = Session.opened(AGREEMENT)
    tracemalloc.start()
    for read in (
        *(lambda frame, read=read: read(frame, AGREEMENT) for read in READ),
        lambda frame: session.sites[0].join(frame, {}),
        session.coordinator.open,
        session.coordinator.acknowledge,
    ):
        with contextlib.suppress(MalformedFrame, SumRefused):
            read(frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


def _damaged(value, data):
    at = data.draw(st.integers(0, len(value) - 1))
    new = data.draw(st.binary(min_size=1, max_size=8))
    changed = value[:at] + new + value[at + len(new) :]
    assume(changed != value)
    return changed
