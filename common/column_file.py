"""One column of a study file, read and written."""

from datetime import UTC, datetime, timedelta
from typing import Any

from silosynth.common.column import MAX_DECIMALS, TRUTH, Column, Kind
from silosynth.common.toml_read import TableReader
from silosynth.common.toml_text import Plain, entry

_REFUSED_TYPES = {
    "text": "free text can name a person and is never modelled; leave the column out, or recode it to a code list",
    "id": "an identifier is never modelled; leave the column out, and name it as `unit` under [study] if it is the "
    "person's key",
}
_OTHER_NAMES = {
    "str": "categorical", "string": "categorical", "category": "categorical", "enum": "categorical", "int": "integer",
    "float": "number", "real": "number", "decimal": "number", "bool": "boolean", "timestamp": "datetime",
    "time": "datetime", "timedelta": "duration", "free-text": "text", "freetext": "text", "identifier": "id",
}  # fmt: skip


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_column(table: TableReader) -> Column:
    """The column that an entry of [[columns]] describes. Raises InvalidStudy with table, key and cure."""
    name = table.text("name")
    named = table.renamed(f"[[columns]] {name!r}")
    kind = _kind(named)
    column = Column(
        name=name,
        kind=kind,
        codes=named.words("codes"),
        low=_bound(named, "min", kind),
        high=_bound(named, "max", kind),
        missing=named.words("missing"),
        decimals=named.optional_whole("decimals", 0, MAX_DECIMALS),
        special=_special(named, kind),
        scale=named.text("scale", "auto"),
        unit=named.text("unit", ""),
        unreviewed=named.words("unreviewed"),
    )
    named.done()
    return column


def write_column(column: Column) -> str:
    """The column's keys and values, a key a line, without its [[columns]]."""
    values: dict[str, Plain | None] = {
        "name": column.name,
        "type": column.kind.value,
        "codes": column.codes if column.codes != TRUTH or column.kind is Kind.CATEGORICAL else None,
        "min": None if column.low is None else _written(column.low, column.kind),
        "max": None if column.high is None else _written(column.high, column.kind),
        "decimals": column.decimals,
        "special": tuple(_written(value, column.kind) for value in column.special),
        "scale": column.scale if column.scale != "auto" else None,
        "unit": column.unit,
        "missing": column.missing,
        "unreviewed": column.unreviewed,
    }
    return "\n".join(entry(key, value) for key, value in values.items() if value not in (None, "", ()))


def _kind(table: TableReader) -> Kind:
    word = table.text("type")
    if word in list(Kind):
        return Kind(word)
    meant = _OTHER_NAMES.get(word, word)
    if meant in _REFUSED_TYPES:
        raise table.wrong("type", f"{word!r} is refused: {_REFUSED_TYPES[meant]}")
    hint = f"did you mean {meant!r}?" if meant != word else f"must be one of {', '.join(Kind)}"
    raise table.wrong("type", f"{word!r} is not known; {hint}")


def _bound(table: TableReader, key: str, kind: Kind) -> float | None:
    value = table.take(key)
    return None if value is None else _read(table, key, value, kind)


def _special(table: TableReader, kind: Kind) -> tuple[float, ...]:
    values = table.take("special")
    if values is not None and not isinstance(values, list):
        raise table.wrong("special", "must be a list of values, such as [0.5, 1]")
    return tuple(_read(table, "special", value, kind) for value in values or [])


def _read(table: TableReader, key: str, value: Any, kind: Kind) -> float:
    if kind in {Kind.DATE, Kind.DATETIME}:
        return table.as_moment(key, value, days=kind is Kind.DATE)
    return table.as_number(key, value)


def _written(value: float, kind: Kind) -> str | float:
    match kind:
        case Kind.DATE:
            return (_EPOCH + timedelta(days=value)).date().isoformat()
        case Kind.DATETIME:
            return (_EPOCH + timedelta(seconds=value)).replace(tzinfo=None).isoformat()
        case _:
            return int(value) if value.is_integer() else value
