"""The network between the hosts, in user space: every packet that leaves a host is read here before anything else.

So one piece is router, firewall, counter, tape and all faults at once, and needs neither netfilter nor traffic control.
A site may reach one port of the coordinator and nothing more; what else it tries is counted, named, and goes nowhere.
The kernel counts the packets of each interface too: the numbers must agree (see `Host.traffic`).
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random  # noqa: TID251  # jitter and loss of a link, no noise
import selectors
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lab.hosts import INTERFACE, Host
from lab.packets import TCP, Packet, Tape, reset_of

_SET_INTERFACE: Final = 0x400454CA
_TUN_WITHOUT_HEADER: Final = 0x0001 | 0x1000
_NETWORK: Final = 0x40000000
_MTU: Final = 1500
_AT_ONCE: Final = 64
_QUEUE: Final = 4096
"""Packets that the kernel holds for a wire that is busy, beyond which it would drop them."""


@dataclass
class Link:
    """How the way between a site and the coordinator is now, in both directions. Fresh: at once, and nothing lost."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    blackhole: bool = False
    reset: bool = False


@dataclass
class Seen:
    """What left a host. `all` = `service` + `stray`; strays never arrive."""

    all: int = 0
    service: int = 0
    stray: int = 0
    octets: int = 0
    strays: Counter[str] = field(default_factory=Counter)


class Wire(threading.Thread):
    """Joins the hosts while it is entered. `links` and `seen` by the names of the sites."""

    def __init__(self, coordinator: Host, sites: Mapping[str, Host], port: int, tapes: Path) -> None:
        super().__init__(name="wire", daemon=True)
        self.links = {name: Link() for name in sites}
        self.seen = {name: Seen() for name in (coordinator.name, *sites)}
        self._hub, self._port = coordinator, port
        self._hosts = {coordinator.name: coordinator, **sites}
        self._names = {host.address: host.name for host in sites.values()}
        self._tapes = {name: tapes / f"{name}.pcap" for name in sites}
        self._open: dict[str, Tape] = {}
        self._ways: dict[str, int] = {}
        self._late: list[tuple[float, int, str, bytes]] = []
        self._last: dict[tuple[str, str], float] = {}
        self._chance = random.Random(1)
        self._done = threading.Event()
        self._turn = 0
        self._count = itertools.count()

    def __enter__(self) -> Self:
        for name, path in self._tapes.items():
            self._open[name] = Tape(path)
        for host in self._hosts.values():
            self._ways[host.name] = _plugged(host)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self.join()
        for way in self._ways.values():
            os.close(way)
        for tape in self._open.values():
            tape.close()

    def settle(self) -> None:
        """Wait until all that was sent before has been read, and is on the tapes."""
        for _ in range(2):  # the turn in progress may have passed some host already
            turn = self._turn
            while self._turn == turn and self.is_alive():
                time.sleep(0.01)
        for tape in self._open.values():
            tape.flush()

    def heal(self) -> None:
        """Every link as new."""
        for name in self.links:
            self.links[name] = Link()

    def run(self) -> None:
        """Carry packets until the end."""
        with selectors.DefaultSelector() as ready:
            for name, way in self._ways.items():
                ready.register(way, selectors.EVENT_READ, name)
            while not self._done.is_set():
                self._deliver()
                patience = self._late[0][0] - time.monotonic() if self._late else 0.05
                for key, _ in ready.select(max(0.0, min(patience, 0.05))):
                    self._read(key.data)
                self._turn += 1

    def _read(self, name: str) -> None:
        for _ in range(_AT_ONCE):
            try:
                content = os.read(self._ways[name], 65535)
            except BlockingIOError:
                return
            except OSError:  # its cable is out
                time.sleep(0.001)
                return
            self._route(name, content)

    def _route(self, name: str, content: bytes) -> None:
        """From the host `name` to where it may go."""
        seen, packet = self.seen[name], Packet.read(content)
        seen.all += 1
        seen.octets += len(content)
        site = self._site_of(name, packet)
        if name in self._open:
            self._open[name].add(content)
        if packet is None or site is None:
            seen.stray += 1
            seen.strays[str(packet) if packet else "not IPv4"] += 1
            return
        seen.service += 1
        if name == self._hub.name:
            self._open[site].add(content)
        self._send(name, site, packet)

    def _site_of(self, name: str, packet: Packet | None) -> str | None:
        """The site whose business with the coordinator's port this is; None: nobody's."""
        if packet is None or packet.protocol != TCP or packet.source != self._hosts[name].address:
            return None
        if name == self._hub.name:
            return self._names.get(packet.target) if packet.sport == self._port else None
        return name if (packet.target, packet.dport) == (self._hub.address, self._port) else None

    def _send(self, name: str, site: str, packet: Packet) -> None:
        link = self.links[site]
        if link.reset:
            self._put(name, reset_of(packet))
            return
        if link.blackhole or (link.loss and self._chance.random() < link.loss):
            return
        target = site if name == self._hub.name else self._hub.name
        if not (link.delay_s or link.jitter_s or self._late):
            self._put(target, packet.content)
            return
        due = time.monotonic() + max(0.0, link.delay_s + self._chance.uniform(-1, 1) * link.jitter_s)
        due = self._last[name, target] = max(due, self._last.get((name, target), 0.0))  # a wire keeps the order
        heapq.heappush(self._late, (due, next(self._count), target, packet.content))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            self._put(*heapq.heappop(self._late)[2:])

    def _put(self, name: str, content: bytes) -> None:
        try:
            os.write(self._ways[name], content)
        except OSError:  # full, or its cable is out: lost, as on any wire
            return


def _plugged(host: Host) -> int:
    """The other end of a host's interface, which is made, as a file of packets."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    away = os.open(f"/run/netns/{host.namespace}", os.O_RDONLY)
    try:
        if libc.setns(away, _NETWORK):
            raise OSError(ctypes.get_errno(), f"cannot enter {host.namespace}")
        try:
            way = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(way, _SET_INTERFACE, struct.pack("16sH22x", INTERFACE.encode(), _TUN_WITHOUT_HEADER))
        finally:
            libc.setns(home, _NETWORK)
    finally:
        os.close(home)
        os.close(away)
    for words in (
        f"addr add {host.address}/32 dev {INTERFACE}",
        f"link set {INTERFACE} mtu {_MTU} txqueuelen {_QUEUE} up",
        f"route add default dev {INTERFACE}",
    ):
        subprocess.run(["ip", "-n", host.namespace, *words.split()], check=True, capture_output=True)
    return way
