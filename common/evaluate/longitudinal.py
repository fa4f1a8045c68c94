"""Persons with several rows: numbers of visits, gaps between them, dependence of successive rows, persons' summaries.

All distances are taken on samples of equally many persons, and a jackknife's group is a group of persons.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.case import Case, Found
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.intervals import JACKKNIFE
from silosynth.common.evaluate.scores import Better
from silosynth.common.evaluate.tables import Table, groups_of
from silosynth.common.schema import Kind, Schema

LEAST_PERSONS = 50
"""Persons below which a table is not compared."""

_SCORES: tuple[tuple[str, Better], ...] = (
    ("visit_counts", "lower"),
    ("visit_gaps", "lower"),
    ("lag1_difference", "lower"),
    ("person_summaries", "lower"),
)
_METHOD = JACKKNIFE.replace("synthetic rows", "synthetic persons")


@dataclass(frozen=True)
class Histories:
    """Rows sorted by person and, within a person, by time; persons are numbered from 0 without a gap."""

    table: Table
    person: Index = field(repr=False)

    @property
    def persons(self) -> int:
        """How many."""
        return int(self.person[-1]) + 1

    def of(self, chosen: NDArray[np.bool_]) -> "Histories":
        """The histories of `chosen` persons, (persons,)."""
        rows = np.flatnonzero(chosen[self.person])
        return Histories(self.table.take(rows), np.unique(self.person[rows], return_inverse=True)[1])


def histories(rows: Grouped, order: int | None) -> Histories:
    """Sorted by the column `order`, missing values last; by position where it is None."""
    when = np.zeros(rows.table.rows) if order is None else rows.table.columns[order]
    sort = np.lexsort((when, rows.units))
    return Histories(rows.table.take(sort), np.unique(rows.units[sort], return_inverse=True)[1])


def order_column(schema: Schema, rows: Grouped) -> int | None:
    """The column that orders a person's rows: a date that varies within persons, or a number that rises row by row."""
    plain = histories(rows, None)
    later = np.flatnonzero(plain.person[1:] == plain.person[:-1])
    steps = {at: _steps(plain.table.columns[at], later) for at, one in enumerate(schema.columns) if one.ordered}
    for at, step in steps.items():
        if schema.columns[at].kind in {Kind.DATE, Kind.DATETIME} and (np.nan_to_num(step) != 0).mean() > 1 / 2:
            return at
    return next((at for at, step in steps.items() if (step > 0).all()), None)


def _steps(values: Real, later: Index) -> Real:
    step: Real = values[later + 1] - values[later]
    return step


@dataclass(frozen=True)
class Profile:
    """What is compared of a table's histories. Of columns: one entry each, empty where it has no meaning."""

    visits: Index = field(repr=False)
    gaps: Real = field(repr=False)
    lags: tuple[float, ...]
    summaries: tuple[Real, ...] = field(repr=False)


def profile(of: Histories, coded: NDArray[np.bool_], order: int | None) -> Profile:
    """Visits and summaries by person, gaps by pair of successive rows, lag-1 dependence by column."""
    visits = np.bincount(of.person)
    later = np.flatnonzero(of.person[1:] == of.person[:-1])
    gaps = np.zeros(0)
    if order is not None:
        gaps = _steps(of.table.columns[order], later)
        gaps = gaps[~np.isnan(gaps)]
    lags, summaries = [], []
    for at, values in enumerate(of.table.columns):
        if at == order:
            continue
        lags.append((_stay if coded[at] else _correlation)(values[later], values[later + 1]))
        summaries.append((_codes if coded[at] else _means)(values, of.person))
    return Profile(visits, gaps, tuple(lags), tuple(summaries))


def _stay(one: Index, other: Index) -> float:
    """Share of successive rows with the same code, both being there."""
    have = (one >= 0) & (other >= 0)
    return float((one[have] == other[have]).mean()) if have.any() else math.nan


def _correlation(one: Real, other: Real) -> float:
    """Pearson correlation of successive rows; 0 where one of them is constant."""
    have = ~np.isnan(one) & ~np.isnan(other)
    x, y = one[have], other[have]
    if len(x) <= 1:
        return math.nan
    spread = float(x.std() * y.std())
    return float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else 0.0


