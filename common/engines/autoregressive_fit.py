"""Learning the autoregressive network from noisy sums: its beginning, its steps, its end. All of it post-processing.

The coordinator learns so from totals over sites, and a site that trusts nobody from noised sums of its own; neither is
told anything else here.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from silosynth.common import scale
from silosynth.common.arrays import Index, Real, Vector, Weights
from silosynth.common.engines import autoregressive as engine
from silosynth.common.engines.autoregressive_net import initial, layers
from silosynth.common.engines.layouts import Pairs
from silosynth.common.engines.preparation import Preparation, prepare
from silosynth.common.engines.sampling import AutoregressiveGenerator, calibrated
from silosynth.common.engines.tilt import BinsAndPairs, Measured, Tilt, serving
from silosynth.common.errors import MalformedFrame
from silosynth.common.study import Study

INITIAL, FITTED = 1, 2
"""Streams of a study's seed."""

_MOMENTUM, _SQUARES, _TINY = 0.9, 0.999, 1e-8  # Adam's (Kingma, Ba 2015)
_WARM_UP = 10
_LEAST_RATE = 0.1  # of the learning rate, at the end of the cosine
_MOST_FITTED, _MOST_CELLS = 60_000, 8_000_000  # rows that the tilt is fitted on; rows times tables


@dataclass(frozen=True)
class Schedule:
    """How the weights move: `steps` in all, the learning rate at its height, the decay of the average."""

    steps: int
    rate: float
    average: float

    @classmethod
    def of(cls, study: Study) -> "Schedule":
        """The study's."""
        settled = engine.settings(study)
        return cls(engine.step_of(study, engine.GRADIENT).repeats, settled.learning_rate, settled.average)

    @property
    def furthest(self) -> float:
        """More than any weight can move, whatever the gradients: Adam's step is at most 7.3 times its rate.

        By Cauchy-Schwarz, |momentum| <= (1 - b1) / sqrt(1 - b2) / sqrt(1 - b1^2 / b2) * sqrt(squares), and the
        corrections of both for their beginning together do not increase it.
        """
        longest = (1 - _MOMENTUM) / math.sqrt((1 - _SQUARES) * (1 - _MOMENTUM**2 / _SQUARES))
        return 1.01 * longest * self.rate * self.steps


@dataclass(frozen=True)
class Descent:
    """Weights on their way down, with Adam's moments and the weights' average; each of shape (parameters,)."""

    weights: Real = field(repr=False)
    momentum: Real = field(repr=False)
    squares: Real = field(repr=False)
    average: Real = field(repr=False)

    @classmethod
    def begun(cls, weights: Weights) -> "Descent":
        """Before the first step."""
        first = weights.astype(np.float64)
        return cls(first, np.zeros_like(first), np.zeros_like(first), first)

    def stepped(self, gradient: Real, done: int, schedule: Schedule) -> "Descent":
        """After step number `done`, from 1, along the mean gradient: cosine rate after a warm-up."""
        momentum = _MOMENTUM * self.momentum + (1 - _MOMENTUM) * gradient
        squares = _SQUARES * self.squares + (1 - _SQUARES) * gradient**2
        cosine = (1 + math.cos(math.pi * (done - 1) / schedule.steps)) / 2
        rate = schedule.rate * min(1, done / _WARM_UP) * (_LEAST_RATE + (1 - _LEAST_RATE) * cosine)
        direction = momentum / (1 - _MOMENTUM**done) / (np.sqrt(squares / (1 - _SQUARES**done)) + _TINY)
        weights = self.weights - rate * direction
        kept = min(schedule.average, done / (done + 9))
        return Descent(weights, momentum, squares, kept * self.average + (1 - kept) * weights)


@dataclass(frozen=True)
class Found:
    """What was learnt: `pairs` are noisy counts in grid units, empty without them, `deviation` their noise in units."""

    prepared: Preparation = field(repr=False)
    weights: Weights = field(repr=False)
    pairs: Vector = field(repr=False)
    deviation: float


