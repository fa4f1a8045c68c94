"""What a site said, word for word: TCP streams from a tape, and the TLS 1.3 records in them opened with its secrets.

The secrets are a key log (the format of SSLKEYLOGFILE) that the lab's own coordinator writes; the sites' processes run
as they would anywhere. Sources: RFC 8446 sections 5 and 7; RFC 9293 section 3.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from lab.packets import SYN, TCP, Packet, played

_HANDSHAKE: Final = 22
_APPLICATION: Final = 23
_FINISHED: Final = 20
_SUITES: Final[Mapping[int, tuple[type[AESGCM | ChaCha20Poly1305], int, type[hashes.SHA256 | hashes.SHA384]]]] = {
    0x1301: (AESGCM, 16, hashes.SHA256),
    0x1302: (AESGCM, 32, hashes.SHA384),
    0x1303: (ChaCha20Poly1305, 32, hashes.SHA256),
}
_LOG_LINE: Final = re.compile(r"(CLIENT_(?:HANDSHAKE_TRAFFIC_SECRET|TRAFFIC_SECRET_0)) ([0-9a-f]{64}) ([0-9a-f]+)")

Secrets = Mapping[tuple[str, bytes], bytes]
"""A traffic secret by its label and the random bytes of the client's greeting."""


@dataclass
class Conversation:
    """One TCP connection of a site, both directions by offset; a packet that came twice counts once."""

    sport: int
    first: int
    sent: dict[int, bytes] = field(default_factory=dict)
    heard: dict[int, bytes] = field(default_factory=dict)
    first_heard: int = 0

    def said(self) -> bytes:
        """What the site sent, up to the first byte that never left."""
        return _joined(self.sent)

    def answered(self) -> bytes:
        """What came back, as far as it is whole."""
        return _joined(self.heard)


def conversations(tape: Path, site: str) -> list[Conversation]:
    """All TCP connections that the host with address `site` began, in their order."""
    found: list[Conversation] = []
    live: dict[int, Conversation] = {}
    for content in played(tape):
        packet = Packet.read(content)
        if packet is None or packet.protocol != TCP:
            continue
        if packet.source == site:
            if packet.flags & SYN and (packet.sport not in live or live[packet.sport].first != packet.sequence):
                live[packet.sport] = Conversation(packet.sport, packet.sequence)
                found.append(live[packet.sport])
            elif packet.payload and packet.sport in live:
                _keep(live[packet.sport].sent, live[packet.sport].first, packet)
        elif packet.dport in live:
            if packet.flags & SYN:
                live[packet.dport].first_heard = packet.sequence
            elif packet.payload:
                _keep(live[packet.dport].heard, live[packet.dport].first_heard, packet)
    return found


def _keep(parts: dict[int, bytes], first: int, packet: Packet) -> None:
    offset = (packet.sequence - first - 1) % 2**32
    if len(packet.payload) > len(parts.get(offset, b"")):
        parts[offset] = packet.payload


def _joined(parts: Mapping[int, bytes]) -> bytes:
    whole = bytearray()
    for offset in sorted(parts):
        if offset > len(whole):
            break
        whole += parts[offset][len(whole) - offset :] if offset + len(parts[offset]) > len(whole) else b""
    return bytes(whole)


def secrets_in(log: Path) -> Secrets:
    """The clients' traffic secrets of a key log."""
    lines = map(_LOG_LINE.fullmatch, log.read_text(encoding="ascii").splitlines())
    return {(line[1], bytes.fromhex(line[2])): bytes.fromhex(line[3]) for line in lines if line}


class Unreadable(Exception):
    """A stream that is no TLS 1.3, or one whose secrets are not in the key log: what it carried is not known."""


