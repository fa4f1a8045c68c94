"""Weights for rows of a graphical model, by what was counted and the model cannot hold: the hybrid of both.

A model of bounded size holds few tables of many bins; dense numbers fill any. All pairs of columns were counted in a
few bins nevertheless, in order to choose, and what a model visibly misses of them its rows can still be weighted by.
Post-processing of noisy totals, as everything here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from silosynth.common.arrays import Real
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.marginals_choice import errors
from silosynth.common.engines.marginals_fit import Measured as MeasuredTable
from silosynth.common.engines.marginals_generator import TreeModel
from silosynth.common.engines.marginals_learning import Counted, one_way_measured
from silosynth.common.engines.marginals_tables import Table, Tables
from silosynth.common.engines.preparation import Preparation
from silosynth.common.engines.tilt import MOST_CELLS, Grouped, Measured, Tilt, effective_share, serving

EVEN: Final = 0.95
"""Effective share of rows above which weights are not used: they would change less than drawing by them costs.

The model's own rows are drawn evenly (systematic sampling), weighted ones are picked from twice as many.
"""

_MOST_ROWS: Final = 60_000


@dataclass(frozen=True)
class Looked:
    """What was counted, and the frequencies of its cells in `rows` rows of a model."""

    counted: Counted
    frequencies: Real
    rows: int

    def missed(self, model: TreeModel, units: float) -> frozenset[Table]:
        """The tables that no clique holds and that the model is visibly off in."""
        off = errors(self.counted, units, self.frequencies, self.rows)
        cliques = [frozenset(clique) for clique in model.fitted.tree.cliques]
        visible = (table for table, error in zip(self.counted.tables, off.tolist(), strict=True) if error > 0)
        return frozenset(table for table in visible if not any(clique.issuperset(table) for clique in cliques))


def tilt(
    model: TreeModel, prepared: Preparation, looks: Sequence[Looked], trust: float, rng: np.random.Generator
) -> Tilt | None:
    """The weights, or None: where the model misses nothing, or weights do not serve, or hardly vary.

    Towards the missed tables, and towards the 1-ways and all chosen tables, so that those stay what they are.

    Args:
        model: the graphical model, fitted.
        prepared: the bins and their noisy frequencies.
        looks: all that was counted.
        trust: in the model's own distribution, as many units' worth as this times their number (tilt.serving).
        rng: of the model's rows.
    """
    missed = [look.missed(model, prepared.units) for look in looks]
    if not any(missed):
        return None
    groups, measured = _towards(prepared, looks, missed)
    layout = Grouped(groups)
    rows = math.ceil(min(2 * prepared.units, _MOST_ROWS, MOST_CELLS / len(layout.sizes)))
    fresh = model.bins(rows, rng)
    found = serving(model.bins(rows, rng), fresh, layout, measured, trust * prepared.units)
    return found if found is not None and effective_share(found.log_weights(fresh)) <= EVEN else None


def _towards(
    prepared: Preparation, looks: Sequence[Looked], missed: Sequence[frozenset[Table]]
) -> tuple[tuple[Tables, ...], Measured]:
    singles = [*one_way_measured(prepared)]
    whole = Coarsening(tuple(tuple(range(size)) for size in prepared.coarsening.sizes))
    groups, parts = [Tables(whole, tuple(one.table for one in singles))], singles
    for look, off in zip(looks, missed, strict=True):
        counted = look.counted
        chosen = counted.screen.coarsening.sizes == prepared.coarsening.sizes
        kept = [one for one in counted.measured(prepared.units) if chosen or one.table in off]
        if kept:
            groups.append(Tables(counted.layout.coarsening, tuple(one.table for one in kept)))
            parts += kept
    return tuple(groups), _joined(parts)


def _joined(parts: Iterable[MeasuredTable]) -> Measured:
    frequencies, deviations = zip(*((one.frequencies, one.deviations) for one in parts), strict=True)
    return Measured(np.concatenate(frequencies), np.concatenate(deviations))
