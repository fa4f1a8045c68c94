"""What a study leaves behind: every file appears whole or not at all, the certificate last.

A table is written block by block to CSV and Parquet; column types come from the schema alone, so that blocks agree.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from silosynth.common.engine import Generator
from silosynth.common.errors import InvalidInput
from silosynth.common.progress import Progress
from silosynth.common.schema import Schema
from silosynth.server.journal import replace

BLOCK_ROWS: Final = 16_384
"""Rows sampled, decoded and written at a time."""


def sampled(
    generator: Generator, schema: Schema, rows: int, rng: np.random.Generator, progress: Progress
) -> Iterator[pd.DataFrame]:
    """`rows` synthetic rows as typed frames of at most BLOCK_ROWS rows. The same rng gives the same rows."""
    for start in range(0, rows, BLOCK_ROWS):
        progress("sample", start, rows)
        codes = generator.sample(min(BLOCK_ROWS, rows - start), rng)
        yield schema.decode(codes, rng)
    progress("sample", rows, rows)


class TableFiles:
    """Writes one table to several files at once (.csv, .parquet); a context, at whose end they appear together.

    Raises InvalidInput for a file name of another kind.
    """

    def __init__(self, schema: Schema, paths: Sequence[Path]) -> None:
        self._schema = schema
        self._paths = tuple(paths)
        self._writers: list[Callable[[pd.DataFrame], None]] = []
        self._open = ExitStack()
        for path in self._paths:
            if path.suffix.lower() not in _WRITERS:
                raise InvalidInput(f"{path}: a table is written as .csv or .parquet; choose one of them")

    def __enter__(self) -> Self:
        try:
            for path in self._paths:
                draft = self._open.enter_context(_draft(path))
                self._writers.append(self._open.enter_context(_WRITERS[path.suffix.lower()](draft)))
        except BaseException:
            self._open.close()
            raise
        return self

    def add(self, typed: pd.DataFrame) -> pd.DataFrame:
        """Append a block; gives it as it was written."""
        shown = self._schema.present(typed)
        for write in self._writers:
            write(shown)
        return shown

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file for people and programs: sorted by nothing, two spaces, no NaN."""
    replace(path, (json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode())


def write_text(path: Path, content: str) -> None:
    """A text file, in UTF-8."""
    replace(path, content.encode())


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A path to write to: it becomes `path` if all goes well and vanishes if not."""
    draft = path.with_name(f".{path.name}.part")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _csv(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    with path.open("w", encoding="utf-8", newline="") as file:
        first = True

        def write(frame: pd.DataFrame) -> None:
            nonlocal first
            frame.to_csv(file, index=False, header=first, lineterminator="\n")
            first = False

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    writer: pa.parquet.ParquetWriter | None = None

    def write(frame: pd.DataFrame) -> None:
        nonlocal writer
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            writer = pa.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


_WRITERS: Final = {".csv": _csv, ".parquet": _parquet}
