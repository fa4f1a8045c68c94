"""The studies of a coordinator: a folder each, from the proposal to the published table. Here: proposal and status.

study.toml      resolved: what sites approve
status.json     where it is, for `status`; written by the process that runs it
launch.lock     held by that process, so that a status that says `running` can be told from one of a process that died
journal.jsonl, state.safetensors    what was learnt so far (server/journal.py)
and at the end what a study publishes, certificate.json last.
"""

import dataclasses
import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from silosynth.common.errors import InvalidInput, Tampered
from silosynth.common.plan import resolve
from silosynth.common.study import Member, Study, Trust
from silosynth.common.study_file import read_study, write_study
from silosynth.server.files import write_json, write_text
from silosynth.server.home import CoordinatorHome, enrolled, held
from silosynth.server.installed import code_digest
from silosynth.server.questions import check_installed

FORMAT: Final = 1

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_EVERY_S: Final = 1.0


class State(StrEnum):
    """Where a study is."""

    PROPOSED = "proposed"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Its process died without a word; `resume` goes on."""
    STOPPED = "stopped"
    FAILED = "failed"
    REFUSED = "refused"
    FINISHED = "finished"


@dataclass(frozen=True)
class Status:
    """What `status` shows. Moments in seconds since 1970; `releases` were summed of the plan's `of`."""

    study: str
    state: State
    seed: int
    began: float
    updated: float = 0.0
    run: int = 0
    """Flower's number of the present run."""
    phase: str = ""
    note: str = ""
    releases: int = 0
    of: int = 0
    spent: str = ""
    """In words; `epsilon` is what was spent against who sees totals, `epsilon_local` against all others together.

    None is no bound.
    """
    epsilon: float | None = 0.0
    epsilon_local: float | None = 0.0
    cause: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The status in a file. Raises Tampered for what was written by nobody here."""
        try:
            content = json.loads(path.read_bytes())
            if content.pop("format") == FORMAT:
                return cls(**content | {"state": State(content["state"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        raise Tampered(f"{path}: is no status of this version: see who changed it; its journal is what counts")


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study. Values only."""

    path: Path

    @property
    def name(self) -> str:
        """What people call it."""
        return self.path.name

    @property
    def file(self) -> Path:
        """study.toml."""
        return self.path / "study.toml"

    @property
    def status_file(self) -> Path:
        """status.json."""
        return self.path / "status.json"

    @property
    def lock(self) -> Path:
        """launch.lock."""
        return self.path / "launch.lock"

    def study(self) -> Study:
        """The resolved study. Raises InvalidInput."""
        try:
            return read_study(self.file.read_text(encoding="utf-8"), source=str(self.file))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{self.file}: cannot be read ({error}); propose the study again") from None

    def status(self) -> Status:
        """Where it is; a process that died is found out by its lock. Raises Tampered, InvalidInput."""
        if not self.status_file.exists():
            study = self.study()
            return Status(study.digest, State.PROPOSED, 0, 0.0, of=study.releases)
        found = Status.read(self.status_file)
        if found.state is State.RUNNING:
            with held(self.lock, wait=False) as nobody_else:
                return replace(found, state=State.INTERRUPTED) if nobody_else else found
        return found


class Teller:
    """Keeps status.json true while a study runs: at once where it matters, else every second."""

    def __init__(self, folder: StudyFolder, status: Status) -> None:
        self._folder = folder
        self.status = status
        self.tell()

    def tell(self, **changed: object) -> None:
        """Change the status, durably."""
        self.status = replace(self.status, updated=round(time.time(), 3), **changed)  # type: ignore[arg-type]
        write_json(self._folder.status_file, {"format": FORMAT} | dataclasses.asdict(self.status))

    def progress(self, phase: str, done: int, of: int, note: str = "") -> None:
        """See Progress."""
        before = self.status
        self.status = replace(before, phase=phase, note=note, releases=done if of == before.of else before.releases)
        if phase != before.phase or time.time() - before.updated >= _EVERY_S:
            self.tell()


def folder_of(home: CoordinatorHome, name: str) -> StudyFolder:
    """The folder of a study that was proposed. Raises InvalidInput, naming those that were."""
    found = StudyFolder(home.studies / name)
    if not _NAME.fullmatch(name) or not found.file.exists():
        there = ", ".join(one.name for one in folders(home))
        cure = f"there are: {there}" if there else "`silosynth coordinator study propose` proposes one"
        raise InvalidInput(f"no study {name!r} was proposed here; {cure}")
    return found


def folders(home: CoordinatorHome) -> list[StudyFolder]:
    """Every study that was proposed, by name."""
    return [StudyFolder(path.parent) for path in sorted(home.studies.glob("*/study.toml"))]


def propose(home: CoordinatorHome, file: Path, names: Sequence[str]) -> tuple[StudyFolder, Study]:
    """Resolve the study in `file` with the enrolled sites `names`, in this order, for their officers to approve.

    Its folder is called like the file. Raises InvalidInput, and NotPossible for a plan that cannot be priced.
    """
    if not _NAME.fullmatch(file.stem):
        raise InvalidInput(
            f"{file}: call it by letters, digits, '.', '_' and '-': the study will be known by that name"
        )
    folder = StudyFolder(home.studies / file.stem)
    if folder.status_file.exists():
        raise InvalidInput(f"{folder.path}: a study of this name was launched already; give the file another name")
    try:
        asked = read_study(file.read_text(encoding="utf-8"), source=str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file}: cannot be read ({error}); give a study's TOML file") from None
    _check(asked, file)
    study = resolve(replace(asked, code=code_digest()), _roster(home, names))
    check_installed(study)
    if study.trust is Trust.SECURE_SUM and not study.masked:
        raise InvalidInput("sites without agent keys cannot mask their answers: enrol their requests again")
    text = write_study(study)
    fixed = read_study(text, source=str(folder.file))  # what sites will read, checked as they will
    folder.path.mkdir(parents=True, exist_ok=True)
    write_text(folder.file, text)
    return folder, fixed


def _check(study: Study, file: Path) -> None:
    if study.roster or study.plan or study.code:
        raise InvalidInput(
            f"{file}: is resolved already: give the file that a person wrote, without [[roster]] and [[plan]]"
        )
    if study.schema.unreviewed:
        columns = ", ".join(study.schema.unreviewed)
        raise InvalidInput(
            f"{file}: bounds or codes of these columns came from rows, and nobody has reviewed them: {columns}. Put "
            "public ones in their place, and take `unreviewed` away"
        )
    if math.isinf(study.budget.epsilon):
        raise InvalidInput(f"{file}: [privacy] key 'epsilon': between institutions there is no study without privacy")


def _roster(home: CoordinatorHome, names: Sequence[str]) -> tuple[Member, ...]:
    sites = enrolled(home)
    if unknown := [name for name in names if name not in sites]:
        there = ", ".join(sites) or "none"
        raise InvalidInput(f"not enrolled: {', '.join(unknown)}; enrolled are: {there}")
    return tuple(Member(one.name, one.capacity, one.agent, one.officer) for one in (sites[name] for name in names))
