"""What a report costs: scores, attacks, page and certificate of one published table, in a process of its own.

Its tables have what real ones have: numbers with a long tail, codes (2 to 300 of them), missing values, a constant, a
column without any value. CPU seconds and memory are of that process alone, on one thread; making the tables and
importing are counted in memory, not in time.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pandas as pd

from silosynth.common.certificate import Noise, claims
from silosynth.common.evaluate import evaluate, metrics_file
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.report import render
from silosynth.common.evaluate.sections import Scope
from silosynth.common.plan import resolve
from silosynth.common.progress import Progress
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Study
from silosynth.common.verify import CERTIFICATE
from silosynth.common.verify_receipts import everybody
from silosynth.server.bundle import REPORT, hashes_of
from silosynth.server.certificate import completed
from silosynth.server.files import write_json, write_text
from silosynth.simulations.bench.results import Row

_CODES: Final = (2, 12, 40, 300)
_LATENT: Final = 4
_SITES: Final = 5
_HELD_OUT: Final = 4  # training rows to one of these
_MOST_MB: Final = 2_000


@dataclass(frozen=True)
class Size:
    """Of a table, and the CPU seconds that its report may take."""

    rows: int
    columns: int
    bar_s: float


SIZES: Final = (Size(40_000, 15, 60), Size(100_000, 50, 300))


@dataclass(frozen=True)
class Cost:
    """CPU seconds and memory at its highest, and what there was for it: scores, attacks, bytes of the page."""

    cpu_s: float
    peak_mb: float
    scores: int
    attacks: int
    page_bytes: int


def report(progress: Progress) -> Iterator[Row]:
    """Each size once: what is measured varies by far less than it is from its bar."""
    for at, size in enumerate(SIZES):
        progress("report", at, len(SIZES), f"{size.rows:,} x {size.columns}")
        cost = measured(size.rows, size.columns)
        name = f"{size.rows:,} x {size.columns}"
        method = f"one process, one thread; {cost.scores} scores, {cost.attacks} attacks, page, certificate"
        yield Row("report", f"{name}, CPU", cost.cpu_s, "s", None, method, "lower", bar=size.bar_s)
        yield Row("report", f"{name}, memory", cost.peak_mb, "MB", None, method, "lower", bar=_MOST_MB)


def measured(rows: int, columns: int) -> Cost:
    """What the report of a table of this size costs in a process of its own."""
    command = [sys.executable, "-m", __name__, str(rows), str(columns)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603  # nothing from outside
        command, stdout=subprocess.PIPE, check=True, env={**os.environ, **one_thread}
    )
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def schema(columns: int) -> Schema:
    """Numbers and codes in turns."""
    return Schema(
        tuple(
            Column(f"c{at}", Kind.CATEGORICAL, codes=tuple(f"v{code}" for code in range(_codes(at))))
            if at % 2
            else Column(f"c{at}", Kind.NUMBER if at % 4 else Kind.INTEGER, low=-1e5, high=1e5)
            for at in range(columns)
        )
    )


def table(of: Schema, rows: int, seed: int) -> pd.DataFrame:
    """Typed rows: each column is a latent one of four, and as much noise."""
    rng = np.random.default_rng(seed)
    latent, out = rng.normal(size=(rows, _LATENT)), dict[str, Any]()
    for at, column in enumerate(of.columns):
        x = latent[:, at % _LATENT] + rng.normal(size=rows)
        if column.coded:
            place = np.clip(((x + 4) / 8 * _codes(at)).astype(int), 0, _codes(at) - 1)
            out[column.name] = pd.Categorical.from_codes(place, categories=pd.Index(column.labels))
        else:
            out[column.name] = np.exp(x) if at % 4 else np.round(x * 100)
    frame = pd.DataFrame(out)
    frame.loc[rng.random(rows) < 0.1, "c0"] = np.nan  # noqa: PLR2004  # a tenth is missing
    return frame.assign(c4=np.nan, c6=3.0)


def _codes(at: int) -> int:
    return _CODES[at // 2 % len(_CODES)]


def _cost(rows: int, columns: int) -> Cost:
    """Make the tables, and then, on the clock, all that is said of them."""
    of = schema(columns)
    train, holdout, synthetic = table(of, rows, 1), table(of, rows // _HELD_OUT, 2), table(of, rows, 3)
    study = Study("report", of, Budget(1.0, 1e-5, 1), target="c1")
    study = resolve(study, tuple(Member(f"s{k}", rows) for k in range(_SITES)))
    began = time.process_time()
    scores = evaluate(of, train, holdout, synthetic, "c1", seed=0, attack=True)
    with TemporaryDirectory() as folder:
        content = metrics_file.to_json(Metrics(scores, Scope.SIMULATION, 0))
        write_json(Path(folder) / "metrics.json", content)
        paper = claims(study, study.releases, Noise.SYSTEM, everybody(study))
        page = render(metrics_file.read(content), completed(paper, hashes_of(Path(folder)), {}), study)
        write_text(Path(folder) / REPORT, page)
        write_json(Path(folder) / CERTIFICATE, completed(paper, hashes_of(Path(folder)), {}))
    attacks = scores.sections.attacks
    return Cost(
        round(time.process_time() - began, 2),
        round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        len(scores.scores),
        0 if attacks is None else len(attacks.rows),
        len(page.encode()),
    )


if __name__ == "__main__":
    print(json.dumps(vars(_cost(int(sys.argv[1]), int(sys.argv[2])))))
