"""Which tables to count: greedily, from noisy totals alone, hence as post-processing and free of charge.

A table is worth its budget where the model, summed to the coarse bins of the screen, is further from the noisy coarse
counts than their noise explains. No exponential mechanism: its score, a distance to exact counts, is not a sum over
sites; noisy coarse tables are, and serve every round (cf. PrivSyn, Zhang et al. 2021; AIM, McKenna et al. 2022).
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from silosynth.common.arrays import Index, Real
from silosynth.common.engines.marginals_learning import Counted
from silosynth.common.engines.marginals_tables import MOST_CELLS, Table

L1_OF_L2: Final = math.sqrt(2 / math.pi)
"""Mean absolute value of a normal number over its deviation."""

_LEFT: Final = 0.6 * L1_OF_L2
"""Mean absolute noise in a cell of a fitted model over the deviation in its count: a model averages much of it out."""

_TINY: Final = 1e-12


def errors(coarse: Counted, units: float, frequencies: Real, rows: int) -> Real:
    """About how far a model is from the truth in each coarse table, in units of L1, shape (tables,).

    The model's `frequencies` of all cells come from `rows` rows of it. Their variance and that of the noise are taken
    off the squared distance, and what chance alone may have left over in the largest of so many tables counts for
    nothing (the universal threshold, Donoho, Johnstone 1994): among 1,540 pairs of a wide table most would be noise.
    """
    variance = coarse.deviation**2 + units**2 * frequencies / rows
    offsets = coarse.layout.offsets
    squared = np.add.reduceat((units * frequencies - coarse.counts) ** 2 - variance, offsets[:-1])
    chance = np.sqrt(2 * np.add.reduceat(variance**2, offsets[:-1]))
    seen = squared > math.sqrt(2 * math.log(len(coarse.tables))) * chance
    found: Real = L1_OF_L2 * np.sqrt(np.where(seen, squared, 0.0) * np.diff(offsets))
    return found


@dataclass(frozen=True)
class Candidates:
    """Tables that may be counted, those first that are off the most.

    `errors` are L1 distances in units if they are not counted: the model's, or what is left of the noise of tables
    that were counted before; `deviations` that noise, infinite for all others; `cells` in full bins. Shape (tables,).
    """

    tables: tuple[Table, ...]
    errors: Real = field(repr=False)
    deviations: Real = field(repr=False)
    cells: Index = field(repr=False)

    @classmethod
    def of(cls, sizes: Sequence[int], off: Mapping[Table, float], counted: Mapping[Table, float]) -> "Candidates":
        """Of the errors of coarse tables, and the deviations of counted ones; a counted one is off by its noise."""
        cells = {table: math.prod(sizes[column] for column in table) for table in (*off, *counted)}
        found = {**off, **{table: cells[table] * _LEFT * deviation for table, deviation in counted.items()}}
        tables = tuple(sorted(found, key=lambda table: (-found[table], table)))
        return cls(
            tables,
            np.array([found[table] for table in tables]),
            np.array([counted.get(table, math.inf) for table in tables]),
            np.array([cells[table] for table in tables], dtype=np.int64),
        )


def chosen(
    among: Candidates,
    deviation_of_one: float,
    units: float,
    fits: Callable[[Sequence[Table]], bool],
    first: Collection[Table] = (),
) -> tuple[Table, ...]:
    """The tables to count next; none where nothing may be chosen.

    All counted together have noise of deviation `deviation_of_one` times the root of their number. Greedy by error,
    after those that are wanted in any case; of all beginnings of that list that hold these, the one whose tables' noise
    and other tables' errors add up to the least.

    Args:
        among: what may be chosen.
        deviation_of_one: of the noise in each count, in units, were one table counted.
        units: about how many there are: no table can be further off than twice that.
        fits: whether the model can hold such tables, beside what it holds.
        first: those wanted in any case; the model can hold them.
    """
    taken = [at for at, table in enumerate(among.tables) if table in first]
    wanted, cells = frozenset(taken), int(among.cells[taken].sum())

    def off() -> float:
        precisions = among.deviations[taken] ** -2.0 + 1 / max(deviation_of_one**2 * len(taken), _TINY)
        noise = np.minimum(_LEFT * among.cells[taken] / np.sqrt(precisions), 2 * units)
        return float(among.errors.sum() - among.errors[taken].sum() + noise.sum())

    best, least = len(taken), off() if taken else math.inf
    for at, (table, error, size) in enumerate(zip(among.tables, among.errors, among.cells.tolist(), strict=True)):
        if at in wanted:
            continue
        if error <= 0 and taken:
            break
        if cells + size > MOST_CELLS or not fits([*(among.tables[one] for one in taken), table]):
            continue
        taken.append(at)
        cells += size
        if (found := off()) < least:
            best, least = len(taken), found
    return tuple(among.tables[at] for at in taken[:best])
