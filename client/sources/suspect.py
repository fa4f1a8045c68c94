"""Columns that name people: identifiers and free text. They are never modelled; here is how they are recognised.

A heuristic for the person who prepares the data, with advice; what keeps an identifier from being learned is the
privacy budget, not this.
"""

import re
from collections.abc import Mapping

import numpy as np

from silosynth.common.arrays import Real, Values
from silosynth.common.column import Column, Kind

_FEWEST = 20  # below so many values, that all differ says nothing
_FEWEST_DECLARED = 50  # more is needed to doubt a column that a person has declared

_NEARLY_ALL = 0.95
_KEY_NAME = re.compile(
    r"(^|[^a-z])(ids?|pid|uid|uuid|guid|key|nr|nbr|no|mrn|ssn|patient|person|subject|participant|customer|account)$"
    r"|^id[^a-z]",
    re.IGNORECASE,
)
_CAMEL_KEY = re.compile(r"[a-z](Id|ID|Key|Nr|No)$")
_IDENTIFIER = (
    "looks like an identifier: it has about as many values as persons; leave it out, or name it as `unit` if it is "
    "the person's key"
)
_FREE_TEXT = "looks like free text, which can name a person; leave it out, or recode it to a short list of codes"
_MANY_KEYS = 100
_FEW_TEXTS, _MANY_TEXTS = 8, 50
_MANY_WORDS = 4
_LONG = 40


def names_a_key(name: str) -> bool:
    """Whether a column is named like an identifier."""
    return bool(_KEY_NAME.search(name) or _CAMEL_KEY.search(name))


def suspicion_of_codes(column: Column, typed: Values) -> str | None:
    """Why a declared column should not be in a study, or None."""
    values = typed.dropna()
    if len(values) < _FEWEST_DECLARED:
        return None
    distinct = values.nunique()
    if column.kind is Kind.INTEGER and names_a_key(column.name) and distinct > _NEARLY_ALL * len(values):
        return _IDENTIFIER
    if column.kind is Kind.CATEGORICAL and distinct > _NEARLY_ALL * len(values):
        return _IDENTIFIER
    return None


def suspicion_of_numbers(name: str, values: Real, rows: int) -> str | None:
    """Why a column of whole numbers should not be in a study, or None. `values`: distinct ones; `rows`: not missing."""
    if rows < _FEWEST:
        return None
    if len(values) == rows and np.ptp(values) == rows - 1:
        return "looks like a row number; leave it out"
    if names_a_key(name) and len(values) > max(_MANY_KEYS, rows / 10):
        return _IDENTIFIER
    return None


def suspicion_of_words(counts: Mapping[str, int]) -> str | None:
    """Why a column of texts should not be in a study, or None. `counts`: how often each distinct text stands there."""
    rows, distinct = sum(counts.values()), len(counts)
    spaced = sum(times for word, times in counts.items() if " " in word)
    once = sum(1 for times in counts.values() if times == 1)
    seldom_twice = once > distinct / 2 and (
        (distinct > _FEW_TEXTS and spaced > rows / 2) or (distinct > _MANY_TEXTS and spaced > rows / 5)
    )
    if seldom_twice:
        return _FREE_TEXT
    if rows < _FEWEST:
        return None
    wordy = sum(times for word, times in counts.items() if len(word.split()) >= _MANY_WORDS or len(word) > _LONG)
    if distinct > rows / 4 and wordy > rows / 20:
        return _FREE_TEXT
    if distinct > _NEARLY_ALL * rows:
        return _IDENTIFIER
    return _FREE_TEXT if distinct > rows / 2 else None
