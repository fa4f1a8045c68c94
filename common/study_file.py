"""A study as a TOML file: strict reading, and writing that gives the same digest back.

One format serves the file a person writes and the resolved one, which has the roster and the plan as well. Reading says
file, table, key and cure; an unknown key is an error, because a misspelt privacy key must not pass for a default.
"""

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from silosynth.common import secagg_study
from silosynth.common.column_file import read_column, write_column
from silosynth.common.engines import heldout
from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.privacy import Part
from silosynth.common.schema import Schema
from silosynth.common.secagg.roster import MAX_MEMBERS
from silosynth.common.study import FORMAT, Budget, Member, Step, Study, Trust
from silosynth.common.toml_read import TableReader
from silosynth.common.toml_text import entry

MIN_COLUMNS, MAX_COLUMNS = 2, 200
MAX_HOLDOUT = 0.9
MAX_ROWS_PER_UNIT = 5040  # a row weighs floor(HISTOGRAM_GRID / rows of the unit): beyond it, nothing
ENGINES = ("autoregressive", "gan", "marginals")
"""The engines of this version."""

AUTO = "auto"
"""In place of an engine, until there is a plan: common/engines/auto.py."""

MAX_ATTEMPTS = 100

_LARGE = 1 << 48
_FILE_BYTES = 1 << 23
_DIGITS = 60
_NONE = "none"
_HEX = re.compile(r"[0-9a-f]{64}")
_DECIMAL = re.compile(rf"[0-9]{{1,30}}(\.[0-9]{{1,{_DIGITS}}})?")


def read_study(text: str, *, source: str) -> Study:
    """The study that a TOML text describes.

    Args:
        text: the file's text.
        source: its name, for messages.

    Raises:
        InvalidStudy: for anything that is not exactly a study: source, table, key and cure.
        NotPossible: for an engine of a later version.
    """
    if len(text) > _FILE_BYTES:
        raise InvalidStudy(
            f"{source}: is larger than {_FILE_BYTES >> 20} MiB; a study is columns and numbers, not data"
        )
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidStudy(f"{source}: is not valid TOML: {error}; correct that place") from None
    top = TableReader(source, "top level", values)
    version = top.take("format")
    if version not in {None, FORMAT}:
        raise InvalidStudy(f"{source}: format {version!r} is not {FORMAT}; use the version of silosynth that wrote it")
    tables = {name: top.take(name) for name in ("study", "privacy", "engine", "columns", "roster", "plan")}
    top.done()
    if tables["study"] is None:
        raise InvalidStudy(f"{source}: the table [study] is missing; add it with at least `name`")
    try:
        schema = Schema(tuple(read_column(table) for table in _tables(source, "columns", tables["columns"])))
        study = _study(source, tables, schema)
        check(study)
    except (InvalidStudy, NotPossible) as error:
        raise _named(source, error) from None
    return study


def write_study(study: Study) -> str:
    """The study as TOML. `read_study` gives a study of the same digest back."""
    parts = ["\n".join([f"format = {FORMAT}", "", "[study]", *_study_lines(study)])]
    parts.append("\n".join(["[privacy]", *_privacy_lines(study)]))
    if study.settings:
        parts.append("\n".join(["[engine]", *(entry(key, value) for key, value in study.settings)]))
    parts += [f"[[columns]]\n{write_column(column)}" for column in study.schema.columns]
    parts += ["\n".join(["[[roster]]", *_member_lines(member)]) for member in study.roster]
    for step in study.plan:
        parts.append("\n".join(["[[plan]]", *_step_lines(step)]))
        parts += ["\n".join(["[[plan.within]]", *_step_lines(inner)]) for inner in step.within]
    return "\n\n".join(parts) + "\n"


def _study_lines(study: Study) -> list[str]:
    values = {
        "name": study.name, "purpose": study.purpose or None, "target": study.target, "unit": study.unit,
        "holdout": study.holdout, "engine": study.engine, "trust": study.trust.value, "rows": study.rows,
        "units": study.units, "max_rows_per_unit": study.max_rows_per_unit, "code": study.code or None,
        "evaluate": None if study.evaluate else False,
    }  # fmt: skip
    return [entry(key, value) for key, value in values.items() if value is not None]


