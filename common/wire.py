"""Bytes <-> messages. The only (de)serialiser between coordinator and site; it moves values and decides nothing.

Rules, each named where it is checked:
  W1  a frame begins with the magic, the format number and its type, and carries nothing after its last field;
  W2  every length is compared with `Limits` and with the bytes that are left before anything is allocated or parsed;
  W3  a value has one encoding, and a frame that decodes re-encodes to itself, so hashes of frames are hashes of values;
  W4  whatever the bytes, decoding raises MalformedFrame and nothing else.

Layout (little-endian; `text` = u8 length + ASCII, `ints` = u32 count + int64 values, `bytes` = u32 length + bytes):
  round    "SILO" | u16 format | u8 type | study 32 bytes | u32 release | u32 attempt | nonce 16 bytes | body
  request  u16 members, each u16, rising | parts: kind text | u16 lists, each ints | u32 count + float32, all finite
  reply    u8 0 | receipt text | vector ints     or     u8 1 | receipt text | refusal text
           or, masked,  u8 2 | receipt text | header bytes | payload bytes
  session  "SILO" | u16 format | u8 type | study 32 bytes | u8 phase | nonce 16 bytes | body
  request  bytes: nothing, a transcript, or a confirmation
  reply    u8 0 | bytes: an opening, an acknowledgement, nothing, or a receipt     or     u8 1 | refusal text
What stands in the bytes of a session, and in a header, is signed, and read by common/secagg/messages.py; a receipt is
read by common/receipt.py.
"""

import builtins
import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Vector
from silosynth.common.engine import Parts
from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg.messages import Masked

FORMAT: Final = 2
NONCE_BYTES: Final = 16

_MAGIC: Final = b"SILO"
_REQUEST: Final = 1
_REPLY: Final = 2
_SESSION_REQUEST: Final = 8  # 3 to 7 are those of common/secagg/messages.py
_SESSION_REPLY: Final = 9
_HEAD: Final = struct.Struct("<4sHB32sII16s")
_NONCE_AT: Final = _HEAD.size - NONCE_BYTES
_SESSION_HEAD: Final = struct.Struct("<4sHB32sB16s")
_STUDY_AT: Final = 7  # in both
_U8: Final = struct.Struct("<B")
_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_PRINTABLE: Final = re.compile(rb"[ -~]*")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Limits:
    """The most a frame may hold."""

    frame_bytes: int = 192 << 20
    text_bytes: int = 128
    lists: int = 4096
    list_values: int = 1 << 20
    """Integers in all lists of a request together."""
    tensor_values: int = 1 << 24
    vector_values: int = 1 << 24
    members: int = 256
    header_bytes: int = 1 << 10
    session_bytes: int = 1 << 22


LIMITS: Final = Limits()
_MASKED_BYTES: Final = 8 * LIMITS.vector_values

PIECE_BYTES: Final = 1 << 22
"""A frame travels in pieces of at most so many bytes, so that whoever carries it can refuse longer bodies unread."""


@dataclass(frozen=True)
class Request:
    """One task for one site. `study` is the digest in hex; `nonce` is fresh for each recipient and each sending.

    `members`: who is asked for a masked sum, places on the roster from 0, rising; none where sums are plain.
    """

    study: str
    release: int
    attempt: int
    nonce: bytes
    parts: Parts
    members: tuple[int, ...] = ()

    @property
    def task(self) -> bytes:
        """SHA-256 of the parts, 32 bytes: of all that an answer depends on and neither study nor round says."""
        return hashlib.sha256(b"".join(_parts(self.parts))).digest()

    @property
    def context(self) -> bytes:
        """SHA-256 over everything but the nonce, 32 bytes: the same for all sites and for every repetition."""
        frame = encode_request(self)
        return hashlib.sha256(frame[:_NONCE_AT] + frame[_HEAD.size :]).digest()


