"""The coordinator's half of the GAN engine: what to ask next, and how the generator learns from what comes back.

Pure, and told nothing but noisy totals. There is one critic, which takes a step with each sum of its clipped gradients;
where nobody is trusted each site has its own, see gan_local. Every random number comes from the seed and the number of
the round, so a study that was interrupted ends alike.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from silosynth.common import scale
from silosynth.common.arrays import Vector, Weights
from silosynth.common.engines import gan as engine
from silosynth.common.engines.gan_generator import GanGenerator
from silosynth.common.engines.gan_learning import (
    Critic,
    Lesson,
    Network,
    calibrated,
    critic_gradient,
    misfit,
    prepared_from,
    taught,
)
from silosynth.common.engines.gan_net import fakes, initial_discriminator, initial_generator
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.gan_terms import Gradients
from silosynth.common.engines.preparation import Preparation
from silosynth.common.errors import Diverged
from silosynth.common.study import Study
from silosynth.server.certificate import prices

CRITIC, GENERATOR, FAKES, LESSONS = range(1, 5)
"""Streams of a study's seed."""

_ARRAYS = ("one_ways", "pairs", "critic", "generator", "average", "best")


@dataclass(frozen=True)
class State:
    """Everything known after `released` totals; an array is empty until there is something in it."""

    released: int
    one_ways: Vector = field(repr=False)
    pairs: Vector = field(repr=False)
    critic: Weights = field(repr=False)  # (engine.MOMENTS, parameters)
    generator: Weights = field(repr=False)  # (engine.MOMENTS, parameters)
    average: Weights = field(repr=False)  # (parameters,) of the generator
    best: Weights = field(repr=False)  # (parameters,) of the snapshot that fits the pairs best
    misfit: float
    prepared: Preparation | None = field(default=None, repr=False)  # follows from one_ways, hence not frozen


class Gan:
    """An engine.CoordinatorHalf."""

    def __init__(self, study: Study, seed: int) -> None:
        torch.set_num_threads(1)  # one thread: the same answers give the same generator
        self._study = study
        self._seed = seed
        self._settings = engine.settings(study)

    def start(self) -> State:
        """See engine.CoordinatorHalf."""
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        return State(0, none, none, nothing, nothing, nothing, nothing, math.inf)

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
                return engine.SumGradients(_prepared(state).coarsening, state.critic[0])

    def absorb(self, state: State, task: engine.Task, total: Vector) -> State:
        """See engine.CoordinatorHalf. Raises Diverged where a network's weights are no longer finite."""
        if total.shape != (engine.answer_size(self._study, task),):
            raise ValueError("a total has the size its task claims")
        after = replace(state, released=state.released + 1)
        match task:
            case engine.CountOneWays():
                return self._begun(replace(after, one_ways=total))
            case engine.CountPairs():
                return replace(after, pairs=total)
            case engine.SumGradients():
                return self._played(replace(after, critic=self._stepped(state, total)))
            case engine.TrainDiscriminator():
                raise ValueError("what a site learns by itself is no sum")

    def absorb_each(self, state: State, tasks: Mapping[str, engine.Task], answers: Mapping[str, Vector]) -> State:
        """See engine.CoordinatorHalf. Sites are never asked one by one here: see gan_local."""
        raise NotImplementedError("sums only")

    def finish(self, state: State) -> GanGenerator:
        """See engine.CoordinatorHalf."""
        prepared, shape = _prepared(state), self._shape(state)
        chosen = state.best if state.best.size else state.average
        weights = calibrated(shape, chosen, prepared.marginals)
        return GanGenerator(shape, prepared.coarsening, weights, prepared.within)

    def units(self, state: State) -> float:
        """See engine.CoordinatorHalf."""
        return _prepared(state).units

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """See engine.CoordinatorHalf."""
        return {name: np.asarray(getattr(state, name)) for name in ("released", *_ARRAYS, "misfit")}

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """See engine.CoordinatorHalf."""
        one_ways, pairs, critic, generator, average, best = (arrays[name] for name in _ARRAYS)
        state = State(
            int(arrays["released"]), one_ways, pairs, critic, generator, average, best, float(arrays["misfit"])
        )
        return replace(state, prepared=self._prepare(state.one_ways)) if state.one_ways.size else state

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *stream])

    def _shape(self, state: State) -> Shape:
        return engine.shape(self._study, _prepared(state).coarsening)

    def _rounds(self, state: State) -> int:
        """Rounds of the game that were asked for in the first `released` releases."""
        counts = sum(step.repeats for step in self._study.plan if step.kind in {engine.ONE_WAYS, engine.PAIRS})
        return state.released - counts

    def _prepare(self, one_ways: Vector) -> Preparation:
        return prepared_from(self._study, one_ways, len(self._study.roster))

    def _begun(self, state: State) -> State:
        """The first networks: a critic that knows nothing, and a generator of columns with the noisy frequencies."""
        state = replace(state, prepared=self._prepare(state.one_ways))
        shape = self._shape(state)
        critic = Network.begun(initial_discriminator(shape, self._rng(CRITIC)))
        marginals, spread = _prepared(state).marginals, self._settings.spread
        generator = Network.begun(initial_generator(shape, marginals, spread, self._rng(GENERATOR)))
        return replace(state, critic=critic.stacked, generator=generator.stacked, average=generator.weights)

    def _stepped(self, state: State, total: Vector) -> Weights:
        """The critic after a step along the noisy sum over real rows and the clipped mean over fakes."""
        done, prepared = self._rounds(state), _prepared(state)
        critic, settled = Network.of(state.critic), self._settings
        made = fakes(self._shape(state), state.generator[0], settled.fakes, self._rng(FAKES, done))
        gradients = Gradients(self._shape(state), critic.weights, prepared.coarsening)
        gradient = critic_gradient(gradients, total / (scale.SUM_GRID * prepared.units), made, settled.steepness)
        return critic.stepped(gradient, done + 1, settled.learning_rate).stacked

    def _played(self, state: State) -> State:
        """The generator after a round against the critic of `state`, and the best snapshot so far."""
        done, prepared, shape, settled = self._rounds(state), _prepared(state), self._shape(state), self._settings
        if not np.isfinite(state.critic).all():
            raise self._diverged(state, "the discriminator's weights are no longer finite")
        lesson = Lesson(done - 1, settled, prepared.marginals, self._rng(LESSONS, done))
        generator, average = taught(
            shape, Network.of(state.generator), state.average, [Critic(0.0, state.critic[0])], lesson
        )
        if not generator.finite:
            raise self._diverged(state, "the generator's weights are no longer finite")
        state = replace(state, generator=generator.stacked, average=average)
        if not state.pairs.size:
            return state
        found = misfit(shape, average, state.pairs / (scale.HISTOGRAM_GRID * prepared.units))
        return replace(state, best=average, misfit=found) if found < state.misfit else state

    def _diverged(self, state: State, cause: str) -> Diverged:
        return diverged(self._study, self._rounds(state), state.released, cause)


def diverged(study: Study, rounds: int, released: int, cause: str) -> Diverged:
    """What ends a study after so many rounds of the game and so many releases."""
    spent = prices(study, released).aggregate
    return Diverged(
        f"round {rounds}: {cause}. Nothing is published; {released} of {study.releases} releases were made, worth an "
        f"epsilon of {spent:.3g}, and sites have paid for all. Try a new study with a lower 'learning_rate' or "
        "'generator_rate' under [engine]"
    )


def _prepared(state: State) -> Preparation:
    if state.prepared is None:
        raise ValueError("the 1-ways come first")
    return state.prepared
