"""`silosynth site run`: starts a site's processes, starts again what ends, and stops what it started.

Rules:
  P1  each process first checks what it needs, and where something is wrong says so with its cure: then all are stopped,
      because a person must look. A study that nobody has approved is not wrong: the site waits for it;
  P2  a process that ends otherwise is started again, after a pause that doubles up to half a minute, and is short again
      for one that has lived for a minute;
  P3  on SIGTERM or SIGINT every process is told to stop, and killed if it has not after a few seconds. Should this one
      be killed, the others see their standard input end, and stop;
  P4  the relay gets no environment but what it needs: a database's URL may be in the agent's.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from silosynth.client.events import Event, Log, Tell, Told
from silosynth.client.home import SiteHome, read_site
from silosynth.client.process import OK, WRONG_INPUT

_FIRST_S, _LONGEST_S, _SETTLED_S = 0.25, 30.0, 60.0
_LOOK_S: Final = 0.1
_STOP_S: Final = 4.0

_PASSED_ON: Final = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"),
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
)
_FLOWER: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


class Part(StrEnum):
    """A process of a site, by the name of its module."""

    AGENT = "agent"
    RELAY = "relay"


@dataclass
class _Child:
    """One part: its process, if it runs; when it was started, and is due to be, by the monotonic clock."""

    part: Part
    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    due: float = 0.0
    pause_s: float = _FIRST_S


def run(home: SiteHome, only: Part | None = None, *, as_json: bool = False) -> int:
    """Run a site, or one part of it, until SIGTERM or SIGINT. Returns the exit code: 2 for wrong input (P1).

    Raises InvalidInput where this folder is no site's home.
    """
    read_site(home.config)
    options = ["--supervised", *(["--json"] if as_json else [])]
    children = [
        _Child(part, [sys.executable, "-m", f"silosynth.client.{part}", str(home.path), *options])
        for part in (tuple(Part) if only is None else (only,))
    ]
    tell = Log(home.log, "site" if only is None else f"{only}-site", as_json=as_json)
    with _stopped_by_signals() as stop:
        try:
            return _supervise(children, tell, stop)
        finally:
            _stop(children)
            tell(Told(Event.STOPPED))
            tell.close()


def _supervise(children: Sequence[_Child], tell: Tell, stop: threading.Event) -> int:
    while not stop.is_set():
        for child in children:
            now = time.monotonic()
            if child.process is None:
                if child.due <= now:
                    _start(child, now)
            elif (code := child.process.poll()) is not None:
                tell(Told(Event.DIED, part=child.part, code=code))
                if code == WRONG_INPUT:
                    return WRONG_INPUT
                _plan_restart(child, now)
        stop.wait(_LOOK_S)
    return OK


def _start(child: _Child, now: float) -> None:
    # Its standard input is never written to: that it ends is the message (P3).
    child.process = subprocess.Popen(child.command, stdin=subprocess.PIPE, env=_environment(child.part))  # noqa: S603
    child.started = now


def _plan_restart(child: _Child, now: float) -> None:
    if child.process is not None and child.process.stdin is not None:
        child.process.stdin.close()
    child.process = None
    if now - child.started > _SETTLED_S:
        child.pause_s = _FIRST_S
    child.due = now + child.pause_s
    child.pause_s = min(2 * child.pause_s, _LONGEST_S)


def _stop(children: Sequence[_Child]) -> None:
    """Tell all to stop, and wait; kill what has not stopped in time (P3)."""
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    until = time.monotonic() + _STOP_S
    for process in running:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _environment(part: Part) -> Mapping[str, str]:
    """What a part finds in its environment (P4)."""
    if part is Part.AGENT:
        return dict(os.environ)
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _FLOWER


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, instead of what they did before."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda _number, _frame: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
