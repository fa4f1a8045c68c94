"""The folder a study is published in: what may begin there, and what may go on.

Nothing is written before a study was accepted by all its sites, but in the sites' own homes. One journal at a time: the
folder of a finished study can take the next one (its sites' ledgers remember the first, and their caps decide), an
interrupted one must be finished.
"""

import json
from pathlib import Path
from typing import Any, Final

from silosynth.common.errors import InvalidInput
from silosynth.common.study import Study
from silosynth.common.study_file import write_study
from silosynth.server.bundle import CERTIFICATE
from silosynth.server.certificate import Noise
from silosynth.server.files import write_text
from silosynth.server.journal import Journal

JOURNAL: Final = "journal.jsonl"
STUDY: Final = "study.toml"
SITES: Final = "sites"


def check_path(path: Path) -> None:
    """Raise InvalidInput where there can be no folder."""
    if path.exists() and not path.is_dir():
        raise InvalidInput(f"{path} is a file: give the name of a folder, which may be new")


class Folder:
    """Checks on construction, without writing, that `study` may run in `path`. Raises InvalidInput."""

    def __init__(self, path: Path, study: Study, *, resume: bool) -> None:
        check_path(path)
        self.path = path
        self.sites = path / SITES
        self._study = study
        self._archive = False
        journal = path / JOURNAL
        if not journal.exists():
            return
        begun = _field(journal.read_bytes().split(b"\n")[0], "study")
        finished = (path / CERTIFICATE).exists() and _field((path / CERTIFICATE).read_bytes(), "study") == begun
        if finished and begun == study.digest:
            raise InvalidInput(f"{path} holds this very study, finished: choose another folder to run it again")
        if not finished and begun != study.digest:
            raise InvalidInput(
                f"{path} holds an interrupted study that is not this one: finish it with --resume and the study, data, "
                "sites and options it was started with, or choose another folder"
            )
        if not finished and not resume:
            raise InvalidInput(f"{path} holds this study, interrupted: add --resume to go on, or choose another folder")
        self._archive = finished

    def begin(self, noise: Noise, seed: int) -> Journal:
        """The journal to go on with, after the sites approved. An earlier study's one is kept under its digest."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self._archive:
            journal = self.path / JOURNAL
            begun = _field(journal.read_bytes().split(b"\n")[0], "study")
            journal.rename(self.path / f"journal.{str(begun)[:8]}.jsonl")
        write_text(self.path / STUDY, write_study(self._study))
        return Journal(self.path, self._study, f"{noise}; seed {seed}")


def _field(text: bytes, name: str) -> Any:
    try:
        return json.loads(text).get(name)
    except (ValueError, AttributeError):
        return None