def _privacy_lines(study: Study) -> list[str]:
    values = asdict(study.budget) | {"threshold": study.threshold, "attempts": study.attempts}
    return [entry(key, value) for key, value in values.items() if value is not None]


def _member_lines(member: Member) -> Iterator[str]:
    yield entry("name", member.name)
    yield entry("capacity", member.capacity)
    if member.key:
        yield entry("key", member.key)
    if member.officer:
        yield entry("officer", member.officer)


def _step_lines(step: Step) -> Iterator[str]:
    yield entry("kind", step.kind)
    yield entry("repeats", step.repeats)
    if step.part is not Part.TRAIN:
        yield entry("part", step.part.value)
    if not step.within:
        yield entry("multiplier", _NONE if step.multiplier is None else _decimal(step.multiplier))
    for key, value in (("rate", step.rate), ("certified", step.certified)):
        if value is not None:
            yield entry(key, _decimal(value))


def _decimal(value: Fraction) -> str:
    """The exact decimal text of a fraction. Raises ValueError where it has none of reasonable length."""
    for digits in range(_DIGITS + 1):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            whole, part = divmod(scaled.numerator, 10**digits)
            return f"{whole}.{part:0{digits}d}" if digits else str(whole)
    raise ValueError("a plan's numbers are finite decimals")


def check(study: Study) -> None:
    """Raise InvalidStudy or NotPossible where the parts of a study do not fit together."""
    names, count = study.schema.names, len(study.schema.columns)
    if count < MIN_COLUMNS:
        raise InvalidStudy(f"[[columns]]: {count} declared; at least {MIN_COLUMNS} are needed for a table worth making")
    if count > MAX_COLUMNS:
        raise InvalidStudy(f"[[columns]]: {count} declared, {MAX_COLUMNS} is the most; leave out what nobody will use")
    if not study.name.strip() or not study.name.isprintable():
        raise InvalidStudy("[study] key 'name': must be a short text without control characters")
    if study.target is not None and study.target not in names:
        raise InvalidStudy(f"[study] key 'target': {study.target!r} is no column of [[columns]]; add it or correct it")
    if study.unit is not None and study.unit in names:
        raise InvalidStudy(
            f"[study] key 'unit': the person key {study.unit!r} is also listed in [[columns]]; remove it there: a key "
            "names people and is never modelled"
        )
    if not 0 <= study.holdout <= MAX_HOLDOUT:
        raise InvalidStudy(f"[study] key 'holdout': must lie between 0 and {MAX_HOLDOUT}; 0.2 is usual")
    if study.engine not in ENGINES and (study.engine != AUTO or study.plan):
        known = ", ".join((AUTO, *ENGINES))
        raise NotPossible(f"[study] key 'engine': {study.engine!r} is not in this version; it has {known}")
    _check_run(study)


def _check_run(study: Study) -> None:
    if study.trust is Trust.SECURE_SUM and study.budget.colluders < 1:
        raise InvalidStudy("[privacy] key 'colluders': must be at least 1: with 0, one curious site breaks the promise")
    if study.trust is Trust.SECURE_SUM and any(member.key for member in study.roster):
        secagg_study.roster(study)
    if study.trust is not Trust.LOCAL and any(step.within or step.sampled for step in study.plan):
        raise InvalidStudy('[[plan]]: a site learns by itself, and from samples, only with trust = "local"')
    if any((step.rate or 0) > 1 for outer in study.plan for step in (outer, *outer.within)):
        raise InvalidStudy("[[plan]] key 'rate': is a chance, so at most 1")
    if not all(map(heldout.is_sound, study.plan)):
        raise InvalidStudy(
            f"[[plan]] key 'part': must be {Part.HOLDOUT.value!r} for steps of kind {', '.join(heldout.KINDS)}, and "
            "for no others"
        )
    if any(step.part is not Part.TRAIN for outer in study.plan for step in outer.within):
        raise InvalidStudy("[[plan.within]] key 'part': is said of the step around it")
    sites, keys = [member.name for member in study.roster], [member.key for member in study.roster if member.key]
    if len(set(sites)) != len(sites):
        raise InvalidStudy("[[roster]]: two sites have one name; rename one")
    if len(set(keys)) != len(keys):
        raise InvalidStudy("[[roster]]: two sites have one key; each site makes its own")


