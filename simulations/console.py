"""Progress for a person: a live bar on a terminal, plain lines elsewhere; never more than two seconds of silence.

All of it goes to standard error; results go to standard output.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TextIO

from silosynth.common.progress import Progress, silent

_BEAT_S: Final = 1.5
_WORDS: Final = {
    "start": "starting",
    "read": "reading the table",
    "prepare": "opening the sites",
    "ray": "starting Flower's simulation engine",
    "session": "agreeing on keys with the sites",
    "fit": "fitting the generator",
    "settle": "having the sites sign what they were charged",
    "sample": "sampling synthetic rows",
    "evaluate": "scoring against floor and ceiling",
    "attack": "attacking the synthetic table",
    "audit": "weighing what the coordinator heard",
    "compare": "comparing",
}


@dataclass
class _Now:
    """Where the work is, and since when."""

    phase: str
    done: int
    of: int
    note: str
    began: float
    began_at: int

    def line(self, clock: float) -> str:
        """The state in words: phase, step, time left, note."""
        parts = [_WORDS.get(self.phase, f"asking the sites: {self.phase}")]
        if self.of:
            parts.append(f"{min(self.done + 1, self.of)} of {self.of}")
        steps, spent = self.done - self.began_at, clock - self.began
        if self.of and steps > 0:
            parts.append(f"about {max(1, round(spent / steps * (self.of - self.done)))} s left")
        elif spent >= 1:
            parts.append(f"{spent:.0f} s")
        return ", ".join(parts) + (f" ({self.note})" if self.note else "")


class _Lines:
    """At most one line every second or so, and one every _BEAT_S whatever the work does (a thread of its own)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._now = _Now("prepare", 0, 0, "", time.monotonic(), 0)
        self._told = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def __call__(self, phase: str, done: int, of: int, note: str = "") -> None:
        """See Progress."""
        clock = time.monotonic()
        with self._lock:
            fresh = phase != self._now.phase
            self._now = (
                _Now(phase, done, of, note, clock, done)
                if fresh
                else _Now(phase, done, of, note, self._now.began, self._now.began_at)
            )
            if fresh or clock - self._told >= 1:
                self._tell(clock)

    def close(self) -> None:
        """Stop the beat."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(0.2):
            with self._lock:
                clock = time.monotonic()
                if clock - self._told >= _BEAT_S:
                    self._tell(clock)

    def _tell(self, clock: float) -> None:
        self._told = clock
        print(self._now.line(clock), file=self._stream, flush=True)


@contextmanager
def progress(*, quiet: bool, stream: TextIO | None = None) -> Iterator[Progress]:
    """A progress that shows itself while the context lasts."""
    stream = stream or sys.stderr
    if quiet:
        yield silent
    elif stream.isatty():
        with _bar() as shown:
            yield shown
    else:
        lines = _Lines(stream)
        try:
            yield lines
        finally:
            lines.close()


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console  # noqa: PLC0415  # only where there is a terminal
    from rich.status import Status  # noqa: PLC0415

    now = _Now("prepare", 0, 0, "", time.monotonic(), 0)
    status = Status(now.line(now.began), console=Console(stderr=True))  # its own thread keeps the spinner turning

    def show(phase: str, done: int, of: int, note: str = "") -> None:
        nonlocal now
        clock = time.monotonic()
        same = phase == now.phase
        now = _Now(phase, done, of, note, now.began if same else clock, now.began_at if same else done)
        status.update(now.line(clock))

    with status:
        yield show
