"""What a study leaves behind: every file appears whole or not at all, the certificate last.

A table is written block by block to CSV and Parquet; column types come from the schema alone, so that blocks agree.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from silosynth.common.engine import Generator
from silosynth.common.errors import InvalidInput, MalformedFrame
from silosynth.common.generator import LIMITS, Artefact, load, sample_blocks
from silosynth.common.progress import Progress
from silosynth.common.schema import Schema
from silosynth.server.files import draft

_DECODING: Final = 1  # stream of a seed


def sampled(generator: Generator, schema: Schema, rows: int, seed: int, progress: Progress) -> Iterator[pd.DataFrame]:
    """`rows` synthetic rows as typed frames, block by block. The same seed gives the same rows."""
    done = 0
    for block, codes in enumerate(sample_blocks(generator, rows, seed)):
        progress("sample", done, rows)
        yield schema.decode(codes, np.random.default_rng([seed, block, _DECODING]))
        done += len(codes)
    progress("sample", rows, rows)


def load_artefact(path: Path) -> Artefact:
    """The generator in a file. Raises InvalidInput where there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(LIMITS.file_bytes + 1)
        return load(content)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be opened ({error.strerror}); give generator.safetensors") from None
    except MalformedFrame as error:
        raise InvalidInput(f"{path}: {error}; give generator.safetensors of a finished study") from None


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
                unfinished = self._open.enter_context(draft(path))
                self._writers.append(self._open.enter_context(_WRITERS[path.suffix.lower()](unfinished)))
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