@dataclass(frozen=True)
class Reply:
    """One site's answer: a vector, or a refusal, or a masked vector. `receipt`: the head of its ledger after it."""

    study: str
    release: int
    attempt: int
    nonce: bytes
    vector: Vector | None = field(repr=False)
    refusal: str | None
    receipt: str
    masked: Masked | None = field(default=None, repr=False)


class Phase(IntEnum):
    """What a session's message asks of a site. The last one ends the whole study, sessions or not."""

    OPEN = 1
    """Nothing is sent; the site's opening comes back."""
    JOIN = 2
    """The transcript is sent; the site's acknowledgement comes back."""
    CONFIRM = 3
    """The confirmation is sent; nothing comes back."""
    SETTLE = 4
    """Nothing is sent; the site's receipt comes back, and it answers nothing more of the study."""


@dataclass(frozen=True)
class SessionRequest:
    """One step of a session, for one site: see Phase."""

    study: str
    phase: Phase
    nonce: bytes
    frame: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class SessionReply:
    """What a site says to it: a frame or a refusal, never both."""

    study: str
    phase: Phase
    nonce: bytes
    frame: bytes | None = field(repr=False)
    refusal: str | None = None


def encode_request(request: Request) -> bytes:
    """The frame of a request. Raises MalformedFrame where a field is out of range."""
    return _joined([_head(_REQUEST, request), _members(request.members), *_parts(request.parts)])


def decode_request(frame: bytes) -> Request:
    """The request in a frame. Raises MalformedFrame."""
    reader = _Reader(frame)
    study, release, attempt, nonce = reader.head(_REQUEST)
    members = tuple(reader.count(_U16, LIMITS.members - 1) for _ in range(reader.count(_U16, LIMITS.members)))
    _check_rising(members)
    kind = reader.text()
    lists: list[tuple[int, ...]] = []
    left = LIMITS.list_values
    for _ in range(reader.count(_U16, LIMITS.lists)):
        values = reader.array("<i8", left)
        left -= values.size
        lists.append(tuple(values.tolist()))
    tensor = reader.array("<f4", LIMITS.tensor_values).astype(np.float32)
    reader.end()
    if not np.isfinite(tensor).all():
        raise MalformedFrame("a tensor must be finite")
    return Request(study, release, attempt, nonce, Parts(kind, tuple(lists), tensor), members)


def encode_reply(reply: Reply) -> bytes:
    """The frame of a reply. Raises MalformedFrame where a field is out of range."""
    head = _head(_REPLY, reply)
    match reply.vector, reply.refusal, reply.masked:
        case np.ndarray() as vector, None, None:
            return _joined([head, _U8.pack(0), _text(reply.receipt), _vector(vector)])
        case None, str(refusal), None:
            return _joined([head, _U8.pack(1), _text(reply.receipt), _text(refusal)])
        case None, None, Masked(header, payload):
            sealed = [_bytes(header, LIMITS.header_bytes), _bytes(payload, _MASKED_BYTES)]
            return _joined([head, _U8.pack(2), _text(reply.receipt), *sealed])
        case _:
            raise MalformedFrame("a reply holds a vector, a refusal or a masked vector")


def decode_reply(frame: bytes) -> Reply:
    """The reply in a frame. Raises MalformedFrame."""
    reader = _Reader(frame)
    study, release, attempt, nonce = reader.head(_REPLY)
    what, receipt = reader.count(_U8, 2), reader.text()
    vector, refusal, masked = None, None, None
    if what == 0:
        vector = reader.array("<i8", LIMITS.vector_values).astype(np.int64)
    elif what == 1:
        refusal = reader.text()
    else:
        masked = Masked(reader.bytes(LIMITS.header_bytes), reader.bytes(_MASKED_BYTES))
    reader.end()
    return Reply(study, release, attempt, nonce, vector, refusal, receipt, masked)


def encode_session_request(request: SessionRequest) -> bytes:
    """The frame of a session's request. Raises MalformedFrame where a field is out of range."""
    return _session_head(_SESSION_REQUEST, request) + _bytes(request.frame, LIMITS.session_bytes)


