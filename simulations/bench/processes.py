"""Processes that a benchmark starts: each with a log of its own, all of them gone afterwards."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

CLI: Final = (sys.executable, "-c", "from silosynth.simulations.cli import main; main()")

_LOOK_S: Final = 0.05
_STOP_S: Final = 20.0
_LINES: Final = 15
_MB: Final = 1024.0  # /proc counts in kB


class Broken(Exception):
    """A process ended, or did not do in time what it must; with the end of its log."""


@dataclass
class Processes:
    """Starts commands, and ends them and all that they started, in the reverse order."""

    folder: Path
    environment: Mapping[str, str]
    _started: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._started.values()):
            family = below(process.pid)
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_S)
                process.kill()
                process.wait()
            for one in set(family) - {process.pid}:  # what a process leaves behind
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)

    def start(self, name: str, command: Sequence[str | Path], **more: str) -> int:
        """Start a command; its process id. `more`: into its environment."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self._started[name] = subprocess.Popen(  # noqa: S603  # nothing from outside
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **more},
                start_new_session=True,
            )
        return self._started[name].pid

    def finish(self, name: str, timeout_s: float, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until a command has ended well. Raises Broken."""
        until = time.monotonic() + timeout_s
        while (code := self._started[name].poll()) is None:
            self._check(until, name)
            meanwhile()
            time.sleep(_LOOK_S)
        if code:
            raise Broken(f"{name} ended with exit code {code}: {self._said(name)}")

    def wait(self, holds: Callable[[], bool], name: str, timeout_s: float) -> None:
        """Wait until something holds that `name` has to bring about. Raises Broken."""
        until = time.monotonic() + timeout_s
        while not holds():
            self._check(until, name)
            time.sleep(_LOOK_S)

    def _check(self, until: float, waited_for: str) -> None:
        for name, process in self._started.items():
            if process.poll():
                raise Broken(f"{name} ended with exit code {process.returncode}: {self._said(name)}")
        if time.monotonic() > until:
            raise Broken(f"{waited_for} did not come to it in time: {self._said(waited_for)}")

    def _said(self, name: str) -> str:
        text = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-_LINES:])


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def listens(port: int) -> bool:
    """Whether somebody listens on a port of the loopback address."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def below(pid: int, word: str = "") -> list[int]:
    """`pid` and the processes that it and they started, of those whose command line has `word`."""
    family, found = {pid}, []
    for one in sorted(int(path.name) for path in Path("/proc").glob("[0-9]*")):
        try:
            parent = int(Path(f"/proc/{one}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[1])
            line = Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ")
        except (OSError, IndexError):
            continue
        if one == pid or parent in family:
            family.add(one)
            if word.encode() in line:
                found.append(one)
    return found


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds that these processes have used, without what they started."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])  # of the user and of the system
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mb(pids: Sequence[int]) -> float | None:
    """The most memory that one of these processes ever had resident, in MB; None where that is not told."""
    found = []
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
            found += [float(line.split()[1]) / _MB for line in lines if line.startswith("VmHWM")]
    return max(found, default=None)
