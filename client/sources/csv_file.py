"""CSV files, gzipped or not: comma, semicolon, tab or bar; UTF-8, or UTF-16 with its mark.

Bytes that are not UTF-8 are read as Latin-1, each by itself: what one row holds never changes how another is read. A
file is gone through twice: once to see that all of it can be decompressed, so that a truncated copy is refused before
anything else happens, and once for its rows.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

import pandas as pd

from silosynth.client.sources.text import Chunk, TextTable, header
from silosynth.common.errors import InvalidData

_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BLOCK = 1 << 20
_SEPARATORS = ",;\t|"
_LATIN_1 = "silosynth-latin-1"  # the name under which codecs knows `_as_latin_1`
_UTF8 = codecs.getincrementaldecoder("utf-8-sig")
_UTF16_DECODER = codecs.getincrementaldecoder("utf-16")


def open_csv(path: Path) -> TextTable:
    """A CSV file as a table. Raises InvalidData for one that is empty, truncated, or has two columns of one name."""
    encoding, foreign = _encoding(path)
    with _open(path, encoding) as file:
        first = file.readline()
    if not first.strip():
        raise InvalidData(f"{path.name}: is empty; the first line must hold the column names")
    separator = max(_SEPARATORS, key=first.count)
    with _open(path, encoding) as file:
        names = header(path.name, next(_records(path.name, file, separator))[1])

    def read(columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        with _open(path, encoding) as file:
            yield from _chunks(_records(path.name, file, separator), names, columns, (path.name, rows))

    latin = ("not all UTF-8: the rest is read as Latin-1; if letters look wrong, save the file as UTF-8",)
    return TextTable(path.name, names, read, latin if foreign else ())


def _binary(path: Path) -> gzip.GzipFile | io.BufferedReader:
    with path.open("rb") as file:
        zipped = file.read(len(_GZIP)) == _GZIP
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _open(path: Path, encoding: str) -> IO[str]:
    errors = _LATIN_1 if encoding == "utf-8-sig" else "strict"
    return io.TextIOWrapper(_binary(path), encoding=encoding, errors=errors, newline="")


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    """What stands for bytes that are not UTF-8."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(_LATIN_1, _as_latin_1)


def _encoding(path: Path) -> tuple[str, bool]:
    """The encoding of a file, and whether some bytes are not in it.

    Raises InvalidData for a gzip file cut short, and for UTF-16 that is broken: a byte too few or too many there
    changes what every later byte belongs to, newlines too.
    """
    try:
        with _binary(path) as file:
            wide = file.read(len(_UTF16[0])) in _UTF16
        decoder, valid = (_UTF16_DECODER if wide else _UTF8)(), True
        with _binary(path) as file:
            while block := file.read(_BLOCK):
                valid = valid and _decodes(decoder, block)
        valid = valid and _decodes(decoder, b"", final=True)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InvalidData(f"{path.name}: the gzip file is truncated or damaged; copy or download it again") from None
    if wide and not valid:
        raise InvalidData(f"{path.name}: begins as UTF-16 and is not UTF-16 throughout; save it as CSV (UTF-8)")
    return ("utf-16", False) if wide else ("utf-8-sig", not valid)


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _records(source: str, file: IO[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Numbered records, the header being 0, without blank lines."""
    reader = csv.reader(file, delimiter=separator, strict=True, skipinitialspace=True)
    number = 0
    try:
        for record in reader:
            if record:
                yield number, record
                number += 1
    except csv.Error:
        raise InvalidData(
            f"{source}: row {number}, near line {reader.line_num} of the file: a quoted cell is not closed, is "
            "followed by more text, or is far too long; check the quotes there"
        ) from None


def _chunks(
    records: Iterator[tuple[int, list[str]]], names: Sequence[str], columns: Sequence[str], job: tuple[str, int]
) -> Iterator[Chunk]:
    source, chunk_rows = job
    next(records)  # the header
    done = 0
    while block := list(islice(records, chunk_rows)):
        for number, record in block:
            if len(record) != len(names):
                raise InvalidData(
                    f"{source}: row {number} has {len(record)} cells, the header has {len(names)}; put quotes around "
                    "cells that contain the separator, or complete the row"
                )
        cells = list(zip(*(record for _, record in block), strict=True))
        text = {column: pd.Series(cells[names.index(column)], dtype=object) for column in columns}
        yield Chunk(done + 1, pd.DataFrame(text))
        done += len(block)
    if not done:
        raise InvalidData(f"{source}: has a header but no rows; a site needs at least one row")