def decode_session_request(frame: bytes) -> SessionRequest:
    """The session's request in a frame. Raises MalformedFrame."""
    reader = _Reader(frame)
    about = reader.session_head(_SESSION_REQUEST)
    request = SessionRequest(*about, reader.bytes(LIMITS.session_bytes))
    reader.end()
    return request


def encode_session_reply(reply: SessionReply) -> bytes:
    """The frame of a session's reply. Raises MalformedFrame where a field is out of range."""
    head = _session_head(_SESSION_REPLY, reply)
    match reply.frame, reply.refusal:
        case bytes(frame), None:
            return head + _U8.pack(0) + _bytes(frame, LIMITS.session_bytes)
        case None, str(refusal):
            return head + _U8.pack(1) + _text(refusal)
        case _:
            raise MalformedFrame("a session's reply holds either a frame or a refusal")


def decode_session_reply(frame: bytes) -> SessionReply:
    """The session's reply in a frame. Raises MalformedFrame."""
    reader = _Reader(frame)
    about = reader.session_head(_SESSION_REPLY)
    refused = reader.count(_U8, 1)
    reply = SessionReply(*about, *((None, reader.text()) if refused else (reader.bytes(LIMITS.session_bytes), None)))
    reader.end()
    return reply


def study_of(frame: bytes) -> str:
    """The digest of the study that a frame says it is about; nothing of it has been checked. "" for too short a one."""
    return frame[_STUDY_AT : _STUDY_AT + 32].hex() if len(frame) >= _SESSION_HEAD.size else ""


def pieces(frame: bytes) -> list[bytes]:
    """The frame in its pieces, at least one; joined in this order they are the frame."""
    return [frame[at : at + PIECE_BYTES] for at in range(0, max(len(frame), 1), PIECE_BYTES)]


def _head(kind: int, message: Request | Reply) -> bytes:
    if not _DIGEST.fullmatch(message.study) or len(message.nonce) != NONCE_BYTES:
        raise MalformedFrame("a study is 64 hex digits, a nonce 16 bytes")
    try:
        study = bytes.fromhex(message.study)
        return _HEAD.pack(_MAGIC, FORMAT, kind, study, message.release, message.attempt, message.nonce)
    except struct.error as error:
        raise MalformedFrame("release and attempt are unsigned 32-bit numbers") from error


def _session_head(kind: int, message: SessionRequest | SessionReply) -> bytes:
    if not _DIGEST.fullmatch(message.study) or len(message.nonce) != NONCE_BYTES:
        raise MalformedFrame("a study is 64 hex digits, a nonce 16 bytes")
    return _SESSION_HEAD.pack(_MAGIC, FORMAT, kind, bytes.fromhex(message.study), message.phase, message.nonce)


def _members(members: tuple[int, ...]) -> bytes:
    if len(members) > LIMITS.members or not all(0 <= one < LIMITS.members for one in members):
        raise MalformedFrame("members are places on the roster")
    _check_rising(members)
    return _U16.pack(len(members)) + b"".join(map(_U16.pack, members))


def _check_rising(members: Sequence[int]) -> None:
    if any(one >= other for one, other in pairwise(members)):
        raise MalformedFrame("members stand in rising order, each once")


def _parts(parts: Parts) -> list[bytes]:
    if len(parts.lists) > LIMITS.lists or sum(map(len, parts.lists)) > LIMITS.list_values:
        raise MalformedFrame("too many integers in lists")
    return [_text(parts.kind), _U16.pack(len(parts.lists)), *map(_ints, parts.lists), _floats(parts.tensor)]


def _bytes(value: bytes, most: int) -> bytes:
    if len(value) > most:
        raise MalformedFrame("more bytes than a field takes")
    return _U32.pack(len(value)) + value


def _text(value: str) -> bytes:
    data = value.encode("ascii", errors="replace")
    if len(data) > LIMITS.text_bytes or data.decode() != value or not _PRINTABLE.fullmatch(data):
        raise MalformedFrame("a text is at most 128 printable ASCII characters")
    return _U8.pack(len(data)) + data


