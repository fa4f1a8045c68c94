"""Where rows come from: files or a database of a site, read as text and held against the schema. Rows never leave."""

from silosynth.client.sources.check import Check, as_lines, as_table, check_table, local_check
from silosynth.client.sources.keyed import keep_at_most, split_holdout
from silosynth.client.sources.source import open_source
from silosynth.client.sources.split import parted
from silosynth.client.sources.table import Table, open_table, read_table, units_of
from silosynth.client.where import FileSource, Source, SqlSource, read_source

__all__ = [
    "Check",
    "FileSource",
    "Source",
    "SqlSource",
    "Table",
    "as_lines",
    "as_table",
    "check_table",
    "keep_at_most",
    "local_check",
    "open_source",
    "open_table",
    "parted",
    "read_source",
    "read_table",
    "split_holdout",
    "units_of",
]
