"""Data dictionaries as columns of a draft: SDV metadata (single table, version 1), an mbi domain, or a CSV file.

What a dictionary says is public, so nothing here is marked as taken from data. The CSV form has the headings name and
type, and any of min, max, codes, missing, special, decimals, unit, scale; lists are separated by a bar.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silosynth.client.guess import Guess
from silosynth.client.sources.text import TextTable
from silosynth.common.column import Column, Kind
from silosynth.common.column_file import read_column
from silosynth.common.errors import InvalidInput, InvalidStudy
from silosynth.common.toml_read import TableReader

HEADINGS = ("name", "type", "min", "max", "codes", "missing", "special", "decimals", "unit", "scale")

_SDV_KINDS = {"numerical": Kind.NUMBER, "categorical": Kind.CATEGORICAL, "datetime": Kind.DATETIME}
_ORDERED_FROM = 50
"""A domain of so many codes is taken for an ordered scale that was cut into bins."""


def is_dictionary(table: TextTable) -> bool:
    """Whether a CSV file is a data dictionary, by its headings."""
    headings = {name.casefold() for name in table.names}
    return {"name", "type"} <= headings <= set(HEADINGS)


def from_csv(table: TextTable) -> list[Guess]:
    """The columns of a CSV dictionary. Raises InvalidStudy naming its row."""
    guesses = []
    for chunk in table.chunks(table.names):
        for number, record in enumerate(chunk.text.to_dict("records"), start=chunk.first_row):
            cells = {str(key).casefold(): str(cell).strip() for key, cell in record.items() if str(cell).strip()}
            guesses.append(_from_cells(f"{table.source}: row {number}", cells))
    return guesses


def from_json(path: Path) -> list[Guess]:
    """The columns of an SDV metadata or mbi domain file. Raises InvalidInput for any other."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError):
        raise InvalidInput(f"{path.name}: cannot be read as JSON; give SDV metadata or an mbi domain") from None
    if isinstance(content, dict) and isinstance(content.get("tables"), dict) and len(content["tables"]) == 1:
        content = next(iter(content["tables"].values()))
    if isinstance(content, dict) and isinstance(content.get("columns"), dict):
        return [_from_sdv(str(name), about) for name, about in content["columns"].items()]
    if isinstance(content, dict) and content and all(type(size) is int and size > 0 for size in content.values()):
        return [Guess(name, _from_domain(name, size)) for name, size in content.items()]
    raise InvalidInput(
        f"{path.name}: is neither SDV metadata of one table (version 1: a key `columns`) nor an mbi domain "
        "({column: number of codes})"
    )


def _from_domain(name: str, size: int) -> Column:
    """Codes 0 to size - 1."""
    if size > _ORDERED_FROM:
        return Column(name, Kind.INTEGER, low=0, high=size - 1)
    return Column(name, Kind.CATEGORICAL, codes=tuple(str(code) for code in range(size)))


def _from_sdv(name: str, about: Any) -> Guess:
    """SDV states types, not bounds or codes: what is missing is left for a person to fill in."""
    facts: Mapping[str, Any] = about if isinstance(about, dict) else {}
    kind = str(facts.get("sdtype", ""))
    if kind == "boolean":
        return Guess(name, Column(name, Kind.BOOLEAN))
    if kind not in _SDV_KINDS:
        return Guess(name, None, (f"is of SDV type {kind!r}, which names persons or things and is not modelled",))
    known = _SDV_KINDS[kind]
    if known is Kind.NUMBER and "int" in str(facts.get("computer_representation", "")).casefold():
        known = Kind.INTEGER
    if known is Kind.DATETIME and not any(
        part in str(facts.get("datetime_format", "%H")) for part in ("%H", "%I", "%T")
    ):
        known = Kind.DATE
    wanted = "codes = [...]" if known is Kind.CATEGORICAL else "min = ... and max = ..."
    return Guess(name, None, (f'has type = "{known}" in the dictionary; add {wanted} from its code book',))


def _from_cells(place: str, cells: Mapping[str, str]) -> Guess:
    values: dict[str, Any] = {key: cells[key] for key in ("name", "type", "unit", "scale") if key in cells}
    for key in ("codes", "missing"):
        if key in cells:
            values[key] = [word.strip() for word in cells[key].split("|") if word.strip()]
    moment = cells.get("type") in {Kind.DATE, Kind.DATETIME}
    for key in ("min", "max", "decimals"):
        if key in cells:
            values[key] = cells[key] if moment else _number(place, key, cells[key])
    if "special" in cells:
        words = cells["special"].split("|")
        values["special"] = words if moment else [_number(place, "special", word) for word in words]
    if cells.get("type") in {"text", "id"}:
        return Guess(cells.get("name", ""), None, ("is free text or an identifier by its dictionary; never modelled",))
    try:
        column = read_column(TableReader(place, "dictionary", values))
    except InvalidStudy as error:
        raise error if str(error).startswith(place) else InvalidStudy(f"{place}: {error}") from None
    return Guess(column.name, column)


def _number(place: str, key: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise InvalidStudy(f"{place}: key {key!r}: must be a number")
    return int(value) if value.is_integer() else value
