"""Rules that hold within every training row: the order of two dates or numbers. Do synthetic rows keep them?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silosynth.common.evaluate.fidelity import Sides
from silosynth.common.schema import Schema

_LEAST_ROWS = 50
"""Training rows with both values below which no rule is read from them."""

_LEAST_BROKEN = 0.01
"""A rule must be broken by so many rows of independent columns; otherwise it says nothing about dependence."""


@dataclass(frozen=True)
class OrderRules:
    """Pairs (a, b) with a <= b in every training row that has both; which stacked rows break a rule, (rules, rows)."""

    pairs: tuple[tuple[int, int], ...]
    broken: NDArray[np.bool_]


def order_rules(schema: Schema, sides: Sides) -> OrderRules:
    """Rules between columns of one kind and unit, such as an admission and a discharge, or a part and a whole."""
    pairs, broken = [], []
    floor = sides.panel.blocks[1]
    ordered = [at for at, column in enumerate(schema.columns) if column.ordered]
    for low in ordered:
        for high in ordered:
            one, other = schema.columns[low], schema.columns[high]
            if low == high or (one.kind, one.unit) != (other.kind, other.unit):
                continue
            own_low, own_high = sides.train.columns[low], sides.train.columns[high]
            if (own_low > own_high).any() or _both(own_low, own_high) < _LEAST_ROWS:
                continue
            breaks = sides.panel.table.columns[low] > sides.panel.table.columns[high]
            if breaks[floor].mean() >= _LEAST_BROKEN:
                pairs.append((low, high))
                broken.append(breaks)
    rows = sides.panel.table.rows
    return OrderRules(tuple(pairs), np.array(broken, dtype=np.bool_).reshape(len(pairs), rows))


def any_broken(rules: OrderRules) -> NDArray[np.bool_]:
    """Which stacked rows break a rule, (rows,)."""
    any_of: NDArray[np.bool_] = np.logical_or.reduce(rules.broken, axis=0)
    return any_of


def _both(one: NDArray[np.float64], other: NDArray[np.float64]) -> int:
    return int((~np.isnan(one) & ~np.isnan(other)).sum())
