"""Learning the GAN from noisy sums: steps of the discriminator, steps of the generator, the choice of a snapshot.

All of it is post-processing: nothing here is told anything of a row but noisy sums. Every function is one of its
arguments and its random numbers alone, so that a study goes on where it stopped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from silosynth.common import scale
from silosynth.common.arrays import Index, Real, Vector, Weights
from silosynth.common.engines import gan as engine
from silosynth.common.engines.gan_net import (
    by_column,
    components,
    discriminate,
    discriminator,
    frequencies,
    generator,
    gumbel,
    one_hot,
)
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.gan_terms import FAKE, Gradients, clipped_sum
from silosynth.common.engines.preparation import Preparation, prepare
from silosynth.common.study import Study

MOST_LOG_ODDS = 8.0
"""A discriminator is believed up to odds of e^8 to 1: what lies beyond, no step along noise can have told it."""

_MOMENTUM, _SQUARES, _TINY = 0.5, 0.99, 1e-8  # Adam's (Kingma, Ba 2015)
_MOST_STEEP = 1000  # fakes at which slopes are taken, or somewhat fewer
_MOST_MOVES, _CLOSE, _FLOOR = 30, 1e-4, 1e-6


@dataclass(frozen=True)
class Network:
    """A network under Adam: weights, the mean of its gradients and of their squares, each of shape (parameters,)."""

    weights: Weights = field(repr=False)
    momentum: Weights = field(repr=False)
    squares: Weights = field(repr=False)

    @classmethod
    def begun(cls, weights: Weights) -> "Network":
        """Before the first step."""
        return cls(weights, np.zeros_like(weights), np.zeros_like(weights))

    @classmethod
    def of(cls, stacked: Weights) -> "Network":
        """The one that `stacked` gave."""
        return cls(*stacked)

    @property
    def stacked(self) -> Weights:
        """As one array, shape (engine.MOMENTS, parameters)."""
        return np.stack([self.weights, self.momentum, self.squares])

    @property
    def finite(self) -> bool:
        """Whether all of its numbers are."""
        return bool(np.isfinite(self.stacked).all())

    def stepped(self, gradient: Weights, step: int, rate: float) -> "Network":
        """After step number `step`, from 1, along a gradient of shape (parameters,)."""
        momentum = _MOMENTUM * self.momentum + (1 - _MOMENTUM) * gradient
        squares = _SQUARES * self.squares + (1 - _SQUARES) * gradient**2
        direction = momentum / (1 - _MOMENTUM**step) / (np.sqrt(squares / (1 - _SQUARES**step)) + _TINY)
        return Network(*(part.astype(np.float32) for part in (self.weights - rate * direction, momentum, squares)))


@dataclass(frozen=True)
class Critic:
    """A discriminator's flat weights, and the log of the share of all units that it speaks for."""

    log_share: float
    weights: Weights = field(repr=False)


@dataclass(frozen=True)
class Lesson:
    """What the generator is told in a round, from 0, beside its critics."""

    round: int
    settings: engine.Settings
    marginals: Sequence[Real] = field(repr=False)
    rng: np.random.Generator = field(repr=False)


def count_deviation(study: Study, kind: str, answers: int) -> float:
    """Standard deviation of the noise in a count of the sum of so many sites' answers, in units."""
    columns = len(study.schema.columns)
    tables = columns if kind == engine.ONE_WAYS else math.comb(columns, 2)
    return scale.count_deviation(tables, engine.step_of(study, kind).multiplier, study.shares, answers)


def prepared_from(study: Study, one_ways: Vector, answers: int) -> Preparation:
    """What the noisy 1-ways tell, a sum of so many sites' answers in grid units."""
    deviation = count_deviation(study, engine.ONE_WAYS, answers)
    return prepare(study.schema, one_ways / scale.HISTOGRAM_GRID, deviation, engine.settings(study).bins)


