"""What `doctor` says: one finding a line, with its cure."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do where that is not well."""

    level: Level
    what: str
    said: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.level:<4}  {self.what}: {self.said}" + (f"; {self.cure}" if self.cure else "")


def ok(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what, said)


def warn(what: str, said: str, cure: str) -> Finding:
    """It works, but somebody should look."""
    return Finding(Level.WARN, what, said, cure)


def fail(what: str, said: str, cure: str = "") -> Finding:
    """It will not work. `said` may tell the cure itself."""
    return Finding(Level.FAIL, what, said, cure)
