"""Public fine grids: how the values of an ordered column fall into cells.

A grid is made from public knowledge only (bounds, lattice, declared special values), never from rows. Its cells are
closed ranges that lie side by side and cover the bounds. A value that may be a hidden spike (a bound, zero, a declared
special value) has a cell of its own, so that it comes back exactly and in its own proportion.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from silosynth.common.arrays import Index, Real

EXACT_RANGE = 1024
"""Whole numbers that span at most this much have a cell for every value."""

CELLS = 256
"""Cells of a grid over a wider range, before the cells of exact values."""

HEAVY_SPAN = 2000
"""Ranges wider than this, that begin at or reach across zero, get an asinh grid unless the study says otherwise."""


@dataclass(frozen=True)
class Grid:
    """Closed ranges [first, last] of positions, shape (cells,), increasing, side by side.

    A position is a value times `per_unit` rounded to a whole number (a lattice), or the value itself where `per_unit`
    is None (a continuous column).
    """

    first: Real = field(repr=False)
    last: Real = field(repr=False)
    per_unit: int | None

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.first)

    def encode(self, values: Real) -> Index:
        """The cell of each value; values outside the bounds fall into the outermost cells. NaN is not allowed."""
        position = values if self.per_unit is None else np.rint(values * self.per_unit)
        clipped = np.clip(position, self.first[0], self.last[-1])
        if self.per_unit is not None and np.array_equal(self.first, self.last):
            return np.asarray(clipped - self.first[0], dtype=np.int64)  # a cell a value: the position is the cell
        return np.searchsorted(self.first, clipped, side="right") - 1

    def decode(self, cells: Index, rng: np.random.Generator) -> Real:
        """A value drawn uniformly from each cell; every value is one that the column may hold."""
        first, last = self.first[cells], self.last[cells]
        if self.per_unit is None:
            return np.minimum(first + rng.random(len(cells)) * (last - first), last)
        # floor(u * n) over whole numbers below 2^53; the minimum guards the rounding of u * n up to n
        steps = np.minimum(np.floor(rng.random(len(cells)) * (last - first + 1)), last - first)
        return np.asarray((first + steps) / self.per_unit, dtype=np.float64)


@dataclass(frozen=True)
class Range:
    """What a grid is made from: public bounds, exact values inside them, lattice steps per unit, spacing of cells."""

    low: float
    high: float
    exact: tuple[float, ...]
    per_unit: int | None
    asinh: bool


def is_heavy(low: float, high: float) -> bool:
    """Whether the range calls for cells that grow with the distance from zero."""
    return high - low > HEAVY_SPAN and high > 0


@lru_cache(maxsize=4096)
def grid(of: Range) -> Grid:
    """The grid of a range: a cell a value where affordable, else at most CELLS cells and those of exact values."""
    per_unit = of.per_unit
    if per_unit == 1 and of.high - of.low <= EXACT_RANGE:
        every = np.arange(of.low, of.high + 1)
        return Grid(every, every, per_unit)
    edges = _edges(of)
    exact = np.unique(np.clip([of.low, *of.exact, of.high], of.low, of.high))
    if per_unit is None:
        starts = np.concatenate([edges, exact, np.nextafter(exact, math.inf)])
        top = of.high
    else:
        exact = np.rint(exact * per_unit)
        starts = np.concatenate([np.ceil(edges * per_unit), exact, exact + 1])
        top = exact[-1]
    first = np.unique(starts + 0.0)  # + 0.0: no negative zero
    first = first[(first >= exact[0]) & (first <= top)]
    following = np.append(first[1:], np.nextafter(top, math.inf) if per_unit is None else top + 1)
    last = np.nextafter(following, -math.inf) if per_unit is None else following - 1
    return Grid(first, last, per_unit)


def _edges(of: Range) -> Real:
    """Lower edges of CELLS cells, evenly spaced on the range's scale, shape (CELLS,)."""
    if not of.asinh:
        return np.linspace(of.low, of.high, CELLS + 1)[:-1]
    knee = (of.high - of.low) / 1000  # linear below a thousandth of the span, logarithmic above
    return knee * np.sinh(np.linspace(math.asinh(of.low / knee), math.asinh(of.high / knee), CELLS + 1)[:-1])
