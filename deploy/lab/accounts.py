"""An account of every byte that a site said under TLS: what its outbox lists, and the framing around it.

A frame of ours is found by its magic and measured by its own lengths; what it carries must be, to the byte, an answer
of the site's outbox. All the rest is framing, and stated: so many bytes for each path of the transport.
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
    """All that a site said. `answers` counts how often each left; `refusals` and `sessions` are whole frames."""

    answers: Counter[Answer] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    session_octets: int = 0
    frame_octets: int = 0
    framing: dict[str, Framing] = field(default_factory=lambda: defaultdict(Framing))

    @property
    def payload_octets(self) -> int:
        """What the outbox lists, as often as it was sent."""
        return sum(answer.octets * times for answer, times in self.answers.items())

    @property
    def framing_octets(self) -> int:
        """HTTP headers, and bodies but for our frames."""
        return sum(one.heads + one.bodies for one in self.framing.values())

    @property
    def octets(self) -> int:
        """Everything."""
        return self.payload_octets + self.frame_octets + self.session_octets + self.framing_octets


def account(said: Iterable[Spoken]) -> Account:
    """The account of a site's requests. Raises ValueError where a frame of ours cannot be read to its end."""
    found = Account()
    for one in said:
        framing = found.framing[one.path]
        framing.requests += 1
        framing.heads += len(one.head)
        rest = len(one.body) - _frames(one.body, found)
        framing.bodies += rest
        framing.longest = max(framing.longest, rest)
    return found


def unlisted(found: Account, outbox: Sequence[Answer]) -> tuple[Answer, ...]:
    """Answers that left and that the outbox does not list, to the byte. Must be none."""
    return tuple(answer for answer in found.answers if answer not in set(outbox))


def unsent(found: Account, outbox: Sequence[Answer]) -> tuple[Answer, ...]:
    """Answers that the outbox lists and that did not leave: none, but of a site that was killed in between."""
    return tuple(answer for answer in outbox if answer not in found.answers)


def _frames(body: bytes, found: Account) -> int:
    """Bytes of all frames in a body, which are entered into the account."""
    at, octets = body.find(_MAGIC), 0
    while at >= 0:
        if body[at + 6] == _SESSION:
            frame = body[at : at + _length_of_session(body, at)]
            wire.decode_session_reply(frame)
            found.sessions += 1
            found.session_octets += len(frame)
        else:
            frame = body[at : at + _length_of_reply(body, at)]
            _enter(frame, found)
        octets += len(frame)
        at = body.find(_MAGIC, at + len(frame))
    return octets


def _enter(frame: bytes, found: Account) -> None:
    try:
        reply = wire.decode_reply(frame)
    except MalformedFrame as error:
        raise ValueError(f"a frame that is no reply left: {error}") from None
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


def _length_of_reply(body: bytes, at: int) -> int:
    """By the layout in common/wire.py; slices that are too short fail when they are decoded."""
    what, here = body[at + _REPLY_HEAD], at + _REPLY_HEAD + 1
    here += 1 + body[here]
    if what == 1:
        return here + 1 + body[here] - at
    for width in (8,) if what == 0 else (1, 1):
        here += 4 + width * int(struct.unpack_from("<I", body, here)[0])
    return here - at


def _length_of_session(body: bytes, at: int) -> int:
    refused, here = body[at + _SESSION_HEAD], at + _SESSION_HEAD + 1
    return (here + 1 + body[here] if refused else here + 4 + int(struct.unpack_from("<I", body, here)[0])) - at
