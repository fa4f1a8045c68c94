"""An account of every byte that a site said under TLS: what its outbox lists, and the framing around it.

A frame of ours is found by its magic and measured by its own lengths; what it carries must be, to the byte, an answer
of the site's outbox. Where a connection was reset or its process killed, a frame may be cut: what left of it must be
the beginning of one that left whole, or of an answer that the outbox lists. All the rest is framing, and stated: so
many bytes for each path of the transport.
"""

import hashlib
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lab.streams import Spoken
from silosynth.common import wire
from silosynth.common.errors import MalformedFrame

_MAGIC: Final = b"SILO"
_REPLY_HEAD: Final = 63
_PLACE: Final = struct.Struct("<7x32sII")
_NONCE: Final = slice(47, 63)
_BESIDE_PAYLOAD: Final = 256
"""Bytes of a reply that are not its payload, at most: its head, receipt, lengths, or all of a refusal."""
_SESSION_HEAD: Final = 56
_SESSION: Final = 9


@dataclass(frozen=True)
class Answer:
    """One answer of a site: a line of its outbox, or what was found on the wire."""

    study: str
    release: int
    attempt: int
    payload: str
    octets: int


@dataclass
class Framing:
    """Of the requests to one path: how many, their bytes of HTTP headers, and of bodies but for our frames."""

    requests: int = 0
    heads: int = 0
    bodies: int = 0
    longest: int = 0


@dataclass
class Account:
    """All that a site said. `answers` counts how often each left; `refusals` and `sessions` are whole frames.

    `replies` are the whole frames of answers and refusals; `cut` is what left of those that did not leave to their end.
    """

    answers: Counter[Answer] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    session_octets: int = 0
    frame_octets: int = 0
    replies: list[bytes] = field(default_factory=list, repr=False)
    cut: list[bytes] = field(default_factory=list, repr=False)
    framing: dict[str, Framing] = field(default_factory=lambda: defaultdict(Framing))

    @property
    def payload_octets(self) -> int:
        """What the outbox lists, as often as it was sent."""
        return sum(answer.octets * times for answer, times in self.answers.items())

    @property
    def cut_octets(self) -> int:
        """Of frames that did not leave to their end."""
        return sum(map(len, self.cut))

    @property
    def framing_octets(self) -> int:
        """HTTP headers, and bodies but for our frames."""
        return sum(one.heads + one.bodies for one in self.framing.values())

    @property
    def octets(self) -> int:
        """Everything."""
        return self.payload_octets + self.frame_octets + self.session_octets + self.cut_octets + self.framing_octets


def account(said: Iterable[Spoken]) -> Account:
    """The account of a site's requests. Raises ValueError where a frame of a whole request cannot be read."""
    found = Account()
    for one in said:
        framing = found.framing[one.path]
        framing.requests += 1
        framing.heads += len(one.head)
        rest = len(one.body) - _frames(one, found)
        framing.bodies += rest
        framing.longest = max(framing.longest, rest)
    return found


def unlisted(found: Account, outbox: Sequence[Answer]) -> tuple[Answer, ...]:
    """Answers that left and that the outbox does not list, to the byte. Must be none."""
    return tuple(answer for answer in found.answers if answer not in set(outbox))


def unsent(found: Account, outbox: Sequence[Answer]) -> tuple[Answer, ...]:
    """Answers that the outbox lists and that did not leave: none, but of a site that was killed in between."""
    return tuple(answer for answer in outbox if answer not in found.answers)


def torn(found: Account, outbox: Sequence[Answer]) -> tuple[bytes, ...]:
    """Cut frames that are neither the beginning of a reply that left whole nor one the outbox lists. Must be none.

    A repetition has a nonce of its own. Of a listed answer only place and length are held to the outbox, which keeps a
    digest. Steps of sessions are not in an outbox, cut or whole.
    """
    listed = {(answer.study, answer.release, answer.attempt): answer.octets for answer in outbox}
    said = [_without_nonce(frame) for frame in found.replies]
    return tuple(
        frame
        for frame in found.cut
        if not _of_session(frame)
        and not any(whole.startswith(_without_nonce(frame)) for whole in said)
        and len(frame) > listed.get(_place(frame), 0) + _BESIDE_PAYLOAD
    )


def _place(frame: bytes) -> tuple[str, int, int]:
    """Where a frame says that it belongs: study, release, attempt."""
    study, release, attempt = _PLACE.unpack_from(frame.ljust(_REPLY_HEAD, b"\0"))
    return study.hex(), release, attempt


def _without_nonce(frame: bytes) -> bytes:
    return frame[: _NONCE.start] + frame[_NONCE.stop :]


def _of_session(frame: bytes) -> bool:
    return frame[6:7] == bytes([_SESSION])


def _frames(one: Spoken, found: Account) -> int:
    """Bytes of all frames in a body, which are entered into the account."""
    at, octets = one.body.find(_MAGIC), 0
    while at >= 0:
        frame, whole = _frame(one.body[at:])
        if whole:
            _enter(frame, found)
        elif one.cut:
            found.cut.append(frame)
        else:
            raise ValueError("a frame that is no reply left: the frame ends early")
        octets += len(frame)
        at = one.body.find(_MAGIC, at + len(frame))
    return octets


def _frame(rest: bytes) -> tuple[bytes, bool]:
    """The frame that `rest` begins with, and whether it is all there."""
    try:
        length = _length_of_session(rest) if _of_session(rest) else _length_of_reply(rest)
    except (IndexError, struct.error):
        return rest, False
    return rest[:length], length <= len(rest)


def _enter(frame: bytes, found: Account) -> None:
    if _of_session(frame):
        wire.decode_session_reply(frame)
        found.sessions += 1
        found.session_octets += len(frame)
        return
    try:
        reply = wire.decode_reply(frame)
    except MalformedFrame as error:
        raise ValueError(f"a frame that is no reply left: {error}") from None
    found.replies.append(frame)
    if reply.refusal is not None:
        found.refusals[reply.refusal] += 1
        found.frame_octets += len(frame)
        return
    payload = b""
    if reply.vector is not None:
        payload = reply.vector.astype("<i8").tobytes()
    elif reply.masked is not None:
        payload = reply.masked.header + reply.masked.payload
    digest = hashlib.sha256(payload).hexdigest()
    found.answers[Answer(reply.study, reply.release, reply.attempt, digest, len(payload))] += 1
    found.frame_octets += len(frame) - len(payload)


def _length_of_reply(rest: bytes) -> int:
    """By the layout in common/wire.py. Raises IndexError, struct.error where a length is missing."""
    what, here = rest[_REPLY_HEAD], _REPLY_HEAD + 1
    here += 1 + rest[here]
    if what == 1:
        return here + 1 + rest[here]
    for width in (8,) if what == 0 else (1, 1):
        here += 4 + width * int(struct.unpack_from("<I", rest, here)[0])
    return here


def _length_of_session(rest: bytes) -> int:
    refused, here = rest[_SESSION_HEAD], _SESSION_HEAD + 1
    return here + 1 + rest[here] if refused else here + 4 + int(struct.unpack_from("<I", rest, here)[0])
