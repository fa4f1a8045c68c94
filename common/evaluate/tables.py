"""Tables as arrays, and several tables measured against the training rows in one pass over each marginal."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.schema import Column, Schema

Cells: TypeAlias = NDArray[np.int32]

BINS = 20
"""Equal-frequency bins of an ordered column, at most."""

MAX_CODES = 255
"""Codes of a column that keep a cell of their own: the most frequent among training rows; the rest share one."""

PARTS = 20
"""Groups of rows in the delete-a-group jackknife, at most."""

_FEW_ROWS = 5_000
"""Samples smaller than this are drawn up to three times, apart from each other, and averaged."""

APART = "apart"
"""The views of each fifth of the synthetic rows alone; a measure that cuts a table's own range cuts each by itself."""

_FIFTHS = 5

LEFT_OUT = "left_out_"
"""Before the name of a number: the views of its delete-a-group jackknife."""

_DENSE_CELLS = 13_000_000
"""Above so many counters (cells times parts), empty cells are squeezed out first; no two-way table has as many."""


@dataclass(frozen=True)
class Table:
    """Rows, an array a column: float64 with NaN (ordered kinds), or int32 positions in a label list, -1 for missing."""

    columns: tuple[NDArray[Any], ...] = field(repr=False)
    rows: int

    def take(self, index: Index) -> "Table":
        """The rows at `index`."""
        return Table(tuple(column[index] for column in self.columns), len(index))

    def shuffled(self, rng: np.random.Generator) -> "Table":
        """Every column permuted apart from the others: the same marginals, no dependence."""
        return Table(tuple(rng.permutation(column) for column in self.columns), self.rows)


def read(schema: Schema, frames: Sequence[pd.DataFrame]) -> tuple[tuple[Table, ...], tuple[tuple[str, ...], ...]]:
    """Typed frames as tables, and the labels of each column (empty for ordered kinds).

    A code that no schema foresees keeps a position of its own, after the schema's.
    """
    labels = tuple(_labels(column, frames) for column in schema.columns)
    tables = tuple(
        Table(
            tuple(
                _values(column, frame[column.name], known) for column, known in zip(schema.columns, labels, strict=True)
            ),
            len(frame),
        )
        for frame in frames
    )
    return tables, labels


def _labels(column: Column, frames: Sequence[pd.DataFrame]) -> tuple[str, ...]:
    if not column.coded:
        return ()
    seen = (str(code) for frame in frames for code in pd.unique(frame[column.name].dropna()))
    return tuple(dict.fromkeys((*column.labels, *seen)))


def _values(column: Column, series: "pd.Series[Any]", labels: tuple[str, ...]) -> NDArray[Any]:
    if not column.coded:
        return series.to_numpy(np.float64)
    known = pd.Categorical(series.astype(object).map(str, na_action="ignore"), categories=list(labels))
    return np.asarray(known.codes, dtype=np.int32)


@dataclass(frozen=True)
class Binning:
    """Cells of one column for counting: bins or codes fixed by the training rows; the last cell is missing."""

    edges: Real  # inner edges of an ordered column's bins; empty for codes
    cell_of_code: Cells  # cell of each label, then of missing; empty for an ordered column
    size: int

    def __call__(self, values: NDArray[Any]) -> Cells:
        """Cells of values, shape (rows,), in [0, size)."""
        if len(self.cell_of_code):
            coded: Cells = self.cell_of_code[values]  # -1, missing, is the last entry
            return coded
        cells = np.searchsorted(self.edges, values, side="left").astype(np.int32)
        cells[np.isnan(values)] = self.size - 1
        return cells


def binning(values: NDArray[Any], labels: Sequence[str]) -> Binning:
    """At most BINS equal-frequency bins of an ordered column's training values, or a cell a code."""
    if not labels:
        observed = values[~np.isnan(values)]
        inner = np.linspace(0, 1, BINS + 1)[1:-1]
        edges = np.unique(np.quantile(observed, inner)) if len(observed) else np.zeros(0)
        return Binning(edges, np.zeros(0, dtype=np.int32), len(edges) + 2)
    frequency = np.bincount(values[values >= 0], minlength=len(labels))
    kept = min(len(labels), MAX_CODES)
    rank = np.empty(len(labels), dtype=np.int32)
    rank[np.argsort(-frequency, kind="stable")] = np.arange(len(labels), dtype=np.int32)
    size = kept + (len(labels) > kept) + 1
    return Binning(np.zeros(0), np.append(np.minimum(rank, kept), size - 1).astype(np.int32), size)


