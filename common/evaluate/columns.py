"""Likeness of single columns: shapes, moments, quantiles, missing values, ranges and codes; of all views at once.

The names are SDMetrics' where it has the measure (Patki, Wedge, Veeramachaneni 2016), with the definitions of
SDMetrics 0.32.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.fidelity import Sides
from silosynth.common.evaluate.tables import Panel
from silosynth.common.schema import Column


@dataclass(frozen=True)
class ColumnMeasures:
    """Of one column, each of shape (views,); NaN where a measure has no meaning for the column, or lacks values."""

    shape: Real
    """1 - Kolmogorov-Smirnov distance (ordered) or 1 - total variation (coded); missing values left out."""
    mean_error: Real
    """|difference of means|, in standard deviations of training rows."""
    sd_error: Real
    """|difference of standard deviations|, in standard deviations of training rows."""
    quantile_error: Real
    """Mean |difference| of all quantiles (Wasserstein distance), in standard deviations of training rows."""
    missing_similarity: Real
    """1 - |difference of missing rates|; NaN where neither side misses anything."""
    boundary_adherence: Real
    """Share of values within the range of training rows."""
    range_coverage: Real
    """Share of the range of training rows that is covered."""
    category_adherence: Real
    """Share of values whose code some training row has."""
    category_coverage: Real
    """Share of the codes of training rows that are there."""
    validity: Real
    """Share of values within the public bounds or the public list of codes; missing is valid."""
    constant_kept: Real
    """Of a column with one value in all training rows, or none: share of rows that agree; NaN for all others."""


def measure(sides: Sides, at: int, column: Column) -> ColumnMeasures:
    """All measures of the column at position `at`."""
    tally = _tally(sides, at)
    views = sides.panel.views.shape[0]
    out = {name: np.full(views, np.nan) for name in ColumnMeasures.__dataclass_fields__}
    of = _coded if sides.labels[at] else _ordered
    for view, rows in enumerate(sides.panel.rows_of):
        place = tally.place[rows]
        counts = np.bincount(place[place >= 0], minlength=len(tally.levels))
        for name, value in of(tally, counts, len(rows)).items():
            out[name][view] = value
        missing = 1 - counts.sum() / len(rows)
        out["missing_similarity"][view] = 1 - abs(missing - tally.missing)
        if not tally.own.any():
            out["constant_kept"][view] = missing
        elif tally.missing == 0 and np.count_nonzero(tally.own) == 1:
            out["constant_kept"][view] = counts[tally.own > 0].sum() / len(rows)
    out["validity"] = _validity(sides.panel, sides.panel.table.columns[at], column)
    if tally.missing == 0 and (tally.place >= 0).all():
        out["missing_similarity"][:] = np.nan
    return ColumnMeasures(**out)


@dataclass(frozen=True)
class _Tally:
    """Levels of a column on all sides; the stacked rows' level, -1 for missing; the training rows' counts."""

    levels: Real = field(repr=False)
    place: Index = field(repr=False)
    own: Index = field(repr=False)
    missing: float


def _tally(sides: Sides, at: int) -> _Tally:
    own, other, coded = sides.train.columns[at], sides.panel.table.columns[at], sides.labels[at]
    have, seen = (own >= 0, other >= 0) if coded else (~np.isnan(own), ~np.isnan(other))
    values = np.concatenate([own[have], other[seen]]).astype(np.float64)
    # SDMetrics rounds to 14 decimals before it compares
    levels, found = np.unique(np.round(values, 14), return_inverse=True)
    place = np.full(len(other), -1)
    place[seen] = found[have.sum() :]
    counts = np.bincount(found[: have.sum()], minlength=len(levels))
    return _Tally(levels, place, counts, 1 - float(have.mean()))


def _coded(tally: _Tally, counts: Index, rows: int) -> dict[str, float]:
    used, many = tally.own > 0, int(counts.sum())
    if not used.any():
        return {}
    known = int(counts[used].sum())
    out: dict[str, float] = {"category_coverage": np.count_nonzero(counts[used]) / np.count_nonzero(used)}
    if tally.missing > 0:
        out["category_adherence"] = (known + rows - many) / rows
    else:
        out["category_adherence"] = known / rows
    if many:
        out["shape"] = 1 - float(np.abs(counts / many - tally.own / tally.own.sum()).sum()) / 2
    return out


def _ordered(tally: _Tally, counts: Index, rows: int) -> dict[str, float]:
    many = int(counts.sum())
    if not many or not tally.own.any():
        return {}
    below, reached = tally.own.cumsum() / tally.own.sum(), counts.cumsum() / many
    used, seen = np.flatnonzero(tally.own), np.flatnonzero(counts)
    inside = int(counts[used[0] : used[-1] + 1].sum())
    out: dict[str, float] = {
        "shape": 1 - float(np.abs(reached - below).max()),
        "boundary_adherence": inside / (many if tally.missing > 0 else rows),
    }
    mean, spread = _moments(tally.levels, tally.own)
    if spread > 0:
        low, high = tally.levels[used[0]], tally.levels[used[-1]]
        lost = max(float(tally.levels[seen[0]] - low), 0) + max(float(high - tally.levels[seen[-1]]), 0)
        other_mean, other_spread = _moments(tally.levels, counts)
        # of all quantiles: one of a few would jump where many rows share a value
        gap = float(np.abs(reached - below)[:-1] @ np.diff(tally.levels))
        out |= {
            "range_coverage": max(0.0, float(1 - lost / (high - low))),
            "mean_error": abs(other_mean - mean) / spread,
            "sd_error": abs(other_spread - spread) / spread,
            "quantile_error": gap / spread,
        }
    return out


def _moments(levels: Real, counts: Index) -> tuple[float, float]:
    many = counts.sum()
    mean = float(levels @ counts) / float(many)
    return mean, math.sqrt(float((levels - mean) ** 2 @ counts) / float(many))


def _validity(panel: Panel, values: NDArray[np.float64], column: Column) -> Real:
    if column.coded:
        valid = values < len(column.labels)
    else:
        low, high = column.bounds
        valid = np.isnan(values) | ((values >= low) & (values <= high))
    return panel.rates(valid)
