"""Parquet files, as text: what a cell would be in a CSV file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from silosynth.client.sources.text import Chunk, TextTable, header
from silosynth.common.errors import InvalidData


def open_parquet(path: Path) -> TextTable:
    """A Parquet file as a table. Raises InvalidData for one that cannot be read or holds no rows."""
    try:
        schema = parquet.read_schema(path)
    except (pa.ArrowException, OSError):
        raise _damaged(path) from None
    names = header(path.name, schema.names)

    def read(columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        done = 0
        try:
            with parquet.ParquetFile(path) as file:
                stored = [schema.names[names.index(column)] for column in columns]
                for batch in file.iter_batches(batch_size=rows, columns=stored):
                    text = {
                        column: _text(path.name, column, batch.column(name))
                        for column, name in zip(columns, stored, strict=True)
                    }
                    yield Chunk(done + 1, pd.DataFrame(text))
                    done += batch.num_rows
        except (pa.ArrowException, OSError):
            raise _damaged(path) from None
        if not done:
            raise InvalidData(f"{path.name}: has columns but no rows; a site needs at least one row")

    return TextTable(path.name, names, read)


def _damaged(path: Path) -> InvalidData:
    return InvalidData(f"{path.name}: is not a readable Parquet file, perhaps truncated; write or copy it again")


def _text(source: str, column: str, values: Any) -> "pd.Series[str]":
    """A column's cells as text, None where there is none (NaN is none)."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_duration(values.type):
        spans = [None if span is pd.NaT else str(span) for span in values.to_pandas()]  # each by itself
        return pd.Series(spans, dtype=object)
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        raise InvalidData(f"{source}: column {column!r} holds lists or bytes; leave it out, or store one value a cell")
    words: pd.Series[str] = values.cast(pa.string()).to_pandas().astype(object)
    if pa.types.is_floating(values.type):
        words[words == "nan"] = None
    return words
