"""The coordinator's half of the autoregressive engine: what to ask next, and what to make of the total.

Pure, and told nothing but noisy totals: bins and initial biases from the 1-ways, one step of Adam for each sum of
gradients, and at the end calibration and tilt, all post-processing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from silosynth.common import scale
from silosynth.common.arrays import Real, Vector
from silosynth.common.engines import autoregressive as engine
from silosynth.common.engines.autoregressive_net import initial, layers
from silosynth.common.engines.layouts import Pairs
from silosynth.common.engines.preparation import Preparation, prepare
from silosynth.common.engines.sampling import AutoregressiveGenerator, calibrated
from silosynth.common.engines.tilt import LEAST_EFFECTIVE, Measured, Tilt, effective_share, fit
from silosynth.common.study import Study

_MOMENTUM, _SQUARES, _TINY = 0.9, 0.999, 1e-8  # Adam's (Kingma, Ba 2015)
_WARM_UP = 10
_LEAST_RATE = 0.1  # of the learning rate, at the end of the cosine
_MOST_FITTED = 60_000
_MOST_CELLS = 8_000_000  # rows times tables that the tilt is fitted on
_INITIAL, _FITTED = 1, 2  # streams of the seed


@dataclass(frozen=True)
class State:
    """Everything known after `released` totals; an array is empty until there is something in it."""

    released: int
    one_ways: Vector = field(repr=False)
    pairs: Vector = field(repr=False)
    weights: Real = field(repr=False)  # (parameters,), as the following three
    momentum: Real = field(repr=False)
    squares: Real = field(repr=False)
    average: Real = field(repr=False)
    prepared: Preparation | None = field(default=None, repr=False)  # follows from one_ways, hence not frozen


class Autoregressive:
    """An engine.CoordinatorHalf."""

    def __init__(self, study: Study, seed: int) -> None:
        torch.set_num_threads(1)  # one thread: the same totals give the same generator
        self._study = study
        self._seed = seed
        self._settings = engine.settings(study)

    def start(self) -> State:
        """See engine.CoordinatorHalf."""
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
        return State(0, none, none, nothing, nothing, nothing, nothing)

    def next(self, state: State) -> engine.Task | None:
        """See engine.CoordinatorHalf."""
        if state.released == self._study.releases:
            return None
        match self._study.step_of(state.released).kind:
            case engine.ONE_WAYS:
                return engine.CountOneWays()
            case engine.PAIRS:
                return engine.CountPairs(_prepared(state).coarsening)
            case _:
                return engine.SumGradients(_prepared(state).coarsening, state.weights.astype(np.float32))

    def absorb(self, state: State, task: engine.Task, total: Vector) -> State:
        """See engine.CoordinatorHalf."""
        if total.shape != (engine.answer_size(self._study, task),):
            raise ValueError("a total has the size its task claims")
        after = replace(state, released=state.released + 1)
        match task:
            case engine.CountOneWays():
                return self._begun(replace(after, one_ways=total))
            case engine.CountPairs():
                return replace(after, pairs=total)
            case engine.SumGradients():
                return self._stepped(after, total)

    def absorb_each(self, state: State, tasks: Mapping[str, engine.Task], answers: Mapping[str, Vector]) -> State:
        """See engine.CoordinatorHalf. Sites are never asked one by one here."""
        raise NotImplementedError("sums only")

    def finish(self, state: State) -> AutoregressiveGenerator:
        """See engine.CoordinatorHalf."""
        prepared = _prepared(state)
        shape, columns = engine.shape(self._study, prepared.coarsening), engine.order(prepared.coarsening)
        weights = state.average.astype(np.float32)
        tables = max(1, len(Pairs(prepared.coarsening).offsets) - 1)
        rows = math.ceil(min(2 * prepared.units, _MOST_FITTED, _MOST_CELLS / tables))
        rng = np.random.default_rng([self._seed, _FITTED])
        shifts, bins = calibrated(shape, layers(shape, weights), columns, prepared.marginals, rows, rng)
        tilt = self._tilt(state, bins) if state.pairs.size else None
        return AutoregressiveGenerator(shape, prepared.coarsening, weights, shifts, prepared.within, tilt)

    def units(self, state: State) -> float:
        """See engine.CoordinatorHalf."""
        return _prepared(state).units

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """See engine.CoordinatorHalf."""
        return {name: np.asarray(getattr(state, name)) for name in _FROZEN}

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """See engine.CoordinatorHalf."""
        released, one_ways, pairs, *learnt = (arrays[name] for name in _FROZEN)
        weights, momentum, squares, average = learnt
        state = State(int(released), one_ways, pairs, weights, momentum, squares, average)
        return replace(state, prepared=self._prepare(state.one_ways)) if state.one_ways.size else state

    def _deviation(self, kind: str, tables: int) -> float:
        """Standard deviation of the noise in a count of the total over all sites, in units."""
        (step,) = (step for step in self._study.plan if step.kind == kind)
        if step.multiplier is None:
            return 0.0
        variance = scale.site_variance(scale.histogram_sensitivity(tables), step.multiplier, self._study.shares)
        return math.sqrt(len(self._study.roster) * variance) / scale.HISTOGRAM_GRID

    def _prepare(self, one_ways: Vector) -> Preparation:
        schema = self._study.schema
        deviation = self._deviation(engine.ONE_WAYS, len(schema.columns))
        return prepare(schema, one_ways / scale.HISTOGRAM_GRID, deviation, self._settings.bins)

    def _begun(self, state: State) -> State:
        """The first weights: every column independent, with its noisy frequencies, none of them zero."""
        prepared = self._prepare(state.one_ways)
        shape, columns = engine.shape(self._study, prepared.coarsening), engine.order(prepared.coarsening)
        floored = []
        for column in columns:
            floor = np.maximum(1 / (2 * prepared.units), prepared.bin_deviations[column] / 4)
            floored.append((prepared.marginals[column] + floor) / (prepared.marginals[column] + floor).sum())
        weights = initial(shape, tuple(floored), np.random.default_rng([self._seed, _INITIAL])).astype(np.float64)
        zero = np.zeros_like(weights)
        return replace(state, prepared=prepared, weights=weights, momentum=zero, squares=zero, average=weights)

    def _stepped(self, state: State, total: Vector) -> State:
        """One step of Adam on the mean gradient: cosine rate after a warm-up, and an average of the weights."""
        (steps,) = (step.repeats for step in self._study.plan if step.kind == engine.GRADIENT)
        done = state.released - (self._study.releases - steps)  # steps taken, this one included
        gradient = total / (scale.SUM_GRID * _prepared(state).units)
        momentum = _MOMENTUM * state.momentum + (1 - _MOMENTUM) * gradient
        squares = _SQUARES * state.squares + (1 - _SQUARES) * gradient**2
        cosine = (1 + math.cos(math.pi * (done - 1) / steps)) / 2
        rate = self._settings.learning_rate * min(1, done / _WARM_UP) * (_LEAST_RATE + (1 - _LEAST_RATE) * cosine)
        direction = momentum / (1 - _MOMENTUM**done) / (np.sqrt(squares / (1 - _SQUARES**done)) + _TINY)
        weights = state.weights - rate * direction
        kept = min(self._settings.average, done / (done + 9))
        average = kept * state.average + (1 - kept) * weights
        return replace(state, weights=weights, momentum=momentum, squares=squares, average=average)

    def _tilt(self, state: State, bins: NDArray[np.int64]) -> Tilt | None:
        """The tilt of network rows towards the noisy counts, unless too few rows would then count."""
        prepared = _prepared(state)
        layout = Pairs(prepared.coarsening)
        deviation = self._deviation(engine.PAIRS, len(layout.offsets) - 1) / prepared.units
        pairs = state.pairs / (scale.HISTOGRAM_GRID * prepared.units)
        measured = Measured(
            np.concatenate([*prepared.marginals, pairs]),
            np.concatenate([*prepared.bin_deviations, np.full(pairs.size, deviation)]),
        )
        tilt = fit(bins, prepared.coarsening, measured, self._settings.tilt * prepared.units)
        return tilt if effective_share(tilt.log_weights(bins)) >= LEAST_EFFECTIVE else None


_FROZEN = tuple(entry.name for entry in fields(State) if entry.name != "prepared")


def _prepared(state: State) -> Preparation:
    if state.prepared is None:
        raise ValueError("the 1-ways come first")
    return state.prepared