@dataclass(frozen=True)
class Panel:
    """Tables to be measured against the training rows, stacked, and cut into parts; a view is a sum of parts.

    Counting the parts of a marginal once gives it for every view: all synthetic rows, each delete-a-group sample of the
    jackknife, floor, ceiling, and samples of one size. `named[name]` lists the views whose mean is the number `name`,
    (draws,); `named[LEFT_OUT + name]`, where it has them, its delete-a-group samples, (draws, groups).
    """

    table: Table
    blocks: tuple[slice, ...]  # rows of each stacked table
    part: Index = field(repr=False)  # (rows,), never decreasing
    views: Real = field(repr=False)  # (views, parts), 0 or 1
    named: dict[str, Index]
    matched_rows: int | None

    @property
    def parts(self) -> int:
        """Parts in all."""
        return int(self.views.shape[1])

    @cached_property
    def rows_of(self) -> tuple[Index, ...]:
        """The stacked rows of each view."""
        starts = np.searchsorted(self.part, np.arange(self.parts + 1))
        each = [np.arange(start, end) for start, end in itertools.pairwise(starts)]
        return tuple(np.concatenate([each[part] for part in np.flatnonzero(view)]) for view in self.views)

    def rates(self, flags: NDArray[np.bool_]) -> Real:
        """Share of the stacked rows with a flag, (rows,), in each view, (views,)."""
        rows, hits = np.bincount(self.part, minlength=self.parts), np.bincount(self.part, flags, self.parts)
        share: Real = (self.views @ hits) / (self.views @ rows)
        return share

    def shares(self, own: Index, other: Index, size: int, keep: NDArray[np.bool_] | None = None) -> tuple[Real, Real]:
        """Relative frequencies over `size` cells of the training rows, (cells,), and of each view, (views, cells).

        Args:
            own: cells of training rows, (rows,).
            other: cells of the stacked rows, (rows,); only those in `keep` count.
            size: number of cells.
            keep: which stacked rows count; None: all. A view left without rows gives NaN.
        """
        part = self.part if keep is None else self.part[keep]
        if size * self.parts > _DENSE_CELLS:
            found, squeezed = np.unique(np.concatenate([own, other]), return_inverse=True)
            own, other, size = squeezed[: len(own)], squeezed[len(own) :], len(found)
        counts = np.bincount(part * size + other, minlength=self.parts * size).reshape(self.parts, size)
        seen: Real = self.views @ counts
        rows = seen.sum(axis=1, keepdims=True)
        shares = np.divide(seen, rows, out=np.full(seen.shape, np.nan), where=rows > 0)
        return np.bincount(own, minlength=size) / max(1, len(own)), shares


def panel(
    synthetic: Table, floor: Table, ceiling: Table | None, rng: np.random.Generator, units: Index | None = None
) -> Panel:
    """The views an evaluation needs.

    `matched_value`, `matched_floor`, `matched_ceiling`: each on as many rows, because distances between samples shrink
    with their number. `units`: whose each row of the ceiling is; a unit's rows share a group of the jackknife.
    """
    stacked = [_Block("value", synthetic, groups_of(np.arange(synthetic.rows), rng)), _Block("floor", floor, None)]
    fifths = np.array_split(rng.permutation(synthetic.rows), min(_FIFTHS, synthetic.rows))
    stacked += [_Block(APART, synthetic.take(rows), None) for rows in fifths]
    matched = None
    if ceiling is not None:
        whose = np.arange(ceiling.rows) if units is None else units
        stacked.append(_Block("ceiling", ceiling, None))
        matched = min(synthetic.rows, floor.rows, ceiling.rows)
        for name, table in (("value", synthetic), ("floor", floor), ("ceiling", ceiling)):
            times = min(3, table.rows // matched) if matched < _FEW_ROWS else 1
            for chosen in rng.permutation(table.rows)[: times * matched].reshape(times, matched):
                alike = whose[chosen] if name == "ceiling" else chosen
                stacked.append(_Block(f"matched_{name}", table.take(chosen), groups_of(alike, rng)))
    return _stacked(stacked, matched)


def nested(table: Table, ends: Sequence[int]) -> Panel:
    """Views of the first `ends[0]` rows, the first `ends[1]`, and so on; `ends` increases."""
    part = np.searchsorted(np.asarray(ends), np.arange(ends[-1]), side="right")
    views = np.tril(np.ones((len(ends), len(ends))))
    return Panel(table.take(np.arange(ends[-1])), (slice(0, ends[-1]),), part, views, {}, None)


@dataclass(frozen=True)
class _Block:
    """A table of a panel, and the jackknife's group of each of its rows."""

    name: str
    table: Table
    group: Index | None


def groups_of(units: Index, rng: np.random.Generator) -> Index:
    """At most PARTS groups of whole units, of equal size but for one unit, for the jackknife: (rows,)."""
    _, own = np.unique(units, return_inverse=True)
    many = int(own.max()) + 1
    place: Index = rng.permutation(many)[own] * min(PARTS, many) // many
    return place


def _stacked(blocks: Sequence[_Block], matched: int | None) -> Panel:
    parts, tables = [], []
    views: list[list[range]] = []
    named: dict[str, list[list[int]]] = {}
    first = 0
    for block in blocks:
        group = np.zeros(block.table.rows, dtype=np.int64) if block.group is None else block.group
        order = np.argsort(group, kind="stable")
        many = int(group[order[-1]]) + 1
        parts.append(group[order] + first)
        tables.append(block.table.take(order))
        named.setdefault(block.name, []).append([len(views)])
        views.append([range(first, first + many)])
        if block.group is not None:
            groups = many if many > 1 else 0
            named.setdefault(LEFT_OUT + block.name, []).append(list(range(len(views), len(views) + groups)))
            views += [[range(first, first + out), range(first + out + 1, first + many)] for out in range(groups)]
        first += many
    matrix = np.zeros((len(views), first))
    for at, runs in enumerate(views):
        for run in runs:
            matrix[at, run] = 1
    ends = np.cumsum([table.rows for table in tables])
    slices = tuple(slice(int(end) - table.rows, int(end)) for end, table in zip(ends, tables, strict=True))
    columns = tuple(np.concatenate(column) for column in zip(*(table.columns for table in tables), strict=True))
    whole = {name: np.array(listed, dtype=np.int64) for name, listed in named.items()}
    whole |= {name: listed[:, 0] for name, listed in whole.items() if not name.startswith(LEFT_OUT)}
    return Panel(Table(columns, int(ends[-1])), slices, np.concatenate(parts), matrix, whole, matched)
