"""Frames: golden vectors, exact round trips, limits, and what may never decode."""

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg.messages import Masked

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "wire.json").read_text())
NONCE = bytes(range(16))


def request(**changes):
    parts = Parts("gradient", ((1, -2), (), (2**63 - 1,)), np.array([0.5, -1.25, 3e-38], dtype=np.float32))
    return dataclasses.replace(wire.Request("ab" * 32, 7, 1, NONCE, parts, (0, 2, 255)), **changes)


def answer(**changes):
    vector = np.array([1, -(2**63), 2**63 - 1], dtype=np.int64)
    return dataclasses.replace(wire.Reply("cd" * 32, 7, 1, NONCE, vector, None, "ef" * 32), **changes)


REFUSAL = answer(vector=None, refusal="out of order")
MASKED = answer(vector=None, masked=Masked(b"header", b"payload"))
JOIN = wire.SessionRequest("ab" * 32, wire.Phase.JOIN, NONCE, b"transcript")
JOINED = wire.SessionReply("ab" * 32, wire.Phase.JOIN, NONCE, b"acknowledgement")
SETTLED = wire.SessionReply("ab" * 32, wire.Phase.SETTLE, NONCE, b"receipt")
NOT_JOINED = wire.SessionReply("ab" * 32, wire.Phase.JOIN, NONCE, None, "out of order")
CODERS = {
    wire.Request: wire.encode_request,
    wire.Reply: wire.encode_reply,
    wire.SessionRequest: wire.encode_session_request,
    wire.SessionReply: wire.encode_session_reply,
}


def test_golden_vectors():
    """Format 2 never changes: these bytes were written once and must decode and encode for ever."""
    assert wire.encode_request(request()).hex() == VECTORS["request"]
    assert request().context.hex() == VECTORS["context"]
    assert request().task.hex() == VECTORS["task"]
    assert wire.encode_reply(answer()).hex() == VECTORS["answer"]
    assert wire.encode_reply(REFUSAL).hex() == VECTORS["refusal"]
    assert wire.encode_reply(MASKED).hex() == VECTORS["masked"]
    assert wire.encode_session_request(JOIN).hex() == VECTORS["join"]
    assert wire.encode_session_reply(JOINED).hex() == VECTORS["joined"]
    assert wire.encode_session_reply(NOT_JOINED).hex() == VECTORS["not joined"]
    assert wire.encode_session_reply(SETTLED).hex() == VECTORS["settled"]


def test_round_trips_are_exact():
    back = wire.decode_request(wire.encode_request(request()))
    assert (back.study, back.release, back.attempt, back.nonce) == ("ab" * 32, 7, 1, NONCE)
    assert (back.parts.kind, back.parts.lists) == ("gradient", ((1, -2), (), (2**63 - 1,)))
    assert back.parts.tensor.tobytes() == request().parts.tensor.tobytes()
    reply = wire.decode_reply(wire.encode_reply(answer()))
    assert reply.vector.tolist() == [1, -(2**63), 2**63 - 1]
    assert (reply.refusal, reply.receipt) == (None, "ef" * 32)
    refusal = wire.decode_reply(wire.encode_reply(REFUSAL))
    assert (refusal.vector, refusal.refusal) == (None, "out of order")
    masked = wire.decode_reply(wire.encode_reply(MASKED))
    assert (masked.vector, masked.refusal, masked.masked) == (None, None, (b"header", b"payload"))
    assert back.members == (0, 2, 255)
    replies = ((JOINED, wire.decode_session_reply), (SETTLED, wire.decode_session_reply))
    for message, decode in ((JOIN, wire.decode_session_request), *replies):
        assert decode(CODERS[type(message)](message)) == message
    assert wire.decode_session_reply(wire.encode_session_reply(NOT_JOINED)) == NOT_JOINED


def test_the_context_binds_everything_but_the_nonce():
    same = request(nonce=bytes(16))
    assert same.context == request().context
    parts = request().parts
    others = [
        request(study="ac" * 32),
        request(release=8),
        request(attempt=2),
        request(members=(0, 2)),
        request(members=()),
        request(parts=dataclasses.replace(parts, kind="pairs")),
        request(parts=dataclasses.replace(parts, lists=((1,), (-2,), (2**63 - 1,)))),
        request(parts=dataclasses.replace(parts, tensor=parts.tensor[:2])),
    ]
    assert len({same.context, *(other.context for other in others)}) == 9


def test_the_task_is_what_round_and_study_do_not_say():
    parts = request().parts
    for same in (request(study="ac" * 32), request(release=8), request(attempt=2), request(members=())):
        assert same.task == request().task
    assert request(parts=dataclasses.replace(parts, kind="pairs")).task != request().task
    assert request(parts=dataclasses.replace(parts, tensor=parts.tensor[:2])).task != request().task


def test_every_truncation_and_every_extension_is_refused():
    for encoded, decode in _frames():
        for end in range(len(encoded)):
            with pytest.raises(MalformedFrame):
                decode(encoded[:end])
        with pytest.raises(MalformedFrame):
            decode(encoded + b"\0")


