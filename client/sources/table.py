"""A table of a site, held against its schema: typed rows, whose they are, and counts that stay at the site."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from silosynth.client.sources.csv_file import open_csv
from silosynth.client.sources.keyed import keep_at_most, names_of_rows
from silosynth.client.sources.parquet_file import open_parquet
from silosynth.client.sources.suspect import suspicion_of_codes
from silosynth.client.sources.text import CHUNK_ROWS, Chunk, TextTable
from silosynth.common.arrays import Codes, Index
from silosynth.common.engine import Units
from silosynth.common.errors import InvalidData
from silosynth.common.schema import ColumnCounts, Place, Schema

_PARQUET = b"PAR1"
_FOREIGN = {
    b"PK\x03\x04": "is a workbook or an archive; save the sheet as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the sheet as CSV (UTF-8)",
}


@dataclass(frozen=True)
class Table:
    """Rows of one site. About real people: no field of it may leave."""

    frame: pd.DataFrame = field(repr=False)  # typed, (rows, columns of the schema)
    unit_ids: "pd.Series[str]" = field(repr=False)  # (rows,)
    counts: tuple[ColumnCounts, ...] = field(repr=False)  # a column of the schema each
    also: pd.DataFrame = field(repr=False)  # (rows, further columns asked for), as text
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_table(path: Path) -> TextTable:
    """A CSV or Parquet file as a table of text, told apart by content. Raises InvalidData, also for no file."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise InvalidData(
            f"{path.name}: cannot be opened ({error.strerror}); check its path and its permissions"
        ) from None
    if magic in _FOREIGN:
        raise InvalidData(f"{path.name}: {_FOREIGN[magic]}")
    return open_parquet(path) if magic == _PARQUET else open_csv(path)


def read_table(
    path: Path, schema: Schema, unit: str | None, *, also: Sequence[str] = (), chunk_rows: int = CHUNK_ROWS
) -> Table:
    """All rows of a file, typed.

    Args:
        path: CSV, gzipped or not, or Parquet.
        schema: what its columns may hold; columns of the file that are not in it are left out and listed.
        unit: the person key; None where a row is a person.
        also: further columns to keep as text, such as the one that says which site has a row.
        chunk_rows: rows that are text at the same time.

    Raises:
        InvalidData: with file, column, row number and cure.
    """
    return typed(open_table(path), schema, unit, also=also, chunk_rows=chunk_rows)


def typed(
    source: TextTable, schema: Schema, unit: str | None, *, also: Sequence[str] = (), chunk_rows: int = CHUNK_ROWS
) -> Table:
    """All rows of a table of text, wherever it lies, typed. Arguments and errors are those of `read_table`."""
    keys = [name for name in dict.fromkeys([*([unit] if unit else []), *also]) if name not in schema.names]
    frames, ids, texts = [], [], []
    counts = [ColumnCounts()] * len(schema.columns)
    for chunk in source.chunks([*schema.names, *keys], chunk_rows):
        conformed = schema.conform(chunk.text, source=source.source, first_row=chunk.first_row)
        frames.append(conformed.frame)
        counts = [before + now for before, now in zip(counts, conformed.counts, strict=True)]
        if unit is not None:
            ids.append(_unit_ids(chunk, unit, source.source))
        texts.append(chunk.text[list(also)])
    frame = pd.concat(frames, ignore_index=True)
    for column in schema.columns:
        if reason := suspicion_of_codes(column, frame[column.name]):
            raise InvalidData(f"{source.source}: column {column.name!r} {reason}")
    return Table(
        frame=frame,
        unit_ids=pd.concat(ids, ignore_index=True) if ids else names_of_rows(schema.encode(frame)),
        counts=tuple(counts),
        also=pd.concat(texts, ignore_index=True),
        ignored=tuple(name for name in source.names if name and name not in {*schema.names, *keys}),
        notes=source.notes,
    )


_UNSAFE: Final = "[\x00\ud800-\udfff]"
"""pandas tells texts apart up to a NUL only, so that two persons could be one; and half a surrogate has no bytes."""


def _unit_ids(chunk: Chunk, unit: str, source: str) -> "pd.Series[str]":
    ids = chunk.text[unit].str.strip()
    if (torn := ids.str.contains(_UNSAFE, na=False)).any():
        raise Place(source, chunk.first_row).wrong(
            unit, int(np.asarray(torn).argmax()), "the person key is not text: write it in letters and digits"
        )
    if (absent := ids.isna() | (ids == "")).any():
        raise Place(source, chunk.first_row).wrong(
            unit, int(np.asarray(absent).argmax()), "the person key is empty; fill it in or remove the row"
        )
    return ids


def units_of(schema: Schema, frame: pd.DataFrame, ids: "pd.Series[str]", *, key: bytes, most: int) -> Units:
    """Rows as fine cells with their owners; a unit with more than `most` rows loses some by keyed hash.

    As a multiset of units, each a multiset of rows, it follows from that of the table: order plays no part.
    """
    codes = schema.encode(frame)
    keep = keep_at_most(ids.reset_index(drop=True), codes, key, most)
    owner = pd.factorize(ids[keep])[0].astype(np.int64)
    return _in_one_order(codes[keep], owner)


def _in_one_order(codes: Codes, owner: Index) -> Units:
    """Units whose rows stand in an order that follows from what they hold, for terms that hang on it in a last bit."""
    several = np.flatnonzero(np.bincount(owner, minlength=1)[owner] > 1)
    order = several[np.lexsort((*codes[several].T[::-1], owner[several]))]
    codes[several], owner[several] = codes[order], owner[order]
    return Units(codes, owner)
