"""Whole rows: can a model tell them from real ones, and are any of them copies?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.intervals import bootstrap_weights, curve, percentiles
from silosynth.common.evaluate.models import Boosting, Inputs
from silosynth.common.evaluate.tables import Table

FOLDS = 3


@dataclass(frozen=True)
class Grouped:
    """Rows and the unit (person) each belongs to."""

    table: Table
    units: Index = field(repr=False)

    def sample(self, rows: int, rng: np.random.Generator) -> "Grouped":
        """As many rows, without replacement."""
        chosen = rng.permutation(self.table.rows)[:rows]
        return Grouped(self.table.take(chosen), np.unique(self.units[chosen], return_inverse=True)[1])


@dataclass(frozen=True)
class Detected:
    """AUC of a detector and its interval; (1 + draws,) bootstrap draws of it, the first being itself."""

    auc: float
    interval: tuple[float, float] | None
    draws: Real = field(repr=False)


def detection(real: Grouped, other: Grouped, of: Inputs, rng: np.random.Generator) -> Detected | None:
    """AUC of gradient boosting that tells `other` from `real` rows, cross-fitted over three folds; .5 is chance.

    A unit's rows share a fold: otherwise a detector recognises persons rather than reality. The AUC is taken in each
    fold and averaged, because scores of different models have no common scale. None if a fold lacks a side.
    """
    rows = _stack([real.table, other.table])
    truth = np.repeat([0, 1], [real.table.rows, other.table.rows])
    units = np.concatenate([real.units, other.units + int(real.units.max()) + 1])
    fold = rng.permutation(np.arange(int(units.max()) + 1) % FOLDS)[units]
    weights = bootstrap_weights(units, rng)
    aucs = []
    for held in range(FOLDS):
        learn, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        if min(np.bincount(truth[learn], minlength=2).min(), np.bincount(truth[test], minlength=2).min()) <= 1:
            return None
        seed = int(rng.integers(2**31))
        found = Boosting(of).probabilities(rows.take(learn), truth[learn], rows.take(test), seed)[:, 1]
        aucs.append(curve(found, truth[test] == 1, weights[:, test]).auc)
    mean = np.mean(aucs, axis=0)
    # folds share rows, so that the luck of one is not apart from that of another: their spread counts beside the draws
    luck = float(np.std([one[0] for one in aucs], ddof=1)) / np.sqrt(FOLDS)
    mean[1:] += luck * rng.normal(size=len(mean) - 1)
    return Detected(float(mean[0]), percentiles(mean), mean)


def _stack(tables: Sequence[Table]) -> Table:
    columns = tuple(np.concatenate(column) for column in zip(*(table.columns for table in tables), strict=True))
    return Table(columns, sum(table.rows for table in tables))


def copies(train: Table, other: Table, spans: Sequence[float]) -> int:
    """Rows of `other` equal to some training row in every column."""
    return int(copied(other, train, spans).sum())


def copied(table: Table, among: Table, spans: Sequence[float]) -> NDArray[np.bool_]:
    """Which rows of `table` equal some row of `among` in every column, to 12 digits of a column's span.

    Rows are compared by 64-bit hashes: with 10^5 rows on each side a chance collision has probability 10^-9.
    """
    return np.isin(_hashes(table, spans), _hashes(among, spans))


def _hashes(table: Table, spans: Sequence[float]) -> NDArray[np.uint64]:
    combined = np.zeros(table.rows, dtype=np.uint64)
    for column, span in zip(table.columns, spans, strict=True):
        values = column
        if column.dtype == np.float64:
            steps = np.round(column / (span or 1.0) * 1e12)
            values = np.where(np.isnan(steps), np.iinfo(np.int64).min, steps).astype(np.int64)
        mixed = pd.util.hash_array(values.astype(np.int64))
        combined = pd.util.hash_array((combined * np.uint64(0x9E3779B97F4A7C15) + mixed).view(np.int64))
    return combined
