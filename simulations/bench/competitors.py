"""Competitors: other people's generators, given all rows in one place, each in an environment of its own.

None is a dependency. bench/competitor/install.sh makes the environments in a folder, which SILOSYNTH_COMPETITORS names;
a competitor is the program bench/competitor/competitor.py run there: it is given the training rows as codes of public
cells, with how many a column has (domain.json), and writes codes. What is private about it is its authors' claim.

Public cells are those of the schema. Of an ordered column they are merged to about BINS bins of equal width on the
schema's scale, cells of exact values (zero, bounds, declared values) and missing kept apart; back from a bin, a cell is
drawn uniformly. A competitor that bins by itself is given the cells unmerged, as numbers.
"""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd

from silosynth.common.arrays import Codes, Index
from silosynth.common.errors import NotPossible
from silosynth.common.schema import Column
from silosynth.common.study import Study

BINS: Final = 100
ENVIRONMENTS: Final = "SILOSYNTH_COMPETITORS"
PROGRAM: Final = Path(__file__).resolve().parent / "competitor" / "competitor.py"

NAMES: Final[Mapping[str, str]] = {
    "mbi-aim": "mbi",
    "mbi-mst": "mbi",
    "dpmm-aim": "dpmm",
    "copula": "mbi",
}
"""Each competitor with the name of its environment."""

_BINS_BY_ITSELF: Final = ("dpmm-aim", "copula")
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ALONE: Final = dict.fromkeys(_THREADS, "1") | {
    "JAX_ENABLE_COMPILATION_CACHE": "false"
}  # which slows mbi down, it says


@dataclass(frozen=True)
class Merged:
    """Bins of a column's cells: those of bin b are `first[b]` to `first[b + 1] - 1`."""

    first: Index = field(repr=False)

    def into(self, cells: Index) -> Index:
        """The bin of each cell."""
        return np.searchsorted(self.first, cells, side="right") - 1

    def back(self, bins: Index, size: int, rng: np.random.Generator) -> Index:
        """A cell drawn uniformly from each bin, of a column with `size` cells."""
        width = np.diff(np.append(self.first, size))
        return self.first[bins] + np.floor(rng.random(len(bins)) * width[bins]).astype(np.int64)


def synthesise(name: str, study: Study, train: pd.DataFrame, epsilon: float, seed: int) -> tuple[pd.DataFrame, float]:
    """As many synthetic rows as there are training rows, typed; and seconds of the competitor's process.

    Raises NotPossible where its environment is not there, or where it fails.
    """
    python = environment(name)
    if python is None:
        raise NotPossible(
            f"{name} is not installed: run bench/competitor/install.sh and set {ENVIRONMENTS} to its folder"
        )
    rng, schema = np.random.default_rng([seed, 0x21]), study.schema
    bins = [merged(column, most=None if name in _BINS_BY_ITSELF else BINS) for column in schema.columns]
    codes = schema.encode(train).astype(np.int64)
    with TemporaryDirectory() as folder:
        rows, domain, out = (Path(folder) / file for file in ("train.csv", "domain.json", "out.csv"))
        names = [f"c{at}" for at in range(len(bins))]  # a competitor need not bear with the names of real columns
        shown = np.column_stack([one.into(codes[:, at]) for at, one in enumerate(bins)])
        pd.DataFrame(shown, columns=names).to_csv(rows, index=False)
        told = {
            name: {"size": len(one.first), "ordered": column.ordered}
            for name, one, column in zip(names, bins, schema.columns, strict=True)
        }
        domain.write_text(json.dumps(told), encoding="utf-8")
        began = time.monotonic()
        _run([str(python), str(PROGRAM), name, rows, domain, f"{epsilon:.12g}", f"{study.budget.delta:g}", seed, out])
        wall_s = time.monotonic() - began
        made = pd.read_csv(out)[names].to_numpy(np.int64)
    cells: Codes = np.column_stack(
        [
            one.back(made[:, at], column.size, rng)
            for at, (one, column) in enumerate(zip(bins, schema.columns, strict=True))
        ]
    ).astype(np.int32)
    return schema.decode(cells, rng), wall_s


def environment(name: str) -> Path | None:
    """The competitor's interpreter; None where it is not installed."""
    folder = os.environ.get(ENVIRONMENTS)
    python = Path(folder or ".") / NAMES[name] / "bin" / "python"
    return python if folder and PROGRAM.exists() and python.exists() else None


def _run(command: list[object]) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, env=os.environ | _ALONE, capture_output=True, text=True, check=False)  # noqa: S603  # our own program and files
    if done.returncode:
        last = (done.stderr.strip() or "no words").splitlines()[-1]
        raise NotPossible(f"{words[2]} failed with exit code {done.returncode}: {last[:300]}")


def merged(column: Column, most: int | None) -> Merged:
    """At most about `most` bins: equal numbers of neighbouring cells between cells of exact values."""
    if most is None or not column.ordered or column.size <= most:
        return Merged(np.arange(column.size))
    size = column.size - 1  # the last is missing
    step = -(-size // most)
    apart = [] if column.per_unit == 1 and size == column.grid.last[-1] - column.grid.first[0] + 1 else _exact(column)
    starts = {*range(0, size, step), *apart, *(cell + 1 for cell in apart), size}
    return Merged(np.array(sorted(starts)))


def _exact(column: Column) -> list[int]:
    """Cells of bounds, of zero and of declared values."""
    low, high = column.bounds
    zero = [0.0] if low <= 0 <= high else []
    return [int(cell) for cell in np.unique(column.grid.encode(np.array([low, *zero, *column.special, high])))]