def test_every_flipped_bit_is_refused_or_is_another_message():
    for encoded, decode in _frames():
        for bit in range(8 * len(encoded)):
            changed = bytearray(encoded)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                again = decode(bytes(changed))
            except MalformedFrame:
                continue
            assert CODERS[type(again)](again) == bytes(changed)  # one encoding a value: so it is not the value we had


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<4sHB", b"SILX", 2, 1),
        struct.pack("<4sHB", b"SILO", 1, 1),
        struct.pack("<4sHB", b"SILO", 2, 2),
        struct.pack("<4sHB", b"SILO", 2, 3),
    ],
)
def test_another_magic_format_or_type_is_refused(head):
    with pytest.raises(MalformedFrame, match="format and type"):
        wire.decode_request(head + wire.encode_request(request())[7:])
    for frame, decode in _frames():
        if frame[:7] != head:
            with pytest.raises(MalformedFrame, match="format and type"):
                decode(head + frame[7:])


def test_lengths_are_checked_before_anything_is_allocated():
    frame = wire.encode_reply(answer(vector=np.zeros(0, dtype=np.int64), receipt=""))
    claims = frame[:-4] + struct.pack("<I", wire.LIMITS.vector_values)  # 128 MiB announced, none there
    with pytest.raises(MalformedFrame, match="ends early"):
        wire.decode_reply(claims)
    with pytest.raises(MalformedFrame, match="over its limit"):
        wire.decode_reply(frame[:-4] + struct.pack("<I", wire.LIMITS.vector_values + 1))
    frame = wire.encode_session_request(dataclasses.replace(JOIN, frame=b""))
    with pytest.raises(MalformedFrame, match="ends early"):
        wire.decode_session_request(frame[:-4] + struct.pack("<I", wire.LIMITS.session_bytes))
    with pytest.raises(MalformedFrame, match="over its limit"):
        wire.decode_session_request(frame[:-4] + struct.pack("<I", wire.LIMITS.session_bytes + 1))


@pytest.mark.parametrize(
    "wrong",
    [
        request(study="AB" * 32),
        request(study="ab" * 31),
        request(nonce=b"short"),
        request(release=-1),
        request(members=(1, 1)),
        request(members=(2, 1)),
        request(members=(-1,)),
        request(members=(256,)),
        request(attempt=2**32),
        request(parts=Parts("with\nline")),
        request(parts=Parts("é")),
        request(parts=Parts("x" * 129)),
        request(parts=Parts("x", ((2**63,),))),
        request(parts=Parts("x", ((),) * 4097)),
        request(parts=Parts("x", tensor=np.array([np.nan], dtype=np.float32))),
        request(parts=Parts("x", tensor=np.zeros(2))),
        request(parts=Parts("x", tensor=np.zeros((2, 2), dtype=np.float32))),
    ],
)
def test_what_is_out_of_range_is_not_sent(wrong):
    with pytest.raises(MalformedFrame):
        wire.encode_request(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        answer(refusal="both"),
        answer(vector=None),
        answer(masked=MASKED.masked),
        dataclasses.replace(REFUSAL, masked=MASKED.masked),
        dataclasses.replace(MASKED, masked=Masked(bytes(wire.LIMITS.header_bytes + 1), b"")),
        answer(vector=np.zeros(3)),
        answer(vector=np.zeros(3, dtype=np.int32)),
        answer(receipt="x" * 129),
    ],
)
def test_a_reply_is_an_answer_or_a_refusal(wrong):
    with pytest.raises(MalformedFrame):
        wire.encode_reply(wrong)


def test_a_sessions_messages_are_checked_before_they_are_sent():
    for wrong in (
        dataclasses.replace(JOIN, study="ab"),
        dataclasses.replace(JOIN, nonce=b""),
        dataclasses.replace(JOIN, frame=bytes(wire.LIMITS.session_bytes + 1)),
        dataclasses.replace(JOINED, refusal="both"),
        dataclasses.replace(JOINED, frame=None),
    ):
        with pytest.raises(MalformedFrame):
            CODERS[type(wrong)](wrong)


@pytest.mark.parametrize("phase", [0, 5, 255])
def test_a_session_has_three_phases_and_an_end(phase):
    frame = bytearray(wire.encode_session_request(JOIN))
    frame[39] = phase
    with pytest.raises(MalformedFrame, match="phase"):
        wire.decode_session_request(bytes(frame))


def test_members_out_of_order_are_not_read():
    frame = wire.encode_request(request())
    with pytest.raises(MalformedFrame, match="rising"):
        wire.decode_request(frame.replace(struct.pack("<4H", 3, 0, 2, 255), struct.pack("<4H", 3, 2, 0, 255)))


def test_a_tensor_that_is_not_finite_is_not_read():
    frame = wire.encode_request(request())
    with pytest.raises(MalformedFrame, match="finite"):
        wire.decode_request(frame[:-4] + struct.pack("<f", float("inf")))


def test_the_study_of_a_frame_is_told_without_reading_it():
    for frame, decode in _frames():
        assert wire.study_of(frame) == decode(frame).study
    assert wire.study_of(b"") == wire.study_of(bytes(39)) == ""


def _frames():
    yield wire.encode_request(request()), wire.decode_request
    yield wire.encode_reply(answer()), wire.decode_reply
    yield wire.encode_reply(REFUSAL), wire.decode_reply
    yield wire.encode_reply(MASKED), wire.decode_reply
    yield wire.encode_session_request(JOIN), wire.decode_session_request
    yield wire.encode_session_reply(JOINED), wire.decode_session_reply
    yield wire.encode_session_reply(NOT_JOINED), wire.decode_session_reply
    yield wire.encode_session_reply(SETTLED), wire.decode_session_reply
