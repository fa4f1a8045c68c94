"""A query over a database, as text: what its rows would be in a CSV file.

Rules, each with its place below:
  Q1  the session can only read: in PostgreSQL one read-only transaction, of which a query cannot get out, as the
      protocol it is sent by takes one statement; in SQLite a file opened for reading;
  Q2  neither the URL nor a cell is in a text that leaves this module: errors are told in words of sql_errors.py, and
      what SQLAlchemy and the drivers log goes nowhere;
  Q3  rows stream: the server keeps a cursor, and as many rows as a chunk has are here at a time;
  Q4  a cell is rendered by its own type, in one way, whatever the server's or this machine's language and time zone.

Only databases whose session is known to be read-only are opened: PostgreSQL and SQLite.
"""

import logging
import math
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import pandas as pd
from sqlalchemy import URL, Connection, CursorResult, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from silosynth.client.sources.sql_errors import cause_of
from silosynth.client.sources.text import Chunk, TextTable, header
from silosynth.client.where import SqlSource
from silosynth.common.errors import InvalidData, InvalidInput

_POSTGRESQL: Final = {"postgresql", "postgres"}
_CONNECT_S: Final = 15
_SHARED: Final = stat.S_IRWXG | stat.S_IRWXO
_SESSION: Final = {
    "application_name": "silosynth",
    "datestyle": "ISO",
    "extra_float_digits": "1",  # the shortest text that gives the number back
    "intervalstyle": "postgres",
    "timezone": "UTC",
}
_STEPS: Final = 10_000  # of SQLite's machine, between two looks at the clock

for _name in ("sqlalchemy", "psycopg"):  # Q2: a driver's own words may quote a cell
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


