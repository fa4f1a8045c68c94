"""One column of a table: its type, its bounds or codes, and the cells its values fall into. Public knowledge only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from silosynth.common import grids
from silosynth.common.errors import InvalidStudy

MAX_CODES = 4096
"""Most codes of one column: each is a counter in the first task of every study."""

MAX_DECIMALS = 9

TRUTH = ("false", "true")
"""The codes of a boolean column that declares none; then the usual synonyms are read as these."""

SCALES = ("auto", "linear", "asinh")

TIME_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
"""Seconds in a unit of a duration."""

_FIRST_SECOND, _LAST_SECOND = -9214560000, 9214646399  # 1678-01-01 to 2261-12-31, what 64-bit nanoseconds can tell

REVIEWABLE = ("min", "max", "codes", "missing", "special", "decimals")
"""What a draft can have taken from data, and a person must look at before a launch."""


class Kind(StrEnum):
    """The type of a column."""

    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    DATETIME = "datetime"
    DURATION = "duration"


@dataclass(frozen=True)
class Column:
    """One column. Values in order make its fine cells; then OTHER (coded columns only); the last cell is MISSING.

    `low` and `high` are public bounds in the column's own units; of a date, days, of a datetime, seconds since
    1970-01-01. `special` values have a cell of their own. `unit` is a word for people, except for a duration, where it
    is one of TIME_UNITS ("days" where empty). `unreviewed` names what a draft took from data.

    Raises InvalidStudy, naming column, key and cure, where these do not make a column.
    """

    name: str
    kind: Kind
    codes: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    missing: tuple[str, ...] = ()
    decimals: int | None = None
    special: tuple[float, ...] = ()
    scale: str = "auto"
    unit: str = ""
    unreviewed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # one form for each meaning, so that equal columns have equal digests: floats, no negative zero, no defaults
        if self.kind is Kind.BOOLEAN and not self.codes:
            object.__setattr__(self, "codes", TRUTH)
        if self.kind is Kind.DURATION and not self.unit:
            object.__setattr__(self, "unit", "days")
        for bound in ("low", "high"):
            value = getattr(self, bound)
            object.__setattr__(self, bound, None if value is None else float(value) + 0.0)
        object.__setattr__(self, "special", tuple(sorted(float(value) + 0.0 for value in self.special)))
        if not self.name or self.name != self.name.strip() or not self.name.isprintable():
            raise InvalidStudy(f"column name {self.name!r} is empty, or has space around it or control characters")
        object.__setattr__(self, "missing", tuple(code for code in self.missing if code.strip()))  # blank always is
        self._check_words()
        self._check_numbers()
        if self.coded:
            self._check_codes()
        else:
            self._check_bounds()

    @property
    def coded(self) -> bool:
        """Whether values come from a list of codes."""
        return self.kind in {Kind.CATEGORICAL, Kind.BOOLEAN}

    @property
    def ordered(self) -> bool:
        """Whether neighbouring cells hold neighbouring values, so that they may merge."""
        return not self.coded

    @property
    def bounds(self) -> tuple[float, float]:
        """Public bounds of an ordered column."""
        if self.low is None or self.high is None:
            raise ValueError("a coded column has no bounds")
        return self.low, self.high

    @cached_property
    def grid(self) -> grids.Grid:
        """The fine grid of an ordered column."""
        low, high = self.bounds
        temporal = self.kind in {Kind.DATE, Kind.DATETIME}
        zero = () if temporal or not low <= 0 <= high else (0.0,)  # 1970-01-01 is a day like any other
        asinh = self.scale == "asinh" or (self.scale == "auto" and not temporal and grids.is_heavy(low, high))
        return grids.grid(grids.Range(low, high, (*zero, *self.special), self.per_unit, asinh))

    @property
    def per_unit(self) -> int | None:
        """Lattice steps per unit: 1 for whole numbers, days and seconds; None for a continuous column."""
        if self.kind in {Kind.INTEGER, Kind.DATE, Kind.DATETIME}:
            return 1
        return None if self.decimals is None else 10**self.decimals

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """The missing codes that are numbers, so that 999 and 999.0 mean the same; a date is never a number."""
        if self.kind in {Kind.DATE, Kind.DATETIME}:
            return ()
        return tuple(number for code in self.missing if (number := _number(code)) is not None)

    @property
    def other(self) -> str:
        """The label of values outside the code list: OTHER, with underscores before it where that is itself a code."""
        label = "OTHER"
        while label in self.codes:
            label = "_" + label
        return label

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of a coded column's cells but MISSING: its codes, then OTHER."""
        return (*self.codes, self.other)

    @property
    def size(self) -> int:
        """Fine cells in all."""
        return (len(self.codes) + 1 if self.coded else self.grid.size) + 1

    @property
    def other_cell(self) -> int | None:
        """The cell of values outside the code list; None where there is no list."""
        return len(self.codes) if self.coded else None

    @property
    def missing_cell(self) -> int:
        """The last cell."""
        return self.size - 1

    def _wrong(self, key: str, what: str) -> InvalidStudy:
        return InvalidStudy(f"column {self.name!r}, key {key!r}: {what}")

    def _check_words(self) -> None:
        for key, words in (("codes", self.codes), ("missing", self.missing), ("unreviewed", self.unreviewed)):
            if twice := _repeated(words):
                raise self._wrong(key, f"{twice!r} stands twice; keep one")
        if wrong := [word for word in self.unreviewed if word not in REVIEWABLE]:
            raise self._wrong("unreviewed", f"{wrong[0]!r} is none of {', '.join(REVIEWABLE)}")

    def _check_numbers(self) -> None:
        if self.scale not in SCALES:
            raise self._wrong("scale", f"must be one of {', '.join(SCALES)}")
        if self.scale != "auto" and self.kind not in {Kind.INTEGER, Kind.NUMBER, Kind.DURATION}:
            raise self._wrong("scale", f"has no meaning for a {self.kind} column; leave it out")
        if self.kind is Kind.DURATION and self.unit not in TIME_UNITS:
            raise self._wrong("unit", f"must be one of {', '.join(TIME_UNITS)}")
        if self.decimals is not None and self.kind not in {Kind.NUMBER, Kind.DURATION}:
            raise self._wrong("decimals", f"has no meaning for a {self.kind} column; leave it out")
        if self.decimals is not None and not 0 <= self.decimals <= MAX_DECIMALS:
            raise self._wrong("decimals", f"must lie between 0 and {MAX_DECIMALS}; leave it out for no rounding")

    def _check_codes(self) -> None:
        for key, value in (("min", self.low), ("max", self.high), ("special", self.special or None)):
            if value is not None:
                raise self._wrong(key, f"has no meaning for a {self.kind} column; list its codes instead")
        if not self.codes:
            raise self._wrong("codes", "is missing; list every code the column may hold, from its code book")
        if len(self.codes) > MAX_CODES:
            raise self._wrong("codes", f"has more than {MAX_CODES} entries; group them into a coarser code")
        if self.kind is Kind.BOOLEAN and len(self.codes) != len(TRUTH):
            raise self._wrong("codes", "must be the two codes for false and true, in this order")
        if blank := [code for code in self.codes if not code.strip()]:
            raise self._wrong("codes", f"{blank[0]!r} is blank; an empty cell is always missing, leave it out")
        if both := set(self.codes) & set(self.missing):
            raise self._wrong("missing", f"{min(both)!r} is also a code; keep it in one of the two lists")

    def _check_bounds(self) -> None:
        if self.codes:
            raise self._wrong("codes", f'has no meaning for a {self.kind} column; use type = "categorical"')
        for key, bound in (("min", self.low), ("max", self.high)):
            if bound is None:
                raise self._wrong(key, "is missing; give a bound known without the data (a code book, physiology, law)")
            if not math.isfinite(bound):
                raise self._wrong(key, "must be finite")
            self._check_lattice(key, bound)
        low, high = self.bounds
        if low >= high:
            raise self._wrong("max", "must be above min; a column with one value needs no study")
        for value in self.special:
            if not low <= value <= high:
                raise self._wrong("special", "holds a value outside min and max")
            if value in self.missing_numbers:
                raise self._wrong("special", "holds a value that is also declared missing; keep one")
            self._check_lattice("special", value)
        if twice := _repeated([str(value) for value in self.special]):
            raise self._wrong("special", f"{twice} stands twice; keep one")

    def _check_lattice(self, key: str, value: float) -> None:
        if self.kind in {Kind.DATE, Kind.DATETIME}:
            seconds = value * (TIME_UNITS["days"] if self.kind is Kind.DATE else 1)
            if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
                raise self._wrong(key, "must lie in the years 1678 to 2261")
        if self.per_unit == 1 and not value.is_integer():
            raise self._wrong(key, "must be a whole number")
        if self.decimals is not None and round(value, self.decimals) != value:
            raise self._wrong(key, f"must have at most the {self.decimals} decimals of the column")
        if abs(value) * (self.per_unit or 1) >= 2**52:  # beyond it neighbouring values are one float
            raise self._wrong(key, "is too large for the column's decimals; use fewer decimals or a larger unit")


def _number(code: str) -> float | None:
    try:
        return float(code)
    except ValueError:
        return None


def _repeated(words: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for word in words:
        if word in seen:
            return word
        seen.add(word)
    return None
