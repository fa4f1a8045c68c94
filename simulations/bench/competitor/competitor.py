"""One competitor, in the environment that install.sh made for it: rows as codes in, as many rows as codes out.

    python competitor.py NAME train.csv domain.json EPSILON DELTA SEED out.csv

NAME is one of
- mbi-aim, mbi-mst: AIM (McKenna et al. 2022) and MST (McKenna, Miklau, Sheldon 2021): the mechanisms of the mbi
  repository as they are, on its library of the same commit (the one on the package index, 2.0, no longer runs them),
  with the defaults of their command lines (all pairs of at most 10,000 cells, 80 MB, 1,000 iterations of inference).
- dpmm-aim: AIM of dpmm 0.1.9 with its own binning (PrivTree on a tenth of epsilon) and its defaults.
- copula: a Gaussian copula over the empirical columns; not private, for reference. Ours.

domain.json says of each column how many codes it has, and whether they are in an order.
"""

import importlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MECHANISMS = Path(sys.prefix) / "mechanisms"
"""Where install.sh puts those of the mbi repository, and its library beside them."""

_CELLS = 10_000
_MODEL_MB = float(os.environ.get("AIM_MODEL_MB", "80"))
_ITERATIONS = 1_000
_OF_BINS = 0.1
"""The share of epsilon that dpmm's binning gets."""


@dataclass(frozen=True)
class Task:
    """What a competitor is given. Codes have shape (rows, columns)."""

    codes: pd.DataFrame = field(repr=False)
    sizes: Mapping[str, int]
    ordered: Mapping[str, bool]
    epsilon: float
    delta: float
    seed: int


def mbi_aim(task: Task) -> pd.DataFrame:
    """AIM with the defaults of its command line."""
    data, module = _mbi(task, "aim")
    pairs = [pair for pair in itertools.combinations(data.domain, 2) if data.domain.size(pair) <= _CELLS]
    prng = np.random.RandomState(task.seed)
    mechanism = module.AIM(task.epsilon, task.delta, prng=prng, max_model_size=_MODEL_MB, max_iters=_ITERATIONS)
    _, made = mechanism.run(data, [(pair, 1.0) for pair in pairs], num_synth_rows=len(task.codes))
    return pd.DataFrame(made.to_dict())


def mbi_mst(task: Task) -> pd.DataFrame:
    """MST; it makes as many rows as it believes there are, of which the asked number is drawn.

    It takes no generator: its noise is new in every process, like that of our own engines.
    """
    data, module = _mbi(task, "mst")
    made = pd.DataFrame(module.MST(data, task.epsilon, task.delta).to_dict())
    return made.sample(len(task.codes), replace=len(made) < len(task.codes), random_state=task.seed)


def _mbi(task: Task, name: str) -> tuple[Any, Any]:
    """The rows as mbi wants them, and a mechanism's module."""
    sys.path.insert(0, str(MECHANISMS))
    mbi = importlib.import_module("mbi")
    columns = {column: values.to_numpy() for column, values in task.codes.items()}
    return mbi.Dataset(columns, mbi.Domain.fromdict(dict(task.sizes))), importlib.import_module(name)


def dpmm_aim(task: Task) -> pd.DataFrame:
    """AIM with bins of its own; a missing number (the last code) is NaN, which it gives a column of its own."""
    pipelines = importlib.import_module("dpmm.pipelines")
    rows, domain = task.codes.copy(), dict[str, dict[str, Any]]()
    for name, size in task.sizes.items():
        if task.ordered[name]:
            rows[name] = rows[name].astype(float).where(rows[name] < size - 1)
            domain[name] = {"lower": 0, "upper": size - 2}
        else:
            rows[name] = rows[name].astype(str).astype("category")
            domain[name] = {"categories": [str(code) for code in range(size)]}
    pipeline = pipelines.AIMPipeline(
        epsilon=(1 - _OF_BINS) * task.epsilon,
        delta=task.delta,
        proc_epsilon=_OF_BINS * task.epsilon,
        max_model_size=_MODEL_MB,
        n_jobs=1,
    )
    pipeline.fit(rows, domain=domain, random_state=np.random.RandomState(task.seed))
    made = pipeline.generate(n_records=len(rows), random_state=np.random.RandomState(task.seed))
    out = {}
    for name, size in task.sizes.items():
        if task.ordered[name]:
            values = made[name].astype(float)
            out[name] = values.round().clip(0, size - 2).fillna(size - 1).astype(int)
        else:
            out[name] = made[name].astype(str).astype(int)
    return pd.DataFrame(out)


def copula(task: Task) -> pd.DataFrame:
    """Normal scores of the columns (codes without an order: by frequency, jittered within a code), and their matrix."""
    special = importlib.import_module("scipy.special")
    rng, rows = np.random.default_rng(task.seed), len(task.codes)
    places = {name: _places(task, name) for name in task.sizes}
    uniform = np.column_stack([_lifted(*places[name], task.codes[name].to_numpy(), rng) for name in task.sizes])
    scores = special.ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))
    drawn = special.ndtr(
        rng.multivariate_normal(np.zeros(len(places)), np.corrcoef(scores.T), size=rows, method="eigh")
    )
    return pd.DataFrame(
        {
            name: order[np.minimum(np.searchsorted(ends, drawn[:, at], side="right"), len(order) - 1)]
            for at, (name, (order, ends)) in enumerate(places.items())
        }
    )


def _places(task: Task, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Codes in order, and where the share of each ends in [0, 1]."""
    counts = np.bincount(task.codes[name], minlength=task.sizes[name])
    order = np.arange(len(counts)) if task.ordered[name] else np.argsort(-counts, kind="stable")
    return order, np.cumsum(counts[order]) / counts.sum()


def _lifted(
    order: NDArray[np.int64], ends: NDArray[np.float64], codes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    place = np.argsort(order)[codes]
    starts = np.append(0.0, ends[:-1])
    lifted: NDArray[np.float64] = starts[place] + rng.random(len(codes)) * (ends - starts)[place]
    return lifted


COMPETITORS: Mapping[str, Callable[[Task], pd.DataFrame]] = {
    "mbi-aim": mbi_aim,
    "mbi-mst": mbi_mst,
    "dpmm-aim": dpmm_aim,
    "copula": copula,
}


def main(arguments: list[str]) -> int:
    """See the module."""
    name, train, domain, epsilon, delta, seed, out = arguments
    told = json.loads(Path(domain).read_text(encoding="utf-8"))
    sizes = {column: int(one["size"]) for column, one in told.items()}
    ordered = {column: bool(one["ordered"]) for column, one in told.items()}
    task = Task(pd.read_csv(train)[list(sizes)], sizes, ordered, float(epsilon), float(delta), int(seed))
    made = COMPETITORS[name](task)
    if len(made) != len(task.codes):
        raise ValueError("a competitor makes as many rows as it was given")
    made[list(sizes)].to_csv(out, index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
