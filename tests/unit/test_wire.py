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

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "wire.json").read_text())
NONCE = bytes(range(16))


def request(**changes):
    parts = Parts("gradient", ((1, -2), (), (2**63 - 1,)), np.array([0.5, -1.25, 3e-38], dtype=np.float32))
    return dataclasses.replace(wire.Request("ab" * 32, 7, 1, NONCE, parts), **changes)


def answer(**changes):
    vector = np.array([1, -(2**63), 2**63 - 1], dtype=np.int64)
    return dataclasses.replace(wire.Reply("cd" * 32, 7, 1, NONCE, vector, None, "ef" * 32), **changes)


REFUSAL = answer(vector=None, refusal="out of order")


def test_golden_vectors():
    """Format 1 never changes: these bytes were written once and must decode and encode for ever."""
    assert wire.encode_request(request()).hex() == VECTORS["request"]
    assert request().context.hex() == VECTORS["context"]
    assert wire.encode_reply(answer()).hex() == VECTORS["answer"]
    assert wire.encode_reply(REFUSAL).hex() == VECTORS["refusal"]


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


def test_the_context_binds_everything_but_the_nonce():
    same = request(nonce=bytes(16))
    assert same.context == request().context
    parts = request().parts
    others = [
        request(study="ac" * 32),
        request(release=8),
        request(attempt=2),
        request(parts=dataclasses.replace(parts, kind="pairs")),
        request(parts=dataclasses.replace(parts, lists=((1,), (-2,), (2**63 - 1,)))),
        request(parts=dataclasses.replace(parts, tensor=parts.tensor[:2])),
    ]
    assert len({same.context, *(other.context for other in others)}) == 7


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
            encode = wire.encode_request if isinstance(again, wire.Request) else wire.encode_reply
            assert encode(again) == bytes(changed)  # one encoding a value: so it is not the value we had


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<4sHB", b"SILX", 1, 1),
        struct.pack("<4sHB", b"SILO", 2, 1),
        struct.pack("<4sHB", b"SILO", 1, 2),
        struct.pack("<4sHB", b"SILO", 1, 3),
    ],
)
def test_another_magic_format_or_type_is_refused(head):
    with pytest.raises(MalformedFrame, match="format and type"):
        wire.decode_request(head + wire.encode_request(request())[7:])


def test_lengths_are_checked_before_anything_is_allocated():
    frame = wire.encode_reply(answer(vector=np.zeros(0, dtype=np.int64), receipt=""))
    claims = frame[:-4] + struct.pack("<I", wire.LIMITS.vector_values)  # 128 MiB announced, none there
    with pytest.raises(MalformedFrame, match="ends early"):
        wire.decode_reply(claims)
    with pytest.raises(MalformedFrame, match="over its limit"):
        wire.decode_reply(frame[:-4] + struct.pack("<I", wire.LIMITS.vector_values + 1))


@pytest.mark.parametrize(
    "wrong",
    [
        request(study="AB" * 32),
        request(study="ab" * 31),
        request(nonce=b"short"),
        request(release=-1),
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
        answer(vector=np.zeros(3)),
        answer(vector=np.zeros(3, dtype=np.int32)),
        answer(receipt="x" * 129),
    ],
)
def test_a_reply_is_an_answer_or_a_refusal(wrong):
    with pytest.raises(MalformedFrame):
        wire.encode_reply(wrong)


def test_a_tensor_that_is_not_finite_is_not_read():
    frame = wire.encode_request(request())
    with pytest.raises(MalformedFrame, match="finite"):
        wire.decode_request(frame[:-4] + struct.pack("<f", float("inf")))


def _frames():
    yield wire.encode_request(request()), wire.decode_request
    yield wire.encode_reply(answer()), wire.decode_reply
    yield wire.encode_reply(REFUSAL), wire.decode_reply
