"""A site that trusts nobody trains a discriminator by itself: real rows, by samples, beside fakes of the generator.

Real and fake rows go through one forward pass, and what it says of each is clipped before anything is added up
(client/local_gradients.py). The learner is given the noised sums and what the task says; it never meets a row, so
whatever it computes is post-processing. Of the generator a site knows weights, from which it draws fakes: gradients in
them are taken where it learns, at the coordinator, and cannot leave a trace here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from silosynth.client.local_gradients import OpacusGradients, check_rows_do_not_meet, perceptron
from silosynth.common import scale
from silosynth.common.arrays import Vector, Weights
from silosynth.common.engine import Mechanism, Noised, Units
from silosynth.common.engines import gan as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_learning import Network
from silosynth.common.engines.gan_net import SLOPE, fakes, initial_discriminator, one_hot
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.errors import MalformedFrame
from silosynth.common.study import Study


@dataclass(frozen=True)
class Ask:
    """A sum of clipped gradients at these weights, shape (Shape.size,), for step number `step`, from 0."""

    step: int
    weights: Weights = field(repr=False)


class Round:
    """What a site is to do in a round: public, a function of study and task only."""

    def __init__(self, study: Study, task: engine.TrainDiscriminator) -> None:
        """Raises MalformedFrame where the study plans no samples."""
        step = engine.step_of(study, engine.GRADIENT)
        if step.rate is None:
            raise MalformedFrame("a site trains its discriminator on samples")
        self.task = task
        self.shape = engine.shape(study, task.coarsening)
        self.settings = engine.settings(study)
        self.rate = step.rate
        self.multiplier = step.multiplier
        self.steps = step.repeats
        self.blocks = scale.sampled_slots(self.rate, task.capacity, study.most_rows_of_a_unit) // scale.SAMPLED_BLOCK
        self.expected = float(self.rate * task.units)  # units in a sample
        self.fakes = math.ceil(self.settings.fakes / self.blocks)  # in each block

    def public(self, step: int, block: int) -> Tensor:
        """Fakes of a block as inputs, shape (fakes, all bins): everybody who knows the task knows them."""
        rng = np.random.default_rng([self.task.seed, step, block])
        return one_hot(self.shape, fakes(self.shape, self.task.generator, self.fakes, rng))

    def gradients(self, ask: Ask) -> OpacusGradients:
        """An engine.RowGradients: of softplus(-D) at rows and softplus(D) at fakes, which weigh as much together."""
        weight = self.expected / (self.fakes * self.blocks)
        return _gradients(self.shape, self.task.coarsening, ask.weights, partial(self.public, ask.step), weight)


class DiscriminatorLearner:
    """An engine.Learner: asks for the sums that the study plans in a round, and takes a step of Adam along each."""

    def __init__(self, asked: Round) -> None:
        self._asked = asked
        self._network = Network.of(asked.task.discriminator)
        self._done = asked.task.steps

    def next(self) -> Ask | None:
        """See engine.Learner."""
        if self._done == self._asked.task.steps + self._asked.steps:
            return None
        return Ask(self._done, self._network.weights)

    def absorb(self, ask: Ask, total: Vector) -> None:
        """See engine.Learner."""
        self._done = ask.step + 1
        gradient = (total / (scale.SUM_GRID * self._asked.expected)).astype(np.float32)
        self._network = self._network.stepped(gradient, self._done, self._asked.settings.learning_rate)

    def answer(self) -> Vector:
        """See engine.Learner. Weights that ran away as well: the coordinator sees them, and stops the study."""
        return engine.packed(self._network.stacked)


def trained(study: Study, task: engine.TrainDiscriminator, units: Units, mechanism: Mechanism) -> Noised:
    """The answer to a task. Raises NotPossible on a machine whose arithmetic lets rows influence each other."""
    asked = Round(study, task)
    _check(asked.shape, asked.fakes)

    def perform(ask: Ask) -> Noised:
        return mechanism.sampled_sum(units, asked.gradients(ask), rate=asked.rate, multiplier=asked.multiplier)

    return mechanism.learn(DiscriminatorLearner(asked), perform)


def _gradients(
    shape: Shape, coarsening: Coarsening, weights: Weights, public: Callable[[int], Tensor], weight: float
) -> OpacusGradients:
    module = perceptron((shape.all_bins, shape.width, shape.width, 1), SLOPE, weights)
    return OpacusGradients(module, lambda codes: one_hot(shape, coarsening.bins(codes)), public, _losses, weight)


def _losses(outputs: Tensor, rows: int) -> Tensor:
    """Of each row, shape (rows + fakes,), from log odds of shape (rows + fakes, 1)."""
    logits = outputs[:, 0]
    return functional.softplus(torch.cat([-logits[:rows], logits[rows:]]))


@lru_cache(maxsize=8)
def _check(shape: Shape, made: int) -> None:
    """local_gradients.check_rows_do_not_meet at the study's shapes, with so many fakes in a block, once a process."""
    rng = np.random.default_rng(0)
    as_they_are = Coarsening(tuple(tuple(range(size)) for size in shape.bins))
    public = one_hot(shape, np.stack([rng.integers(0, size, made) for size in shape.bins], axis=1))

    def gradients_at(weights: Weights) -> OpacusGradients:
        return _gradients(shape, as_they_are, weights, lambda _: public, 1.0)

    check_rows_do_not_meet(gradients_at, initial_discriminator(shape, rng), shape.bins)
