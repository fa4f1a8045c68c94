"""The coordinator's half of the GAN engine where nobody is trusted: every site trains a discriminator by itself.

First each site counts its 1-ways for itself, with all of the noise. Then, round after round, each takes its own
discriminator some steps further against fakes of the generator, and sends it back. All that is left is post-processing.

Sites are unlike. So the generator is conditional on the site: each has components of its own, which that site's
discriminator alone teaches, and the study's generator mixes them by the sites' noisy sizes. With the setting
`conditional` 0 there is one generator, taught by the sum of the discriminators' odds in those proportions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from silosynth.common import scale
from silosynth.common.arrays import Real, Vector, Weights
from silosynth.common.engine import Each, Generator
from silosynth.common.engines import gan as engine
from silosynth.common.engines import mixture
from silosynth.common.engines.gan_generator import GanGenerator
from silosynth.common.engines.gan_learning import (
    Critic,
    Lesson,
    Network,
    calibrated,
    count_deviation,
    prepared_from,
    taught,
)
from silosynth.common.engines.gan_net import initial_discriminator, initial_generator
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.layouts import OneWays
from silosynth.common.engines.preparation import Preparation, estimated_units, project
from silosynth.common.errors import AnswerRejected, MalformedFrame
from silosynth.common.study import Study
from silosynth.server.engines.gan import CRITIC, FAKES, GENERATOR, LESSONS, diverged

_FAINT: Final = 3.0
"""Signal over noise, in a discriminator's whole training, at which half of what it says is believed. Adult at epsilon
.3 has about 7 and is no worse than without it; three sites of 130 persons at epsilon 3 have 1.4 and would be."""

_ARRAYS = ("one_ways", "critics", "students", "averages")


@dataclass(frozen=True)
class Known:
    """What the 1-ways tell: of all sites together, and of each in the roster's order, in the same bins."""

    all: Preparation
    units: Real = field(repr=False)  # (sites,), each at least 1
    marginals: tuple[tuple[Real, ...], ...] = field(repr=False)  # of each site


@dataclass(frozen=True)
class State:
    """Everything known after `released` answers; an array is empty until there is something in it."""

    released: int
    one_ways: Vector = field(repr=False)  # (sites, cells)
    critics: Weights = field(repr=False)  # (sites, engine.MOMENTS, parameters)
    students: Weights = field(repr=False)  # (generators, engine.MOMENTS, parameters)
    averages: Weights = field(repr=False)  # (generators, parameters)
    known: Known | None = field(default=None, repr=False)  # follows from one_ways, hence not frozen


