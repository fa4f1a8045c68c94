"""Likeness of pairs and marginals. Every function measures all views of a panel at once: shape (items, views).

Pair trends are SDMetrics' (Patki, Wedge, Veeramachaneni 2016; the definitions of SDMetrics 0.32's
QualityReport with its default thresholds), counted without its per-pair loops and without its random subsample.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.tables import Cells, Panel, Table, binning

STRONG_CORRELATION = 0.5
STRONG_ASSOCIATION = 0.3
"""A pair counts in SDMetrics' pair trends if its training rows' |Pearson r| or Cramer's V exceeds these."""


@dataclass(frozen=True)
class Sides:
    """Training rows and a panel over the same columns; `labels[j]` is empty where column j is ordered."""

    train: Table
    panel: Panel
    labels: tuple[tuple[str, ...], ...] = field(repr=False)

    @property
    def coded(self) -> NDArray[np.bool_]:
        """Which columns hold codes, (columns,)."""
        return np.array([bool(labels) for labels in self.labels], dtype=np.bool_)


@dataclass(frozen=True)
class Counted:
    """Cells of all columns, on both sides, ready to be crossed."""

    own: tuple[Cells, ...] = field(repr=False)
    other: tuple[Cells, ...] = field(repr=False)
    sizes: tuple[int, ...]


def marginal_cells(sides: Sides) -> Counted:
    """At most 20 equal-frequency bins of the training rows, or codes; missing is a cell of its own."""
    bins = [binning(values, labels) for values, labels in zip(sides.train.columns, sides.labels, strict=True)]
    return Counted(
        tuple(one(values) for one, values in zip(bins, sides.train.columns, strict=True)),
        tuple(one(values) for one, values in zip(bins, sides.panel.table.columns, strict=True)),
        tuple(one.size for one in bins),
    )


def distances(sides: Sides, cells: Counted, subsets: Sequence[Sequence[int]]) -> Real:
    """Total variation distance to the training rows of one marginal per subset of columns, (subsets, views)."""
    out = np.empty((len(subsets), len(sides.panel.views)))
    for at, subset in enumerate(subsets):
        own, shares = sides.panel.shares(*cross(cells, subset))
        out[at] = np.abs(shares - own).sum(axis=1) / 2
    return out


@dataclass(frozen=True)
class PairTrends:
    """SDMetrics' similarity of each pair, (pairs, views), and which pairs its default thresholds count."""

    similarity: Real
    strong: NDArray[np.bool_]


@dataclass(frozen=True)
class TrendTables:
    """What `pair_trends` needs of every column, made once."""

    cells: Counted
    place: dict[int, int]  # of an ordered column in the correlation matrices
    own: Real = field(repr=False)  # (ordered, ordered)
    seen: Real = field(repr=False)  # (views, ordered, ordered)


def trend_tables(sides: Sides) -> TrendTables:
    """Equal-width cells of all columns and correlations of the ordered ones."""
    numeric = np.flatnonzero(~sides.coded)
    own, seen = _correlations(sides, numeric)
    return TrendTables(_equal_width_cells(sides), {int(column): at for at, column in enumerate(numeric)}, own, seen)


def pair_trends(sides: Sides, tables: TrendTables, pairs: Sequence[tuple[int, int]]) -> PairTrends:
    """SDMetrics' column pair trends.

    Two ordered columns: 1 - |difference of Pearson correlations| / 2, NaN where one is undefined. Otherwise 1 - total
    variation of the two-way table, an ordered column cut into ten equal-width bins of its own table's range (so that,
    as in SDMetrics, a shift of the whole range goes unseen), its missing values counted with its largest.
    """
    similarity = np.full((len(pairs), len(sides.panel.views)), np.nan)
    strong = np.zeros(len(pairs), dtype=np.bool_)
    cells, place = tables.cells, tables.place
    for at, (first, second) in enumerate(pairs):
        if first in place and second in place:
            real = tables.own[place[first], place[second]]
            if real != 0:
                similarity[at] = 1 - np.abs(tables.seen[:, place[first], place[second]] - real) / 2
            strong[at] = abs(real) > STRONG_CORRELATION
        else:
            shape = (cells.sizes[first], cells.sizes[second])
            crossed = cross(cells, (first, second))
            expected, shares = sides.panel.shares(*crossed)
            similarity[at] = 1 - np.abs(shares - expected).sum(axis=1) / 2
            strong[at] = cramers_v(np.bincount(crossed[0], minlength=crossed[2]).reshape(shape)) > STRONG_ASSOCIATION
    return PairTrends(similarity, strong)


