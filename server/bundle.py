"""A published study as it is read again: which files there are, their hashes, and whether its certificate holds.

It needs a folder and this package, no data and no site.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from silosynth.common.errors import InvalidInput, NotCertified
from silosynth.common.verify import ARTEFACTS, CERTIFICATE_BYTES, STUDY, Bundle, Verified, verify
from silosynth.common.verify_receipts import Check

CERTIFICATE: Final = "certificate.json"
REPORT: Final = "report.html"
TABLES: Final = ("synthetic.csv", "synthetic.parquet")

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_STUDY_BYTES: Final = 1 << 24


def verified(path: Path | str, expected: str | None = None) -> Verified:
    """What the certificate in a folder, or in a file beside what it certifies, proves.

    `expected`: digest of the study that sites say they approved, in hex. It binds their keys; without it a certificate
    is only known to agree with itself. Raises NotCertified, naming the first thing that does not hold; InvalidInput
    where there is no certificate, or no such digest.
    """
    if expected is not None and not _DIGEST.fullmatch(expected):
        raise InvalidInput("a study's digest has 64 hex digits, as `silosynth study show` prints them: copy it whole")
    path = Path(path)
    file = path / CERTIFICATE if path.is_dir() else path
    folder = file.parent
    try:
        certificate = _start_of(file, CERTIFICATE_BYTES + 1)
        text = _start_of(folder / STUDY, _STUDY_BYTES) if (folder / STUDY).is_file() else None
        hashes = hashes_of(folder)
    except OSError as error:
        raise InvalidInput(
            f"{error.filename or file}: cannot be read ({error.strerror}); give the folder that a study was published "
            "in, or the certificate.json in it"
        ) from None
    try:
        study = None if text is None else text.decode()
    except UnicodeDecodeError:
        raise NotCertified(Check.STUDY, f"{STUDY} is not text") from None
    return verify(Bundle(certificate, study, hashes), expected)


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder that a certificate covers, by its name."""
    return {name: hash_of(folder / name) for name in ARTEFACTS if (folder / name).is_file()}


def _start_of(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
