"""How often each text stands in each column: what a draft looks at. About real rows; nothing but a draft uses it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from silosynth.client.sources.text import Chunk
from silosynth.common.arrays import Real

ABSENT_WORDS = frozenset(
    {"?", "-", "--", ".", "na", "n/a", "n.a.", "nan", "null", "none", "nil", "nd", "#n/a", "unknown", "missing", "<na>"}
)
"""Texts that mean missing wherever they stand among numbers or dates, in lower case."""

_LARGEST = 2.0**52  # beyond it, different texts are one float


@dataclass(frozen=True)
class Profile:
    """One column: its distinct texts, without the space around them and without blanks, and how often each stands."""

    name: str
    counts: dict[str, int] = field(repr=False)

    @property
    def rows(self) -> int:
        """Rows that hold anything."""
        return sum(self.counts.values())

    def without(self, words: Iterable[str]) -> "Profile":
        """The profile of the other texts."""
        out = set(words)
        return Profile(self.name, {word: times for word, times in self.counts.items() if word not in out})

    def numbers(self) -> Real:
        """Each distinct text as a number, NaN where it is none; leading zeros or too many digits make a code."""
        words = pd.Series(list(self.counts), dtype=object)
        padded = words.str.match(r"[+-]?0[0-9]").to_numpy(np.bool_, na_value=False)
        values = pd.to_numeric(words, errors="coerce").to_numpy(np.float64, copy=True)
        values[padded | (np.abs(values) >= _LARGEST) | np.isinf(values)] = np.nan
        return values

    def times(self) -> Real:
        """How often each distinct text stands."""
        return np.array(list(self.counts.values()), dtype=np.float64)


def profiles(chunks: Iterable[Chunk], most_rows: int) -> list[Profile]:
    """The profile of each column over the first `most_rows` rows."""
    counters: dict[str, Counter[str]] = {}
    for chunk in chunks:
        if chunk.first_row > most_rows:
            break
        for name in chunk.text.columns:
            words = chunk.text[name].dropna().str.strip()
            times = words[words != ""].value_counts()
            counters.setdefault(name, Counter()).update(dict(zip(times.index, times.tolist(), strict=True)))
    return [Profile(name, dict(counter)) for name, counter in counters.items()]
