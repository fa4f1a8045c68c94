"""Where rows come from: files of a site, read as text and held against the study's schema. Rows never leave."""

from silosynth.client.sources.check import Check, as_lines, as_table, check_table, local_check
from silosynth.client.sources.keyed import keep_at_most, split_holdout
from silosynth.client.sources.table import Table, open_table, read_table, units_of

__all__ = [
    "Check",
    "Table",
    "as_lines",
    "as_table",
    "check_table",
    "keep_at_most",
    "local_check",
    "open_table",
    "read_table",
    "split_holdout",
    "units_of",
]
