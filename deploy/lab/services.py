"""Processes that a host keeps running, as its service manager would: one that dies is started again at once."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lab.hosts import Host

_PAUSE_S: Final = 0.1
_STOP_S: Final = 30.0


class NotReady(Exception):
    """Something that must happen did not, in its time."""


class Service:
    """A command on a host, for as long as it is entered. `deaths`: how often it ended without being asked to."""

    def __init__(
        self, host: Host, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.deaths = 0
        self._host, self._command, self._env = host, command, env
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {log.stem}", daemon=True)

    def __enter__(self) -> Self:
        self._begin()
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._keeper.join()
        process = self._running()
        if process.poll() is None:
            process.terminate()
        try:
            code = process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise NotReady(f"{self.log.stem} did not stop within {_STOP_S:.0f} s of being asked to") from error
        if kind is None and code not in {0, 130, 143, -signal.SIGTERM}:
            raise NotReady(f"{self.log.stem} ended with exit code {code} when asked to stop: {said(self.log)}")

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self._running().pid

    def kill(self) -> None:
        """End it as a crash would; whoever keeps it starts it again."""
        self._running().kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise NotReady(f"{self.log.stem} was not started")
        return self._process

    def _begin(self) -> None:
        self._process = self._host.start(self._command, self.log, env=self._env)

    def _keep(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            if self._running().poll() is not None:
                self.deaths += 1
                self._begin()


def until(holds: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait until something holds. Raises NotReady where it does not in time."""
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            raise NotReady(f"within {timeout_s:.0f} s, {what}")
        time.sleep(_PAUSE_S)


def said(log: Path, lines: int = 12) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) if log.exists() else ""


def children(pid: int, word: str) -> list[int]:
    """Processes below `pid` whose command line has `word`, youngest last."""
    found, parents = [], {pid}
    for entry in sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            parent = int(Path(f"/proc/{entry}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[1])
            line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (OSError, IndexError):
            continue
        if parent in parents:
            parents.add(entry)
            if word in line:
                found.append(entry)
    return found
