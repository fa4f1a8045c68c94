"""Where a site's rows are, as its own site.toml says, and the one way to read them for a study.

    [data]
    path = "rows.csv"                # or rows.parquet; told apart by content

    [data.sql]
    query_file = "rows.sql"          # one SELECT
    url_file = "database.url"        # readable by its owner only; or url_env = "NAME" of an environment variable
    timeout_s = 3600                 # the longest that a statement may take; as much where it is left out

The database's URL has a password in it. It is in neither site.toml, a study, a log nor the text of an error.

A query, or whatever wrote the file, has to make a person's rows from that person's records alone: a LIMIT, an average
over all, a number counted through the table tie persons together before anything here can part them.

Rows are read when a site takes up a study, and again when its process starts anew. A database goes on changing: let the
query name a fixed extract or period, so that both readings give the same rows; in which order plays no part. That is
good for the synthetic table. Where rows have no person key it is also asked for: a study with held-out rows is answered
with the same rows or not at all (same_rows.py). What a person with a key costs is bounded in each release by itself,
whatever rows that person has by then.
"""

import importlib.util

from silosynth.client.sources.table import Table, open_table, typed
from silosynth.client.sources.text import TextTable
from silosynth.client.where import FileSource, Source
from silosynth.common.errors import InvalidInput
from silosynth.common.study import Study


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
