"""One trial of the benchmark of record: one table, one contestant, one epsilon, one seed; a process of its own.

A contestant is an engine, run as sites run it (their gates, ledgers and system noise; sums are added without masks,
which changes no total), or a competitor, which is given all rows in one place. `frame` is neither: it is what scores
are held between. A process of its own makes peak memory a fact of this trial, and a crash the end of this trial only.
"""

import importlib.resources
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import pandas as pd
import torch

from silosynth.common import code as code_of_files
from silosynth.common.engines import CODECS
from silosynth.common.errors import InvalidInput, SilosynthError
from silosynth.common.plan import resolve
from silosynth.common.progress import silent
from silosynth.common.study import Study
from silosynth.server.files import write_json
from silosynth.server.publish import sampled
from silosynth.simulations.bench import competitors
from silosynth.simulations.bench.cases import case
from silosynth.simulations.bench.learn import learn
from silosynth.simulations.bench.measure import Phases
from silosynth.simulations.bench.quality import training
from silosynth.simulations.bench.scoring import Yardstick
from silosynth.simulations.chosen import chosen
from silosynth.simulations.cohort import Cohort, gather

FORMAT: Final = 1
ABSENT: Final = 3
CHANGED: Final = 4
"""Exit codes: no such table here; the code is not what whoever asked believes."""

FRAME: Final = "frame"
NO_EPSILON: Final = 0.0
"""Of a trial that no epsilon belongs to."""

_MIB: Final = 1024


