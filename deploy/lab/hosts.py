"""Hosts as network namespaces: processes that are started on them, and the end of all of it.

Names carry the process id of the lab, so that two labs never meet; what a lab that was killed has left is swept away
when the next one starts. Nothing else of this machine is touched.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PREFIX: Final = "silolab"
_NAMESPACES: Final = Path("/run/netns")
INTERFACE: Final = "wan0"


def why_not() -> str:
    """The reason why no lab can be had on this machine, or nothing."""
    if os.geteuid() != 0:
        return "a lab needs root, to make network namespaces"
    if shutil.which("ip") is None:
        return "a lab needs iproute2 (ip)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "a lab needs /dev/net/tun"
    name = f"{PREFIX}-{os.getpid()}-try"
    tried = _ip("netns", "add", name, check=False)
    if tried.returncode:
        return f"this machine makes no network namespaces: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


@dataclass(frozen=True)
class Traffic:
    """What the kernel says has passed an interface: packets that left it, and packets that found its queue full."""

    sent: int
    dropped: int


@dataclass
class Host:
    """One host. `address` is its only one beside loopback. Without a `namespace` it is this machine itself."""

    name: str
    address: str
    namespace: str
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: Sequence[str | Path], log: Path, **options: object) -> subprocess.Popen[bytes]:
        """A process on this host, leader of its own group; what it says goes to the end of `log`."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                self._on(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **options
            )  # type: ignore[call-overload]
        self.started.append(process)
        return process  # type: ignore[no-any-return]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout_s: float = 120,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """A command on this host, to its end; its exit code is the caller's business."""
        return subprocess.run(
            self._on(command),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=env,
            input=stdin,
            cwd=cwd,
        )

    def interfaces(self) -> frozenset[str]:
        """All its network interfaces."""
        return frozenset(link["ifname"] for link in json.loads(_ip("-j", "-n", self.namespace, "link").stdout))

    def traffic(self) -> Traffic:
        """The kernel's counters of its way out."""
        said = json.loads(_ip("-j", "-s", "-n", self.namespace, "link", "show", INTERFACE).stdout)
        sent = said[0]["stats64"]["tx"]
        return Traffic(sent["packets"], sent["dropped"])

    def unplug(self) -> None:
        """Take its cable out."""
        _ip("-n", self.namespace, "link", "set", INTERFACE, "down")

    def plug(self) -> None:
        """Put it back."""
        _ip("-n", self.namespace, "link", "set", INTERFACE, "up")
        _ip("-n", self.namespace, "route", "replace", "default", "dev", INTERFACE)

    def stop(self, process: subprocess.Popen[bytes], *, timeout_s: float = 20.0) -> int:
        """Ask a process to end, then its group; gives its exit code. Raises TimeoutExpired where it will not."""
        process.terminate()
        return process.wait(timeout_s)

    def _on(self, command: Sequence[str | Path]) -> list[str]:
        way = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        return [*way, *map(str, command)]


def machine() -> Host:
    """This machine itself, where containers are started; nothing of it is made or removed."""
    return Host("this machine", "", "")


class Hosts:
    """All hosts of a lab; a context, at whose end every process on them has ended and they are gone."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        tag = f"{PREFIX}-{os.getpid()}"
        self._hosts = {name: Host(name, address, f"{tag}-{name}") for name, address in addresses.items()}

    def __enter__(self) -> Self:
        sweep()
        try:
            for host in self._hosts.values():
                _ip("netns", "add", host.namespace)
                # Before anything is up: a host that speaks IPv6 by itself announces that to its neighbours.
                quiet = ("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
                _ip("netns", "exec", host.namespace, *quiet)
                _ip("-n", host.namespace, "link", "set", "lo", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for host in self._hosts.values():
            for process in host.started:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # the group outlives its leader
                process.wait()
            _remove(host.namespace)


def sweep() -> None:
    """Remove what labs left whose process is no more."""
    for path in _NAMESPACES.glob(f"{PREFIX}-*"):
        owner = path.name.split("-")[1]
        if not Path("/proc", owner).exists():
            _remove(path.name)


def _remove(namespace: str) -> None:
    if not (_NAMESPACES / namespace).exists():
        return
    for _ in range(50):
        pids = _ip("netns", "pids", namespace, check=False).stdout.split()
        if not pids:
            break
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)
    _ip("netns", "del", namespace, check=False)


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=check)
