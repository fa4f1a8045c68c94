"""95 % intervals, and the scores of predictions under weights, which is how the intervals of predictions are made."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real

DRAWS = 300
"""Bootstrap draws."""

GROUPED = "delete-a-group jackknife over {what}, Student t"
JACKKNIFE = (
    "delete-a-group jackknife over synthetic rows, Student t; training rows and the fitted generator are taken as given"
)
BOOTSTRAP = "percentile bootstrap of {what}"
WILSON = "Wilson score interval over synthetic rows"

_CALIBRATION_BINS = 10
_LEVEL = 0.95
_Z = 1.959963984540054


def jackknife(value: float, left_out: Real, most: float = 1.0, luck: float = 0.0) -> tuple[float, float] | None:
    """Interval around `value` from its delete-a-group replicates, shape (groups,); None for fewer than two.

    Distances between samples are biased upwards, more so in a bootstrap (which doubles the sampling noise), and a
    percentile interval can miss its own value; the jackknife's spread has no such bias, and its interval is centred on
    the value. It covers the score's expectation at this number of rows (Shao, Tu 1995, section 2.3; slightly wide where
    the distance is all noise, because |x| has no derivative at 0). Scores lie between 0 and `most`.
    `luck`: a further standard error.
    """
    error = jackknife_error(left_out)
    if error is None:
        return None
    half = _quantile(len(left_out) - 1) * math.hypot(error, luck)
    return max(min(0.0, value), value - half), min(max(most, value), value + half)


def jackknife_error(left_out: Real) -> float | None:
    """Standard error from delete-a-group replicates, (groups,); None for fewer than two, or undefined ones."""
    groups = len(left_out)
    if groups <= 1 or not np.isfinite(left_out).all():
        return None
    return math.sqrt((groups - 1) / groups * float(np.sum((left_out - left_out.mean()) ** 2)))


def way_interval(
    frame: tuple[float, float, float],
    left_out: tuple[Real, Real, Real],
    luck: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> tuple[float, float] | None:
    """Interval, in percent, of how far from floor to ceiling a value lies; None where replicates are too few.

    All three come from samples of their own and carry an error: by the delta method, with r = (value - floor) /
    (ceiling - floor), var r = (var value + (1 - r)^2 var floor + r^2 var ceiling) / (ceiling - floor)^2.

    Args:
        frame: value, floor and ceiling; the last two differ.
        left_out: delete-a-group replicates of each.
        luck: further standard errors of each.
    """
    errors = [jackknife_error(one) for one in left_out]
    value, floor, ceiling = frame
    at = (value - floor) / (ceiling - floor)
    squared = 0.0
    for error, further, weight in zip(errors, luck, (1.0, 1 - at, at), strict=True):
        if error is None:
            return None
        squared += weight**2 * (error**2 + further**2)
    freedom = min(len(one) for one in left_out) - 1
    half = _quantile(freedom) * math.sqrt(squared) / abs(ceiling - floor)
    return 100 * (at - half), 100 * (at + half)


def _quantile(freedom: int) -> float:
    from scipy.stats import t  # noqa: PLC0415 - heavy, and only an evaluation needs it

    return float(t.ppf((1 + _LEVEL) / 2, freedom))


def wilson(hits: float, rows: int) -> tuple[float, float]:
    """Interval of a rate (Wilson 1927)."""
    rate, squared = hits / rows, _Z**2 / rows
    centre = (rate + squared / 2) / (1 + squared)
    half = _Z / (1 + squared) * math.sqrt(rate * (1 - rate) / rows + squared / (4 * rows))
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def bootstrap_weights(units: Index, rng: np.random.Generator) -> Real:
    """Weights of rows, (1 + DRAWS, rows): first all ones, then draws of whole units with replacement."""
    many = int(units.max()) + 1
    draws = rng.multinomial(many, np.full(many, 1 / many), size=DRAWS)
    return np.vstack([np.ones(len(units)), draws[:, units]])


def left_out_weights(group: Index) -> Real:
    """Weights of rows, (groups, rows), that leave out one group of the jackknife at a time."""
    many = int(group.max()) + 1
    weights: Real = (np.arange(many)[:, None] != group).astype(np.float64)
    return weights


def percentiles(scores: Real) -> tuple[float, float] | None:
    """Interval from (1 + draws,) scores, of which the first is the value; widened to hold it. None where undefined."""
    draws = scores[1:][np.isfinite(scores[1:])]
    if len(draws) < DRAWS // 2 or not np.isfinite(scores[0]):
        return None
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return min(float(low), float(scores[0])), max(float(high), float(scores[0]))


@dataclass(frozen=True)
class Curve:
    """Area under the ROC curve and average precision of one ranking, under each row of weights: shape (draws,)."""

    auc: Real
    average_precision: Real


def curve(scores: Real, positive: NDArray[np.bool_], weights: Real) -> Curve:
    """Of predictions (rows,) against labels (rows,), ties shared evenly, under weights (draws, rows).

    NaN where a draw holds one class only. The definitions are scikit-learn's.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    hits = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)  # (draws, distinct scores)
    misses = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    all_hits, all_misses = hits.sum(axis=1), misses.sum(axis=1)
    hits_above, misses_above = hits.cumsum(axis=1), misses.cumsum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = (hits * (misses_above - misses / 2)).sum(axis=1)
        auc = np.where(all_hits * all_misses > 0, 1 - lost / (all_hits * all_misses), np.nan)
        taken = hits_above + misses_above
        precision = np.divide(hits_above, taken, out=np.zeros_like(taken), where=taken > 0)
        average = np.where(all_hits > 0, (hits * precision).sum(axis=1) / all_hits, np.nan)
    return Curve(auc, average)


def f1(predicted: NDArray[np.bool_], positive: NDArray[np.bool_], weights: Real) -> Real:
    """F1 of yes-or-no predictions under weights (draws, rows): shape (draws,); 0 where nothing is right."""
    right, said, true = (weights @ flag.astype(np.float64) for flag in (predicted & positive, predicted, positive))
    return np.divide(2 * right, said + true, out=np.zeros_like(right), where=said + true > 0)


def brier(chance: Real, positive: NDArray[np.bool_], weights: Real) -> Real:
    """Mean squared error of predicted chances (rows,) under weights (draws, rows): shape (draws,) (Brier 1950)."""
    error: Real = weights @ (chance - positive) ** 2 / weights.sum(axis=1)
    return error


def calibration_error(chance: Real, positive: NDArray[np.bool_], weights: Real) -> Real:
    """Expected calibration error under weights (draws, rows): shape (draws,).

    Mean |predicted - observed frequency| over ten bins of predicted chances with equally many rows, ties undivided
    (Naeini, Cooper, Hauskrecht 2015).
    """
    edges = np.unique(np.quantile(chance, np.arange(1, _CALIBRATION_BINS) / _CALIBRATION_BINS))
    bins = np.searchsorted(edges, chance, side="left")
    member = (bins[:, None] == np.arange(len(edges) + 1)).astype(np.float64)
    gaps = weights @ (member * (chance - positive)[:, None])
    error: Real = np.abs(gaps).sum(axis=1) / weights.sum(axis=1)
    return error
