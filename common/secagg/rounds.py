"""One question to one set of sites, and the context that masks and noise are bound to."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg.encoding import DIGEST_BYTES, digest
from silosynth.common.secagg.ring import Ring
from silosynth.common.secagg.roster import MAX_MEMBERS, Agreement
from silosynth.common.wire import LIMITS

_COUNTER: Final = 1 << 32


@dataclass(frozen=True)
class Round:
    """Release and attempt (unsigned, 32 bits), who answers (indices, rising), and what.

    `task`: SHA-256 of everything the answer depends on and the study does not fix; `size`: elements of the answer.
    Raises MalformedFrame where a field is out of range.
    """

    release: int
    attempt: int
    members: tuple[int, ...]
    task: bytes
    ring: Ring
    size: int

    def __post_init__(self) -> None:
        if not (0 <= self.release < _COUNTER and 0 <= self.attempt < _COUNTER):
            raise MalformedFrame("release and attempt are unsigned 32-bit numbers")
        if not all(0 <= one < MAX_MEMBERS for one in self.members):
            raise MalformedFrame("members are indices of the roster")
        if any(one >= other for one, other in pairwise(self.members)):
            raise MalformedFrame("members stand in rising order, each once")
        if len(self.task) != DIGEST_BYTES or not 0 < self.size <= LIMITS.vector_values:
            raise MalformedFrame("a task has a SHA-256, and an answer a bounded size")

    def context(self, agreement: Agreement, transcript: bytes) -> bytes:
        """SHA-256 over all of it, 32 bytes: two rounds share it only if they are one round of one session.

        `transcript`: the transcript's hash. It binds keys and nonces of all members, hence session and roster.
        """
        return digest(
            b"context",
            agreement.study,
            transcript,
            self.release.to_bytes(4, "little"),
            self.attempt.to_bytes(4, "little"),
            b"".join(one.to_bytes(2, "little") for one in self.members),
            self.task,
            self.ring.bits.to_bytes(1, "little"),
            self.size.to_bytes(4, "little"),
        )
