"""A release in one file: a zip in the one form in which a set of files can be written, so that all of it is verified.

Files lie one after another, sorted by name, stored as they are, dated 1980, and are followed by their directory. An
archive is read by writing it again in one's head: whatever is not, byte for byte, what these files make is refused. So
no two programs can unpack it to different files; nothing is hidden between, before or behind them; and what is stored
and not compressed cannot swell. Format: PKWARE APPNOTE 6.3, without zip64.

Rules of `read`, each named where it is checked:
  Z1  it begins with a file's header, as it is written here: not compressed, not encrypted, no further marks;
  Z2  its name is one of those that a study publishes, and comes after the name before: so none stands twice;
  Z3  the file is whole, and has the checksum that its header says;
  Z4  behind the last file stands the directory of these files, and nothing else.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from zlib import crc32

from silosynth.common.errors import NotCertified
from silosynth.common.verify import ARTEFACTS, CERTIFICATE, CERTIFICATE_BYTES, STUDY, Bundle
from silosynth.common.verify_receipts import Check

MOST_BYTES: Final = (1 << 32) - 1
"""Of one file, and before the last one begins: beyond it a zip needs another form."""

STUDY_BYTES: Final = 1 << 24
NAMES: Final = tuple(sorted((CERTIFICATE, *ARTEFACTS)))
"""What may stand in an archive."""

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_MADE_BY, _NEEDS, _DATE, _MODE = 0x0314, 20, 0x21, 0o100644 << 16  # Unix; version 2.0; 1 January 1980; rw-r--r--
_CHUNK: Final = 1 << 20
_CURE: Final = "unpack it and verify the folder, or ask for the archive as `silosynth bundle` wrote it"

_KEPT: Final = {CERTIFICATE: CERTIFICATE_BYTES + 1, STUDY: STUDY_BYTES}


@dataclass(frozen=True)
class Entry:
    """A file in an archive: its name, CRC-32 and size in bytes."""

    name: str
    crc: int
    size: int


def header(entry: Entry) -> bytes:
    """What stands before a file."""
    name = entry.name.encode("ascii")
    sized = (entry.crc, entry.size, entry.size)
    return _LOCAL.pack(b"PK\3\4", _NEEDS, 0, 0, 0, _DATE, *sized, len(name), 0) + name


def directory(entries: Sequence[Entry]) -> bytes:
    """What stands behind all files."""
    parts, offset = [], 0
    for entry in entries:
        name = entry.name.encode("ascii")
        sized = (entry.crc, entry.size, entry.size)
        place = (len(name), 0, 0, 0, 0, _MODE, offset)
        parts.append(_CENTRAL.pack(b"PK\1\2", _MADE_BY, _NEEDS, 0, 0, 0, _DATE, *sized, *place) + name)
        offset += _LOCAL.size + len(name) + entry.size
    listed = b"".join(parts)
    return listed + _END.pack(b"PK\5\6", 0, 0, len(entries), len(entries), len(listed), offset, 0)


def read(take: Callable[[int], bytes]) -> Bundle:
    """What an archive holds, for `verify`. `take` gives the next bytes of it, at most as many as asked for.

    Raises NotCertified, naming the first thing that is not as it should be. Memory is bounded, whatever it holds.
    """
    entries: list[Entry] = []
    hashes: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    while True:
        start = _exactly(take, 4)
        if start != b"PK\3\4":
            break
        entry = _header(start, take, entries)
        hashes[entry.name], kept[entry.name] = _content(entry, take)
        entries.append(entry)
    _check_end(start, take, entries)
    if CERTIFICATE not in hashes:
        raise NotCertified(Check.BUNDLE, f"{CERTIFICATE} is missing: there is nothing to verify")
    del hashes[CERTIFICATE]
    return Bundle(kept[CERTIFICATE], _text(kept.get(STUDY)), hashes)


def _header(start: bytes, take: Callable[[int], bytes], before: Sequence[Entry]) -> Entry:
    """See Z1, Z2."""
    raw = start + _exactly(take, _LOCAL.size - len(start))
    _, _, marks, method, *_, crc, _, size, length, _ = _LOCAL.unpack(raw)
    raw += _exactly(take, length)
    name = raw[_LOCAL.size :].decode("ascii", errors="backslashreplace")
    if name not in NAMES:
        raise NotCertified(Check.BUNDLE, f"{name[:200]!a} is no file that a study publishes")
    if any(one.name == name for one in before):
        raise NotCertified(Check.BUNDLE, f"{name} stands in it twice")
    if before and before[-1].name > name:
        raise NotCertified(Check.BUNDLE, f"{name} does not stand in its place: files are sorted by name")
    if method or marks & 1:
        how = "encrypted" if marks & 1 else "compressed"
        raise NotCertified(Check.BUNDLE, f"{name} is {how}, so it cannot be seen whole; {_CURE}")
    entry = Entry(name, crc, size)
    if header(entry) != raw:
        raise NotCertified(Check.BUNDLE, f"{name} is not written in the one way it is written; {_CURE}")
    return entry


def _content(entry: Entry, take: Callable[[int], bytes]) -> tuple[str, bytes]:
    """SHA-256 of a file in hex, and its beginning if it is to be read. See Z3."""
    digest, crc, left, beginning = sha256(), 0, entry.size, b""
    while left:
        chunk = take(min(left, _CHUNK))
        if not chunk:
            raise NotCertified(Check.BUNDLE, f"it is cut off within {entry.name}")
        left -= len(chunk)
        digest.update(chunk)
        crc = crc32(chunk, crc)
        if len(beginning) < (most := _KEPT.get(entry.name, 0)):
            beginning = (beginning + chunk)[:most]
    if crc != entry.crc:
        raise NotCertified(Check.BUNDLE, f"{entry.name} is damaged: it does not have its checksum")
    return digest.hexdigest(), beginning


def _check_end(start: bytes, take: Callable[[int], bytes], entries: Sequence[Entry]) -> None:
    """See Z4."""
    if not entries:
        raise NotCertified(Check.BUNDLE, "it is no archive of files: it does not begin with one")
    expected = directory(entries)
    found = start
    while len(found) <= len(expected) and (chunk := take(len(expected) + 1 - len(found))):
        found += chunk
    if expected[: len(found)] == found[: len(expected)] and len(found) < len(expected):
        raise NotCertified(Check.BUNDLE, "it is cut off within its directory")
    if found != expected:
        raise NotCertified(Check.BUNDLE, f"it holds more than its files, or its directory is not theirs; {_CURE}")


def _exactly(take: Callable[[int], bytes], size: int) -> bytes:
    found = b""
    while len(found) < size and (chunk := take(size - len(found))):
        found += chunk
    if len(found) < size:
        raise NotCertified(Check.BUNDLE, "it is cut off")
    return found


def _text(study: bytes | None) -> str | None:
    try:
        return None if study is None else study.decode()
    except UnicodeDecodeError:
        raise NotCertified(Check.STUDY, f"{STUDY} is not text") from None
