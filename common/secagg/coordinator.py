"""A session of secure sums, as the coordinator sees it. Pure: no clock, no network; deadlines are calls.

    open(opening)* -> transcript -> acknowledge(acknowledgement)* -> confirmation -> tally(round) for each release
    Tally: accept(reply)* -> total; or, at the deadline, retry() -> another round with fewer sites

It can break no promise to a site, whatever it does (site.py). Its checks keep results right against sites and carriers:
  C1  a message counts for the member under whose pinned key it verifies, not for who carried it;
  C2  a reply counts for the round it is signed for, with the vector it is signed for, once;
  C3  a total opens when all of S answered: before, it would be noise;
  C4  a site that is missing costs a new attempt with a smaller S; below the threshold the sum is given up. Every site
      of every attempt may have paid for it: `attempts` says which, and which are known to have.

The state of a session is its frames: journal them, and a new CoordinatorSession that is given them again is the same.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

import numpy as np

from silosynth.common.arrays import Vector
from silosynth.common.errors import MalformedFrame, QuorumLost
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.messages import (
    Kind,
    Masked,
    read_acknowledgement,
    read_opening,
    read_reply,
    transcript_hash,
    write_bundle,
)
from silosynth.common.secagg.roster import Agreement
from silosynth.common.secagg.rounds import Round


class CoordinatorSession:
    """See the module. Methods raise SumRefused or MalformedFrame for what sites sent, and then have no effect."""

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._openings: dict[int, bytes] = {}
        self._acknowledgements: dict[int, bytes] = {}
        self._transcript: bytes | None = None

    def open(self, frame: bytes) -> int:
        """Take a site's opening; its index. One of a later session replaces it while others are missing."""
        opening = read_opening(frame, self._agreement)  # C1
        known = self._openings.get(opening.site)
        if known is not None and known != frame:
            if self._transcript is not None:
                raise SumRefused(Fault.OUT_OF_PHASE, opening.site)
            if opening.session <= read_opening(known, self._agreement).session:
                raise SumRefused(Fault.OUT_OF_ORDER, opening.site)
        self._openings[opening.site] = frame
        if len(self._openings) == len(self._agreement.roster):
            self._transcript = self._bundle(Kind.TRANSCRIPT, self._openings)
        return opening.site

    @property
    def missing(self) -> tuple[int, ...]:
        """Members whose message of the present phase is awaited: opening, then acknowledgement."""
        have = self._openings if self._transcript is None else self._acknowledgements
        return tuple(site for site in range(len(self._agreement.roster)) if site not in have)

    @property
    def transcript(self) -> bytes:
        """All openings, for every site. Raises SumRefused while one is missing."""
        if self._transcript is None:
            raise SumRefused(Fault.INCOMPLETE)
        return self._transcript

    def acknowledge(self, frame: bytes) -> int:
        """Take a site's acknowledgement; its index."""
        given = read_acknowledgement(frame, self._agreement)  # C1
        if self._transcript is None:
            raise SumRefused(Fault.OUT_OF_PHASE, given.site)
        if given.transcript != transcript_hash(self._transcript):
            raise SumRefused(Fault.OTHER_TRANSCRIPT, given.site)
        self._acknowledgements[given.site] = frame
        return given.site

    @property
    def confirmation(self) -> bytes:
        """All acknowledgements, for every site. Raises SumRefused while one is missing."""
        return self._bundle(Kind.CONFIRMATION, self._acknowledgements)

    def tally(self, asked: Round) -> "Tally":
        """Begin to collect a round's answers. Raises SumRefused before the confirmation, QuorumLost for a small S."""
        if len(self._acknowledgements) < len(self._agreement.roster):
            raise SumRefused(Fault.OUT_OF_PHASE)
        return Tally(self._agreement, transcript_hash(self.transcript), asked)

    def _bundle(self, kind: Kind, frames: dict[int, bytes]) -> bytes:
        if len(frames) < len(self._agreement.roster):
            raise SumRefused(Fault.INCOMPLETE)
        return write_bundle(kind, [frames[site] for site in sorted(frames)], self._agreement)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a sum: whom it may have cost its price, and of whom that is known."""

    number: int
    asked: tuple[int, ...]
    answered: tuple[int, ...]


class Tally:
    """One release, attempt after attempt, until all of one S have answered. `asked` is the present round."""

    def __init__(self, agreement: Agreement, transcript: bytes, asked: Round) -> None:
        self._agreement = agreement
        self._transcript: Final = transcript
        self._past: list[Attempt] = []
        self._start(asked)

    @property
    def missing(self) -> tuple[int, ...]:
        """Members of S that have not answered."""
        return tuple(site for site in self.asked.members if site not in self._answers)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts so far, the present one last."""
        return (*self._past, Attempt(self.asked.attempt, self.asked.members, tuple(sorted(self._answers))))

    def accept(self, masked: Masked) -> int:
        """Add a site's answer to the sum; its index. The same answer again changes nothing. Raises (C1, C2)."""
        reply = read_reply(masked.header, self._agreement)
        if reply.context != self._context:
            raise SumRefused(Fault.OTHER_CONTEXT, reply.site)
        if reply.site not in self.asked.members:
            raise SumRefused(Fault.NOT_IN_SET, reply.site)
        if len(masked.payload) != self.asked.size * self.asked.ring.itemsize:
            raise MalformedFrame("a masked vector of another size than was asked for")
        known = self._answers.get(reply.site, reply.vector)
        if known != reply.vector:
            raise SumRefused(Fault.ANSWERED_TWICE, reply.site)
        if sha256(masked.payload).digest() != reply.vector:
            raise SumRefused(Fault.NOT_AS_SIGNED, reply.site)
        if reply.site not in self._answers:
            self._sum += np.frombuffer(masked.payload, dtype=self.asked.ring.dtype)
            self._answers[reply.site] = reply.vector
        return reply.site

    def total(self) -> Vector:
        """The sum over S, int64 of shape (size,), exact unless it wraps (ring.ring_for). Raises SumRefused (C3)."""
        if self.missing:
            raise SumRefused(Fault.INCOMPLETE)
        return self.asked.ring.decode(self._sum)

    def retry(self, without: Collection[int] | None = None) -> Round:
        """Give the present attempt up; the next round to ask (C4). What was answered is spent and opens nothing.

        `without`: the sites to leave out, e.g. those that refused; None: those that have not answered, at the deadline.
        Raises QuorumLost, which says what was spent, where fewer than the threshold are left.
        """
        lost = self.missing if without is None else without
        left = tuple(site for site in self.asked.members if site not in lost)
        if len(left) < self._agreement.roster.threshold:
            spent = "; ".join(
                f"attempt {one.number}: asked {list(one.asked)}, answered {list(one.answered)}" for one in self.attempts
            )
            raise QuorumLost(
                f"release {self.asked.release}: {len(left)} of at least {self._agreement.roster.threshold} sites are "
                f"left, too few to hide each other in a sum. Spent: {spent}. Start again when more sites can answer"
            )
        self._past.append(self.attempts[-1])
        self._start(replace(self.asked, attempt=self.asked.attempt + 1, members=left))
        return self.asked

    def _start(self, asked: Round) -> None:
        roster = self._agreement.roster
        if any(site >= len(roster) for site in asked.members):
            raise SumRefused(Fault.NOT_A_MEMBER)
        if len(asked.members) < roster.threshold:
            raise QuorumLost(f"{len(asked.members)} sites asked; at least {roster.threshold} hide each other in a sum")
        self.asked = asked
        self._context = asked.context(self._agreement, self._transcript)
        self._answers: dict[int, bytes] = {}
        self._sum = np.zeros(asked.size, dtype=asked.ring.dtype)
