"""Tables of any columns over bins: how rows fall into them, which of them a study counts, and how bins are merged."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np

from silosynth.common.arrays import Codes, Index, Real
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import rising
from silosynth.common.engines.preparation import Preparation
from silosynth.common.errors import MalformedFrame
from silosynth.common.schema import Schema

Table: TypeAlias = tuple[int, ...]
"""The columns of one table, rising."""

MOST_COLUMNS: Final = 3
"""Of one table."""

MOST_CELLS: Final = 1 << 22
"""Of all tables of one task: 32 MB of counters."""


@dataclass(frozen=True)
class Tables:
    """One table for each entry of `tables`, over the bins of its columns; the first column's bin varies slowest."""

    coarsening: Coarsening
    tables: tuple[Table, ...]

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Bins of each table's columns."""
        return tuple(tuple(self.coarsening.sizes[column] for column in table) for table in self.tables)

    @cached_property
    def offsets(self) -> Index:
        """Shape (tables + 1,)."""
        return rising(tuple(int(np.prod(shape)) for shape in self.shapes))

    def cells(self, codes: Codes) -> Index:
        """Cells of rows of fine codes, shape (rows, tables)."""
        return self.cells_of_bins(self.coarsening.bins(codes))

    def cells_of_bins(self, bins: Index) -> Index:
        """Cells of rows of bins, shape (rows, tables); `bins` has shape (rows, columns)."""
        columns, strides = self._places
        cells = np.tile(self.offsets[:-1], (len(bins), 1))
        for at in range(columns.shape[1]):
            cells += bins[:, columns[:, at]] * strides[:, at]
        return cells

    @cached_property
    def _places(self) -> tuple[Index, Index]:
        """Columns and strides of each table, both (tables, most columns); what a table has too few of has stride 0."""
        columns = np.zeros((len(self.tables), max(map(len, self.tables))), dtype=np.int64)
        strides = np.zeros_like(columns)
        for row, (table, shape) in enumerate(zip(self.tables, self.shapes, strict=True)):
            columns[row, : len(table)] = table
            strides[row, : len(table)] = np.cumprod((1, *shape[:0:-1]))[::-1]
        return columns, strides

    def check(self) -> None:
        """Raise MalformedFrame unless there are tables, each of some rising columns and no two alike, of bounded size.

        A table named twice would be two tables, at the price of two: allowed nowhere, because nobody needs it.
        """
        if not self.tables or len(set(self.tables)) != len(self.tables):
            raise MalformedFrame("tables must be named, each once")
        columns = len(self.coarsening.sizes)
        for table in self.tables:
            if not 1 <= len(table) <= MOST_COLUMNS or list(table) != sorted(set(table)):
                raise MalformedFrame(f"a table has one to {MOST_COLUMNS} columns, rising")
            if not 0 <= table[0] <= table[-1] < columns:
                raise MalformedFrame("a table has columns of the schema")
        if self.offsets[-1] > MOST_CELLS:
            raise MalformedFrame("tables of too many cells")


def all_pairs(columns: int) -> tuple[Table, ...]:
    """Every pair of columns."""
    return tuple(combinations(range(columns), 2))


def with_target(columns: int, target: int, others: int) -> tuple[Table, ...]:
    """The target with every `others` of the other columns: pairs or triples."""
    rest = [column for column in range(columns) if column != target]
    return tuple(tuple(sorted((*some, target))) for some in combinations(rest, others))


@dataclass(frozen=True)
class Screen:
    """Bins merged into fewer, to look at many tables at once: `merges[j][bin]` is where a bin of column j goes."""

    fine: Coarsening
    merges: tuple[Index, ...]

    @cached_property
    def coarsening(self) -> Coarsening:
        """From fine cells, as sites need it."""
        pairs = zip(self.fine.arrays, self.merges, strict=True)
        return Coarsening(tuple(tuple(merge[bins].tolist()) for bins, merge in pairs))


def screen(schema: Schema, prepared: Preparation, most: int) -> Screen:
    """About `most` bins a column, by the noisy 1-ways: neighbours of equal mass, or the most frequent codes."""
    merges = []
    for column, maps, mass in zip(schema.columns, prepared.coarsening.maps, prepared.marginals, strict=True):
        if mass.size <= most:
            merges.append(np.arange(mass.size))
        elif column.ordered:
            merges.append(_merge_neighbours(mass, most, missing=maps[-1] != maps[-2]))
        else:
            merges.append(_merge_rare(mass, most))
    return Screen(prepared.coarsening, tuple(merges))


def whole(prepared: Preparation) -> Screen:
    """A screen that merges nothing."""
    return Screen(prepared.coarsening, tuple(np.arange(size) for size in prepared.coarsening.sizes))


def _merge_neighbours(mass: Real, most: int, *, missing: bool) -> Index:
    """Neighbours share a bin up to 1/most of the mass; what holds more stays alone, and so does MISSING, the last."""
    values = mass[:-1] if missing else mass
    most -= missing
    held = max(values.sum(), np.finfo(np.float64).tiny)
    group = np.minimum((np.cumsum(values) - values / 2) / held * most, most - 1).astype(np.int64)
    heavy = values >= held / most
    begins = np.append(False, (np.diff(group) > 0) | heavy[1:] | heavy[:-1])
    merged = np.cumsum(begins)
    return np.append(merged, merged[-1] + 1) if missing else merged


def _merge_rare(mass: Real, most: int) -> Index:
    """The most frequent bins stay, all others share the last one."""
    kept = np.sort(np.argsort(-mass, kind="stable")[: most - 1])
    merged = np.full(mass.size, kept.size)
    merged[kept] = np.arange(kept.size)
    return merged
