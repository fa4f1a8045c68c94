"""The local data check: how a site's table fits a study, in counts that stay at the site."""

from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table as Grid

from silosynth.client.sources.table import Table, read_table
from silosynth.common.schema import ColumnCounts, Schema
from silosynth.common.study import Study

_OFTEN = 0.05
"""Share of cells clipped or outside the code list from which a person should look at the bounds or the codes."""


@dataclass(frozen=True)
class ColumnCheck:
    """What was counted in one column. About real rows: stays at the site."""

    name: str
    counts: ColumnCounts
    advice: str


@dataclass(frozen=True)
class Check:
    """How a table fits a study. About real rows: stays at the site."""

    rows: int
    units: int
    columns: tuple[ColumnCheck, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    largest_unit: int = field(default=1)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at before approving, one line each."""
        return tuple(f"{column.name}: {column.advice}" for column in self.columns if column.advice)


def local_check(path: Path, study: Study) -> Check:
    """Read the whole file as the study would. Raises InvalidData as `read_table` does."""
    return check_table(read_table(path, study.schema, study.unit), study)


def check_table(table: Table, study: Study) -> Check:
    """The check of rows already read."""
    rows, sizes = len(table.frame), table.unit_ids.value_counts()
    largest = int(sizes.max())
    notes = list(table.notes)
    if largest > study.max_rows_per_unit:
        over = int((sizes > study.max_rows_per_unit).sum())
        notes.append(f"{over} units have more than {study.max_rows_per_unit} rows; each keeps that many, by keyed hash")
    return Check(rows, len(sizes), _columns(study.schema, table), table.ignored, tuple(notes), largest)


def _columns(schema: Schema, table: Table) -> tuple[ColumnCheck, ...]:
    rows = len(table.frame)
    return tuple(
        ColumnCheck(column.name, counts, _advice(counts, rows))
        for column, counts in zip(schema.columns, table.counts, strict=True)
    )


def _advice(counts: ColumnCounts, rows: int) -> str:
    present = rows - counts.missing
    if not present:
        return "all missing here; allowed, but check the column's name and missing codes"
    if counts.out_of_bounds > _OFTEN * present:
        return "many values clipped; check the unit of measurement and the study's bounds"
    if counts.unknown > _OFTEN * present:
        return "many values outside the code list, which become OTHER; check the coding"
    return ""


def as_table(check: Check) -> Grid:
    """The check for a terminal."""
    grid = Grid(title=f"{check.rows:,} rows of {check.units:,} units: stays at this site", title_justify="left")
    for heading in ("column", "missing", "out of bounds", "not in codes", "advice"):
        grid.add_column(heading, justify="left" if heading in {"column", "advice"} else "right")
    for column in check.columns:
        counts = column.counts
        numbers = (f"{number:,}" for number in (counts.missing, counts.out_of_bounds, counts.unknown))
        grid.add_row(column.name, *numbers, column.advice)
    return grid


def as_lines(check: Check) -> list[str]:
    """The check as plain lines: totals, one for each column, then notes."""
    lines = [f"{check.rows} rows of {check.units} units (stays at this site)"]
    for column in check.columns:
        counts = column.counts
        said = f"missing {counts.missing}, out of bounds {counts.out_of_bounds}, not in codes {counts.unknown}"
        lines.append(f"{column.name}: {said}" + (f" - {column.advice}" if column.advice else ""))
    if check.ignored:
        lines.append(f"columns of the table that are not in the study: {', '.join(check.ignored)}")
    return [*lines, *check.notes]
