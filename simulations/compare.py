"""Which engine, at which epsilon? A grid of whole studies over one table, each with real noise, and one table and plot.

Everything is in one folder: runs/ENGINE-TRUST-epsE-seedK, a study each; compare.csv, compare.md, compare.svg and
compare.html over those that are finished, written anew after each. The same command goes on where it was stopped:
finished studies are recognised by their digest and not run again, an interrupted one goes on where it was.
"""

import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from silosynth.common.engines.auto import settle
from silosynth.common.errors import InvalidInput, NotPossible, SilosynthError
from silosynth.common.plan import resolve
from silosynth.common.progress import Progress
from silosynth.common.study import Member, Study, Trust
from silosynth.common.study_file import read_study
from silosynth.server.bundle import CERTIFICATE
from silosynth.server.files import write_json, write_text
from silosynth.simulations.chosen import check_engine, check_epsilon, check_trust, chosen
from silosynth.simulations.cohort import Cohort, check_gaps, split
from silosynth.simulations.compare_plot import drawn, page
from silosynth.simulations.compare_table import Cell, Outcome, Table, as_csv, as_markdown, tabulated
from silosynth.simulations.folder import STUDY
from silosynth.simulations.local import How, check_installed, run

FORMAT: Final = 1
HEAD: Final = "comparison.json"

_TABLES: Final = ("synthetic.csv", "synthetic.parquet")
_MOST_SEEDS: Final = 1000


@dataclass(frozen=True)
class Grid:
    """The studies to run. Raises InvalidInput for what no study can have."""

    engines: tuple[str, ...]
    trusts: tuple[Trust, ...]
    epsilons: tuple[float, ...]
    seeds: int
    """Repetitions, of seed 0, 1, ..."""

    def __post_init__(self) -> None:
        for option, values in (("engines", self.engines), ("trusts", self.trusts), ("epsilons", self.epsilons)):
            if not values:
                raise InvalidInput(f"--{option}: name at least one")
            object.__setattr__(self, option, tuple(dict.fromkeys(values)))
        for engine in self.engines:
            check_engine(engine, "--engines")
        for epsilon in self.epsilons:
            if check_epsilon(epsilon, "--epsilons") == float("inf"):
                raise InvalidInput("--epsilons inf: a comparison is of private studies; give numbers such as 1,10")
        if not 1 <= self.seeds <= _MOST_SEEDS:
            raise InvalidInput(f"--seeds {self.seeds}: between 1 and {_MOST_SEEDS} repetitions; 3 give an interval")

    @classmethod
    def parse(cls, engines: str, trusts: str, epsilons: str, seeds: int) -> "Grid":
        """From lists with commas. Raises InvalidInput."""
        return cls(
            tuple(_items(engines)),
            tuple(check_trust(name, "--trusts") for name in _items(trusts)),
            tuple(_number(item) for item in _items(epsilons)),
            seeds,
        )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every study, all of one seed before those of the next: an unfinished comparison still compares."""
        return tuple(
            Cell(engine, trust, epsilon, seed)
            for seed in range(self.seeds)
            for trust in self.trusts
            for engine in self.engines
            for epsilon in self.epsilons
        )


@dataclass(frozen=True)
class Source:
    """The rows, and how they are spread over sites: what `simulate` is given on the command line."""

    data: Path
    sites: str
    holdout: Path | None = None
    allow_gaps: bool = False

    def cohort(self, study: Study, seed: int, progress: Progress) -> Cohort:
        """Rows of sites and hold-out of one repetition. Raises InvalidInput."""
        cohort = split(study, self.data, self.sites, self.holdout, seed, progress)
        check_gaps(cohort, allowed=self.allow_gaps)
        return cohort

    def fingerprint(self) -> str:
        """SHA-256 of the files' bytes and of the split, in hex. Raises InvalidInput."""
        whole = hashlib.sha256(f"silosynth/comparison/{FORMAT}\n{self.sites}\n".encode())
        for path in (self.data, self.holdout):
            whole.update(bytes(32) if path is None else _hashed(path))
        return whole.hexdigest()


@dataclass
class _Clock:
    """What is left of the grid, from what was run since this command began."""

    todo: int
    ran: int = 0
    began: float = field(default_factory=time.monotonic)

    def count(self, *, ran: bool) -> None:
        """One more cell is behind us."""
        self.ran, self.todo = self.ran + ran, self.todo - ran

    def left(self) -> str:
        """In words; empty before anything is known."""
        if not self.ran or not self.todo:
            return ""
        minutes = (time.monotonic() - self.began) / self.ran * self.todo / 60
        return f", about {max(1, round(minutes))} min left in all"


