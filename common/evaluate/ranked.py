"""Scores of a model from how many units have which score, with and without the outcome; counts carry known noise.

Few bins carry little noise, and lose little: a bin's units are spread over finer cells as synthetic rows of the same
outcome are. Every score is a smooth function of the counts, so its deviation follows from its slope in each (delta
method). Where real rows lie within a bin is not known: a third of what spreading moves a score by is added to that.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.deconvolved import Z

_TOLD: Final = 4.0  # standard deviations of noise: with less, the delta method means nothing
_DOUBT: Final = 1 / 3  # Adult, two models and two generators: up to a third in the area, a sixth in average precision
_STEP: Final = 1e-3  # units by which a count is moved for a slope: far below one, far above rounding


@dataclass(frozen=True)
class Ranked:
    """Counts of units without and with the outcome, shape (bins, 2), by rising score, and where in a bin they may be.

    `bin` of each finer cell, shape (fine,), the chance of each given bin and outcome in `within`, (fine, 2), and what
    the model predicts there, (fine,); `positive`: the first bin in which that is at least one half; `deviation`: of the
    noise in a count, in units.
    """

    counts: Real = field(repr=False)
    bin: Index = field(repr=False)
    within: Real = field(repr=False)
    predicted: Real = field(repr=False)
    positive: int
    deviation: float

    @property
    def spread(self) -> Real:
        """Counts of finer cells, shape (fine, 2)."""
        spread: Real = self.counts[self.bin] * self.within
        return spread

    @property
    def even(self) -> "Ranked":
        """The same if finer cells told nothing: units with and without the outcome lie alike in a bin."""
        return replace(self, within=np.repeat(self.within.mean(axis=1, keepdims=True), 2, axis=1))


@dataclass(frozen=True)
class Estimate:
    """A value, its interval by the noise alone, and by noise and sampling together: 95 %, NaN where undefined.

    Without noise the value is exact, and nothing is said of sampling.
    """

    value: float
    interval: tuple[float, float]
    population: tuple[float, float] | None


def auc(of: Ranked) -> float:
    """Area under the ROC curve; ties within a finer cell count half."""
    without, with_ = of.spread.T
    below = np.cumsum(without) - without / 2
    return float((with_ * below).sum() / (with_.sum() * without.sum()))


def average_precision(of: Ranked) -> float:
    """Mean precision over units with the outcome, cell by cell from the highest score."""
    falling = of.spread[::-1]
    hits, seen = np.cumsum(falling[:, 1]), np.cumsum(falling.sum(axis=1))
    precision = np.clip(hits / np.where(np.abs(seen) < 1, 1, seen), 0, 1)
    return float((falling[:, 1] * precision).sum() / falling[:, 1].sum())


def accuracy(of: Ranked) -> float:
    """Share of units that are on the right side of one half."""
    right = of.counts[of.positive :, 1].sum() + of.counts[: of.positive, 0].sum()
    return float(right / of.counts.sum())


def error(of: Ranked) -> float:
    """Share of units that are on the wrong side of one half."""
    return 1 - accuracy(of)


def f1(of: Ranked) -> float:
    """Harmonic mean of precision and recall at one half."""
    said, true = of.counts[of.positive :], of.counts[:, 1]
    return float(2 * said[:, 1].sum() / (said.sum() + true.sum()))


def calibration(of: Ranked) -> float:
    """Mean probability that the model gives, less the share of units with the outcome."""
    expected = (of.spread.sum(axis=1) * of.predicted).sum()
    return float((expected - of.counts[:, 1].sum()) / of.counts.sum())


SCORES: Final[Mapping[str, Callable[[Ranked], float]]] = {
    "auc": auc,
    "average_precision": average_precision,
    "accuracy": accuracy,
    "f1": f1,
    "calibration": calibration,
}
OF_SUBGROUPS: Final[Mapping[str, Callable[[Ranked], float]]] = {"auc": auc, "error": error}
_ALL: Final = {**SCORES, **OF_SUBGROUPS}
LOWEST: Final = {"calibration": -1.0}


def estimated(name: str, of: Ranked) -> Estimate:
    """A score by its name, from noisy counts; NaN, which may be anything, where too few units rise above the noise."""
    score, low = _ALL[name], LOWEST.get(name, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = score(of) if _told(of) else math.nan
        if not math.isfinite(value):
            return Estimate(math.nan, (low, 1.0), (low, 1.0))
        if not of.deviation:
            return Estimate(value, (value, value), None)
        slopes = np.array([(score(moved) - value) / _STEP for moved in _moved(of)])
    present = np.maximum(of.counts.ravel(), 0)
    noise = math.hypot(of.deviation * float(np.sqrt((slopes**2).sum())), _DOUBT * (value - score(of.even)))
    drawn = (present * slopes**2).sum() - (present * slopes).sum() ** 2 / max(1.0, present.sum())
    both = float(np.sqrt(noise**2 + max(0.0, drawn)))
    return Estimate(min(1.0, max(low, value)), _around(value, noise, low), _around(value, both, low))


def _told(of: Ranked) -> bool:
    """Whether there are units with and without the outcome, beyond what noise may make of none."""
    return bool((of.counts.sum(axis=0) > _TOLD * of.deviation * math.sqrt(len(of.counts))).all())


def _moved(of: Ranked) -> Iterator[Ranked]:
    """The same with one count moved, for each count."""
    for step in _STEP * np.eye(of.counts.size):
        yield replace(of, counts=of.counts + step.reshape(of.counts.shape))


def _around(value: float, deviation: float, low: float) -> tuple[float, float]:
    return max(low, value - Z * deviation), min(1.0, value + Z * deviation)