@dataclass(frozen=True)
class Contestant:
    """An engine with settings that differ from its defaults, or a competitor."""

    name: str
    settings: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "NAME" or "NAME[KEY=NUMBER,...]". Raises InvalidInput."""
        name, _, rest = text.strip().partition("[")
        if name not in {FRAME, *CODECS, *competitors.NAMES} or (
            rest and (not rest.endswith("]") or name not in CODECS)
        ):
            known = ", ".join([*CODECS, *competitors.NAMES])
            raise InvalidInput(
                f"{text!r}: no such contestant; there are {known}; an engine also as NAME[KEY=NUMBER,...]"
            )
        try:
            pairs = [item.split("=") for item in rest.rstrip("]").split(",") if item]
            return cls(name, tuple(sorted((key.strip(), float(value)) for key, value in pairs)))
        except ValueError:
            raise InvalidInput(f"{text!r}: settings are written KEY=NUMBER, with commas between them") from None

    def __str__(self) -> str:
        told = ",".join(f"{key}={value:g}" for key, value in self.settings)
        return f"{self.name}[{told}]" if told else self.name

    @property
    def central(self) -> bool:
        """Whether it is given all rows in one place."""
        return self.name in competitors.NAMES


@dataclass(frozen=True)
class Trial:
    """What is asked."""

    table: str
    contestant: Contestant
    epsilon: float
    seed: int

    def __str__(self) -> str:
        return f"{self.table}/{self.contestant}/{self.epsilon:g}"


@cache
def code_of(contestant: Contestant) -> str:
    """SHA-256, in hex, of the text that could change an outcome: tables, studies, scores, and what learns."""
    bench = importlib.resources.files("silosynth.simulations.bench")
    named = ["cases.py", "tables.py", "scoring.py", "trial.py", "adult.toml", "ist.toml", "credit_default.toml"]
    files = [(f"bench/{name}", (bench / name).read_bytes()) for name in (*named, "sdnist.toml", "diabetes130.toml")]
    if contestant.central:
        files += [("bench/competitors.py", (bench / "competitors.py").read_bytes())]
        files += _text(bench / "competitor", "competitor")
    else:
        for part in ("common",) if contestant.name == FRAME else ("client", "common", "server"):
            files += _text(importlib.resources.files(f"silosynth.{part}"), part)
    files += [("cohort.py", (importlib.resources.files("silosynth.simulations") / "cohort.py").read_bytes())]
    return code_of_files.digest(files)


def _text(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _text(entry, f"{name}/{entry.name}")
        elif entry.name.endswith((".py", ".txt")):
            yield f"{name}/{entry.name}", entry.read_bytes()


@dataclass(frozen=True)
class Outcome:
    """What was found. Without scores, `failed` says why."""

    trial: Trial
    code: str
    """Digest of what ran (`code_of`)."""
    scores: Mapping[str, float] = field(default_factory=dict)
    rows: int = 0
    units: int = 0
    """About as many, as the study says."""
    columns: int = 0
    sites: int = 0
    cpu_s: float = 0.0
    """Of learning: all sites and the coordinator together."""
    wall_s: float = 0.0
    peak_mib: float = 0.0
    """Of the process until the synthetic rows were there, table and libraries included."""
    failed: str = ""
    finished: float = 0.0
    """Seconds since 1970."""

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "format": FORMAT,
            **asdict(self),
            "trial": {**asdict(self.trial), "contestant": str(self.trial.contestant)},
        }

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Self:
        """From `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        fields = dict(content)
        if fields.pop("format") != FORMAT:
            raise ValueError("another format")
        asked = fields.pop("trial")
        return cls(Trial(**asked | {"contestant": Contestant.parse(asked["contestant"])}), **fields)


@dataclass(frozen=True)
class _Made:
    """Synthetic rows, and what they cost."""

    frame: pd.DataFrame = field(repr=False)
    cpu_s: float
    wall_s: float
    peak_mib: float


def run(trial: Trial, code: str) -> Outcome | None:
    """The trial, from the table to its scores; None where the table is not there.

    Where units have several rows, sites count all of them, a unit as one; scores are held against a row of each, and a
    competitor learns from these.
    """
    given = case(trial.table, trial.seed)
    if given is None:
        return None
    cohort = gather(given.study, given.sites, given.holdout, trial.seed, silent)
    study = replace(given.study, evaluate=False)
    cohort = replace(cohort, train=cohort.train.one_each(trial.seed), holdout=cohort.holdout.one_each(trial.seed))
    rows, columns, sites = len(cohort.train.frame), len(study.schema.columns), len(cohort.roster)
    outcome = Outcome(trial, code, rows=rows, units=study.units or rows, columns=columns, sites=sites)
    yardstick = Yardstick(study, cohort.train.frame, cohort.holdout.frame, trial.seed)
    try:
        if trial.contestant.name == FRAME:
            framed = {
                f"{side}_{name}": value for side, scores in yardstick.frame().items() for name, value in scores.items()
            }
            return replace(outcome, scores=framed, finished=time.time())
        made = _competitor(trial, study, cohort) if trial.contestant.central else _engine(trial, study, cohort)
    except SilosynthError as error:
        return replace(outcome, failed=str(error), finished=time.time())
    spent = replace(outcome, cpu_s=made.cpu_s, wall_s=made.wall_s, peak_mib=made.peak_mib)
    return replace(spent, scores=yardstick.scores(made.frame), finished=time.time())


def _engine(trial: Trial, study: Study, cohort: Cohort) -> _Made:
    """A study from its parts. As many rows are sampled as there are units, which only a simulation knows."""
    asked, _ = chosen(study, engine=trial.contestant.name, epsilon=trial.epsilon)
    if trial.contestant.settings:
        asked = replace(asked, settings=trial.contestant.settings)
    phases, began = Phases(silent), time.monotonic()
    with TemporaryDirectory() as folder:
        learnt = learn(resolve(asked, cohort.roster), cohort.units, Path(folder), trial.seed, phases)
    phases.stop()
    wall_s = time.monotonic() - began
    blocks = sampled(learnt.generator, study.schema, len(cohort.train.frame), trial.seed, silent)
    frame = pd.concat(list(blocks), ignore_index=True)
    return _Made(frame, training(phases), wall_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB)


def _competitor(trial: Trial, study: Study, cohort: Cohort) -> _Made:
    frame, wall_s = competitors.synthesise(trial.contestant.name, study, cohort.train.frame, trial.epsilon, trial.seed)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return _Made(frame, spent.ru_utime + spent.ru_stime, wall_s, spent.ru_maxrss / _MIB)


def main(arguments: list[str]) -> int:
    """TABLE CONTESTANT EPSILON SEED CODE FILE: run it, write what it found."""
    table, name, epsilon, seed, code, file = arguments
    torch.set_num_threads(1)
    contestant = Contestant.parse(name)
    if code_of(contestant) != code:
        return CHANGED
    outcome = run(Trial(table, contestant, float(epsilon), int(seed)), code)
    if outcome is None:
        return ABSENT
    write_json(Path(file), outcome.to_json())
    return 0


def read(path: Path) -> Outcome | None:
    """The outcome in a file; None where there is none."""
    try:
        return Outcome.of_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, InvalidInput):
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
