"""What a table's columns may hold, from public knowledge only, and the fine cells its values fall into.

Every engine begins here: text is conformed to typed values, typed values are encoded to cells, synthetic cells are
decoded to typed values and presented as a table people can open. Nothing in a schema may be computed from rows; what a
draft took from data is marked `unreviewed`, and a real launch refuses it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from silosynth.common.arrays import Codes, Index, Real, Values
from silosynth.common.column import Column, Kind
from silosynth.common.conform import ColumnCounts, Place, conform_column
from silosynth.common.errors import InvalidStudy
from silosynth.common.present import present_column

__all__ = ["Column", "ColumnCounts", "Conformed", "Kind", "Place", "Schema"]


@dataclass(frozen=True)
class Conformed:
    """Rows as their schema wants them, and what the local check counts.

    A typed frame holds, per column, float64 with NaN for missing (ordered kinds) or a categorical over `column.labels`
    with NaN for missing (coded kinds).
    """

    frame: pd.DataFrame
    counts: tuple[ColumnCounts, ...]


@dataclass(frozen=True)
class Schema:
    """All columns, in order. Raises InvalidStudy where two have one name."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for name in self.names:
            if name in seen:
                raise InvalidStudy(f"column {name!r} is declared twice; keep one of the two")
            seen.add(name)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Fine cells of each column."""
        return tuple(column.size for column in self.columns)

    @property
    def unreviewed(self) -> tuple[str, ...]:
        """Names of the columns that hold bounds or codes taken from data which no person has confirmed."""
        return tuple(column.name for column in self.columns if column.unreviewed)

    def index(self, name: str) -> int:
        """Position of a column. Raises KeyError for a name that is not in the schema."""
        if name not in self.names:
            raise KeyError(name)
        return self.names.index(name)

    def conform(self, text: pd.DataFrame, *, source: str, first_row: int = 1) -> Conformed:
        """Typed rows from rows of text (columns beyond the schema are left out).

        Args:
            text: a cell a str, None or NaN where there is none.
            source: the table's name, for messages.
            first_row: number of the first of these rows; row 1 is the first below the header.

        Raises:
            InvalidData: naming source, column and row, never a value, for a cell that is neither declared missing nor
                of the column's type, infinite numbers among them.
        """
        place = Place(source, first_row)
        done = [conform_column(column, text[column.name], place) for column in self.columns]
        frame = pd.DataFrame({name: typed for name, (typed, _) in zip(self.names, done, strict=True)})
        return Conformed(frame, tuple(counts for _, counts in done))

    def encode(self, typed: pd.DataFrame) -> Codes:
        """Fine cells of typed rows, shape (rows, columns)."""
        codes = np.empty((len(typed), len(self.columns)), dtype=np.int32)
        for at, column in enumerate(self.columns):
            codes[:, at] = _encode(column, typed[column.name])
        return codes

    def decode(self, codes: Codes, rng: np.random.Generator) -> pd.DataFrame:
        """Typed rows whose fine cells are `codes`: a wide cell gives a uniform draw from the values in it."""
        return pd.DataFrame(
            {column.name: _decode(column, codes[:, at].astype(np.int64), rng) for at, column in enumerate(self.columns)}
        )

    def present(self, typed: pd.DataFrame) -> pd.DataFrame:
        """Typed rows as people and files want them; column types depend on the schema alone, not on the rows."""
        return pd.DataFrame({column.name: present_column(column, typed[column.name]) for column in self.columns})


def _encode(column: Column, typed: Values) -> Index:
    if column.coded:
        cells = typed.cat.codes.to_numpy(np.int64)
        return np.where(cells < 0, column.missing_cell, cells)
    values = typed.to_numpy(np.float64)
    absent = np.isnan(values)
    cells = column.grid.encode(np.where(absent, column.bounds[0], values))
    cells[absent] = column.missing_cell
    return cells


def _decode(column: Column, cells: Index, rng: np.random.Generator) -> Values:
    absent = cells == column.missing_cell
    if column.coded:
        labels = np.where(absent, -1, cells)
        return pd.Series(pd.Categorical.from_codes(labels, categories=pd.Index(column.labels)))
    values: Real = column.grid.decode(np.where(absent, 0, cells), rng)
    values[absent] = np.nan
    return pd.Series(values)
