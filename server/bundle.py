"""A published study as it is read again: which files there are, their hashes, whether its certificate holds.

It needs a folder or an archive and this package, no data and no site. `bundle` makes the one of the other.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from zipfile import ZipFile
from zlib import crc32

from silosynth.common.archive import MOST_BYTES, NAMES, STUDY_BYTES, Entry, directory, header, read
from silosynth.common.errors import InvalidInput, NotCertified, NotPossible
from silosynth.common.verify import ARTEFACTS, CERTIFICATE, CERTIFICATE_BYTES, STUDY, Bundle, Verified, verify
from silosynth.common.verify_receipts import Check
from silosynth.server.files import draft

__all__ = ["CERTIFICATE", "REPORT", "TABLES", "bundle", "hash_of", "hashes_of", "unpacked", "verified"]

REPORT: Final = "report.html"
TABLES: Final = ("synthetic.csv", "synthetic.parquet")

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK: Final = 1 << 20


def verified(path: Path | str, expected: str | None = None) -> Verified:
    """What the certificate in a folder, in an archive, or in a file beside what it certifies, proves.

    `expected`: digest of the study that sites say they approved, in hex. It binds their keys; without it a certificate
    is only known to agree with itself. Raises NotCertified, naming the first thing that does not hold; InvalidInput
    where there is no certificate, or no such digest.
    """
    if expected is not None and not _DIGEST.fullmatch(expected):
        raise InvalidInput("a study's digest has 64 hex digits, as `silosynth study show` prints them: copy it whole")
    path = Path(path)
    try:
        found = _archived(path) if is_archive(path) else _published(path)
    except OSError as error:
        raise InvalidInput(
            f"{error.filename or path}: cannot be read ({error.strerror}); give the folder that a study was published "
            "in, the certificate.json in it, or the .zip that `silosynth bundle` made of it"
        ) from None
    return verify(found, expected)


def bundle(folder: Path, target: Path) -> tuple[str, ...]:
    """Write what was published in `folder` as one archive, the same bytes every time; the names of its files.

    Raises NotCertified where the folder does not hold, InvalidInput where there is none, NotPossible where it is too
    large for an archive.
    """
    verified(folder)
    names = sorted((CERTIFICATE, *hashes_of(folder)))
    entries: list[Entry] = []
    for name in names:
        size = (folder / name).stat().st_size
        if sum(one.size for one in entries) + size > MOST_BYTES // 2:
            raise NotPossible(f"{name}: an archive holds at most two gigabytes; publish the folder itself")
        entries.append(Entry(name, _checksum(folder / name), size))
    with draft(target) as path:
        with path.open("xb") as out:
            for entry in entries:
                out.write(header(entry))
                with (folder / entry.name).open("rb") as file:
                    shutil.copyfileobj(file, out, _CHUNK)
            out.write(directory(entries))
        verified(path)  # of the bytes that were written, whatever happened to the folder meanwhile
    return tuple(names)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder that an archive holds, for as long as it is looked at; any other path as it is.

    Raises NotCertified where the archive does not hold. What is in the folder is to be verified again: it is what will
    be read.
    """
    if not is_archive(path):
        yield path
        return
    verified(path)  # so that no two programs read different files in it
    with TemporaryDirectory() as folder, ZipFile(path) as archive:
        for name in sorted(set(archive.namelist()) & set(NAMES)):
            with archive.open(name) as file, (Path(folder) / name).open("xb") as out:
                shutil.copyfileobj(file, out, _CHUNK)
        yield Path(folder)


def is_archive(path: Path) -> bool:
    if not path.is_file():
        return False
    return path.suffix.lower() == ".zip" or _start_of(path, 4) == b"PK\3\4"


def _archived(path: Path) -> Bundle:
    with path.open("rb") as file:
        return read(file.read)


def _published(path: Path) -> Bundle:
    file = path / CERTIFICATE if path.is_dir() else path
    folder = file.parent
    certificate = _start_of(file, CERTIFICATE_BYTES + 1)
    text = _start_of(folder / STUDY, STUDY_BYTES) if (folder / STUDY).is_file() else None
    hashes = hashes_of(folder)
    try:
        return Bundle(certificate, None if text is None else text.decode(), hashes)
    except UnicodeDecodeError:
        raise NotCertified(Check.STUDY, f"{STUDY} is not text") from None


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder that a certificate covers, by its name."""
    return {name: hash_of(folder / name) for name in ARTEFACTS if (folder / name).is_file()}


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found = crc32(chunk, found)
    return found


def _start_of(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
