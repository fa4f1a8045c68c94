"""Rows as points, so that alike rows lie near each other: a Gower-like distance between mixed columns.

Squared distance is a sum over columns, each of about the same weight (Gower 1971, with squares instead of absolutes so
that matrix products do the work):

  ordered   (difference of ranks among the synthetic rows, 0 to 1) squared; 1 and more if only one value is missing
  coded     1 for unlike codes, missing being a code; 0 for the same

Columns with more than WIDE codes are hashed into random directions: 1 +- .2 for unlike codes. The scale comes from the
table that is attacked and from nothing real, as an attacker's would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.tables import Table

WIDE = 24
"""Codes of a column that have directions of their own, at most."""

SAME = 1e-5
"""Distances below it are rounding."""

Points: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class _Ranks:
    """An ordered column: distinct values and the share of rows below each, ties in the middle."""

    values: Real = field(repr=False)
    shares: Real = field(repr=False)
    width: ClassVar[int] = 2

    def __call__(self, column: NDArray[Any]) -> Points:
        missing = np.isnan(column)
        ranks = np.interp(column, self.values, self.shares) if len(self.values) else np.full(len(column), 0.5)
        return np.column_stack([np.where(missing, 0.5, ranks), missing]).astype(np.float32)


@dataclass(frozen=True)
class _Codes:
    """A coded column: a direction a code; the last one is missing's."""

    directions: Points = field(repr=False)

    @property
    def width(self) -> int:
        """Numbers that it takes in a point."""
        return int(self.directions.shape[1])

    def __call__(self, column: NDArray[Any]) -> Points:
        return np.asarray(self.directions[column])  # -1, missing, is the last


@dataclass(frozen=True)
class Space:
    """How each column enters a point."""

    axes: tuple[_Ranks | _Codes, ...]

    @property
    def spans(self) -> tuple[slice, ...]:
        """Where each column's numbers stand in a point."""
        ends = np.cumsum([0, *(axis.width for axis in self.axes)]).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    def points(self, table: Table) -> Points:
        """Rows as points, (rows, width)."""
        out = np.empty((table.rows, self.spans[-1].stop), np.float32)
        for axis, span, column in zip(self.axes, self.spans, table.columns, strict=True):
            out[:, span] = axis(column)
        return out

    def of(self, points: Points, columns: Sequence[int]) -> Points:
        """The numbers of some columns only, (rows, less)."""
        return points[:, np.concatenate([np.r_[self.spans[at]] for at in columns])]


def width(levels: int) -> int:
    """Numbers that a column with so many codes takes in a point; 0 codes: an ordered one."""
    return 2 if levels == 0 else min(levels + 1, WIDE)


def space(attacked: Table, levels: Sequence[int]) -> Space:
    """The space of an attacked table; `levels`: the number of codes of each column, 0 for ordered ones."""
    rng = np.random.default_rng(0)  # any directions do, and every space has the same
    return Space(tuple(_axis(column, size, rng) for column, size in zip(attacked.columns, levels, strict=True)))


def nearest(points: Points, among: Points, count: int) -> tuple[Real, Index]:
    """The `count` nearest of `among` (or all of them, if fewer): distances and positions, (points, count)."""
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 - heavy, and only an evaluation needs it

    found = NearestNeighbors(n_neighbors=min(count, len(among)), algorithm="brute").fit(among)
    distances, positions = found.kneighbors(points)
    return np.where(distances < SAME, 0.0, distances).astype(np.float64), positions.astype(np.int64)


def _axis(column: NDArray[Any], levels: int, rng: np.random.Generator) -> _Ranks | _Codes:
    if column.dtype == np.float64:
        values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
        return _Ranks(values, (np.cumsum(counts) - counts / 2) / max(1, counts.sum()))
    if width(levels) == levels + 1:
        return _Codes((np.eye(levels + 1) / np.sqrt(2)).astype(np.float32))
    return _Codes((rng.choice([-1, 1], size=(levels + 1, WIDE)) / np.sqrt(2 * WIDE)).astype(np.float32))
