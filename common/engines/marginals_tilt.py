"""Weights for rows of a graphical model, by what was counted and the model cannot hold: the hybrid of both.

A model of bounded size holds few tables of many bins; dense numbers fill any. All pairs of columns were counted in a
few bins nevertheless, in order to choose, and so were tables of the target: where a model visibly misses some of them,
its rows are weighted towards them all. Post-processing of noisy totals, as everything here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from silosynth.common.arrays import Index, Real
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.marginals_choice import L1_OF_L2, errors
from silosynth.common.engines.marginals_generator import TOGETHER, TreeModel
from silosynth.common.engines.marginals_learning import Counted, one_way_measured
from silosynth.common.engines.marginals_tables import Table, Tables
from silosynth.common.engines.preparation import Preparation
from silosynth.common.engines.tilt import Grouped, Measured, Tilt, serving, weighted

GAIN: Final = 0.03
"""By which weights must bring drawn rows closer to the counts, in mean L1 distance of the screens' tables (0 to 2).

Weights cost something: the model's own rows are drawn evenly (systematic sampling), weighted ones are picked from twice
as many, and the screens' noise comes in. Where the gain was .04 and more (credit_default: three budgets, two sizes),
2-way distances fell by 7 to 19 %; where it was below .02 (Adult, ist, sdnist, diabetes130), they changed by -6 to 18 %.
"""

_FEWEST_ROWS, _MOST_ROWS, _MOST_CELLS = 8192, 40_000, 16_000_000  # that weights are fitted on; cells: rows x tables


@dataclass(frozen=True)
class Looked:
    """What a screen counted, and the frequencies of its cells in `rows` rows of a model, shape (cells,)."""

    counted: Counted
    frequencies: Real = field(repr=False)
    rows: int

    def missed(self, model: TreeModel, units: float) -> tuple[Table, ...]:
        """The tables that no clique holds and that the model is visibly off in."""
        off = errors(self.counted, units, self.frequencies, self.rows)
        cliques = [frozenset(clique) for clique in model.fitted.tree.cliques]
        visible = [table for table, error in zip(self.counted.tables, off.tolist(), strict=True) if error > 0]
        return tuple(table for table in visible if not any(clique.issuperset(table) for clique in cliques))


def tilt(
    model: TreeModel, prepared: Preparation, looks: Sequence[Looked], trust: float, rng: np.random.Generator
) -> Tilt | None:
    """The weights, or None: where the model misses nothing, or weights do not serve, or help little.

    None, too, below 4,096 units, and beyond about 1,950 tables (62 columns): there, the rows that weights can be fitted
    on in bounded time are too few.

    Towards the 1-ways and all tables of the screens. Not towards the chosen tables over all bins: they have more cells
    than a sample has rows, and weights would learn the sample (credit_default, epsilon 10: 2-way distance .100 became
    .116 with them, and falls without).

    Args:
        model: the graphical model, fitted.
        prepared: the bins and their noisy frequencies.
        looks: what the screens counted.
        trust: in the model's own distribution, as many units' worth as this times their number (tilt.serving).
        rng: of the model's rows.
    """
    if not any(look.missed(model, prepared.units) for look in looks):
        return None
    layout, measured = _towards(prepared, [look.counted for look in looks])
    rows = math.ceil(min(2 * prepared.units, _MOST_ROWS, _MOST_CELLS / len(layout.sizes)))
    if rows < _FEWEST_ROWS:
        return None
    bins, fresh = _bins(model, rows, rng), _bins(model, rows, rng)
    found = serving(bins, fresh, layout, measured, trust * prepared.units)
    if found is None:
        return None
    drawn = weighted(found, lambda count: _bins(model, count, rng), rows, rng)
    return found if _off(fresh, layout, measured) - _off(drawn, layout, measured) >= GAIN else None


def _off(bins: Index, layout: Grouped, measured: Measured) -> float:
    """Mean over tables of how far rows are from the counts in L1, the mean of the counts' noise taken off.

    Of rows that were not fitted to these counts, that is about how far they are from the truth; of weighted ones it is
    less than that, for they have learnt some of the noise, which GAIN must cover.
    """
    sizes = np.array(layout.sizes)
    counts = [np.bincount(at, minlength=size) for at, size in zip(layout.cells(bins), layout.sizes, strict=True)]
    squared = (np.concatenate(counts) / bins.shape[1] - measured.frequencies) ** 2 - measured.deviations**2
    by_table = np.add.reduceat(squared, np.cumsum(sizes) - sizes)
    return float(L1_OF_L2 * np.sqrt(np.maximum(by_table, 0) * sizes).mean())


def _bins(model: TreeModel, rows: int, rng: np.random.Generator) -> Index:
    """Bins of rows, shape (columns, rows), in a quarter of the memory: as int16."""
    blocks = (model.bins(min(TOGETHER, rows - begin), rng).astype(np.int16) for begin in range(0, rows, TOGETHER))
    return np.concatenate([*blocks], axis=1)


def _towards(prepared: Preparation, screened: Sequence[Counted]) -> tuple[Grouped, Measured]:
    single = [*one_way_measured(prepared)]
    whole = Coarsening(tuple(tuple(range(size)) for size in prepared.coarsening.sizes))
    groups = [Tables(whole, tuple(one.table for one in single)), *(counted.layout for counted in screened)]
    parts = [*single, *(one for counted in screened for one in counted.measured(prepared.units))]
    frequencies = np.concatenate([one.frequencies for one in parts])
    return Grouped(tuple(groups)), Measured(frequencies, np.concatenate([one.deviations for one in parts]))
