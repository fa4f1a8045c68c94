"""Where a site's rows are, as its own site.toml says, and the one way to read them for a study.

    [data]
    path = "rows.csv"                # or rows.parquet; told apart by content

    [data.sql]
    query_file = "rows.sql"          # one SELECT
    url_file = "database.url"        # readable by its owner only; or url_env = "NAME" of an environment variable
    timeout_s = 3600                 # for reading all of it; this is what holds where it is left out

The database's URL has a password in it. It is in neither site.toml, a study, a log nor the text of an error.

Rows are read when a site takes up a study, and again when its process starts anew. A database goes on changing: let the
query name a fixed extract or period, with an ORDER BY if a unit may have more rows than the study uses, so that both
readings give the same rows. That is good for the synthetic table, and privacy does not rest on it: what a person costs
is bounded in each release by itself, whatever rows that person has by then.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from silosynth.client.sources.table import Table, open_table, typed
from silosynth.client.sources.text import TextTable
from silosynth.common.errors import InvalidInput
from silosynth.common.study import Study
from silosynth.common.toml_read import TableReader

TIMEOUT_S: Final = 3600
_LONGEST_S: Final = 7 * 24 * 3600


@dataclass(frozen=True)
class FileSource:
    """A CSV or Parquet file."""

    path: Path


@dataclass(frozen=True)
class SqlSource:
    """A query over a database, whose SQLAlchemy URL is in a file or in an environment variable."""

    query_file: Path
    url_file: Path | None = None
    url_env: str | None = None
    timeout_s: int = TIMEOUT_S

    def __post_init__(self) -> None:
        if (self.url_file is None) == (self.url_env is None):
            raise InvalidInput("a database's URL is read from one place: give either url_file or url_env")


Source: TypeAlias = FileSource | SqlSource


def read_source(data: object, file: str, home: Path) -> Source:
    """What the value of `data` in a site's TOML says; relative paths count from `home`.

    Raises InvalidStudy, naming `file`, key and cure.
    """
    table = TableReader(file, "[data]", {} if data is None else data)
    path, sql = table.optional_text("path"), table.take("sql")
    if (path is None) == (sql is None):
        raise table.wrong("path", "give either the path of a file, or a table [data.sql]")
    table.done()
    if path is not None:
        return FileSource(home / path)
    keys = TableReader(file, "[data.sql]", sql)
    query, url_file, url_env = keys.text("query_file"), keys.optional_text("url_file"), keys.optional_text("url_env")
    timeout_s = keys.whole("timeout_s", 1, _LONGEST_S, TIMEOUT_S)
    if (url_file is None) == (url_env is None):
        raise keys.wrong("url_file", "give either the file that holds the database's URL, or url_env")
    keys.done()
    return SqlSource(home / query, home / url_file if url_file else None, url_env, timeout_s)


def open_source(source: Source, study: Study) -> Table:
    """All rows of a source, typed. Raises InvalidInput: what is wrong, where, never a value, and what to do."""
    return typed(_text(source), study.schema, study.unit)


def _text(source: Source) -> TextTable:
    if isinstance(source, FileSource):
        return open_table(source.path)
    if importlib.util.find_spec("sqlalchemy") is None:
        raise InvalidInput("a [data.sql] source needs SQLAlchemy: pip install 'silosynth[sql]'")
    from silosynth.client.sources.sql import open_sql  # noqa: PLC0415 - an optional dependency

    return open_sql(source)
