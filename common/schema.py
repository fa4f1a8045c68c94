"""What a table's columns may hold, from public knowledge only."""

from dataclasses import dataclass
from enum import StrEnum


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
    """One column."""

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


@dataclass(frozen=True)
class Schema:
    """All columns, in order."""

    columns: tuple[Column, ...]
