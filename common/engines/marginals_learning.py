"""From noisy totals to what a model is fitted to: counts as frequencies, with the deviation of their noise."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from silosynth.common import scale
from silosynth.common.arrays import Real, Vector
from silosynth.common.engines import marginals as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import OneWays
from silosynth.common.engines.marginals_fit import MeasuredTable
from silosynth.common.engines.marginals_tables import Screen, Table, Tables, screen, whole
from silosynth.common.engines.preparation import Preparation, estimated_units, prepare
from silosynth.common.study import Study

LEAST_DEVIATION: Final = 1.0
"""Of a count, in units: without noise, too, no more is asked of a model."""

FEWEST_BINS: Final = 8
LEAST_BINS: Final = 2
"""See affordable_bins."""


@dataclass(frozen=True)
class Counted:
    """Noisy counts of tables over merged bins, in units, and the deviation of the noise in each."""

    tables: tuple[Table, ...]
    screen: Screen
    counts: Real = field(repr=False)  # (cells of all tables,)
    deviation: float

    @property
    def layout(self) -> Tables:
        """Over the cells of the screen, of rows of bins."""
        merges = Coarsening(tuple(tuple(merge.tolist()) for merge in self.screen.merges))
        return Tables(merges, self.tables)

    def measured(self, units: float) -> Iterator[MeasuredTable]:
        """Table by table, as frequencies."""
        for table, counts in zip(self.tables, np.split(self.counts, self.layout.offsets[1:-1]), strict=True):
            merges = tuple(self.screen.merges[column] for column in table)
            yield MeasuredTable(table, merges, counts / units, np.full(counts.size, self.deviation / units))


def noise(study: Study, kind: str, tables: int) -> float:
    """Standard deviation of the noise in a count of so many tables, summed over all sites, in units."""
    return scale.count_deviation(tables, engine.step_of(study, kind).multiplier, study.shares, len(study.roster))


def prepared_from(study: Study, one_ways: Vector) -> Preparation:
    """What the noisy 1-ways tell, a total in grid units; a coded column keeps no more bins than an ordered one."""
    counts, deviation = one_ways / scale.HISTOGRAM_GRID, noise(study, engine.ONE_WAYS, len(study.schema.columns))
    units = estimated_units(np.split(counts, OneWays(study.schema.sizes).offsets[1:-1]))
    bins = affordable_bins(study, units)
    return _capped(study, prepare(study.schema, counts, deviation, bins), bins)


def affordable_bins(study: Study, units: float) -> int:
    """Bins of a column, at most: so many that a table of two such columns stands out of its noise.

    A cell of it then holds `usefulness` deviations of the noise on average (cf. theta in PrivBayes, Zhang et al. 2017),
    where a round counts two tables for each column. And so many that the target's table with each other column, which
    are always counted, fill at most the first round's part of the model. Free: the noise is public, and `units` comes
    from the noisy 1-ways.
    """
    columns, settled = len(study.schema.columns), engine.settings(study)
    held = math.isqrt(settled.cells // (settled.rounds * max(1, len(engine.with_each(study)))))
    most = min(settled.bins, max(held, LEAST_BINS))
    if all(step.kind != engine.MARGINALS for step in study.plan):
        return most  # a single column has no tables
    deviation = max(noise(study, engine.MARGINALS, 2 * columns), LEAST_DEVIATION)
    affordable = math.sqrt(units / (settled.usefulness * deviation))
    return min(most, max(FEWEST_BINS, round(min(affordable, most))))


def counted_from(study: Study, kind: str, merges: Screen, tables: tuple[Table, ...], total: Vector) -> Counted:
    """A total in grid units as counts in units."""
    deviation = max(noise(study, kind, len(tables)), LEAST_DEVIATION)
    return Counted(tables, merges, total / scale.HISTOGRAM_GRID, deviation)


def one_way_measured(prepared: Preparation) -> Iterator[MeasuredTable]:
    """The noisy 1-ways, in bins."""
    everything = whole(prepared)
    for column, (mass, deviations) in enumerate(zip(prepared.marginals, prepared.bin_deviations, strict=True)):
        least = np.maximum(deviations, LEAST_DEVIATION / prepared.units)
        yield MeasuredTable((column,), (everything.merges[column],), mass, least)


def _capped(study: Study, prepared: Preparation, most: int) -> Preparation:
    """The rarer codes of a column with more than `most` bins share one, which keeps their noisy frequencies within."""
    merges = screen(study.schema, prepared, most).merges
    marginals, within, deviations = list(prepared.marginals), list(prepared.within), list(prepared.bin_deviations)
    kept = list(merges)
    for at, (column, merge) in enumerate(zip(study.schema.columns, merges, strict=True)):
        if column.ordered:  # about as many bins as asked for already
            kept[at] = np.arange(marginals[at].size)
            continue
        mass: Real = np.bincount(merge, weights=marginals[at]).astype(np.float64)
        share = marginals[at] / np.where(mass > 0, mass, 1.0)[merge]
        share = np.where(mass[merge] > 0, share, 1 / np.bincount(merge)[merge])
        within[at] = within[at] * share[prepared.coarsening.arrays[at]]
        marginals[at] = mass
        deviations[at] = np.sqrt(np.bincount(merge, weights=deviations[at] ** 2))
    coarsening = Screen(prepared.coarsening, tuple(kept)).coarsening
    return replace(
        prepared,
        coarsening=coarsening,
        marginals=tuple(marginals),
        within=tuple(within),
        bin_deviations=tuple(deviations),
    )


def screens(study: Study, prepared: Preparation) -> dict[str, Screen]:
    """Which bins are merged for each kind of table."""
    settled, triples = engine.settings(study), engine.has_triples(study)
    return {
        engine.PAIRS: screen(study.schema, prepared, settled.pair_bins),
        engine.TARGET: screen(study.schema, prepared, settled.triple_bins if triples else settled.pair_bins),
        engine.MARGINALS: whole(prepared),
    }


def misfit(looks: Sequence[tuple[Counted, Real]], units: float, rows: int) -> float:
    """Chi-square per counted cell: squared distances in deviations of noise, about 1 where nothing else is missed.

    Args:
        looks: what was counted, with a model's frequencies of the same cells.
        units: about how many there are.
        rows: of the model, that the frequencies come from.
    """
    total, cells = 0.0, 0
    for counted, frequencies in looks:
        variances = counted.deviation**2 + units**2 * frequencies / rows
        total += float(((units * frequencies - counted.counts) ** 2 / variances).sum())
        cells += counted.counts.size
    return total / max(1, cells)