def open_sql(source: SqlSource) -> TextTable:
    """What a query gives, as a table. Each reading of it is a session of its own.

    Raises InvalidInput for a URL or a query that cannot be read, a database that cannot be reached, a query that it
    refuses, and two columns of one name.
    """
    place, query, url = source.query_file.name, _query(source), _url(source)

    def read(columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        with _running(source, url, query) as result:
            if _names(place, result) != names:
                raise InvalidData(f"{place}: gave other columns a moment ago; try again when nobody changes the tables")
            at = [names.index(column) for column in columns]
            yield from _chunks(place, result, dict(zip(columns, at, strict=True)), rows)

    with _running(source, url, query) as result:
        names = _names(place, result)
    return TextTable(place, names, read, naming='name it in the query, as in SELECT age AS "AGE"')


def _query(source: SqlSource) -> str:
    try:
        query = source.query_file.read_text(encoding="utf-8").strip().rstrip(";").rstrip()
    except OSError as error:
        raise InvalidInput(
            f"{source.query_file.name}: cannot be opened ({error.strerror}); check query_file in site.toml"
        ) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{source.query_file.name}: is not text in UTF-8; it must hold one SELECT") from None
    if not query:
        raise InvalidInput(f"{source.query_file.name}: is empty; it must hold one SELECT")
    return query


def _url(source: SqlSource) -> URL:
    """The URL (Q2: no error here has any of it)."""
    where = source.url_file.name if source.url_file else f"environment variable {source.url_env}"
    text = _secret(source, where)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise InvalidInput(
            f"{where}: is not a database's URL; write it as postgresql://USER:PASSWORD@HOST/DATABASE, or as "
            "sqlite:////PATH (in a password, write @ as %40, / as %2F, : as %3A)"
        ) from None
    if url.get_backend_name() in _POSTGRESQL:
        if find_spec("psycopg") is None:
            raise InvalidInput("PostgreSQL needs its driver, psycopg: pip install 'silosynth[sql]'")
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url
    raise InvalidInput(
        f"{where}: is the URL of neither PostgreSQL nor an SQLite file; export from other databases as CSV or Parquet"
    )


def _secret(source: SqlSource, where: str) -> str:
    if source.url_file is None:
        text = os.environ.get(source.url_env or "", "").strip()
        if not text:
            raise InvalidInput(f"{where}: is not set; it must hold the database's URL")
        return text
    try:
        with source.url_file.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & _SHARED:
                raise InvalidInput(f"{where}: others on this machine can read it, and it holds a password; chmod 600")
            text = file.read().strip()
    except OSError as error:
        raise InvalidInput(f"{where}: cannot be opened ({error.strerror}); check url_file in site.toml") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{where}: is not text in UTF-8; it must hold the database's URL") from None
    if not text:
        raise InvalidInput(f"{where}: is empty; it must hold the database's URL")
    return text


@contextmanager
def _running(source: SqlSource, url: URL, query: str) -> "Iterator[CursorResult[Any]]":
    """The query, running in a session that can only read (Q1, Q3). Raises InvalidData in words of our own (Q2)."""
    place = source.query_file.name
    engine = _sqlite(source, url) if url.get_backend_name() == "sqlite" else _postgresql(url)
    try:
        with engine.connect() as connection:
            _read_only(connection, source.timeout_s)
            with connection.execution_options(stream_results=True, no_parameters=True).exec_driver_sql(query) as result:
                yield result
    except DBAPIError as error:
        raise InvalidData(f"{place}: {cause_of(error.orig or error, query)}") from None
    except (SQLAlchemyError, ValueError, OverflowError, NotImplementedError) as error:  # of a driver, about a cell
        raise InvalidData(f"{place}: {cause_of(error, query)}") from None
    finally:
        engine.dispose()


def _postgresql(url: URL) -> Engine:
    patience = {} if "connect_timeout" in url.query else {"connect_timeout": str(_CONNECT_S)}
    return create_engine(url.update_query_dict(patience), poolclass=NullPool, hide_parameters=True)


def _sqlite(source: SqlSource, url: URL) -> Engine:
    """Opened for reading only; a relative path counts from the folder of the query file."""
    path, deadline = source.query_file.parent / (url.database or ""), time.monotonic() + source.timeout_s

    def connect() -> sqlite3.Connection:
        opened = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        opened.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        return opened

    return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def _read_only(connection: Connection, timeout_s: int) -> None:
    """Make the transaction that begins here one that reads, and no longer than it may (Q1, Q4)."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{timeout_s}s'")
        for key, value in _SESSION.items():
            connection.exec_driver_sql(f"SET LOCAL {key} = '{value}'")


def _names(place: str, result: "CursorResult[Any]") -> tuple[str, ...]:
    if not result.returns_rows or result.cursor is None:
        raise InvalidData(f"{place}: the query gives no rows; it must be one SELECT")
    names = [str(column[0]) for column in result.cursor.description]
    if len({name.strip() for name in names}) < len(names):
        raise InvalidData(
            f"{place}: two columns of the query have one name; rename one, as in SELECT b.age AS age_then"
        )
    return header(place, names)


def _chunks(place: str, result: "CursorResult[Any]", at: dict[str, int], rows: int) -> Iterator[Chunk]:
    done = 0
    while block := result.fetchmany(rows):
        cells = list(zip(*block, strict=True))
        text = {column: _column(place, column, cells[position]) for column, position in at.items()}
        yield Chunk(done + 1, pd.DataFrame(text))
        done += len(block)
    if not done:
        raise InvalidData(f"{place}: the query gives no rows; a site needs at least one")


def _column(place: str, column: str, cells: Sequence[object]) -> "pd.Series[str]":
    try:
        return pd.Series([_TEXT[type(cell)](cell) for cell in cells], dtype=object)
    except KeyError:
        raise InvalidData(
            f"{place}: column {column!r} holds what is no text, number, truth, date or time; leave it out, or cast it "
            "in the query"
        ) from None


def _number(cell: float) -> str | None:
    return None if math.isnan(cell) else repr(cell)


def _decimal(cell: Decimal) -> str | None:
    return None if cell.is_nan() else format(cell, "f")


_TEXT: Final[dict[type, Callable[[Any], str | None]]] = {
    type(None): lambda _: None,
    str: str,
    bool: lambda cell: "true" if cell else "false",
    int: str,
    float: _number,
    Decimal: _decimal,
    date: date.isoformat,
    datetime: lambda cell: cell.isoformat(sep=" "),
    time_of_day: time_of_day.isoformat,
    timedelta: lambda cell: str(pd.Timedelta(cell)),
    UUID: str,
}
"""The text of a cell by its exact type (Q4): as in Parquet, NaN is none, and true is 'true'."""
