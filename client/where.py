"""Where a site's rows are, as its own site.toml says: values, and the reading of them. Reading rows is in sources/.

Apart from it, because the relay reads site.toml too, and imports nothing that reads rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from silosynth.common.errors import InvalidInput
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
