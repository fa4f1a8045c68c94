"""The report of a published study, drawn again from the three files that it follows from."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silosynth.common.errors import InvalidInput
from silosynth.common.evaluate import metrics_file, report
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.study import Study
from silosynth.common.study_file import read_study
from silosynth.common.verify import STUDY
from silosynth.server.bundle import CERTIFICATE, REPORT

_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Redrawn:
    """A page. `certified`: whether it is the one in the certificate; None where that names none."""

    content: bytes
    certified: bool | None


@dataclass(frozen=True)
class Published:
    """What a report is drawn from. `report_hash`: of the certified one, in hex; None where there is none."""

    metrics: Metrics
    certificate: dict[str, Any]
    study: Study
    report_hash: str | None


def redrawn(folder: Path) -> Redrawn:
    """report.html as this version draws it. Raises InvalidInput where a file is missing or cannot be read."""
    found = published(folder, metrics_file.read(_json(folder / "metrics.json")))
    content = report.render(found.metrics, found.certificate, found.study).encode()
    if found.report_hash is None:
        return Redrawn(content, None)
    return Redrawn(content, hashlib.sha256(content).hexdigest() == found.report_hash)


def published(folder: Path, metrics: Metrics) -> Published:
    """Certificate and study of a folder, around those metrics. Raises InvalidInput."""
    certificate = _json(folder / CERTIFICATE)
    artefacts = certificate.get("artefacts")
    if not isinstance(artefacts, dict):
        raise InvalidInput(f"{folder / CERTIFICATE}: is no certificate: it names no files; give a published folder")
    own = artefacts.pop(REPORT, None)
    study = read_study(_text(folder / STUDY), source=str(folder / STUDY))
    return Published(metrics, certificate, study, own if isinstance(own, str) else None)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise InvalidInput(f"{path}: is cut off, or is not JSON; give the folder as it was published") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{path}: is no JSON object; give the folder as it was published")
    return content


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode()
    except OSError as error:
        cause = f"cannot be read ({error.strerror}); give the folder that a study was published in"
        raise InvalidInput(f"{path}: {cause}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: is not text; give the folder as it was published") from None
