"""Pairs of columns: strength of association, cells that never occur, and what size of sample would be as good."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.fidelity import Counted, Sides, TrendTables, cross, distances, marginal_cells
from silosynth.common.evaluate.tables import Table, nested

EXPECTED = 10.0
"""An empty cell of a two-way table of training rows is a structural zero if independent columns would put so many rows
there: then its emptiness is no accident (chance e^-10)."""

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
"""Shares of the training rows whose distance to all of them is measured, for `Equivalence`."""

_SAMPLES = 3
"""Random samples of each size."""


@dataclass(frozen=True)
class PairMeasures:
    """Of some pairs: distances and differences, (pairs, views), and the stacked rows in a structural zero of one."""

    distance: Real
    """Total variation distance of the two-way table."""
    association: Real
    """|difference of bias-corrected Cramer's V|."""
    impossible: NDArray[np.bool_]


def pair_measures(sides: Sides, cells: Counted, pairs: Sequence[tuple[int, ...]]) -> PairMeasures:
    """One pass over the two-way tables of `pairs`."""
    views, panel = len(sides.panel.views), sides.panel
    distance, association = np.empty((len(pairs), views)), np.empty((len(pairs), views))
    impossible = np.zeros(panel.table.rows, dtype=np.bool_)
    rows = np.array([len(of_view) for of_view in panel.rows_of], dtype=np.float64)
    for at, pair in enumerate(pairs):
        shape = (cells.sizes[pair[0]], cells.sizes[pair[1]])
        own_cells, other_cells, size = cross(cells, pair)
        own, shares = panel.shares(own_cells, other_cells, size)
        distance[at] = np.abs(shares - own).sum(axis=1) / 2
        real = own.reshape(1, *shape)
        expected = real.sum(axis=2, keepdims=True) * real.sum(axis=1, keepdims=True) * sides.train.rows
        impossible |= ((real == 0) & (expected >= EXPECTED)).ravel()[other_cells]
        strength = corrected_v(real, np.array([float(sides.train.rows)]))
        association[at] = np.abs(corrected_v(shares.reshape(-1, *shape), rows) - strength)
    return PairMeasures(distance, association, impossible)


def corrected_v(shares: Real, rows: Real) -> Real:
    """Cramer's V of two-way tables, (tables, r, c), of so many `rows`, without its upward bias in small samples.

    Bergsma (2013), "A bias-correction for Cramer's V and Tschuprow's T". Empty rows and columns are left out; 0 where
    fewer than two of either are left.
    """
    first, second = shares.sum(axis=2), shares.sum(axis=1)
    expected = first[:, :, None] * second[:, None, :]
    squares = np.divide(shares**2, expected, out=np.zeros_like(shares), where=expected > 0)
    phi = squares.sum(axis=(1, 2)) - 1
    r, c, n = (first > 0).sum(axis=1), (second > 0).sum(axis=1), np.maximum(rows, 2)
    less = np.maximum(0, phi - (r - 1) * (c - 1) / (n - 1))
    fewest = np.minimum(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    v: Real = np.sqrt(np.divide(less, fewest, out=np.zeros_like(less), where=fewest > 0))
    return v


def correlation_differences(tables: TrendTables) -> Real:
    """|difference of Pearson correlations| of every pair of ordered columns, (pairs, views).

    NaN where training rows define none. A column without variation in a view correlates with nothing: 0 there.
    """
    first, second = np.triu_indices(len(tables.own), k=1)
    own, seen = tables.own[first, second], tables.seen[:, first, second].T
    gaps: Real = np.abs(np.where(np.isnan(seen), 0, seen) - own[:, None])
    return gaps


@dataclass(frozen=True)
class Equivalence:
    """Mean distance to the training rows of random samples of them, by share: both (shares,), without replacement.

    SDNist's question (Task, Bhagat, Howarth 2023, NIST): how large a sample of the real rows is as far off?
    """

    shares: Real
    distance: Real

    def __call__(self, distance: Real) -> Real:
        """The share of training rows whose sample is as far, of the same shape as `distance`.

        Sampling noise falls as sqrt(1 / share - 1), which interpolates, and extrapolates, in logarithms.
        """
        x, y = np.log(1 / self.shares - 1)[::-1], np.log(np.maximum.accumulate(self.distance[::-1]))
        with np.errstate(divide="ignore"):
            sought = np.log(distance)
        inside = np.interp(sought, y, x)
        far = np.where(sought > y[-1], x[-1] + 2 * (sought - y[-1]), inside)
        near = np.where(sought < y[0], x[0] + 2 * (sought - y[0]), far)
        found: Real = 1 / (1 + np.exp(near))
        return np.where(np.isnan(distance), np.nan, found)


def equivalence(
    train: Table, labels: tuple[tuple[str, ...], ...], pairs: Sequence[tuple[int, ...]], rng: np.random.Generator
) -> Equivalence | None:
    """Measured on the two-way tables of `pairs`; None where the training rows are too few or all alike."""
    ends: Index = np.unique(np.maximum(1, np.round(np.array(SHARES) * train.rows)).astype(np.int64))
    found = []
    for _ in range(_SAMPLES):
        sides = Sides(train, nested(train.take(rng.permutation(train.rows)), [int(end) for end in ends]), labels)
        found.append(distances(sides, marginal_cells(sides), pairs).mean(axis=0))
    distance = np.mean(found, axis=0)
    shares = ends / train.rows
    use = (shares < 1) & (distance > 0)
    return Equivalence(shares[use], distance[use]) if use.sum() > 1 else None
