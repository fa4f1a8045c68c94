"""How rows fall into the tables that engines count: one table a column, or one a pair of columns."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from silosynth.common.arrays import Codes, Index
from silosynth.common.engines.coarsening import Coarsening


@dataclass(frozen=True)
class OneWays:
    """One table a column, over its own cells: `sizes` of the schema give the fine 1-ways."""

    sizes: tuple[int, ...]

    @cached_property
    def offsets(self) -> Index:
        """Shape (columns + 1,): column j's cells are offsets[j] to offsets[j + 1]."""
        return rising(self.sizes)

    def cells(self, codes: Codes) -> Index:
        """Shape (rows, columns)."""
        return codes + self.offsets[:-1]


@dataclass(frozen=True)
class Pairs:
    """One table a pair of coarsened columns, i < j in the order of `combinations`; bin of i varies slowest."""

    coarsening: Coarsening

    @cached_property
    def columns(self) -> Index:
        """The two columns of each table, shape (2, pairs)."""
        return np.array(list(combinations(range(len(self.coarsening.sizes)), 2)), dtype=np.int64).reshape(-1, 2).T

    @cached_property
    def offsets(self) -> Index:
        """Shape (pairs + 1,): the table of columns i and j begins at its offset and has sizes[i] * sizes[j] cells."""
        sizes = np.array(self.coarsening.sizes)
        first, second = self.columns
        return rising(tuple((sizes[first] * sizes[second]).tolist()))

    def cells(self, codes: Codes) -> Index:
        """Cells of rows of fine codes, shape (rows, pairs)."""
        return self.cells_of_bins(self.coarsening.bins(codes))

    def cells_of_bins(self, bins: Index) -> Index:
        """Cells of rows of bins, shape (rows, pairs); `bins` has shape (rows, columns)."""
        first, second = self.columns
        cells: Index = bins[:, first] * np.array(self.coarsening.sizes)[second] + bins[:, second] + self.offsets[:-1]
        return cells


def rising(sizes: tuple[int, ...]) -> Index:
    """Where tables of `sizes` begin in one vector, and its end, shape (tables + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
