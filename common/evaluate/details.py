"""What the report shows of each column and pair: overlay histograms, codes lost, distances. Values, no drawing."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Real
from silosynth.common.evaluate.fidelity import Sides
from silosynth.common.evaluate.scores import Bar, ColumnDetail, PairDetail
from silosynth.common.evaluate.sections import Curve
from silosynth.common.evaluate.tables import Panel
from silosynth.common.schema import Column, Kind, Schema

MOST_BARS = 24
MOST_CODES = 12
MOST_POINTS = 51
MOST_LOST = 12
"""Codes named in a column's list of losses, the most frequent first."""

_TAIL = 0.005
"""Share of training rows beyond each end of a plot: they are counted in its first and last bar."""


def column_details(schema: Schema, sides: Sides, alike: Real, one: Real) -> tuple[ColumnDetail, ...]:
    """Of every column; `alike` and `one` are its shape score and its 1-way distance by view, (columns, views)."""
    at_ceiling = sides.panel.named.get("ceiling")
    details = []
    for at, column in enumerate(schema.columns):
        train, made = sides.train.columns[at], sides.panel.table.columns[at][sides.panel.blocks[0]]
        labels = sides.labels[at]
        gone = (train < 0, made < 0) if labels else (np.isnan(train), np.isnan(made))
        shape = float(alike[at, 0])
        details.append(
            ColumnDetail(
                column.name,
                str(column.kind),
                shape if np.isfinite(shape) else None,
                float(one[at, 0]),
                None if at_ceiling is None else float(one[at, at_ceiling].mean()),
                (float(gone[0].mean()), float(gone[1].mean())),
                _bars_of_codes(train, made, labels) if labels else _bars_of_numbers(column, train, made),
                _lost(train, made, labels) if labels else (),
            )
        )
    return tuple(details)


def pair_details(pairs: Sequence[tuple[int, ...]], two: Real, views: Panel) -> tuple[PairDetail, ...]:
    """Distances of pairs from `two`, (pairs, views)."""
    floor = two[:, views.named["floor"]].mean(axis=1)
    return tuple(
        PairDetail(first, second, float(row[0]), float(low))
        for (first, second), row, low in zip(pairs, two, floor, strict=True)
    )


def roc_curves(
    model: str, said: Mapping[str, Real], aucs: Mapping[str, float], cases: NDArray[np.bool_]
) -> list[Curve]:
    """The curves of one model. `said`: chances of test rows, (rows,), by the side that was learnt from."""
    of: Mapping[str, Literal["synthetic", "real", "floor"]]
    of = {"value": "synthetic", "ceiling": "real", "floor": "floor"}
    return [Curve(of[side], model, aucs[side], roc_points(chances, cases)) for side, chances in said.items()]


def roc_points(scores: Real, cases: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """A ROC curve at MOST_POINTS false positive rates, from (0, 0) to (1, 1); `scores` and `cases` are (rows,).

    Rows of one score are accused together. Needs a case and a non-case.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits, misses = (np.concatenate([[0], np.cumsum(side[order])[last]]) for side in (cases, ~cases))
    at = np.linspace(0, 1, MOST_POINTS)
    found = np.interp(at, misses / misses[-1], hits / hits[-1])
    inner = [(float(x), float(y)) for x, y in zip(at[1:-1], found[1:-1], strict=True)]
    return ((0.0, 0.0), *inner, (1.0, 1.0))


def _bars_of_codes(train: NDArray[Any], made: NDArray[Any], labels: Sequence[str]) -> tuple[Bar, ...]:
    own, other = (np.bincount(codes + 1, minlength=len(labels) + 1) / len(codes) for codes in (train, made))
    order = [int(at) for at in np.argsort(-np.maximum(own, other)[1:], kind="stable") + 1 if own[at] + other[at] > 0]
    shown, rest = order[:MOST_CODES], order[MOST_CODES:]
    bars = [Bar(labels[at - 1], float(own[at]), float(other[at])) for at in shown]
    if rest:
        bars.append(Bar(f"{len(rest)} other codes", float(own[rest].sum()), float(other[rest].sum())))
    if own[0] + other[0] > 0:
        bars.append(Bar("missing", float(own[0]), float(other[0])))
    return tuple(bars)


def _bars_of_numbers(column: Column, train: Real, made: Real) -> tuple[Bar, ...]:
    have, seen = train[~np.isnan(train)], made[~np.isnan(made)]
    bars: list[Bar] = []
    if len(have) or len(seen):
        edges, labels = _edges(column, have if len(have) else seen)
        inside = (np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] for values in (have, seen))
        shares = [counts / rows for counts, rows in zip(inside, (len(train), len(made)), strict=True)]
        bars = [Bar(label, float(own), float(other)) for label, own, other in zip(labels, *shares, strict=True)]
    if len(have) < len(train) or len(seen) < len(made):
        bars.append(Bar("missing", 1 - len(have) / len(train), 1 - len(seen) / len(made)))
    return tuple(bars)


def _edges(column: Column, values: Real) -> tuple[Real, list[str]]:
    """Equal widths over the bulk of training values; a bar a value where there are few whole numbers."""
    low, high = (float(end) for end in np.quantile(values, [_TAIL, 1 - _TAIL], method="nearest"))
    if low == high:
        low, high = float(values.min()), float(values.max())
    whole = column.kind in {Kind.INTEGER, Kind.DATE}
    if whole and high - low < MOST_BARS:
        levels = np.arange(low, high + 1)
        return np.append(levels - 0.5, high + 0.5), [_written(column, level) for level in levels]
    if low == high:
        return np.array([low - 0.5, high + 0.5]), [_written(column, low)]
    edges = np.linspace(low, high, MOST_BARS + 1)
    return edges, [f"{_written(column, a)} to {_written(column, b)}" for a, b in itertools.pairwise(edges)]


def _written(column: Column, value: float) -> str:
    if column.kind is Kind.DATE:
        return str(np.datetime64(round(value), "D"))
    if column.kind is Kind.DATETIME:
        return str(np.datetime64(round(value), "s")).replace("T", " ")
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"  # noqa: PLR2004


def _lost(train: NDArray[Any], made: NDArray[Any], labels: Sequence[str]) -> tuple[tuple[str, float], ...]:
    own, other = (np.bincount(codes[codes >= 0], minlength=len(labels)) for codes in (train, made))
    gone = [at for at in np.argsort(-own, kind="stable") if own[at] and not other[at]]
    return tuple((labels[at], float(own[at] / len(train))) for at in gone)
