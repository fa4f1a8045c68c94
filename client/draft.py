"""Drafting a study from a table or a data dictionary: a TOML file with remarks, for a person to correct.

A draft from a table holds what a real study must not rest on: bounds and codes taken from rows. Each is marked
`unreviewed`; a real launch refuses marked columns and a simulation warns.
"""

import re
from pathlib import Path

from silosynth.client.dictionaries import from_csv, from_json, is_dictionary
from silosynth.client.guess import Guess, guess
from silosynth.client.profile import profiles
from silosynth.client.sources.suspect import names_a_key
from silosynth.client.sources.table import open_table
from silosynth.common.column_file import write_column
from silosynth.common.errors import InvalidInput
from silosynth.common.study import FORMAT
from silosynth.common.study_file import MAX_COLUMNS, MIN_COLUMNS
from silosynth.common.toml_text import comment, entry

MOST_ROWS = 300_000
"""Rows of a table that a draft looks at."""

_SUFFIX = re.compile(r"(\.(csv|tsv|txt|parquet|json))?(\.gz)?$", re.IGNORECASE)


def draft(path: Path, *, target: str | None = None, unit: str | None = None) -> str:
    """A study file for a table (CSV, Parquet) or a data dictionary (SDV or mbi JSON, CSV with name and type).

    Args:
        path: the file.
        target: the column that a downstream model would predict.
        unit: the person key; never modelled.

    Raises:
        InvalidInput: for a file that is none of these, a target or unit it does not have, or too few usable columns.
    """
    guesses, from_rows = _guesses(path)
    names = [found.name for found in guesses]
    for key, name in (("target", target), ("unit", unit)):
        if name is not None and name not in names and (from_rows or key == "target"):
            raise InvalidInput(f"{path.name}: {key} {name!r} is not among its columns; check the spelling")
    guesses = [_keyed(found, unit) for found in guesses]
    used = [found for found in guesses if found.column is not None]
    if from_rows and (reason := next((f.remarks for f in guesses if f.name == target and not f.column), None)):
        raise InvalidInput(f"{path.name}: target {target!r} {reason[0]}")
    if len(used) < MIN_COLUMNS and from_rows:
        raise InvalidInput(f"{path.name}: has fewer than {MIN_COLUMNS} columns that can be modelled")
    used.sort(key=lambda found: found.name != target)  # the target first, all others as they stand
    beyond = {found.name for found in used[MAX_COLUMNS:]}
    guesses = [
        Guess(found.name, None, (f"is beyond the {MAX_COLUMNS} columns a study may have",))
        if found.name in beyond
        else found
        for found in guesses
    ]
    head = [_headline(path, guesses, from_rows=from_rows), _study(path, guesses, target, unit)]
    return "\n\n".join([*head, *(_entry(found) for found in guesses)]) + "\n"


def _guesses(path: Path) -> tuple[list[Guess], bool]:
    """What each column seems to be, and whether rows were looked at."""
    if path.suffix.casefold() == ".json":
        return from_json(path), False
    table = open_table(path)
    if is_dictionary(table):
        return from_csv(table), False
    named = [name for name in table.names if name and name.isprintable()]
    return [guess(profile) for profile in profiles(table.chunks(named), MOST_ROWS)], True


def _keyed(found: Guess, unit: str | None) -> Guess:
    return (
        Guess(found.name, None, ("is the person key, named as `unit`: never modelled",))
        if found.name == unit
        else found
    )


def _headline(path: Path, guesses: list[Guess], *, from_rows: bool) -> str:
    marked = sum(1 for found in guesses if found.column is not None and found.column.unreviewed)
    left_out = sum(1 for found in guesses if found.column is None)
    lines = [comment(f"Drafted from {path.name}. Read every line before you use it.")]
    if from_rows:
        lines.append(
            comment(
                f"Bounds or codes of {marked} of {len(guesses)} columns are taken from these data, marked "
                "`unreviewed`. Replace them by what is known without the data (a code book, physiology, law), then "
                "delete the mark: a real launch refuses marked columns, a simulation warns."
            )
        )
    if left_out:
        lines.append(
            comment(f"Left out or incomplete, each with its reason below: {left_out} of {len(guesses)} columns.")
        )
    return "\n".join(lines)


def _study(path: Path, guesses: list[Guess], target: str | None, unit: str | None) -> str:
    lines = [f"format = {FORMAT}", "", "[study]", entry("name", _SUFFIX.sub("", path.name) or "study")]
    lines.append('purpose = ""   # what the synthetic table is for: it is shown to everybody who approves')
    lines.append(entry("target", target) if target else '# target = "..."   # the column a model would predict')
    if unit:
        lines.append(entry("unit", unit))
    else:
        keys = [found.name for found in guesses if found.column is None and names_a_key(found.name)]
        lines.append(f"# {entry('unit', keys[0] if keys else '...')}   # the person key; without it a row is a person")
    lines.append('engine = "marginals"   # or "auto", once `units` says about how many persons all sites have together')
    lines.append("# units = 20000   # publicly known, never counted")
    lines += ["holdout = 0.2", "", "[privacy]", "epsilon = 1.0", "delta = 1e-5", "colluders = 1"]
    return "\n".join(lines)


def _entry(found: Guess) -> str:
    if found.column is None:
        return "\n".join(
            [comment(f"{found.name}: {'; '.join(found.remarks)}"), "# [[columns]]", f"# {entry('name', found.name)}"]
        )
    return "\n".join([*(comment(remark) for remark in found.remarks), "[[columns]]", write_column(found.column)])
