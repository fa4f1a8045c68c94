"""Who takes part in a secure sum, and how many of them may be against the others. Pinned by the study.

Signatures prove that a key signed, not whose key it is: fingerprints are compared between people, out of band. Whoever
sits on the roster under a key of the coordinator's making counts among the colluders, as does its own institution.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from silosynth.common.errors import InvalidStudy
from silosynth.common.secagg.encoding import DIGEST_BYTES, digest

KEY_BYTES: Final = 32
MAX_MEMBERS: Final = 256
_LEAST_MEMBERS: Final = 3
_NAME_BYTES: Final = 128


@dataclass(frozen=True)
class Identity:
    """A member: its name, and the Ed25519 public key of its agent, 32 bytes."""

    name: str
    key: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.name.encode()) <= _NAME_BYTES:
            raise InvalidStudy(f"[roster] a member's name has 1 to {_NAME_BYTES} bytes")
        if len(self.key) != KEY_BYTES:
            raise InvalidStudy(f"[roster] member {self.name!r}: an agent key has {KEY_BYTES} bytes; copy it whole")

    @property
    def fingerprint(self) -> str:
        """What people read to each other: 32 hex digits of a SHA-256 of the key, in groups of four."""
        return grouped(hashlib.sha256(self.key).digest())


@dataclass(frozen=True)
class Roster:
    """The members, by index; `colluders` c of them may be corrupted; `threshold` t must answer for a sum to open.

    A sum over S hides each honest member among |S| - c honest ones, so t >= c + 2: below, it would open alone.
    Raises InvalidStudy.
    """

    members: tuple[Identity, ...]
    colluders: int
    threshold: int

    def __post_init__(self) -> None:
        n, c, t = len(self.members), self.colluders, self.threshold
        if n < _LEAST_MEMBERS:
            raise InvalidStudy(
                f"[roster] {n} site(s) cannot hide from each other in a sum. Take at least {_LEAST_MEMBERS}, or let "
                'every site add all of the noise itself: trust = "local"'
            )
        if n > MAX_MEMBERS:
            raise InvalidStudy(f"[roster] {n} sites are more than the {MAX_MEMBERS} that a secure sum takes")
        if c < 1:
            raise InvalidStudy("[privacy] key 'colluders': a secure sum assumes at least 1, the coordinator's own site")
        if not c + 2 <= t <= n:
            raise InvalidStudy(
                f"[privacy] key 'threshold': {t} is not between colluders + 2 = {c + 2} and the {n} sites; with fewer "
                "answers than that a site would stand alone. Lower 'colluders', add sites, or take trust = \"local\""
            )
        for what, values in (("name", [one.name for one in self.members]), ("key", [one.key for one in self.members])):
            if len(set(values)) < n:
                raise InvalidStudy(f"[roster] two members have the same {what}; each institution has its own")

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all of it, 32 bytes; the order of the members matters, for indices are their names."""
        sizes = [value.to_bytes(2, "little") for value in (len(self), self.colluders, self.threshold)]
        named = [part for one in self.members for part in (one.name.encode(), one.key)]
        return digest(b"roster", *sizes, *named)

    @property
    def retries(self) -> int:
        """Most rounds of a session that ask again: each leaves out a member, but for what the one before was asked."""
        return len(self) - self.threshold + 1

    @property
    def fingerprint(self) -> str:
        """The digest for people: equal at all institutions, or somebody was shown other keys."""
        return grouped(self.digest)


@dataclass(frozen=True)
class Agreement:
    """What everybody knows before a session: digest of the study, 32 bytes; roster; number of releases in the plan."""

    study: bytes
    roster: Roster
    releases: int

    def __post_init__(self) -> None:
        if len(self.study) != DIGEST_BYTES or self.releases < 1:
            raise ValueError("a study is named by 32 bytes and releases something")


def grouped(value: bytes) -> str:
    """The first 16 bytes in hex, in groups of four digits."""
    shown = value[:16].hex()
    return " ".join(shown[at : at + 4] for at in range(0, len(shown), 4))