def _codes(values: Index, person: Index) -> Real:
    """Number of distinct codes of each person, missing not counted."""
    pairs = np.unique(np.stack([person, values], axis=1)[values >= 0], axis=0)
    return np.bincount(pairs[:, 0], minlength=int(person[-1]) + 1).astype(np.float64)


def _means(values: Real, person: Index) -> Real:
    """Mean of each person who has a value."""
    have = ~np.isnan(values)
    many = np.bincount(person[have], minlength=int(person[-1]) + 1)
    sums = np.bincount(person[have], values[have], minlength=int(person[-1]) + 1)
    means: Real = sums[many > 0] / many[many > 0]
    return means


def compare(real: Profile, other: Profile) -> tuple[float, float, float, float]:
    """Kolmogorov-Smirnov distances of visits, of gaps, and, mean over columns, of summaries; |lag-1 difference|."""
    lags = [abs(a - (0.0 if math.isnan(b) else b)) for a, b in zip(real.lags, other.lags, strict=True)]
    summaries = [_ks(a, b) for a, b in zip(real.summaries, other.summaries, strict=True)]
    return (_ks(real.visits, other.visits), _ks(real.gaps, other.gaps), _mean(lags), _mean(summaries))


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _ks(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Largest difference of two distribution functions; 1 if the other has no value, NaN if the first has none."""
    if not len(one):
        return math.nan
    if not len(other):
        return 1.0
    levels = np.union1d(one, other)
    reached = (np.searchsorted(np.sort(side), levels, side="right") / len(side) for side in (one, other))
    return float(np.abs(np.subtract(*reached)).max())


def score_histories(case: Case, synthetic: Index | None, found: Found) -> None:
    """Scores of a table whose training persons have several rows; `synthetic`: whose each synthetic row is."""
    if len(case.train.units) == len(np.unique(case.train.units)):
        return
    if synthetic is None:
        found.notes.append(
            "synthetic rows belong to no person: numbers of visits, gaps and what follows on what are not measured"
        )
        return
    order = order_column(case.schema, case.train)
    if order is None:
        found.notes.append("no column orders a person's rows: they are taken as they stand, and gaps are not measured")
    persons = int(case.train.units.max()) + 1
    dealt = case.rng.integers(0, persons, case.floor.rows)
    sides = {"value": Grouped(case.synthetic, synthetic), "floor": Grouped(case.floor, dealt)}
    if len(np.unique(case.holdout.units)) >= LEAST_PERSONS:
        sides["ceiling"] = case.holdout
    all_of = {side: histories(rows, order) for side, rows in sides.items()}
    size = min(case.budget.persons, *(one.persons for one in all_of.values()))
    if size < LEAST_PERSONS:
        found.notes.append(f"visits and lags: fewer than {LEAST_PERSONS} persons")
        return
    found.rows["persons"] = size
    coded = np.array([bool(labels) for labels in case.labels])
    real = profile(histories(case.train, order), coded, order)
    measured = {side: _measured(real, one, size, coded, order, case.rng) for side, one in all_of.items()}
    found.tick("histories of persons")
    for at, (name, better) in enumerate(_SCORES):
        of_score = {side: one[:, at] for side, one in measured.items()}
        if all(np.isfinite(values[0]) for values in of_score.values()):
            most = 2.0 if name == "lag1_difference" else 1.0
            found.add_samples(name, of_score, better, most, method=_METHOD)


def _measured(
    real: Profile, of: Histories, size: int, coded: NDArray[np.bool_], order: int | None, rng: np.random.Generator
) -> Real:
    """All scores of `size` persons, then without one group of them at a time: (1 + groups, scores)."""
    sample = of.of(rng.permutation(of.persons) < size)
    groups = groups_of(np.arange(size), rng)
    kept = [np.ones(size, dtype=np.bool_), *(groups != out for out in range(int(groups.max()) + 1))]
    return np.array([compare(real, profile(sample.of(some), coded, order)) for some in kept])
