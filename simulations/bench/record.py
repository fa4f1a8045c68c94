"""The benchmark of record: every table x engine but the GAN x epsilon x seed, one file each, and their sum.

    python -m silosynth.simulations.bench quality FOLDER [--only TABLE/ENGINE/EPSILON ...] [--workers N]

FOLDER/TABLE/ENGINE-epsE-seedK-CODE.json is there when a trial is finished, so the same command goes on where it was
stopped. CODE is a digest of everything that could change the outcome; an outcome of other code is run again, unless
--any-code says that it may stand. SUMMARY.md, results.csv and a plot a table are written from all outcomes in FOLDER.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from silosynth.common.engines import CODECS
from silosynth.common.errors import InvalidInput
from silosynth.server.files import write_json
from silosynth.simulations.bench import competitors, record_table
from silosynth.simulations.bench.trial import (
    ABSENT,
    CHANGED,
    FRAME,
    NO_EPSILON,
    Contestant,
    Outcome,
    Trial,
    code_of,
    read,
)

EPSILONS: Final = (0.3, 1.0, 3.0, 10.0)
SMALL_EPSILONS: Final = (1.0, 3.0)
WHOLE: Final = (
    "adult",
    "ist",
    "credit_default",
    "sdnist",
    "diabetes130",
    "randhie",
    "ist-ID14",
    "ist-ISC14",
    "randhie-inpatient",
    "wide-100",
)
SMALL: Final = tuple(f"{name}@{rows}" for rows in (2000, 8000) for name in WHOLE[:5])
RARE: Final = tuple(f"{name}@8000" for name in ("ist-ID14", "ist-ISC14", "randhie-inpatient"))
WIDEST: Final = "wide-200"
AGAINST: Final = WHOLE[:4]
"""Tables on which competitors run."""

_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_OFTEN: Final = 20
"""Trials between two summaries."""

_TOLD: Final = {ABSENT: "its table is not there", CHANGED: "the code is no longer what it was when this command began"}
_ENGINES: Final = tuple(name for name in CODECS if name != "gan")


@dataclass(frozen=True)
class Wanted:
    """Which trials of the record are asked for."""

    contestants: tuple[Contestant, ...]
    seeds: int
    only: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    """Others than those of the record."""

    def trials(self) -> Iterator[Trial]:
        """Frames first, then all of one seed before those of the next: an unfinished record still compares."""
        asked = [trial for seed in range(self.seeds) for trial in self._of_seed(seed) if self._picked(trial)]
        framed = dict.fromkeys((trial.table, trial.seed) for trial in asked)
        yield from (Trial(table, Contestant(FRAME), NO_EPSILON, seed) for table, seed in framed)
        yield from asked

    def _of_seed(self, seed: int) -> Iterator[Trial]:
        plan = {**dict.fromkeys(WHOLE, EPSILONS), **dict.fromkeys((*SMALL, *RARE), SMALL_EPSILONS), WIDEST: (1.0,)}
        if self.tables:
            plan = dict.fromkeys(self.tables, EPSILONS)
        for table, epsilons in plan.items():
            for contestant in self.contestants:
                if not contestant.central or table in AGAINST or self.tables:
                    yield from (Trial(table, contestant, epsilon, seed) for epsilon in epsilons)

    def _picked(self, trial: Trial) -> bool:
        return not self.only or any(_matches(str(trial), pattern) for pattern in self.only)


def _matches(trial: str, pattern: str) -> bool:
    """Part by part; parts that are left out match everything. A name in brackets matches itself."""
    parts, wanted = trial.split("/"), pattern.split("/")
    return len(wanted) <= len(parts) and all(
        part == one or fnmatchcase(part, one.replace("[", "[[]")) for part, one in zip(parts, wanted, strict=False)
    )


@dataclass(frozen=True)
class Record:
    """A folder of outcomes."""

    folder: Path
    any_code: bool = False
    retry: bool = False
    minutes: float = 120.0
    """The most one trial may take."""

    def path(self, trial: Trial) -> Path:
        """Where its outcome is."""
        epsilon = "" if trial.epsilon == NO_EPSILON else f"-eps{trial.epsilon:g}"
        name = f"{trial.contestant}{epsilon}-seed{trial.seed}-{code_of(trial.contestant)[:8]}.json"
        return self.folder / trial.table / name

    def finished(self, trial: Trial) -> bool:
        """Whether its outcome is there."""
        there = [read(path) for path in self._candidates(trial)]
        return any(one is not None and one.trial == trial and not (one.failed and self.retry) for one in there)

    def _candidates(self, trial: Trial) -> Iterator[Path]:
        own = self.path(trial)
        yield own
        if self.any_code:
            stem = own.name.rpartition("-")[0]
            yield from (path for path in sorted(own.parent.glob("*.json")) if path.name.rpartition("-")[0] == stem)

    def outcomes(self) -> list[Outcome]:
        """All in the folder; of several of one trial that of today's code, else the latest."""
        found: dict[tuple[str, int], Outcome] = {}
        for path in sorted(self.folder.glob("*/*.json")):
            one = read(path)
            if one is None:
                continue
            key, mine = (str(one.trial), one.trial.seed), one.code == code_of(one.trial.contestant)
            before = found.get(key)
            if before is None or (mine, one.finished) > (
                before.code == code_of(before.trial.contestant),
                before.finished,
            ):
                found[key] = one
        return list(found.values())

    def run(self, trial: Trial) -> str:
        """Run a trial in a process of its own; how it went, in words."""
        path = self.path(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        code = code_of(trial.contestant)
        words = [trial.table, str(trial.contestant), f"{trial.epsilon:.12g}", str(trial.seed), code, str(path)]
        alone = {**os.environ, **dict.fromkeys(_THREADS, "1")}
        command = [sys.executable, "-m", "silosynth.simulations.bench.trial", *words]
        try:
            done = subprocess.run(  # noqa: S603  # this program
                command, env=alone, capture_output=True, text=True, check=False, timeout=60 * self.minutes
            )
        except subprocess.TimeoutExpired:
            stopped = Outcome(trial, code, failed=f"stopped after {self.minutes:g} minutes", finished=time.time())
            write_json(path, stopped.to_json())
            return stopped.failed
        if done.returncode in _TOLD:
            return _TOLD[done.returncode]
        outcome = read(path)
        if done.returncode or outcome is None:
            return (
                f"broke with exit code {done.returncode}: {(done.stderr.strip() or 'no words').splitlines()[-1][:300]}"
            )
        return outcome.failed or record_table.line(outcome)


def main(arguments: Sequence[str]) -> int:
    """Run what is not there yet and write the summary. Exit code 2 for wrong input, 1 where a trial broke."""
    asked = _parser().parse_args(arguments)
    try:
        names = asked.contestants or [*_ENGINES, *(name for name in competitors.NAMES if competitors.environment(name))]
        contestants = tuple(map(Contestant.parse, names))
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    record = Record(asked.folder, asked.any_code, asked.retry, asked.minutes)
    wanted = list(Wanted(contestants, asked.seeds, tuple(asked.only), tuple(asked.tables)).trials())
    todo = [trial for trial in wanted if not record.finished(trial)]
    print(f"{len(wanted)} trials, {len(todo)} of them to run", flush=True)
    if asked.list:
        print("\n".join(f"{trial}, seed {trial.seed}" for trial in todo))
        return 0
    told = _run_all(record, todo, asked.workers)
    for count, (trial, words) in enumerate(told, start=1):
        print(f"{count}/{len(todo)} {trial}, seed {trial.seed}: {words}", flush=True)
        if count % _OFTEN == 0:
            record_table.publish(asked.folder, record.outcomes())
    record_table.publish(asked.folder, record.outcomes())
    return int(not all(map(record.finished, wanted)))


def _run_all(record: Record, todo: Sequence[Trial], workers: int) -> Iterator[tuple[Trial, str]]:
    """Each trial with how it went, as they end. After Ctrl-C nothing new is begun."""
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(record.run, trial): trial for trial in todo}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m silosynth.simulations.bench quality", description=__doc__)
    parser.add_argument("folder", type=Path, help="of outcomes; new, or begun before")
    only = "trials to run: TABLE, TABLE/ENGINE or TABLE/ENGINE/EPSILON, each part also with *; may be repeated"
    parser.add_argument("--only", action="append", default=[], metavar="T/E/EPS", help=only)
    parser.add_argument("--tables", nargs="*", default=[], help="others than those of the record, such as adult@500")
    engines = "engines, also as NAME[KEY=NUMBER,...], and competitors; all that are there, but for the GAN"
    parser.add_argument("--contestants", nargs="*", default=[], metavar="NAME", help=engines)
    parser.add_argument("--seeds", type=int, default=3, help="repetitions of studies, seeds 0, 1, ... (3)")
    parser.add_argument("--workers", type=int, default=1, help="trials at a time, each a process of one thread (1)")
    parser.add_argument("--minutes", type=float, default=120.0, help="the most one trial may take (120)")
    parser.add_argument("--any-code", action="store_true", help="let outcomes of other code stand")
    parser.add_argument("--retry", action="store_true", help="run trials that failed once more")
    parser.add_argument("--list", action="store_true", help="show what would run, and run nothing")
    return parser
