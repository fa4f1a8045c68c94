"""The coordinator's memory: what was absorbed, and the state after it. kill -9 at any point loses at most one round.

Two files. `journal.jsonl` is for people and for the certificate: a head that binds the study, then one line for each
absorbed release and, before it, under secure sums, one for each attempt at it. `state.safetensors` is for going on: the
engine's state after the last release, with that release's line in its header. Rules:
  J1  the state is replaced first (temporary file, fsync, rename), then the line is appended and fsynced;
  J2  so on loading the state is at most one line ahead: the missing or torn last line is written again from its header;
  J3  an attempt's line is on disk before anybody is asked, so every charge that a site can have made stands here; one
      that is torn was never asked;
  J4  anything else than that is damage, and is said, not repaired.
The journal holds no noise and no row: totals are already private, and only their hashes are kept.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from silosynth.common.arrays import Vector
from silosynth.common.errors import InvalidInput, QuorumLost, Tampered
from silosynth.common.privacy import View, mu_squared
from silosynth.common.study import Study
from silosynth.server.certificate import Asked, performed
from silosynth.server.files import replace

FORMAT: Final = 1

_ATTEMPT: Final = b'{"attempt": '
"""How an attempt's line begins, and no other."""


@dataclass(frozen=True)
class Entry:
    """One absorbed release."""

    release: int
    kind: str
    total: str
    """SHA-256 of the total as little-endian int64, in hex."""
    receipts: Mapping[str, str]
    """Head of each site's ledger after its answer."""
    seconds: float
    mu_squared: str
    """Spent so far against everybody who sees totals, an exact fraction; "none" where a release had no noise."""


class Journal:
    """The journal of one study in one folder. One process at a time."""

    def __init__(self, folder: Path, study: Study, stamp: str) -> None:
        """Open or begin. `stamp` says where noise comes from; a study does not change it half way.

        Raises InvalidInput where the folder holds another study's journal, Tampered where its files disagree.
        """
        self._path = folder / "journal.jsonl"
        self._state = folder / "state.safetensors"
        self._study = study
        self._head = {"format": FORMAT, "study": study.digest, "noise": stamp}
        self._since = time.monotonic()
        self._asked: list[Asked] = []
        self._entries = self._read() if self._path.exists() else self._begin()

    @property
    def releases(self) -> int:
        """Releases absorbed so far: the number of the next one."""
        return len(self._entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every absorbed release, in order."""
        return tuple(self._entries)

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Every attempt at a release that sites were asked for, absorbed or not, in order; none without sessions."""
        return tuple(self._asked)

    def ask(self, session: str, members: tuple[int, ...]) -> int:
        """See coordinator.Attempts (J3). Raises QuorumLost where the study allows no more attempts."""
        number = sum(one.release == self.releases for one in self._asked)
        if number >= self._study.attempts:
            raise QuorumLost(
                f"release {self.releases} was asked {number} times, as often as the study allows, and each cost its "
                "price: find out why sites drop out, and start a new study"
            )
        asked = Asked(self.releases, number, members, session)
        self._append(asked)
        self._asked.append(asked)
        return number

    def load(self) -> Mapping[str, NDArray[Any]]:
        """The engine's state after the last absorbed release; empty before the first."""
        return safetensors.numpy.load_file(self._state) if self._entries else {}

    def save(
        self, kind: str, total: Vector, receipts: tuple[tuple[str, str], ...], state: Mapping[str, NDArray[Any]]
    ) -> None:
        """Absorb one release, durably (J1)."""
        now = time.monotonic()
        entry = Entry(
            release=self.releases,
            kind=kind,
            total=hashlib.sha256(total.astype("<i8").tobytes()).hexdigest(),
            receipts=dict(receipts),
            seconds=round(now - self._since, 3),
            mu_squared=_spent(self._study, self.releases + 1, self.asked),
        )
        self._since = now
        # safetensors stores strides it does not check: only contiguous arrays may reach it
        arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
        replace(self._state, safetensors.numpy.save(arrays, {"entry": _line(entry), "study": self._study.digest}))
        self._append(entry)
        self._entries.append(entry)

    def close(self) -> None:
        """Forget the state: the study is published, nothing is left to go on with."""
        self._state.unlink(missing_ok=True)

    def _append(self, line: Entry | Asked) -> None:
        with self._path.open("ab") as file:
            file.write(_line(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _begin(self) -> list[Entry]:
        if self._state.exists():
            raise Tampered(f"{self._state} has no journal beside it: move the folder away and start again")
        replace(self._path, json.dumps(self._head).encode() + b"\n")
        return []

    def _read(self) -> list[Entry]:
        head, *lines = self._path.read_bytes().split(b"\n")
        if _parsed(head) != self._head:
            raise InvalidInput(
                f"{self._path} belongs to another study, or to one with another source of noise: "
                "resume it with the study, data, sites and options it was started with, or choose another folder"
            )
        torn = lines.pop() if lines else b""
        read = [_read_line(line) for line in lines]
        entries = [line for line in read if isinstance(line, Entry)]
        self._asked = [line for line in read if isinstance(line, Asked)]
        ahead = self._ahead()
        if ahead is not None and ahead.release == len(entries):  # J2
            self._cut(torn)
            self._append(ahead)
            return [*entries, ahead]
        finished = ahead is None and len(entries) == self._study.releases
        whole = finished or (ahead is None and not entries) or (ahead is not None and entries[-1:] == [ahead])
        if not whole or torn[: len(_ATTEMPT)] != _ATTEMPT[: len(torn)]:
            raise Tampered(f"{self._path} and {self._state.name} contradict each other")  # J4
        self._cut(torn)  # J3
        return entries

    def _cut(self, torn: bytes) -> None:
        with self._path.open("r+b") as file:
            file.truncate(self._path.stat().st_size - len(torn))

    def _ahead(self) -> Entry | None:
        if not self._state.exists():
            return None
        with safetensors.safe_open(self._state, framework="numpy") as file:
            header = file.metadata() or {}
        if header.get("study") != self._study.digest:
            raise Tampered(f"{self._state} belongs to another study")
        return Entry(**_parsed(header["entry"].encode()))


def _line(line: Entry | Asked) -> str:
    return json.dumps(asdict(line), sort_keys=True)


def _read_line(line: bytes) -> Entry | Asked:
    raw = _parsed(line)
    if "attempt" not in raw:
        return Entry(**raw)
    return Asked(**raw | {"members": tuple(raw["members"])})


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise Tampered("a line of the journal is not JSON") from error
    if not isinstance(value, dict):
        raise Tampered("a line of the journal is not an object")
    return value


def _spent(study: Study, releases: int, asked: tuple[Asked, ...]) -> str:
    events = performed(study, releases, asked)
    return "none" if any(step.noiseless for step in study.plan) else str(mu_squared(events, View.AGGREGATE))