def cramers_v(counts: NDArray[Any]) -> float:
    """Cramer's V of a table of counts, its empty rows and columns left out; NaN if it has fewer than two of either."""
    table = counts[counts.any(axis=1)][:, counts.any(axis=0)].astype(np.float64)
    if min(table.shape) <= 1:
        return float("nan")
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    phi_squared = ((table - expected) ** 2 / expected).sum() / table.sum()
    return float(np.sqrt(phi_squared / (min(table.shape) - 1)))


def cross(cells: Counted, subset: Sequence[int]) -> tuple[Index, Index, int]:
    """Cells of the table of `subset`, last column fastest: of training rows, of stacked rows; and their number."""
    own = np.zeros(len(cells.own[0]), dtype=np.int64)
    other = np.zeros(len(cells.other[0]), dtype=np.int64)
    size = 1
    for column in subset:
        own = own * cells.sizes[column] + cells.own[column]
        other = other * cells.sizes[column] + cells.other[column]
        size *= cells.sizes[column]
    return own, other, size


def _equal_width_cells(sides: Sides) -> Counted:
    own: list[Cells] = []
    other: list[Cells] = []
    sizes: list[int] = []
    for at, (values, stacked) in enumerate(zip(sides.train.columns, sides.panel.table.columns, strict=True)):
        if sides.labels[at]:
            codes = binning(values, sides.labels[at])
            own.append(codes(values))
            other.append(codes(stacked))
            sizes.append(codes.size)
        else:
            own.append(_ten_bins(values))
            other.append(np.concatenate([_ten_bins(stacked[block]) for block in sides.panel.blocks]))
            sizes.append(12)
    return Counted(tuple(own), tuple(other), tuple(sizes))


def _ten_bins(values: Real) -> Cells:
    edges = np.histogram_bin_edges(values[~np.isnan(values)])
    return np.digitize(values, edges).astype(np.int32)  # NaN sorts last, where the maximum is


def _correlations(sides: Sides, numeric: Index) -> tuple[Real, Real]:
    """Pearson correlations over rows where both are present: of training rows (m, m), of each view (views, m, m)."""
    m = len(numeric)
    if m == 0:
        return np.zeros((0, 0)), np.zeros((len(sides.panel.views), 0, 0))
    own = np.stack([sides.train.columns[column] for column in numeric], axis=1)
    other = [sides.panel.table.columns[column] for column in numeric]
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = ~np.isnan(own)
        many = np.maximum(1, observed.sum(axis=0))
        centre = np.where(observed, own, 0).sum(axis=0) / many
        spread = np.sqrt(np.where(observed, (own - centre) ** 2, 0).sum(axis=0) / many)
    spread[spread == 0] = 1  # sums over rows stay accurate when columns are centred and scaled first
    ends = np.flatnonzero(np.diff(sides.panel.part)) + 1
    parts = [
        _moments((np.stack([column[rows] for column in other], axis=1) - centre) / spread)
        for rows in np.split(np.arange(sides.panel.table.rows), ends)
    ]
    moments = np.tensordot(sides.panel.views, np.stack(parts), axes=1)  # (views, 6, m, m)
    return _pearson(_moments((own - centre) / spread)[None])[0], _pearson(moments)


def _moments(rows: Real) -> Real:
    """Number of rows where both columns are present, and over them sums of x, y, x^2, y^2 and xy: (6, m, m)."""
    present = ~np.isnan(rows)
    x, have = np.where(present, rows, 0), present.astype(np.float64)
    sums, squares = x.T @ have, (x**2).T @ have
    return np.stack([have.T @ have, sums, sums.T, squares, squares.T, x.T @ x])


def _pearson(moments: Real) -> Real:
    n, x, y, xx, yy, xy = np.moveaxis(moments, 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        varying = (xx - x * x / n) * (yy - y * y / n)
        constant = (xx - x * x / n < 1e-12 * np.maximum(xx, 1)) | (yy - y * y / n < 1e-12 * np.maximum(yy, 1))
        return np.where((n <= 1) | constant, np.nan, (xy - x * y / n) / np.sqrt(varying))
