"""What a site's processes tell while they run: events of a closed list, with fields of a closed list.

Rules:
  E1  nothing computed from rows is in an event, and no text that anybody made up: words, hashes of studies, numbers of
      rounds, sizes of frames, seconds;
  E2  the texts of errors, which could quote anything, go to a file of their own that only its owner may read.

An event is a line on standard output, for whoever looks on or collects logs, and one of JSON in a file below log/.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

_FILE_BYTES: Final = 1 << 23
_FILES: Final = 4
_STDERR: Final = 2
_SHOWN: Final = 12
"""Digits of a study's digest in a line for people."""


class Event(StrEnum):
    """Everything that can be told."""

    STARTED = "started"
    READY = "ready"
    STOPPED = "stopped"
    ANSWERED = "answered"
    REFUSED = "refused"
    SESSION = "session step"
    UNREADABLE = "unreadable frame"
    NO_ANSWER = "no answer"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    RESUMED = "resumed a message"
    LOST = "message lost"
    DIED = "died"
    RESTARTING = "restarting"


@dataclass(frozen=True)
class Told:
    """One event. `reason`: a word of a closed list, such as client.refusal.Reason."""

    event: Event
    study: str | None = None
    release: int | None = None
    attempt: int | None = None
    reason: StrEnum | None = None
    seconds: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    part: StrEnum | None = None
    """Which process it is about."""
    code: int | None = None
    """With which that ended."""


Tell = Callable[[Told], None]


class Log:
    """Tells the events of one process, `who`, on standard output and in log/WHO.jsonl."""

    def __init__(self, folder: Path, who: str, *, as_json: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._who = who
        self._as_json = as_json
        self._file = RotatingFileHandler(folder / f"{who}.jsonl", maxBytes=_FILE_BYTES, backupCount=_FILES, delay=True)

    def __call__(self, told: Told) -> None:
        """Tell an event. Never raises: a site goes on with a full disk, and its ledger says no where it must."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        known = {key: value for key, value in asdict(told).items() if value is not None}
        line = json.dumps({"time": now, "process": self._who} | known)
        self._file.handle(logging.makeLogRecord({"msg": line}))
        say(line if self._as_json else self._plain(now, known))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _plain(self, now: str, known: dict[str, object]) -> str:
        words = [f"{now[11:19]} {self._who:<10} {known.pop('event')}"]
        words += [f"{_LABELS[key]} {_shown(key, value)}" for key, value in known.items()]
        return ", ".join(words)


def say(line: str) -> None:
    """Write a line on standard output, if anybody is listening."""
    with suppress(OSError, ValueError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


_LABELS: Final = {
    "study": "study",
    "release": "release",
    "attempt": "attempt",
    "reason": "because:",
    "seconds": "seconds",
    "bytes_in": "bytes in",
    "bytes_out": "bytes out",
    "part": "process",
    "code": "exit code",
}


def _shown(key: str, value: object) -> str:
    return str(value)[:_SHOWN] if key == "study" else str(value)


def keep_texts(folder: Path, who: str) -> None:
    """Send all text, from logging, warnings and standard error, to log/WHO.private.log and nowhere else (E2)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{who}.private.log"
    path.touch(mode=0o600)
    path.chmod(0o600)
    handler = RotatingFileHandler(path, maxBytes=_FILE_BYTES, backupCount=_FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if handler.stream is not None:
        os.dup2(handler.stream.fileno(), _STDERR)
    logging.raiseExceptions = False
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: object) -> None:
    logging.getLogger(__name__).critical("not caught", exc_info=(kind, error, trace))  # type: ignore[arg-type]
