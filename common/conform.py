"""From text to typed values, one column at a time: what a table says, held against what its schema promises.

Values outside the bounds are clipped and unknown codes become OTHER; both are counted for the check that stays at the
site. Only what has no meaning at all under the schema is an error, and its text names the row, never the value.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from silosynth.common.arrays import Real, Values
from silosynth.common.column import TIME_UNITS, TRUTH, Column, Kind
from silosynth.common.errors import InvalidData

SYNONYMS = {
    **dict.fromkeys(("false", "0", "no", "n", "f"), TRUTH[0]),
    **dict.fromkeys(("true", "1", "yes", "y", "t"), TRUTH[1]),
}
"""What a boolean column reads as false and true, in lower case, unless it declares codes of its own."""

_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_EXPECTED = {
    Kind.INTEGER: "a whole number",
    Kind.NUMBER: "a number with a point as decimal mark",
    Kind.DATE: "a date as YYYY-MM-DD",
    Kind.DATETIME: "a time as YYYY-MM-DD HH:MM:SS",
    Kind.DURATION: "a number of {unit}, or a time span such as '3 days 04:00:00' or 'P3DT4H'",
}


@dataclass(frozen=True)
class ColumnCounts:
    """What the local data check counts in one column. About real rows: stays at the site."""

    out_of_bounds: int = 0
    unknown: int = 0
    missing: int = 0

    def __add__(self, other: "ColumnCounts") -> "ColumnCounts":
        """The counts of two chunks of rows."""
        return ColumnCounts(
            self.out_of_bounds + other.out_of_bounds, self.unknown + other.unknown, self.missing + other.missing
        )


@dataclass(frozen=True)
class Place:
    """Where a chunk of rows stands: a name for people, and the number of its first row, from 1 below the header."""

    source: str
    first_row: int

    def wrong(self, column: str, row: int, what: str) -> InvalidData:
        """The error for row `row` (from 0) of this chunk."""
        number = self.first_row + row
        return InvalidData(
            f"{self.source}: column {column!r}, row {number} (the first row below the header is row 1): {what}"
        )


def conform_column(column: Column, text: Values, place: Place) -> tuple[Values, ColumnCounts]:
    """Typed values of one column (float64, or categorical with `column.labels`), and what was counted on the way."""
    if column.coded:
        return _coded(column, text)
    return _ordered(column, text, place)


def _coded(column: Column, text: Values) -> tuple[Values, ColumnCounts]:
    number, words = pd.factorize(text)  # each distinct text is looked at once
    meaning = np.array([_cell(column, str(word)) for word in words] + [-1], dtype=np.int64)
    cells = meaning[number]  # factorize says -1 for an absent value, which is the last meaning
    typed = pd.Series(pd.Categorical.from_codes(cells, categories=pd.Index(column.labels)), index=text.index)
    return typed, ColumnCounts(unknown=int((cells == column.other_cell).sum()), missing=int((cells < 0).sum()))


def _cell(column: Column, word: str) -> int:
    """The label that a text stands for, as its position; -1 for missing."""
    exact, stripped = _dictionary(column)
    if word in exact:
        return exact[word]
    word = word.strip()
    if word.casefold() in SYNONYMS and column.kind is Kind.BOOLEAN and column.codes == TRUTH:
        return TRUTH.index(SYNONYMS[word.casefold()])
    whole = _WHOLE.fullmatch(word)
    for spelling in (word, whole[1] if whole else word):
        if spelling in stripped:
            return stripped[spelling]
    if whole and column.kind is Kind.BOOLEAN and column.codes == TRUTH:
        return _cell(column, whole[1])
    return len(column.codes)


@lru_cache(maxsize=4096)
def _dictionary(column: Column) -> tuple[dict[str, int], dict[str, int]]:
    """Positions of codes, -1 for missing: as they are written, and without the space around them."""
    exact = {"": -1, **dict.fromkeys(column.missing, -1), **{code: at for at, code in enumerate(column.codes)}}
    stripped: dict[str, int] = {}
    for word, at in exact.items():
        stripped.setdefault(word.strip(), at)
    return exact, stripped


def _ordered(column: Column, text: Values, place: Place) -> tuple[Values, ColumnCounts]:
    values = _parse(column, text)
    absent = np.isin(values, column.missing_numbers)
    unread = np.flatnonzero(np.isnan(values))
    words = text.iloc[unread]
    declared = words.isna() | words.astype(str).str.strip().isin({"", *(code.strip() for code in column.missing)})
    absent[unread] = declared
    readable = np.isfinite(values) if column.kind is not Kind.INTEGER else values == np.rint(values)
    readable &= np.isfinite(values)
    if (wrong := ~absent & ~readable).any():
        expected = _EXPECTED[column.kind].format(unit=column.unit)
        cure = "correct the cell, or declare its text under this column's `missing` in the study"
        raise place.wrong(column.name, int(wrong.argmax()), f"expected {expected}; {cure}")
    values[absent] = np.nan
    low, high = column.bounds
    outside = int(((values < low) | (values > high)).sum())
    typed = pd.Series(np.clip(values, low, high), index=text.index)
    return typed, ColumnCounts(out_of_bounds=outside, missing=int(absent.sum()))


def _parse(column: Column, text: Values) -> Real:
    """Numbers in the column's own units; NaN where the text is none."""
    if column.kind in {Kind.DATE, Kind.DATETIME}:
        moments = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).to_numpy("datetime64[s]")
        seconds = np.where(np.isnat(moments), np.nan, moments.astype(np.int64).astype(np.float64))
        return np.floor(seconds / TIME_UNITS["days"]) if column.kind is Kind.DATE else seconds
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, na_value=np.nan, copy=True)
    if column.kind is Kind.DURATION and (unread := np.flatnonzero(np.isnan(values))).size:
        spans = pd.to_timedelta(text.iloc[unread], errors="coerce").to_numpy("timedelta64[ns]")
        seconds = np.where(np.isnat(spans), np.nan, spans.astype(np.int64) / 1e9)
        values[unread] = seconds / TIME_UNITS[column.unit]
    return values
