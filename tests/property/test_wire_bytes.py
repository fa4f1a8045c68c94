"""Any value survives the wire; no bytes do harm."""

import contextlib
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.common.errors import MalformedFrame

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
requests = st.builds(wire.Request, digests, numbers, numbers, nonces, parts)
vectors = st.lists(wholes, max_size=9).map(lambda v: np.array(v, dtype=np.int64))
bodies = st.one_of(st.tuples(vectors, st.none()), st.tuples(st.none(), words))
replies = st.builds(
    lambda study, release, attempt, nonce, body, receipt: wire.Reply(study, release, attempt, nonce, *body, receipt),
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


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(lambda tail: b"SILO\x01\x00\x01" + tail)))
def test_no_bytes_do_harm(frame):
    """Only MalformedFrame, and never much more memory than the frame itself."""
    tracemalloc.start()
    for decode in (wire.decode_request, wire.decode_reply):
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