def critic_gradient(gradients: Gradients, real: Real, made: Index, steepness: float) -> Weights:
    """Gradient of the discriminator's loss, shape (size,), from the noisy mean over real rows and from fakes.

    `made` are bins of fakes, shape (rows, columns), clipped as real rows are. The last part of the loss is `steepness`
    times half the squared slope of the discriminator in its input, at fakes, where it costs no privacy: on the support
    of the data it would (Mescheder et al. 2018, "R2").
    """
    blocks = np.array_split(made, -(-len(made) // scale.MICRO_BATCH))
    fake = sum((clipped_sum(gradients.of_bins(block, FAKE)) for block in blocks), np.zeros(gradients.size)) / len(made)
    flat = torch.from_numpy(gradients.weights).clone().requires_grad_()
    rows = one_hot(gradients.shape, made[:: -(-len(made) // _MOST_STEEP)]).requires_grad_()
    said = discriminate(gradients.shape, discriminator(gradients.shape, flat), rows).sum()
    (slopes,) = torch.autograd.grad(said, rows, create_graph=True)
    (penalty,) = torch.autograd.grad(slopes.square().sum(1).mean() / 2, flat)
    return (real + fake + steepness * penalty.numpy()).astype(np.float32)


def taught(
    shape: Shape,
    student: Network,
    average: Weights,
    critics: Sequence[Critic],
    lesson: Lesson,
) -> tuple[Network, Weights]:
    """The generator, and the average of its weights, after one round's steps against fixed critics."""
    settled, first = lesson.settings, lesson.round * lesson.settings.generator_steps
    for step in range(first + 1, first + settled.generator_steps + 1):
        gradient = generator_gradient(shape, student.weights, critics, lesson)
        student = student.stepped(gradient, step, settled.generator_rate)
        kept = np.float32(min(settled.average, step / (step + 9)))
        average = kept * average + (1 - kept) * student.weights
    return student, average


def generator_gradient(shape: Shape, weights: Weights, critics: Sequence[Critic], lesson: Lesson) -> Weights:
    """Gradient of the generator's loss on `lesson.settings.batch` rows, shape (shape.generator_size,).

    The loss is softplus(-log odds of being real), with the odds of all critics added up in their shares: the odds of a
    mixture of unlike sites are the mixture of their odds (Zhang et al. 2021, "universal aggregation"). To it comes the
    squared distance of the mean row to the noisy 1-ways.
    """
    settled, rng = lesson.settings, lesson.rng
    flat = torch.from_numpy(weights).clone().requires_grad_()
    table = generator(shape, flat)
    logits = table[torch.from_numpy(components(shape, settled.batch, rng))]
    rows = _chosen(shape, logits + gumbel(settled.batch, shape.all_bins, rng), settled.temperature)
    said = [critic.log_share + _log_odds(shape, critic, rows) for critic in critics]
    unlike = frequencies(shape, table).mean(0) - torch.from_numpy(np.concatenate(list(lesson.marginals))).float()
    loss = functional.softplus(-torch.logsumexp(torch.stack(said), 0)).mean()
    (gradient,) = torch.autograd.grad(loss + settled.likeness * unlike.square().sum(), flat)
    found: Weights = gradient.numpy()
    return found


def misfit(shape: Shape, weights: Weights, pairs: Real) -> float:
    """Sum of squared differences between the generator's pair tables and noisy ones, shape (cells,), as frequencies."""
    held = frequencies(shape, generator(shape, torch.from_numpy(weights)))
    tables = (held.t() @ held).numpy().ravel()[shape.places] / shape.components
    return float(np.square(tables - pairs).sum())


def calibrated(shape: Shape, weights: Weights, marginals: Sequence[Real]) -> Weights:
    """The generator with each column as frequent as in `marginals`: post-processing of the noisy 1-ways.

    All components' logits move together by log(wanted / predicted), until the mean prediction is what is wanted.
    """
    flat = torch.from_numpy(weights.copy())
    for column, wanted in zip(by_column(shape, generator(shape, flat)), marginals, strict=True):
        target = torch.from_numpy(wanted).float() + _FLOOR
        for _ in range(_MOST_MOVES):
            predicted = column.softmax(1).mean(0) + _FLOOR
            if (predicted - target).abs().max() < _CLOSE:
                break
            column.add_((target / predicted).log())
    found: Weights = flat.numpy()
    return found


def _log_odds(shape: Shape, critic: Critic, rows: Tensor) -> Tensor:
    net = discriminator(shape, torch.from_numpy(critic.weights))
    return discriminate(shape, net, rows).clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS)


def _chosen(shape: Shape, drawn: Tensor, temperature: float) -> Tensor:
    """Each column's largest as one-hot, with the gradient of its softmax at a temperature (Jang et al. 2017)."""
    found = []
    for column in by_column(shape, drawn):
        soft = (column / temperature).softmax(1)
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
        found.append(hard + soft - soft.detach())
    return torch.cat(found, 1)
