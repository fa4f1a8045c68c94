"""Bytes <-> messages of a secure sum, each signed by its sender and not to be read without checking that.

Rules, beside those of common/wire.py (W1 format and nothing after the end, W2 lengths first, W3 one encoding, W4 only
MalformedFrame for bytes that are no message):
  M1  every message says of which study, roster and member it is, and is signed over all of it, under that member's
      pinned Ed25519 key, for one kind of message: what is signed here is nothing anywhere else;
  M2  lengths follow from kind and roster, so a frame of another length is refused before anything is read.

Layout (little-endian; `head` = u64 count, below 2^63, + 32 bytes hash; all hashes are SHA-256):
  signed           "SILO" | u16 format | u8 kind | study 32 bytes | roster 32 bytes | u16 member | body | signature 64
  opening          u64 session | head of the member's ledger | X25519 key 32 bytes | nonce 32 bytes | a head for every
                   member, of the sender's ledger: what that member last said it knew
  acknowledgement  transcript's hash | a head for every member
  reply            context's hash | vector's hash                      (the vector itself travels beside it)
  bundle           "SILO" | u16 format | u8 kind | study | roster | u16 frames | that many signed frames of one kind
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg.encoding import digest, prefixed
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.roster import Agreement

FORMAT: Final = 1
HASH_BYTES: Final = 32

_MAGIC: Final = b"SILO"
_TOP: Final = struct.Struct("<4sHB32s32sH")
_HEAD: Final = struct.Struct("<Q32s")
_SESSION: Final = struct.Struct("<Q")
_SIGNATURE_BYTES: Final = 64
_LAST_COUNT: Final = (1 << 63) - 1  # the largest that a ledger's database holds

REPLY_BYTES: Final = _TOP.size + 2 * HASH_BYTES + _SIGNATURE_BYTES
"""Of every reply's frame."""


class Kind(IntEnum):
    """Of message. 1 and 2 are those of common/wire.py."""

    OPENING = 3
    TRANSCRIPT = 4
    ACKNOWLEDGEMENT = 5
    CONFIRMATION = 6
    REPLY = 7


_BUNDLED: Final = {Kind.TRANSCRIPT: Kind.OPENING, Kind.CONFIRMATION: Kind.ACKNOWLEDGEMENT}


@dataclass(frozen=True)
class Head:
    """The newest entry of a site's ledger: its number, from 1, and its hash, 32 bytes."""

    count: int
    hash: bytes


NOTHING: Final = Head(0, bytes(HASH_BYTES))
"""Stands where no head is known."""


@dataclass(frozen=True)
class Opening:
    """A member's part of a session. `session`: its own number, never used before; `head`: with the tranche reserved.

    `named`: for every member, the head of *this* ledger that it is believed to know; NOTHING for itself.
    """

    site: int
    session: int
    head: Head
    key: bytes
    nonce: bytes
    named: tuple[Head, ...]


@dataclass(frozen=True)
class Acknowledgement:
    """Which transcript a member joined, and the highest head it knew of every member before, NOTHING for itself."""

    site: int
    transcript: bytes
    heads: tuple[Head, ...]


@dataclass(frozen=True)
class Reply:
    """For which context a member answered, and the hash of its masked vector."""

    site: int
    context: bytes
    vector: bytes


class Masked(NamedTuple):
    """What a site sends for a round: a signed frame and, beside it, the elements of the masked vector as bytes."""

    header: bytes
    payload: bytes


def write_opening(opening: Opening, agreement: Agreement, signer: Ed25519PrivateKey) -> bytes:
    """The signed frame. Raises MalformedFrame where a field is out of range."""
    body = _pack(_SESSION, opening.session) + _head(opening.head) + _hash(opening.key) + _hash(opening.nonce)
    body += _heads(opening.named, agreement)
    return _signed(Kind.OPENING, opening.site, body, agreement, signer)


def read_opening(frame: bytes, agreement: Agreement) -> Opening:
    """The opening in a frame, verified (M1). Raises MalformedFrame, SumRefused."""
    site, body = _verified(Kind.OPENING, frame, agreement)
    (session,) = _SESSION.unpack_from(body)
    head, rest = _heads_in(body[_SESSION.size : _SESSION.size + _HEAD.size])[0], body[_SESSION.size + _HEAD.size :]
    key, nonce, named = rest[:HASH_BYTES], rest[HASH_BYTES : 2 * HASH_BYTES], rest[2 * HASH_BYTES :]
    return Opening(site, session, head, key, nonce, _heads_in(named))


def write_acknowledgement(given: Acknowledgement, agreement: Agreement, signer: Ed25519PrivateKey) -> bytes:
    """The signed frame. Raises MalformedFrame where a field is out of range."""
    body = _hash(given.transcript) + _heads(given.heads, agreement)
    return _signed(Kind.ACKNOWLEDGEMENT, given.site, body, agreement, signer)


def read_acknowledgement(frame: bytes, agreement: Agreement) -> Acknowledgement:
    """The acknowledgement in a frame, verified (M1). Raises MalformedFrame, SumRefused."""
    site, body = _verified(Kind.ACKNOWLEDGEMENT, frame, agreement)
    return Acknowledgement(site, body[:HASH_BYTES], _heads_in(body[HASH_BYTES:]))


