"""The tables that the benchmark of record is made of, by name, each with the rows that nobody is trained on.

`NAME` is a whole table; `NAME@2000` has 2,000 training rows of it, of the same sites, and the whole table's hold-out.
`wide-100` and `wide-200` are joined from blocks of real columns, row beside row in the order of age, so that columns of
different blocks depend on each other as far as both depend on age. A block shorter than the table repeats rows; that of
the target does not.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from silosynth.common.arrays import Index
from silosynth.common.errors import InvalidInput
from silosynth.common.schema import Schema
from silosynth.common.study import Study
from silosynth.simulations.bench import tables
from silosynth.simulations.bench.tables import Case

_WIDE_ROWS: Final = 25_000  # a fifth is held out
_WIDE_SEED: Final = 0  # the table is one; a seed deals it to sites
_BLOCKS: Final[Mapping[str, tuple[Callable[[int], Case | None], str]]] = {
    "credit": (tables.credit_default, "AGE"),
    "sdnist": (tables.sdnist, "AGEP"),
    "ist": (tables.ist_whole, "AGE"),
    "adult": (tables.adult, "age"),
    "diabetes": (tables.diabetes130, "age"),
    "credit2": (tables.credit_default, "AGE"),
    "sdnist2": (tables.sdnist, "AGEP"),
    "ist2": (tables.ist_whole, "AGE"),
    "adult2": (tables.adult, "age"),
}
"""Blocks of a wide table in order, each with the column that says age. The first has the target."""


def case(name: str, seed: int) -> Case | None:
    """The table of that name with its hold-out; None where its rows are not there. Raises InvalidInput."""
    base, at, rows = name.partition("@")
    if base not in TABLES or (at and not rows.isdigit()):
        raise InvalidInput(f"{name!r} is no table of the benchmark; it has {', '.join(TABLES)}, each also as NAME@ROWS")
    found = TABLES[base](seed)
    if found is None:
        return None
    whole = held_out(found, seed)
    return _declared(subsample(whole, int(rows), seed) if rows else whole)


def held_out(given: Case, seed: int) -> Case:
    """The same rows, the study's share of units among all sites held out; unchanged where it has a hold-out."""
    if given.holdout is not None:
        return given
    table, site, unit = _pooled(given)
    units = np.random.default_rng([seed, 0x40]).permutation(unit.max() + 1)
    out = np.isin(unit, units[: round(given.study.holdout * len(units))])
    return replace(given, sites=_by_site(given, table[~out], site[~out]), holdout=table[out].reset_index(drop=True))


def subsample(given: Case, rows: int, seed: int) -> Case:
    """`rows` training rows (with a unit: whole units, so about as many); sites stay, even one that has no row left."""
    table, site, unit = _pooled(given)
    place = np.argsort(np.random.default_rng([seed, 0x50]).permutation(unit.max() + 1))
    order = np.argsort(place[unit], kind="stable")
    last = place[unit[order[min(rows, len(order)) - 1]]]
    kept = place[unit] <= last
    return replace(given, sites=_by_site(given, table[kept], site[kept]))


def _declared(given: Case) -> Case:
    """With about as many units in its study as there are, as `auto` is told of a real one."""
    _, _, unit = _pooled(given)
    return replace(given, study=replace(given.study, units=int(float(f"{unit.max() + 1:.2g}"))))


def wide(columns: int, seed: int) -> Case | None:
    """A table of that many columns: the first ones of _BLOCKS. None where one of them is not there."""
    blocks, schemas = [], []
    for label, block in _blocks(columns):
        if block is None:
            return None
        frame, schema = block
        blocks.append(frame.add_prefix(f"{label}."))
        schemas += [replace(one, name=f"{label}.{one.name}") for one in schema.columns]
    schema = Schema(tuple(schemas[:columns]))
    table = pd.concat(blocks, axis=1)[list(schema.names)]
    study = _wide_study(columns, schema)
    return tables.spread(study, table, seed)


def _blocks(columns: int) -> Iterator[tuple[str, tuple[pd.DataFrame, Schema] | None]]:
    """Blocks until there are enough columns, rows in the order of age; equal ages in an order of the block's own."""
    rng = np.random.default_rng(_WIDE_SEED)
    order = rng.permutation(_WIDE_ROWS)
    made = 0
    for label, (load, age) in _BLOCKS.items():
        if made >= columns:
            return
        found = load(_WIDE_SEED)
        if found is None:
            yield label, None
            return
        schema = found.study.schema
        made += len(schema.columns)
        table = pd.concat([*found.sites.values(), found.holdout], ignore_index=True)
        repeated = np.concatenate([rng.permutation(len(table)) for _ in range(-(-_WIDE_ROWS // len(table)))])
        drawn = table.iloc[repeated[:_WIDE_ROWS]].reset_index(drop=True)
        ages = drawn[age].str.strip("[").str.partition("-")[0].astype(float)
        aligned = drawn.iloc[np.argsort(ages.to_numpy(), kind="stable")].reset_index(drop=True)
        yield label, (aligned.iloc[order].reset_index(drop=True)[list(schema.names)], schema)


def _wide_study(columns: int, schema: Schema) -> Study:
    first = tables.defined("credit_default")
    target = f"{next(iter(_BLOCKS))}.{first.target}"
    purpose = "Benchmark on many columns, joined from real ones."
    return replace(first, name=f"wide-{columns}", purpose=purpose, schema=schema, target=target)


def _pooled(given: Case) -> tuple[pd.DataFrame, "np.ndarray[tuple[int], np.dtype[np.str_]]", Index]:
    """All training rows, the site of each and its unit as a number."""
    table = pd.concat(given.sites.values(), ignore_index=True)
    site = np.repeat(np.array(list(given.sites)), [len(rows) for rows in given.sites.values()])
    unit = np.arange(len(table)) if given.study.unit is None else pd.factorize(table[given.study.unit])[0]
    return table, site, unit


def _by_site(
    given: Case, table: pd.DataFrame, site: "np.ndarray[tuple[int], np.dtype[np.str_]]"
) -> dict[str, pd.DataFrame]:
    return {name: table[site == name].reset_index(drop=True) for name in given.sites}


TABLES: Final[Mapping[str, Callable[[int], Case | None]]] = {
    "adult": tables.adult,
    "ist": tables.ist_whole,
    "credit_default": tables.credit_default,
    "sdnist": tables.sdnist,
    "diabetes130": tables.diabetes130,
    "randhie": tables.randhie,
    "ist-ID14": partial(tables.ist_whole, target="ID14"),
    "ist-ISC14": partial(tables.ist_whole, target="ISC14"),
    "randhie-inpatient": partial(tables.randhie, target="inpatient"),
    "wide-100": partial(wide, 100),
    "wide-200": partial(wide, 200),
}
"""Every whole table."""
