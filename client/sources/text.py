"""A table as text, chunk by chunk, whatever file it lies in. No type is guessed: "NA" stays "NA"."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import pandas as pd

from silosynth.common.errors import InvalidData

CHUNK_ROWS = 1 << 16


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows, a cell a str or None. Row 1 is the first below the header."""

    first_row: int
    text: pd.DataFrame


Chunks: TypeAlias = Callable[[Sequence[str], int], Iterator[Chunk]]


@dataclass(frozen=True)
class TextTable:
    """A table that is ready to be read: what it is called, its columns, and what a person should know about it.

    `naming` says how a column is given the name it should have, where that is not by a line of the file.

    `read(columns, chunk_rows)` goes through its rows once, from the beginning at each call; raises InvalidData for a
    row that does not have the header's shape, and for a table without rows.
    """

    source: str
    names: tuple[str, ...]
    read: Chunks = field(repr=False)
    notes: tuple[str, ...] = ()
    naming: str = ""

    def chunks(self, columns: Sequence[str], rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """The rows of `columns`. Raises InvalidData where one is not in the table, or is there twice."""
        for column in columns:
            if column not in self.names:
                raise InvalidData(f"{self.source}: column {column!r} is not in the header{self._hint(column)}")
        return self.read(columns, rows)

    def _hint(self, column: str) -> str:
        fold = {name.casefold(): name for name in self.names}
        near = difflib.get_close_matches(column.casefold(), fold, n=1)
        if near:  # a near name is the header's own; other names might be a row's values, where a header is absent
            return f"; did you mean {fold[near[0]]!r}?" + (f" Then {self.naming}" if self.naming else "")
        naming = self.naming or "the first line must hold the column names"
        return f"; add it to the table or take it out of the study ({naming})"


def header(source: str, names: Sequence[str]) -> tuple[str, ...]:
    """Column names without the space around them. Raises InvalidData where two are the same.

    Says positions, not names: in a table without a header line they are a person's values.
    """
    stripped = tuple(name.strip() for name in names)
    first: dict[str, int] = {}
    for at, name in enumerate(stripped):
        if name and name in first:
            raise InvalidData(
                f"{source}: columns {first[name] + 1} and {at + 1} of the header have the same name; rename one "
                "(is the first line a header?)"
            )
        first[name] = at
    return stripped