def write_reply(reply: Reply, agreement: Agreement, signer: Ed25519PrivateKey) -> bytes:
    """The signed frame. Raises MalformedFrame where a field is out of range."""
    return _signed(Kind.REPLY, reply.site, _hash(reply.context) + _hash(reply.vector), agreement, signer)


def read_reply(frame: bytes, agreement: Agreement) -> Reply:
    """The reply in a frame, verified (M1). Raises MalformedFrame, SumRefused."""
    site, body = _verified(Kind.REPLY, frame, agreement)
    return Reply(site, body[:HASH_BYTES], body[HASH_BYTES:])


def write_bundle(kind: Kind, frames: Sequence[bytes], agreement: Agreement) -> bytes:
    """Signed frames, one a member in the order of the roster, as one. Not signed: it says nothing they do not."""
    size = _size(_BUNDLED[kind], agreement)
    if len(frames) != len(agreement.roster) or any(len(frame) != size for frame in frames):
        raise MalformedFrame("a bundle has one frame of every member")
    return _top(kind, len(frames), agreement) + b"".join(frames)


def read_bundle(kind: Kind, bundle: bytes, agreement: Agreement) -> tuple[bytes, ...]:
    """The frames in a bundle, not verified, exactly one a member. Raises MalformedFrame, SumRefused."""
    size, n = _size(_BUNDLED[kind], agreement), len(agreement.roster)
    if len(bundle) < _TOP.size:
        raise MalformedFrame("the frame ends early")
    frames = _checked_top(kind, bundle, agreement)
    if frames != n:
        raise SumRefused(Fault.INCOMPLETE)
    if len(bundle) != _TOP.size + n * size:
        raise MalformedFrame("a bundle of another length than its frames")
    return tuple(bundle[at : at + size] for at in range(_TOP.size, len(bundle), size))


def transcript_hash(bundle: bytes) -> bytes:
    """T: the hash of all openings, in order, as they were signed."""
    return digest(b"transcript", bundle)


def _size(kind: Kind, agreement: Agreement) -> int:
    """Of a signed frame, in bytes (M2)."""
    bodies = {
        Kind.OPENING: _SESSION.size + _HEAD.size * (1 + len(agreement.roster)) + 2 * HASH_BYTES,
        Kind.ACKNOWLEDGEMENT: HASH_BYTES + _HEAD.size * len(agreement.roster),
        Kind.REPLY: 2 * HASH_BYTES,
    }
    return _TOP.size + bodies[kind] + _SIGNATURE_BYTES


def _signed(kind: Kind, site: int, body: bytes, agreement: Agreement, signer: Ed25519PrivateKey) -> bytes:
    said = _top(kind, site, agreement) + body
    return said + signer.sign(prefixed(kind.name.encode(), said))


def _verified(kind: Kind, frame: bytes, agreement: Agreement) -> tuple[int, bytes]:
    """Member and body of a signed frame."""
    if len(frame) != _size(kind, agreement):
        raise MalformedFrame("a frame of another length than its kind has")  # M2
    site = _checked_top(kind, frame, agreement)
    if site >= len(agreement.roster):
        raise SumRefused(Fault.NOT_A_MEMBER)
    said, signature = frame[:-_SIGNATURE_BYTES], frame[-_SIGNATURE_BYTES:]
    try:
        key = Ed25519PublicKey.from_public_bytes(agreement.roster.members[site].key)
        key.verify(signature, prefixed(kind.name.encode(), said))  # M1
    except (InvalidSignature, ValueError) as error:
        raise SumRefused(Fault.BAD_SIGNATURE, site) from error
    return site, said[_TOP.size :]


def _top(kind: Kind, number: int, agreement: Agreement) -> bytes:
    return _pack(_TOP, _MAGIC, FORMAT, kind, agreement.study, agreement.roster.digest, number)


def _checked_top(kind: Kind, frame: bytes, agreement: Agreement) -> int:
    """The number at the end of a frame's top: a member, or how many frames follow."""
    magic, version, found, study, roster, number = _TOP.unpack_from(frame)
    if (magic, version, found) != (_MAGIC, FORMAT, kind):
        raise MalformedFrame("not a message of this format and kind")
    if study != agreement.study:
        raise SumRefused(Fault.OTHER_STUDY)
    if roster != agreement.roster.digest:
        raise SumRefused(Fault.OTHER_ROSTER)
    return int(number)


def _pack(fields: struct.Struct, *values: object) -> bytes:
    try:
        return fields.pack(*values)
    except struct.error as error:
        raise MalformedFrame("a number is out of range") from error


def _head(head: Head) -> bytes:
    if head.count > _LAST_COUNT:
        raise MalformedFrame("no ledger has so many entries")
    return _pack(_HEAD, head.count, _hash(head.hash))


def _heads(heads: tuple[Head, ...], agreement: Agreement) -> bytes:
    if len(heads) != len(agreement.roster):
        raise MalformedFrame("there is a head for every member")
    return b"".join(map(_head, heads))


def _heads_in(body: bytes) -> tuple[Head, ...]:
    heads = tuple(Head(count, value) for count, value in _HEAD.iter_unpack(body))
    if any(head.count > _LAST_COUNT for head in heads):
        raise MalformedFrame("no ledger has so many entries")
    return heads


def _hash(value: bytes) -> bytes:
    if len(value) != HASH_BYTES:
        raise MalformedFrame(f"keys, nonces and hashes have {HASH_BYTES} bytes")
    return value
