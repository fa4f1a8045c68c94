"""CSV files, gzipped or not: comma, semicolon, tab or bar; UTF-8, UTF-16 with its mark, or Latin-1 as a last resort.

A file is gone through twice: once to see that all of it can be decompressed and decoded, so that a truncated copy is
refused before anything else happens, and once for its rows.
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


def open_csv(path: Path) -> TextTable:
    """A CSV file as a table. Raises InvalidData for one that is empty, truncated, or has two columns of one name."""
    encoding = _encoding(path)
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

    latin = ("not UTF-8: read as Latin-1; if letters look wrong, save the file as UTF-8",)
    return TextTable(path.name, names, read, latin if encoding == "latin-1" else ())


def _binary(path: Path) -> gzip.GzipFile | io.BufferedReader:
    with path.open("rb") as file:
        zipped = file.read(len(_GZIP)) == _GZIP
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _open(path: Path, encoding: str) -> IO[str]:
    return io.TextIOWrapper(_binary(path), encoding=encoding, newline="")


def _encoding(path: Path) -> str:
    """The encoding of the whole file. Raises InvalidData where it cannot be decompressed to its end."""
    try:
        with _binary(path) as file:
            begin = file.read(len(_UTF16[0]))
        if begin in _UTF16:
            return "utf-16"
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        valid = True
        with _binary(path) as file:
            while block := file.read(_BLOCK):
                valid = valid and _decodes(decoder, block)
            valid = valid and _decodes(decoder, b"", final=True)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InvalidData(f"{path.name}: the gzip file is truncated or damaged; copy or download it again") from None
    return "utf-8-sig" if valid else "latin-1"


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
