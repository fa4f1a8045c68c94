"""Which tables to count: greedily, from noisy totals alone, hence as post-processing and free of charge.

A table is worth its budget where the model, summed to the coarse bins of the screen, is further from the noisy coarse
counts than their noise explains. No exponential mechanism: its score, a distance to exact counts, is not a sum over
sites; noisy coarse tables are, and serve every round (cf. PrivSyn, Zhang et al. 2021; AIM, McKenna et al. 2022).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from silosynth.common.arrays import Index, Real
from silosynth.common.engines.marginals_learning import Counted
from silosynth.common.engines.marginals_tables import MOST_CELLS, Table

_L1_OF_L2: Final = math.sqrt(2 / math.pi)
"""Mean absolute value of a normal number over its deviation."""

_KEPT: Final = 0.6
"""Share of the noise of a counted table that a model fitted to many tables keeps."""


def errors(coarse: Counted, units: float, frequencies: Real, rows: int) -> Real:
    """About how far a model is from the truth in each coarse table, in units of L1, shape (tables,).

    The model's `frequencies` of all cells come from `rows` rows of it. Their variance and that of the noise are taken
    off the squared distance.
    """
    sampling = units**2 * frequencies / rows
    squared = (units * frequencies - coarse.counts) ** 2 - coarse.deviation**2 - sampling
    offsets = coarse.layout.offsets
    left: Real = np.maximum(np.add.reduceat(squared, offsets[:-1]), 0.0)
    return _L1_OF_L2 * np.sqrt(left * np.diff(offsets))


@dataclass(frozen=True)
class Candidates:
    """Tables that may be counted, by falling error, with their cells in full bins."""

    tables: tuple[Table, ...]
    errors: Real = field(repr=False)
    cells: Index = field(repr=False)


def candidates(sizes: Sequence[int], tables: Sequence[Table], found: Real, counted: Sequence[Table]) -> Candidates:
    """Tables with their errors, but for those that were counted before."""
    known = set(counted)
    order = [at for at in np.argsort(-found, kind="stable").tolist() if tables[at] not in known]
    kept = tuple(tables[at] for at in order)
    cells = np.array([math.prod(sizes[column] for column in table) for table in kept], dtype=np.int64)
    return Candidates(kept, found[order], cells)


def chosen(
    among: Candidates, deviation_of_one: float, units: float, fits: Callable[[Sequence[Table]], bool]
) -> tuple[Table, ...]:
    """The tables to count next; none where nothing may be chosen.

    All counted together have noise of deviation `deviation_of_one` times the root of their number. Greedy by error; of
    all beginnings of that list, the one whose tables' noise and other tables' errors add up to the least.

    Args:
        among: what may be chosen.
        deviation_of_one: of the noise in each count, in units, were one table counted.
        units: about how many there are: no table can be further off than twice that.
        fits: whether the model can hold such tables, beside what it holds.
    """
    taken: list[int] = []
    best, least, cells = 0, math.inf, 0
    left = float(among.errors.sum())
    for at, (table, error, size) in enumerate(zip(among.tables, among.errors, among.cells.tolist(), strict=True)):
        if error <= 0 and taken:
            break
        if cells + size > MOST_CELLS or not fits([*(among.tables[one] for one in taken), table]):
            continue
        taken.append(at)
        cells += size
        left -= float(error)
        deviation = deviation_of_one * math.sqrt(len(taken))
        noise = float(np.minimum(_L1_OF_L2 * _KEPT * deviation * among.cells[taken], 2 * units).sum())
        if left + noise < least:
            best, least = len(taken), left + noise
    return tuple(among.tables[at] for at in taken[:best])
