"""Any value survives the wire; no bytes do harm."""

import contextlib
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg.messages import Masked

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
nonces = st.binary(min_size=16, max_size=16)
numbers = st.integers(0, 2**32 - 1)
words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=128)
wholes = st.integers(-(2**63), 2**63 - 1)
parts = st.builds(
    Parts,
    words,
    st.lists(st.lists(wholes, max_size=5).map(tuple), max_size=5).map(tuple),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=9).map(
        lambda v: np.array(v, dtype=np.float32)
    ),
)
members = st.sets(st.integers(0, 255), max_size=9).map(lambda chosen: tuple(sorted(chosen)))
requests = st.builds(wire.Request, digests, numbers, numbers, nonces, parts, members)
vectors = st.lists(wholes, max_size=9).map(lambda v: np.array(v, dtype=np.int64))
masked = st.builds(Masked, st.binary(max_size=300), st.binary(max_size=300))
bodies = st.one_of(
    st.tuples(vectors, st.none(), st.none()),
    st.tuples(st.none(), words, st.none()),
    st.tuples(st.none(), st.none(), masked),
)
replies = st.builds(
    lambda study, release, attempt, nonce, body, receipt: wire.Reply(
        study, release, attempt, nonce, *body[:2], receipt, body[2]
    ),
    digests, numbers, numbers, nonces, bodies, words,
)  # fmt: skip


@settings(deadline=None)
@given(requests)
def test_requests_round_trip(request):
    frame = wire.encode_request(request)
    assert wire.encode_request(wire.decode_request(frame)) == frame
    assert wire.decode_request(frame).context == request.context


@settings(deadline=None)
@given(replies)
def test_replies_round_trip(reply):
    frame = wire.encode_reply(reply)
    again = wire.decode_reply(frame)
    assert wire.encode_reply(again) == frame
    assert (again.vector is None) == (reply.vector is None)
    assert again.masked == reply.masked


phases = st.sampled_from(list(wire.Phase))
answers = st.one_of(st.tuples(st.binary(max_size=300), st.none()), st.tuples(st.none(), words))


@settings(deadline=None)
@given(digests, phases, nonces, st.binary(max_size=300), answers)
def test_sessions_round_trip(study, phase, nonce, frame, answer):
    request = wire.SessionRequest(study, phase, nonce, frame)
    assert wire.decode_session_request(wire.encode_session_request(request)) == request
    reply = wire.SessionReply(study, phase, nonce, *answer)
    assert wire.decode_session_reply(wire.encode_session_reply(reply)) == reply


_KINDS = st.sampled_from([b"\x01", b"\x02", b"\x08", b"\x09"])
_FRAMES = st.builds(lambda kind, tail: b"SILO\x02\x00" + kind + tail, _KINDS, st.binary(max_size=120))


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=200), _FRAMES))
def test_no_bytes_do_harm(frame):
    """Only MalformedFrame, and never much more memory than the frame itself."""
    tracemalloc.start()
    decoders = (wire.decode_request, wire.decode_reply, wire.decode_session_request, wire.decode_session_reply)
    for decode in decoders:
        with contextlib.suppress(MalformedFrame):
            decode(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@settings(deadline=None, max_examples=300)
@given(requests, st.data())
def test_mutated_frames_are_refused_or_say_something_else(request, data):
    frame = bytearray(wire.encode_request(request))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    try:
        other = wire.decode_request(bytes(frame))
    except MalformedFrame:
        return
    assert wire.encode_request(other) == bytes(frame)