def count_deviation(study: Study, kind: str, answers: int) -> float:
    """Standard deviation of the noise in a count of the sum of so many sites' answers, in units."""
    columns = len(study.schema.columns)
    tables = columns if kind == engine.ONE_WAYS else math.comb(columns, 2)
    return scale.count_deviation(tables, engine.step_of(study, kind).multiplier, study.shares, answers)


def prepared_from(study: Study, one_ways: Vector, answers: int) -> Preparation:
    """What the noisy 1-ways tell, a sum of so many sites' answers in grid units."""
    deviation = count_deviation(study, engine.ONE_WAYS, answers)
    return prepare(study.schema, one_ways / scale.HISTOGRAM_GRID, deviation, engine.settings(study).bins)


def first_weights(study: Study, prepared: Preparation, rng: np.random.Generator) -> Weights:
    """Weights to begin with: every column independent, with its noisy frequencies, none of them zero."""
    floored = []
    for column in engine.order(prepared.coarsening):
        floor = np.maximum(1 / (2 * prepared.units), prepared.bin_deviations[column] / 4)
        floored.append((prepared.marginals[column] + floor) / (prepared.marginals[column] + floor).sum())
    return initial(engine.shape(study, prepared.coarsening), tuple(floored), rng)


def mean_gradient(total: Vector, units: float) -> Real:
    """A noisy sum of clipped gradients, in grid units, as the mean over about `units` units."""
    gradient: Real = total / (scale.SUM_GRID * units)
    return gradient


def generator(study: Study, found: Found, *seed: int) -> AutoregressiveGenerator:
    """The generator: the network calibrated to the noisy 1-ways, its rows tilted to the noisy pairs."""
    prepared = found.prepared
    shape, columns = engine.shape(study, prepared.coarsening), engine.order(prepared.coarsening)
    tables = max(1, len(Pairs(prepared.coarsening).offsets) - 1)
    rows = math.ceil(min(2 * prepared.units, _MOST_FITTED, _MOST_CELLS / tables))
    rng, net = np.random.default_rng([*seed, FITTED]), layers(shape, found.weights)
    shifts, bins = calibrated(shape, net, columns, prepared.marginals, rows, rng)
    untilted = AutoregressiveGenerator(shape, prepared.coarsening, found.weights, shifts, prepared.within, None)
    if not found.pairs.size:
        return untilted
    return replace(untilted, tilt=_tilt(found, bins, untilted.bins(rows, rng), engine.settings(study).tilt))


def packed(pairs: Vector, weights: Weights) -> Vector:
    """What a site that learnt by itself answers: its noisy pair counts, then the bits of its weights, as integers."""
    return np.concatenate([pairs, weights.astype("<f4").view("<i4").astype(np.int64)])


def unpacked(study: Study, task: engine.Learn, answer: Vector) -> tuple[Vector, Weights]:
    """The pair counts and the weights in a site's answer to `task`.

    Raises MalformedFrame for what no honest site answers: another length, or weights that are none or further from
    where they began than the study's steps can take them.
    """
    if answer.shape != (engine.answer_size(study, task),):
        raise MalformedFrame("not as long as its task asks")
    pairs, bits = np.split(answer, [answer.size - task.weights.size])
    if (bits != bits.astype(np.int32)).any():
        raise MalformedFrame("integers that are no weights")
    weights: Weights = bits.astype("<i4").view("<f4").astype(np.float32, copy=False)
    if not (np.abs(weights - task.weights) <= Schedule.of(study).furthest).all():  # false of NaN, too
        raise MalformedFrame("weights that no learning leads to")
    return pairs, weights


def _tilt(found: Found, bins: Index, fresh: Index, trust: float) -> Tilt | None:
    """The tilt of network rows towards the noisy counts, if it serves others."""
    prepared = found.prepared
    pairs = found.pairs / (scale.HISTOGRAM_GRID * prepared.units)
    measured = Measured(
        np.concatenate([*prepared.marginals, pairs]),
        np.concatenate([*prepared.bin_deviations, np.full(pairs.size, found.deviation / prepared.units)]),
    )
    return serving(bins, fresh, BinsAndPairs(prepared.coarsening), measured, trust * prepared.units)