def opened(talk: Conversation, secrets: Secrets) -> bytes:
    """What the site said under TLS, as far as its records are whole. Raises Unreadable, ValueError."""
    records = list(_records(talk.said()))
    if not records:
        return b""
    greeting = records[0][1]
    if records[0][0][0] != _HANDSHAKE or len(greeting) < 38 or greeting[0] != 1:
        raise Unreadable(f"port {talk.sport}: does not begin with a TLS greeting")
    suite = _suite(talk.answered())
    if suite is None:
        return b""  # it was refused before there was anything to say
    nonce = greeting[6:38]
    reader: _Reader | None = None
    plain = bytearray()
    for header, body in records[1:]:
        if header[0] != _APPLICATION:
            continue
        if reader is None:
            reader = _reader(secrets, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", nonce, suite)
        content, kind = reader.open(header, body)
        if kind == _APPLICATION:
            plain += content
        elif kind == _HANDSHAKE and content[0] == _FINISHED:
            if ("CLIENT_TRAFFIC_SECRET_0", nonce) not in secrets:
                break
            reader = _reader(secrets, "CLIENT_TRAFFIC_SECRET_0", nonce, suite)
    return bytes(plain)


def _records(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 5 <= len(stream):
        length = struct.unpack_from(">H", stream, at + 3)[0]
        if at + 5 + length > len(stream):
            return
        yield stream[at : at + 5], stream[at + 5 : at + 5 + length]
        at += 5 + length


def _suite(answer: bytes) -> int | None:
    for header, body in _records(answer):
        if header[0] == _HANDSHAKE and body[0] == 2:
            return int(struct.unpack_from(">H", body, 39 + body[38])[0])
    return None


class _Reader:
    """Opens the records of one direction under one secret."""

    def __init__(self, secret: bytes, suite: int) -> None:
        cipher, size, kind = _SUITES[suite]
        self._cipher = cipher(_expanded(secret, b"key", size, kind()))
        self._iv = _expanded(secret, b"iv", 12, kind())
        self._count = 0

    def open(self, header: bytes, body: bytes) -> tuple[bytes, int]:
        """Content and its kind."""
        nonce = bytes(a ^ b for a, b in zip(self._iv, self._count.to_bytes(12, "big"), strict=True))
        self._count += 1
        try:
            inner = self._cipher.decrypt(nonce, body, header).rstrip(b"\0")
        except InvalidTag:
            raise Unreadable("a record does not open with the secrets of its connection") from None
        return inner[:-1], inner[-1]


def _reader(secrets: Secrets, label: str, nonce: bytes, suite: int) -> _Reader:
    if (label, nonce) not in secrets:
        raise Unreadable("a connection whose secrets are not in the coordinator's key log")
    return _Reader(secrets[label, nonce], suite)


def _expanded(secret: bytes, label: bytes, size: int, kind: hashes.HashAlgorithm) -> bytes:
    full = b"tls13 " + label
    info = struct.pack(">H", size) + bytes([len(full)]) + full + b"\0"
    return HKDFExpand(kind, size, info).derive(secret)


@dataclass(frozen=True)
class Spoken:
    """One HTTP request that left: its head (request line and headers), its body, and whether its end was cut off."""

    method: str
    path: str
    head: bytes
    body: bytes
    cut: bool = False


def requests(stream: bytes) -> Iterator[Spoken]:
    """The requests of a stream of HTTP/1.1, the last one perhaps cut short. Raises ValueError for anything else."""
    at = 0
    while at < len(stream):
        end = stream.find(b"\r\n\r\n", at)
        head = stream[at:] if end < 0 else stream[at : end + 4]
        line = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ")
        if end >= 0 and line[-1] != "HTTP/1.1":
            raise ValueError("a request that is not HTTP/1.1")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head)
        if b"chunked" in head.lower():
            raise ValueError("a body in chunks is not read here")
        promised = int(length[1]) if length else 0
        body = stream[at + len(head) : at + len(head) + promised]
        yield Spoken(line[0], line[1] if len(line) > 1 else "", head, body, end < 0 or len(body) < promised)
        at += len(head) + len(body)