def _ints(values: tuple[int, ...]) -> bytes:
    try:
        return _U32.pack(len(values)) + struct.pack(f"<{len(values)}q", *values)
    except struct.error as error:
        raise MalformedFrame("lists hold signed 64-bit integers") from error


def _vector(values: Vector) -> bytes:
    if values.dtype != np.int64 or values.ndim != 1 or values.size > LIMITS.vector_values:
        raise MalformedFrame("a vector is one-dimensional int64 of bounded size")
    return _U32.pack(values.size) + values.astype("<i8").tobytes()


def _floats(values: NDArray[np.float32]) -> bytes:
    if values.dtype != np.float32 or values.ndim != 1 or values.size > LIMITS.tensor_values:
        raise MalformedFrame("a tensor is one-dimensional float32 of bounded size")
    if not np.isfinite(values).all():
        raise MalformedFrame("a tensor must be finite")
    return _U32.pack(values.size) + values.astype("<f4").tobytes()


def _joined(fields: list[bytes]) -> bytes:
    frame = b"".join(fields)
    if len(frame) > LIMITS.frame_bytes:
        raise MalformedFrame("the frame is too long")
    return frame


class _Reader:
    """Takes fields off the front of a frame; every method raises MalformedFrame and nothing else (W4)."""

    def __init__(self, frame: builtins.bytes) -> None:
        if len(frame) > LIMITS.frame_bytes:
            raise MalformedFrame("the frame is too long")
        self._frame = memoryview(frame)
        self._at = 0

    def _take(self, size: int) -> memoryview:
        if size > len(self._frame) - self._at:
            raise MalformedFrame("the frame ends early")
        self._at += size
        return self._frame[self._at - size : self._at]

    def head(self, kind: int) -> tuple[str, int, int, builtins.bytes]:
        """Study, release, attempt and nonce of a frame of type `kind` (W1)."""
        magic, version, found, study, release, attempt, nonce = _HEAD.unpack(self._take(_HEAD.size))
        if (magic, version, found) != (_MAGIC, FORMAT, kind):
            raise MalformedFrame("not a message of this format and type")
        return study.hex(), release, attempt, nonce

    def session_head(self, kind: int) -> tuple[str, Phase, builtins.bytes]:
        """Study, phase and nonce of a frame of type `kind` (W1)."""
        magic, version, found, study, phase, nonce = _SESSION_HEAD.unpack(self._take(_SESSION_HEAD.size))
        if (magic, version, found) != (_MAGIC, FORMAT, kind):
            raise MalformedFrame("not a message of this format and type")
        if phase not in list(Phase):
            raise MalformedFrame("not a phase of a session")
        return study.hex(), Phase(phase), nonce

    def count(self, field_of: struct.Struct, most: int) -> int:
        """A number in [0, most] (W2)."""
        (value,) = field_of.unpack(self._take(field_of.size))
        if value > most:
            raise MalformedFrame("a length is over its limit")
        return int(value)

    def text(self) -> str:
        """Printable ASCII."""
        data = builtins.bytes(self._take(self.count(_U8, LIMITS.text_bytes)))
        if not _PRINTABLE.fullmatch(data):
            raise MalformedFrame("a text is not printable ASCII")
        return data.decode("ascii")

    def bytes(self, most: int) -> builtins.bytes:
        """At most `most` bytes (W2)."""
        return builtins.bytes(self._take(self.count(_U32, most)))

    def array(self, dtype: str, most: int) -> NDArray[Any]:
        """At most `most` numbers, as a view of the frame: nothing is allocated for a length alone (W2)."""
        size = self.count(_U32, most)
        return np.frombuffer(self._take(size * np.dtype(dtype).itemsize), dtype=dtype)

    def end(self) -> None:
        """Nothing may follow (W1)."""
        if self._at != len(self._frame):
            raise MalformedFrame("bytes after the end of the message")
