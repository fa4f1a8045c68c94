"""IPv4 packets as a wire sees them, and files of them that other programs can read too (pcap)."""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Self

TCP: Final = 6
SYN: Final = 0x02
ACK: Final = 0x10
RST: Final = 0x04

_LINK_RAW: Final = 101  # a packet begins with its IP header
_FILE_HEADER: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
_NAMES: Final = {1: "icmp", TCP: "tcp", 17: "udp"}


@dataclass(frozen=True)
class Packet:
    """What the header of a packet says. `sport` and `dport` are 0 where the protocol has none."""

    protocol: int
    source: str
    target: str
    sport: int
    dport: int
    content: bytes

    @classmethod
    def read(cls, content: bytes) -> "Packet | None":
        """None where it is not IPv4."""
        if len(content) < 20 or content[0] >> 4 != 4:
            return None
        header = (content[0] & 15) * 4
        ports = (0, 0)
        if content[9] in {TCP, 17} and len(content) >= header + 4:
            ports = struct.unpack_from(">HH", content, header)
        source, target = (str(IPv4Address(content[at : at + 4])) for at in (12, 16))
        return cls(content[9], source, target, *ports, content)

    @property
    def _header(self) -> int:
        return (self.content[0] & 15) * 4

    @property
    def flags(self) -> int:
        """Of TCP."""
        return self.content[self._header + 13]

    @property
    def sequence(self) -> int:
        """Of TCP: the number of the first byte of `payload`."""
        return int(struct.unpack_from(">I", self.content, self._header + 4)[0])

    @property
    def payload(self) -> bytes:
        """What TCP carries."""
        begin = self._header + (self.content[self._header + 12] >> 4) * 4
        return self.content[begin : int(struct.unpack_from(">H", self.content, 2)[0])]

    def __str__(self) -> str:
        name = _NAMES.get(self.protocol, str(self.protocol))
        return f"{name} {self.target}:{self.dport}" if self.dport else f"{name} {self.target}"


def reset_of(packet: Packet) -> bytes:
    """The answer to a TCP packet that ends its connection at once, as a firewall that rejects would send it."""
    begin = packet.sequence + len(packet.payload) + bool(packet.flags & SYN)
    tcp = struct.pack(">HHIIBBHHH", packet.dport, packet.sport, 0, begin % 2**32, 5 << 4, RST | ACK, 0, 0, 0)
    source, target = IPv4Address(packet.target).packed, IPv4Address(packet.source).packed
    tcp = tcp[:16] + struct.pack(">H", _checksum(source + target + struct.pack(">HH", TCP, len(tcp)) + tcp)) + tcp[18:]
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, TCP, 0, source, target)
    return head[:10] + struct.pack(">H", _checksum(head)) + head[12:] + tcp


def _checksum(content: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(content) // 2}H", content))
    while total > 0xFFFF:
        total = total % 0x10000 + total // 0x10000
    return 0xFFFF - total


class Tape:
    """Writes packets to a file, in the order in which they came."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._file.write(_FILE_HEADER.pack(0xA1B2C3D4, 2, 4, 0, 0, 65535, _LINK_RAW))

    def add(self, content: bytes) -> None:
        """One packet, now."""
        seconds, micro = divmod(time.time_ns() // 1000, 1_000_000)
        self._file.write(_RECORD.pack(seconds, micro, len(content), len(content)))
        self._file.write(content)

    def flush(self) -> None:
        """What was added can be read by others from here on."""
        self._file.flush()

    def close(self) -> None:
        """No more."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def played(path: Path) -> Iterator[bytes]:
    """The packets of a tape. Raises ValueError where the file is something else."""
    content = path.read_bytes()
    magic, *_, link = _FILE_HEADER.unpack_from(content)
    if (magic, link) != (0xA1B2C3D4, _LINK_RAW):
        raise ValueError(f"{path}: not a tape of this lab")
    at = _FILE_HEADER.size
    while at + _RECORD.size <= len(content):
        length = _RECORD.unpack_from(content, at)[2]
        at += _RECORD.size
        yield content[at : at + length]
        at += length
