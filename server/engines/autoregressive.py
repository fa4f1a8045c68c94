"""The coordinator's half of the autoregressive engine: what to ask next, and what to make of the total.

Pure, and told nothing but noisy totals: bins and initial biases from the 1-ways, one step of Adam for each sum of
gradients, and at the end calibration and tilt, all post-processing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from silosynth.common.arrays import Vector
from silosynth.common.engines import autoregressive as engine
from silosynth.common.engines.autoregressive_fit import (
    INITIAL,
    Descent,
    Found,
    Schedule,
    count_deviation,
    first_weights,
    generator,
    mean_gradient,
    prepared_from,
)
from silosynth.common.engines.preparation import Preparation
from silosynth.common.engines.sampling import AutoregressiveGenerator
from silosynth.common.study import Study

_DESCENT = ("weights", "momentum", "squares", "average")


@dataclass(frozen=True)
class State:
    """Everything known after `released` totals; an array is empty until there is something in it."""

    released: int
    one_ways: Vector = field(repr=False)
    pairs: Vector = field(repr=False)
    descent: Descent = field(repr=False)
    prepared: Preparation | None = field(default=None, repr=False)  # follows from one_ways, hence not frozen


class Autoregressive:
    """An engine.CoordinatorHalf."""

    def __init__(self, study: Study, seed: int) -> None:
        torch.set_num_threads(1)  # one thread: the same totals give the same generator
        self._study = study
        self._seed = seed

    def start(self) -> State:
        """See engine.CoordinatorHalf."""
        none = np.zeros(0, dtype=np.int64)
        return State(0, none, none, Descent.begun(np.zeros(0, dtype=np.float32)))

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
                return engine.SumGradients(_prepared(state).coarsening, state.descent.weights.astype(np.float32))

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
            case engine.Learn():
                raise ValueError("what a site learns by itself is no sum")

    def absorb_each(self, state: State, tasks: Mapping[str, engine.Task], answers: Mapping[str, Vector]) -> State:
        """See engine.CoordinatorHalf. Sites are never asked one by one here: see autoregressive_local."""
        raise NotImplementedError("sums only")

    def finish(self, state: State) -> AutoregressiveGenerator:
        """See engine.CoordinatorHalf."""
        prepared, sites = _prepared(state), len(self._study.roster)
        deviation = count_deviation(self._study, engine.PAIRS, sites) if state.pairs.size else 0.0
        found = Found(prepared, state.descent.average.astype(np.float32), state.pairs, deviation)
        return generator(self._study, found, self._seed)

    def units(self, state: State) -> float:
        """See engine.CoordinatorHalf."""
        return _prepared(state).units

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """See engine.CoordinatorHalf."""
        descent = {name: getattr(state.descent, name) for name in _DESCENT}
        return {
            "released": np.asarray(state.released),
            "one_ways": state.one_ways,
            "pairs": state.pairs,
            **descent,
        }

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """See engine.CoordinatorHalf."""
        descent = Descent(*(arrays[name] for name in _DESCENT))
        state = State(int(arrays["released"]), arrays["one_ways"], arrays["pairs"], descent)
        return replace(state, prepared=self._prepare(state.one_ways)) if state.one_ways.size else state

    def _prepare(self, one_ways: Vector) -> Preparation:
        return prepared_from(self._study, one_ways, len(self._study.roster))

    def _begun(self, state: State) -> State:
        prepared = self._prepare(state.one_ways)
        weights = first_weights(self._study, prepared, np.random.default_rng([self._seed, INITIAL]))
        return replace(state, prepared=prepared, descent=Descent.begun(weights))

    def _stepped(self, state: State, total: Vector) -> State:
        schedule = Schedule.of(self._study)
        done = state.released - (self._study.releases - schedule.steps)  # steps taken, this one included
        gradient = mean_gradient(total, _prepared(state).units)
        return replace(state, descent=state.descent.stepped(gradient, done, schedule))


def _prepared(state: State) -> Preparation:
    if state.prepared is None:
        raise ValueError("the 1-ways come first")
    return state.prepared
