"""From text to typed values, one column at a time: what a table says, held against what its schema promises.

Values outside the bounds are clipped and unknown codes become OTHER; both are counted for the check that stays at the
site. Only what has no meaning at all under the schema is an error, and its text names the row, never the value.

Formal guarantee: what a cell reads as is a function of its own text and of the column alone. Privacy rests on it: noise
covers what one person's rows change, not what they make of others'. So no text is read in company: each distinct one is
read once, by itself, and found again by Python's own equality of texts. pandas cannot do that for a whole column: its
tables of texts compare them up to a NUL, and its parser of times gives a text without an offset that of a text before.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
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

_NUMBER = re.compile(r"[+-]?((\d++(\.\d*+)?|\.\d++)(e[+-]?\d++)?|inf(inity)?)", re.ASCII | re.IGNORECASE)
_SHORT = re.compile(r"[+-]?(0|[1-9]\d{0,30})(\.\d{0,30})?(e[+-]?\d\d?)?", re.ASCII | re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII)
_EPOCH, _SECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)
_FARTHEST_S = 9223372036  # from 1970, either way: what 64-bit nanoseconds can tell
_UNREADABLE = math.inf
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


class _Readings(dict[str, float]):
    """What each text reads as, by itself; each is read when it is first asked for."""

    def __init__(self, read: Callable[[str], float]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, word: str) -> float:
        self[word] = self._read(word)
        return self[word]


def _each(text: Values, read: Callable[[str], float], absent: float) -> Real:
    """What every cell reads as, shape (rows,); `absent` where there is none."""
    readings, missing = _Readings(read), text.isna().to_numpy(np.bool_)
    words = ["" if gone else str(cell) for cell, gone in zip(text.tolist(), missing.tolist(), strict=True)]
    values = np.fromiter(map(readings.__getitem__, words), dtype=np.float64, count=len(words))
    values[missing] = absent
    return values


def _coded(column: Column, text: Values) -> tuple[Values, ColumnCounts]:
    cells = _each(text, lambda word: _cell(column, word), -1).astype(np.int64)
    typed = pd.Series(pd.Categorical.from_codes(cells, categories=pd.Index(column.labels)), index=text.index)
    return typed, ColumnCounts(unknown=int((cells == column.other_cell).sum()), missing=int((cells < 0).sum()))


def _cell(column: Column, word: str) -> int:
    """The label that a text stands for, as its position; -1 for missing."""
    exact, stripped, numbers = _dictionary(column)
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
    # 10000000001 is 1.0000000001e+10 where one empty cell made numbers with a point of a whole file's codes
    return numbers.get(Decimal(word), len(column.codes)) if _SHORT.fullmatch(word) else len(column.codes)


@lru_cache(maxsize=4096)
def _dictionary(column: Column) -> tuple[dict[str, int], dict[str, int], dict[Decimal, int]]:
    """Positions of codes, -1 for missing: as they are written, without the space around them, and as numbers.

    A code with zeros before it is no number: 01 is not 1.
    """
    exact = {"": -1, **dict.fromkeys(column.missing, -1), **{code: at for at, code in enumerate(column.codes)}}
    stripped: dict[str, int] = {}
    for word, at in exact.items():
        stripped.setdefault(word.strip(), at)
    numbers: dict[Decimal, int] = {}
    for word, at in stripped.items():
        if _SHORT.fullmatch(word):
            numbers.setdefault(Decimal(word), at)
    if column.kind is Kind.BOOLEAN and column.codes == TRUTH:
        numbers = {Decimal(at): at for at in range(len(TRUTH))} | numbers
    return exact, stripped, numbers


def _ordered(column: Column, text: Values, place: Place) -> tuple[Values, ColumnCounts]:
    missing = _missing(column)
    values = _each(text, lambda word: _value(column, missing, word), math.nan)
    if (wrong := np.isinf(values)).any():
        expected = _EXPECTED[column.kind].format(unit=column.unit)
        cure = "correct the cell, or declare its text under this column's `missing` in the study"
        raise place.wrong(column.name, int(wrong.argmax()), f"expected {expected}; {cure}")
    low, high = column.bounds
    outside = int(((values < low) | (values > high)).sum())
    typed = pd.Series(np.clip(values, low, high), index=text.index)
    return typed, ColumnCounts(out_of_bounds=outside, missing=int(np.isnan(values).sum()))


@dataclass(frozen=True)
class _Missing:
    """What stands for no value in an ordered column."""

    words: frozenset[str]
    numbers: tuple[float, ...]


def _missing(column: Column) -> _Missing:
    """Declared missing codes, as words and as values: 999.0 is 999, and a date that is one may come with a time."""
    parsed = (_parse(column, code.strip()) for code in column.missing)
    numbers = (*column.missing_numbers, *(value for value in parsed if math.isfinite(value)))
    return _Missing(frozenset({"", *(code.strip() for code in column.missing)}), numbers)


def _value(column: Column, missing: _Missing, word: str) -> float:
    """The value that a text stands for, in the column's own units; NaN for missing, _UNREADABLE for none of these."""
    word = word.strip()
    value = _parse(column, word)
    if value in missing.numbers or (math.isnan(value) and word in missing.words):
        return math.nan
    readable = math.isfinite(value) and (column.kind is not Kind.INTEGER or value.is_integer())
    return value if readable else _UNREADABLE


def _parse(column: Column, word: str) -> float:
    """A number in the column's own units; NaN where the text is none."""
    if column.kind in {Kind.DATE, Kind.DATETIME}:
        seconds = _moment(word)
        return float(seconds // TIME_UNITS["days"]) if column.kind is Kind.DATE else seconds
    if _NUMBER.fullmatch(word):
        return float(word)
    return _span(word) / TIME_UNITS[column.unit] if column.kind is Kind.DURATION else math.nan


def _moment(word: str) -> float:
    """Whole seconds since 1970, by the word's own offset or UTC; NaN where it is no time in the form of ISO 8601."""
    if _MOMENT.fullmatch(word):
        try:
            moment = datetime.fromisoformat(word)
        except ValueError:  # such as 24:00, which is pandas' to say
            return _moment_of_pandas(word)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (aware - _EPOCH) // _SECOND
        return float(seconds) if abs(seconds) <= _FARTHEST_S else math.nan
    return _moment_of_pandas(word) if word[:1].isdigit() else math.nan  # not "now": its meaning changes


def _moment_of_pandas(word: str) -> float:
    """The rarer forms, by a parser that knows more of them. Alone: see above."""
    alone = pd.Series([word], dtype=object)
    moment = pd.to_datetime(alone, format="ISO8601", errors="coerce", utc=True, cache=False)
    return math.nan if moment.isna().all() else float(moment.iloc[0].value // 10**9)


def _span(word: str) -> float:
    """Seconds; NaN where it is no time span."""
    try:
        nanoseconds = pd.Timedelta(word).as_unit("ns").value
    except (ValueError, OverflowError):
        return math.nan
    return math.nan if nanoseconds == pd.NaT.value else nanoseconds / 1e9
