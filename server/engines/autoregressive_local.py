"""The coordinator's half where nobody is trusted: every site learns a network by itself; the generator mixes them.

Each site answers for itself, with all of the noise in every answer. First its 1-ways, from which follow bins, first
weights and about how many units it has; then the network it has learnt from them. What is left is post-processing:
calibration and tilt of each network, and a mixture by the sites' noisy sizes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from silosynth.common import scale
from silosynth.common.arrays import Vector
from silosynth.common.engine import Each
from silosynth.common.engines import autoregressive as engine
from silosynth.common.engines import mixture
from silosynth.common.engines.autoregressive_fit import (
    INITIAL,
    Found,
    count_deviation,
    first_weights,
    generator,
    prepared_from,
    unpacked,
)
from silosynth.common.engines.mixture import Mixture
from silosynth.common.engines.preparation import Preparation
from silosynth.common.engines.sampling import AutoregressiveGenerator
from silosynth.common.errors import AnswerRejected, MalformedFrame
from silosynth.common.study import Member, Study

_DEVIATIONS: Final = 64  # of noise, beyond which no honest count lies


@dataclass(frozen=True)
class State:
    """What each site of the roster, in its order, has answered; empty before the first release."""

    one_ways: tuple[Vector, ...] = field(default=(), repr=False)
    learnt: tuple[Vector, ...] = field(default=(), repr=False)
    prepared: tuple[Preparation, ...] = field(default=(), repr=False)  # follow from one_ways, hence not frozen


class AutoregressiveLocal:
    """An engine.CoordinatorHalf."""

    def __init__(self, study: Study, seed: int) -> None:
        torch.set_num_threads(1)  # one thread: the same answers give the same generator
        self._study = study
        self._seed = seed

    def start(self) -> State:
        """See engine.CoordinatorHalf."""
        return State()

    def next(self, state: State) -> Each[engine.Task] | None:
        """See engine.CoordinatorHalf."""
        if state.learnt:
            return None
        names = [member.name for member in self._study.roster]
        if not state.one_ways:
            return Each(dict.fromkeys(names, engine.CountOneWays()))
        return Each({name: self._task(state, at) for at, name in enumerate(names)})

    def absorb(self, state: State, task: engine.Task, total: Vector) -> State:
        """See engine.CoordinatorHalf. Nothing is summed here: see autoregressive."""
        raise NotImplementedError("each site by itself")

    def absorb_each(self, state: State, tasks: Mapping[str, engine.Task], answers: Mapping[str, Vector]) -> State:
        """See engine.CoordinatorHalf. Raises AnswerRejected for an answer that no honest site gives."""
        for member in self._study.roster:
            try:
                self._check(member, tasks[member.name], answers[member.name])
            except MalformedFrame as error:
                raise AnswerRejected(member.name, str(error)) from error
        vectors = tuple(answers[member.name] for member in self._study.roster)
        if state.one_ways:
            return replace(state, learnt=vectors)
        return self._prepared(vectors)

    def finish(self, state: State) -> Mixture[AutoregressiveGenerator]:
        """See engine.CoordinatorHalf."""
        components = []
        for at, (prepared, answer) in enumerate(zip(state.prepared, state.learnt, strict=True)):
            pairs, weights = unpacked(self._study, self._task(state, at), answer)
            deviation = count_deviation(self._study, engine.PAIRS, 1) if pairs.size else 0.0
            components.append(generator(self._study, Found(prepared, weights, pairs, deviation), self._seed, at))
        return mixture.of_sizes([prepared.units for prepared in state.prepared], components)

    def units(self, state: State) -> float:
        """See engine.CoordinatorHalf."""
        return sum(prepared.units for prepared in state.prepared)

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """See engine.CoordinatorHalf."""
        return {
            "one_ways": np.array(state.one_ways, dtype=np.int64),
            "learnt": np.concatenate([np.zeros(0, dtype=np.int64), *state.learnt]),
        }

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """See engine.CoordinatorHalf."""
        state = self._prepared(tuple(arrays["one_ways"]))
        if not arrays["learnt"].size:
            return state
        sizes = [engine.learn_size(self._study, prepared.coarsening) for prepared in state.prepared]
        return replace(state, learnt=tuple(np.split(arrays["learnt"], np.cumsum(sizes)[:-1])))

    def _prepared(self, one_ways: tuple[Vector, ...]) -> State:
        return State(one_ways, (), tuple(prepared_from(self._study, own, 1) for own in one_ways))

    def _task(self, state: State, at: int) -> engine.Learn:
        prepared = state.prepared[at]
        weights = first_weights(self._study, prepared, np.random.default_rng([self._seed, at, INITIAL]))
        return engine.Learn(prepared.coarsening, prepared.units, weights)

    def _check(self, member: Member, task: engine.Task, answer: Vector) -> None:
        """Raise MalformedFrame for an answer that no honest site gives to `task`."""
        if isinstance(task, engine.Learn):
            counts, _ = unpacked(self._study, task, answer)
            kind = engine.PAIRS
        else:
            if answer.shape != (engine.answer_size(self._study, task),):
                raise MalformedFrame("not as long as its task asks")
            counts, kind = answer, engine.ONE_WAYS
        if counts.size:
            most = member.capacity + _DEVIATIONS * count_deviation(self._study, kind, 1) + 1
            if not (np.abs(counts.astype(np.float64)) <= math.ceil(most) * scale.HISTOGRAM_GRID).all():
                raise MalformedFrame("counts of more units than the site may have")
