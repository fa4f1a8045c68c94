"""Columns that name people: identifiers and free text. They are never modelled; here is how they are recognised.

A heuristic for the person who prepares the data, with advice; what keeps an identifier from being learned is the
privacy budget, not this.
"""

import re
from collections.abc import Mapping

import numpy as np

from silosynth.common.arrays import Values
from silosynth.common.column import Column, Kind

FEWEST = 20
"""Below so many values, that all differ says nothing."""

_NEARLY_ALL = 0.95
_KEY_NAME = re.compile(
    r"(^|[^a-z])(id|ids|uid|uuid|guid|key|nr|nbr|no|num|number|mrn|ssn|nhs|pid|code)([^a-z]|$)", re.IGNORECASE
)
_CAMEL_KEY = re.compile(r"[a-z](Id|ID|Key|Nr|No)$")
_IDENTIFIER = (
    "looks like an identifier: nearly every row has a value of its own; leave it out, or name it as `unit` if it is "
    "the person's key"
)
_FREE_TEXT = "looks like free text, which can name a person; leave it out, or recode it to a short list of codes"
_MANY_WORDS = 4
_LONG = 40


def names_a_key(name: str) -> bool:
    """Whether a column is named like an identifier."""
    return bool(_KEY_NAME.search(name) or _CAMEL_KEY.search(name))


def suspicion_of_codes(column: Column, typed: Values) -> str | None:
    """Why a declared column should not be in a study, or None."""
    values = typed.dropna()
    if len(values) < FEWEST:
        return None
    distinct = values.nunique()
    if column.kind is Kind.INTEGER and names_a_key(column.name) and distinct > _NEARLY_ALL * len(values):
        return _IDENTIFIER
    if column.kind is Kind.CATEGORICAL and distinct > _NEARLY_ALL * len(values):
        return _IDENTIFIER
    return None


def suspicion_of_numbers(name: str, values: Values, rows: int) -> str | None:
    """Why a column of whole numbers should not be in a study, or None. `values`: distinct ones; `rows`: not missing."""
    if rows < FEWEST:
        return None
    consecutive = len(values) == rows and np.ptp(values.to_numpy(np.float64)) == rows - 1
    if consecutive or (names_a_key(name) and len(values) > _NEARLY_ALL * rows):
        return _IDENTIFIER
    return None


def suspicion_of_words(counts: Mapping[str, int]) -> str | None:
    """Why a column of texts should not be in a study, or None. `counts`: how often each distinct text stands there."""
    rows, distinct = sum(counts.values()), len(counts)
    if rows < FEWEST:
        return None
    wordy = sum(times for word, times in counts.items() if len(word.split()) >= _MANY_WORDS or len(word) > _LONG)
    if distinct > rows / 4 and wordy > rows / 20:
        return _FREE_TEXT
    if distinct > _NEARLY_ALL * rows:
        return _IDENTIFIER
    return _FREE_TEXT if distinct > rows / 2 else None