class Comparison:
    """A grid that can be run: everything was checked on construction, and nothing written.

    Args:
        study: what every cell has in common.
        source: its rows.
        grid: the cells.
        out: the folder; new, or of this comparison.
        progress: told where the work is, in each study and in all.

    Raises:
        InvalidInput: study, rows, grid or folder are not what they must be.
        NotPossible: what scores need is not installed.
    """

    def __init__(self, study: Study, source: Source, grid: Grid, out: Path, progress: Progress) -> None:
        self._head = {"format": FORMAT, "study": study.digest, "data": source.fingerprint()}
        _check_folder(out, self._head)
        check_installed(How(out))
        self._study, self._source, self._grid, self._out, self._progress = study, source, grid, out, progress
        self._repetition = _Repetition(study, source)
        notes = [note for engine in grid.engines for note in chosen(study, engine=engine)[1]]
        for trust in grid.trusts:
            cohort = self._repetition.cohort(trust, 0, progress)
            notes += cohort.notes
            for engine in grid.engines:
                _check_plan(_asked(study, Cell(engine, trust, max(grid.epsilons), 0)), cohort.roster)
        self.notes = tuple(dict.fromkeys(notes))
        """What a person should know about settings and rows."""

    def run(self, *, keep: bool = False, command: str = "") -> Table:
        """Run what is not finished yet, and write the comparison anew after each study.

        A study that fails (refused by a site, not possible, diverged) is told in the table and does not stop the
        others. `keep`: also keep the synthetic tables. `command`: how a person asked for it, to be shown.
        """
        self._out.mkdir(parents=True, exist_ok=True)
        write_json(self._out / HEAD, self._head)
        cells, outcomes = self._grid.cells, list[Outcome]()
        done = {cell for cell in cells if _finished(self._folder(cell), _asked(self._study, cell))}
        clock, table = _Clock(len(cells) - len(done)), tabulated(self._study.name, command, outcomes)
        for at, cell in enumerate(cells):
            where = f"study {at + 1} of {len(cells)}: {cell.title}{clock.left()}"
            reason = "" if cell in done else self._ran(cell, _told(self._progress, where))
            clock.count(ran=cell not in done)
            outcomes.append(self._outcome(cell, reason, keep=keep))
            self._progress("compare", at, len(cells), f"{cell.title}: {reason or 'finished'}")
            table = tabulated(self._study.name, command, outcomes)
            if cell not in done or at + 1 == len(cells):
                _publish(self._out, table)
        return table

    def _folder(self, cell: Cell) -> Path:
        return self._out / "runs" / cell.name

    def _ran(self, cell: Cell, progress: Progress) -> str:
        """Run one study; why it failed, or nothing."""
        how = How(self._folder(cell), cell.seed, resume=True, allow_gaps=self._source.allow_gaps, attack=False)
        try:
            run(_asked(self._study, cell), self._repetition.cohort(cell.trust, cell.seed, progress), how, progress)
        except SilosynthError as error:
            return str(error)
        return ""

    def _outcome(self, cell: Cell, reason: str, *, keep: bool) -> Outcome:
        folder = self._folder(cell)
        if not keep:
            for name in _TABLES:
                (folder / name).unlink(missing_ok=True)
        return Outcome(cell, reason=reason) if reason else Outcome.of(cell, _content(folder / "metrics.json"))


class _Repetition:
    """Rows of one repetition at a time: they are the same for all its studies."""

    def __init__(self, study: Study, source: Source) -> None:
        self._study = study
        self._source = source
        self._known: tuple[tuple[Trust, int], Cohort] | None = None

    def cohort(self, trust: Trust, seed: int, progress: Progress) -> Cohort:
        """Which sites may take part depends on trust, who sits where on the seed. Raises InvalidInput."""
        if self._known is None or self._known[0] != (trust, seed):
            self._known = (trust, seed), self._source.cohort(replace(self._study, trust=trust), seed, progress)
        return self._known[1]


def _asked(study: Study, cell: Cell) -> Study:
    return chosen(study, engine=cell.engine, trust=cell.trust, epsilon=cell.epsilon)[0]


def _check_plan(asked: Study, roster: tuple[Member, ...]) -> None:
    """Raise InvalidInput for what no budget makes a plan of. What is only not possible is told in the table."""
    try:
        resolve(asked, roster)
    except NotPossible:
        return


def _finished(folder: Path, asked: Study) -> bool:
    """Whether `folder` holds this study, certified: certificate.json is written last."""
    try:
        resolved = read_study((folder / STUDY).read_text(encoding="utf-8"), source=STUDY)
        certified = _content(folder / CERTIFICATE).get("study")
    except (OSError, ValueError, SilosynthError):
        return False
    return certified == resolved.digest and replace(resolved, roster=(), plan=()).digest == settle(asked).digest


def _check_folder(out: Path, head: dict[str, Any]) -> None:
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file: give the name of a folder, which may be new")
    if not out.exists() or not any(out.iterdir()):
        return
    try:
        found = _content(out / HEAD)
    except (OSError, ValueError):
        raise InvalidInput(f"{out} holds something that is no comparison: choose another folder") from None
    if found != head:
        changed = "data or sites" if found.get("study") == head["study"] else "study"
        raise InvalidInput(
            f"{out} holds another comparison (its {changed} are not these): choose another folder, or give what it was "
            "begun with; engines, epsilons and seeds may be added"
        )


def _publish(out: Path, table: Table) -> None:
    write_text(out / "compare.csv", as_csv(table))
    write_text(out / "compare.md", as_markdown(table))
    write_text(out / "compare.svg", drawn(table))
    write_text(out / "compare.html", page(table))


def _told(progress: Progress, where: str) -> Progress:
    def told(phase: str, done: int, of: int, note: str = "") -> None:
        progress(phase, done, of, f"{where}; {note}" if note else where)

    return told


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _hashed(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be opened ({error.strerror}); check its path") from None


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _number(item: str) -> float:
    try:
        return float(item)
    except ValueError:
        raise InvalidInput(f"--epsilons {item}: is no number; write a list such as .3,1,3,10") from None