def _named(source: str, error: InvalidStudy | NotPossible) -> InvalidStudy | NotPossible:
    text = str(error)
    return error if text.startswith(source) else type(error)(f"{source}: {text}")


def _study(source: str, tables: dict[str, Any], schema: Schema) -> Study:
    table = TableReader(source, "[study]", tables["study"])
    privacy = TableReader(source, "[privacy]", tables["privacy"] or {})
    trust = table.text("trust", Trust.SECURE_SUM)
    if trust not in list(Trust):
        raise table.wrong("trust", f"must be one of {', '.join(Trust)}")
    study = Study(
        name=table.text("name"),
        schema=schema,
        budget=Budget(
            epsilon=privacy.number("epsilon", 1.0),
            delta=privacy.number("delta", 1e-5),
            colluders=privacy.whole("colluders", 0, 10_000, default=1),
        ),
        target=table.optional_text("target"),
        unit=table.optional_text("unit"),
        holdout=table.number("holdout", 0.2),
        engine=table.text("engine", ENGINES[0]),
        trust=Trust(trust),
        rows=table.optional_whole("rows", 1, _LARGE),
        units=table.optional_whole("units", 1, _LARGE),
        max_rows_per_unit=table.whole("max_rows_per_unit", 1, MAX_ROWS_PER_UNIT, default=64),
        settings=tuple(_settings(source, tables["engine"] or {})),
        threshold=privacy.optional_whole("threshold", 1, MAX_MEMBERS),
        attempts=privacy.whole("attempts", 1, MAX_ATTEMPTS, default=Study.attempts),
        roster=tuple(_roster(source, tables["roster"])),
        plan=tuple(_plan(source, tables["plan"])),
        purpose=table.text("purpose", ""),
        evaluate=table.flag("evaluate", default=True),
        code=_hex(table, "code", "the software that sites run, as `silosynth site doctor` shows them"),
    )
    table.done()
    privacy.done()
    return study


def _tables(source: str, name: str, values: Any) -> Iterator[TableReader]:
    if not isinstance(values or [], list):
        raise InvalidStudy(f"{source}: {name} must be written with double brackets, [[{name}]], once for each entry")
    for number, entry_values in enumerate(values or [], start=1):
        yield TableReader(source, f"[[{name}]] number {number}", entry_values)


def _settings(source: str, values: Any) -> Iterator[tuple[str, float]]:
    for key, value in TableReader(source, "[engine]", values).rest().items():
        yield key, TableReader(source, "[engine]", {key: value}).number(key, math.nan)


def _roster(source: str, values: Any) -> Iterator[Member]:
    for table in _tables(source, "roster", values):
        name = table.text("name")
        if not name.strip() or not name.isprintable():
            raise table.wrong("name", "must be a short text without control characters")
        keys = [_hex(table, key, "a site's public key, as its request.json shows it") for key in ("key", "officer")]
        yield Member(name, table.whole("capacity", 1, _LARGE), *keys)
        table.done()


def _hex(table: TableReader, key: str, what: str) -> str:
    text = table.text(key, "")
    if text and not _HEX.fullmatch(text):
        raise table.wrong(key, f"must be the 64 hex digits of {what}")
    return text


def _plan(source: str, values: Any) -> Iterator[Step]:
    for table in _tables(source, "plan", values):
        within = tuple(map(_step, _tables(source, "plan.within", table.take("within"))))
        yield _step(table, within)


def _step(table: TableReader, within: tuple[Step, ...] = ()) -> Step:
    step = Step(
        table.text("kind"),
        table.whole("repeats", 1, 1_000_000),
        None if within else _fraction(table, "multiplier"),
        None if within else _fraction(table, "rate"),
        within,
        _fraction(table, "certified"),
        _part(table),
    )
    table.done()
    return step


def _part(table: TableReader) -> Part:
    part = table.text("part", Part.TRAIN.value)
    if part not in list(Part):
        raise table.wrong("part", f"must be one of {', '.join(Part)}")
    return Part(part)


def _fraction(table: TableReader, key: str) -> Fraction | None:
    written = table.text(key, _NONE)
    if written != _NONE and (not _DECIMAL.fullmatch(written) or Fraction(written) == 0):
        raise table.wrong(key, 'must be a positive decimal in quotes, such as "12.5", or "none"')
    return None if written == _NONE else Fraction(written)
