"""Rows that are made up, in the shape of a real table: for measuring speed where no data are."""

from typing import Final

import numpy as np

from silosynth.common.arrays import Codes, Real
from silosynth.common.column import Column
from silosynth.common.schema import Schema

ADULT_ROWS: Final = 39_073
"""Training rows of Adult."""

_CLASSES: Final = 12


def made(schema: Schema, rows: int, rng: np.random.Generator) -> Codes:
    """Fine cells, shape (rows, columns), from a mixture of classes within which columns are independent."""
    member = rng.choice(_CLASSES, rows, p=rng.dirichlet(np.full(_CLASSES, 2.0)))
    codes = np.empty((rows, len(schema.columns)), dtype=np.int32)
    for at, column in enumerate(schema.columns):
        reached = np.cumsum([_frequencies(column, rng) for _ in range(_CLASSES)], axis=1)
        codes[:, at] = (rng.random((rows, 1)) > reached[member]).sum(axis=1)
    return codes


def _frequencies(column: Column, rng: np.random.Generator) -> Real:
    """Of one class, over the cells of values: a bump for what is ordered, a few favourites for what is not."""
    if not column.ordered:
        favourites: Real = rng.dirichlet(np.full(len(column.codes), 0.3))
        return favourites
    cells = column.size - 1  # without MISSING
    bump = np.exp(-(((np.arange(cells) - rng.uniform(0, cells)) / (cells / 8)) ** 2) / 2) + 1e-3
    frequencies: Real = bump / bump.sum()
    return frequencies