class GanLocal:
    """An engine.CoordinatorHalf."""

    def __init__(self, study: Study, seed: int) -> None:
        torch.set_num_threads(1)  # one thread: the same answers give the same generator
        self._study = study
        self._seed = seed
        self._settings = engine.settings(study)
        self._names = tuple(member.name for member in study.roster)
        self._conditional = engine.learns_for_each_site(study)

    def start(self) -> State:
        """See engine.CoordinatorHalf."""
        nothing = np.zeros(0, dtype=np.float32)
        return State(0, np.zeros((0, 0), dtype=np.int64), nothing, nothing, nothing)

    def next(self, state: State) -> Each[engine.Task] | None:
        """See engine.CoordinatorHalf."""
        if state.released == self._study.releases:
            return None
        if not state.released:
            return Each(dict.fromkeys(self._names, engine.CountOneWays()))
        return Each({name: self._training(state, at) for at, name in enumerate(self._names)})

    def absorb(self, state: State, task: engine.Task, total: Vector) -> State:
        """See engine.CoordinatorHalf. Nothing is summed here: see gan."""
        raise NotImplementedError("each site by itself")

    def absorb_each(self, state: State, tasks: Mapping[str, engine.Task], answers: Mapping[str, Vector]) -> State:
        """See engine.CoordinatorHalf. Raises Diverged where a network's weights are no longer finite."""
        for name in self._names:
            if answers[name].shape != (engine.answer_size(self._study, tasks[name]),):
                raise AnswerRejected(name, "not as long as its task asks")
        after = replace(state, released=state.released + 1)
        if not state.released:
            return self._begun(replace(after, one_ways=np.stack([answers[name] for name in self._names])))
        sent = [self._sent(after, name, answers[name]) for name in self._names]
        return self.teach(replace(after, critics=np.stack(sent)))

    def finish(self, state: State) -> Generator:
        """See engine.CoordinatorHalf."""
        known, shape = _known(state), self._shape(state)
        made = [
            GanGenerator(shape, known.all.coarsening, calibrated(shape, average, marginals), known.all.within)
            for average, marginals in zip(state.averages, self._marginals(state), strict=True)
        ]
        return mixture.of_sizes(known.units.tolist(), made) if self._conditional else made[0]

    def units(self, state: State) -> float:
        """See engine.CoordinatorHalf."""
        return _known(state).all.units

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """See engine.CoordinatorHalf."""
        return {name: np.asarray(getattr(state, name)) for name in ("released", *_ARRAYS)}

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """See engine.CoordinatorHalf."""
        one_ways, critics, students, averages = (arrays[name] for name in _ARRAYS)
        known = self._know(one_ways) if one_ways.size else None
        return State(int(arrays["released"]), one_ways, critics, students, averages, known)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *stream])

    def _shape(self, state: State) -> Shape:
        return engine.shape(self._study, _known(state).all.coarsening)

    def _know(self, one_ways: Vector) -> Known:
        prepared = prepared_from(self._study, one_ways.sum(0), len(self._names))
        begins = OneWays(self._study.schema.sizes).offsets[1:-1]
        tables = [np.split(own / scale.HISTOGRAM_GRID, begins) for own in one_ways]
        units = np.array([estimated_units(own) for own in tables])
        deviation = count_deviation(self._study, engine.ONE_WAYS, 1)
        shares = units / units.sum()
        marginals = [
            _marginals(prepared, own, deviation, float(share)) for own, share in zip(tables, shares, strict=True)
        ]
        return Known(prepared, units, tuple(marginals))

    def _marginals(self, state: State) -> tuple[tuple[Real, ...], ...]:
        """Frequencies that each generator is to have."""
        known = _known(state)
        return known.marginals if self._conditional else (known.all.marginals,)

    def _begun(self, state: State) -> State:
        """The first networks: critics that know nothing, and generators of columns with the noisy frequencies."""
        state = replace(state, known=self._know(state.one_ways))
        shape, spread = self._shape(state), self._settings.spread
        critic = Network.begun(initial_discriminator(shape, self._rng(CRITIC)))
        students = [
            Network.begun(initial_generator(shape, marginals, spread, self._rng(GENERATOR, at)))
            for at, marginals in enumerate(self._marginals(state))
        ]
        return replace(
            state,
            critics=np.stack([critic.stacked] * len(self._names)),
            students=np.stack([student.stacked for student in students]),
            averages=np.stack([student.weights for student in students]),
        )

    def _training(self, state: State, at: int) -> engine.TrainDiscriminator:
        """The task of the site that stands at `at` in the roster."""
        done, known = state.released - 1, _known(state)
        (seed,) = np.random.SeedSequence([self._seed, FAKES, done, at]).generate_state(1)
        return engine.TrainDiscriminator(
            known.all.coarsening,
            units=round(known.units[at]),
            capacity=self._study.roster[at].capacity,
            steps=done * engine.step_of(self._study, engine.GRADIENT).repeats,
            seed=int(seed),
            discriminator=state.critics[at],
            generator=state.students[at if self._conditional else 0, 0],
        )

    def _sent(self, state: State, name: str, answer: Vector) -> Weights:
        """The critic that a site sent, shape (engine.MOMENTS, parameters)."""
        try:
            return engine.unpacked(answer, self._shape(state).size)
        except MalformedFrame as error:
            raise diverged(self._study, state.released - 1, state.released, f"site {name} sent {error}") from error

    def teach(self, state: State) -> State:
        """The generators after a round against the critics of `state`."""
        done, known, shape = state.released - 1, _known(state), self._shape(state)
        shares = known.units / known.units.sum()
        critics = [Critic(math.log(share), sent[0]) for share, sent in zip(shares, state.critics, strict=True)]
        students, averages = [], []
        for at, marginals in enumerate(self._marginals(state)):
            own = [Critic(0.0, state.critics[at, 0])] if self._conditional else critics
            believed = self._believed(known.units[at : at + 1] if self._conditional else known.units, shape)
            settled = replace(self._settings, generator_rate=believed * self._settings.generator_rate)
            lesson = Lesson(done - 1, settled, marginals, self._rng(LESSONS, done, at))
            student, average = taught(shape, Network.of(state.students[at]), state.averages[at], own, lesson)
            if not student.finite:
                raise diverged(self._study, done, state.released, "the generator's weights are no longer finite")
            students.append(student.stacked)
            averages.append(average)
        return replace(state, students=np.stack(students), averages=np.stack(averages))

    def _believed(self, units: Real, shape: Shape) -> float:
        """How far the generator goes along with critics of sites of so many units, shape (critics,): 0 to 1.

        As a Wiener filter, the part of signal in all their steps together: public, from noise and noisy sizes.
        """
        step = engine.step_of(self._study, engine.GRADIENT)
        if step.multiplier is None or step.rate is None:
            return 1.0
        steps = step.repeats * engine.step_of(self._study, engine.DISCRIMINATOR).repeats
        found = steps * float(np.square(units * float(step.rate / step.multiplier)).sum()) / shape.size
        return found / (found + _FAINT**2)


def _marginals(prepared: Preparation, tables: list[Real], deviation: float, share: float) -> tuple[Real, ...]:
    """Frequencies of one site, which has `share` of all units, each column shrunk towards those of all sites.

    By as much of the squared distance between both as noise alone would make (James, Stein 1961, positive part).
    """
    units, found = estimated_units(tables), []
    for bin_of, table, common in zip(prepared.coarsening.arrays, tables, prepared.marginals, strict=True):
        own = project(np.bincount(bin_of, weights=table).astype(np.float64), units) / units
        noise = bin_of.size * (deviation / units) ** 2 * (1 - share)
        unlike = float(np.square(own - common).sum())
        found.append(common + max(0.0, 1 - noise / unlike) * (own - common) if unlike else common)
    return tuple(found)


def _known(state: State) -> Known:
    if state.known is None:
        raise ValueError("the 1-ways come first")
    return state.known
