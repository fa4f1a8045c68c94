"""The GAN engine: its tasks, how they travel, its hyper-parameters and how it divides a budget.

The fine 1-ways once, all pair tables of the coarsened columns once (not for wide tables, and only to choose among
snapshots of the generator), then the rounds of the game. With secure sums a round is one sum of the clipped gradients
of one discriminator; where nobody is trusted, each site trains a discriminator of its own for a few steps and gives it
away. The generator is always trained at the coordinator. Everything is fixed before the start.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, TypeAlias

import numpy as np

from silosynth.common.arrays import Vector, Weights
from silosynth.common.engine import Parts
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.layouts import OneWays, Pairs
from silosynth.common.engines.settle import settled
from silosynth.common.engines.share import Share
from silosynth.common.errors import InvalidStudy, MalformedFrame
from silosynth.common.study import Step, Study, Trust

ONE_WAYS, PAIRS, GRADIENT, DISCRIMINATOR = "one-ways", "pairs", "gradient", "discriminator"

WIDEST_WITH_PAIRS = 50
"""Columns beyond which the noise of each pair table, which grows with their number, leaves nothing to choose by."""

MOMENTS: Final = 3
"""Vectors that make a network under Adam: its weights, the mean of its gradients, the mean of their squares."""

_MOST_WEIGHTS: Final = 1 << 20  # of a discriminator that learns from samples: a sum takes no longer gradients


@dataclass(frozen=True)
class CountOneWays:
    """Count every fine cell of every column."""


@dataclass(frozen=True)
class CountPairs:
    """Count the table of every pair of coarsened columns."""

    coarsening: Coarsening


@dataclass(frozen=True)
class SumGradients:
    """Sum the clipped gradients of real rows at these weights of the discriminator, shape (Shape.size,)."""

    coarsening: Coarsening
    weights: Weights = field(repr=False)


@dataclass(frozen=True)
class TrainDiscriminator:
    """Train this site's discriminator against fakes of this generator, for the steps that the study plans.

    `units` is about how many the site has, by its noisy 1-ways, `capacity` the rows it has declared; `steps` how many
    it has taken before, `seed` that of the fakes. `discriminator` has shape (MOMENTS, Shape.size), `generator`
    (Shape.generator_size,).
    """

    coarsening: Coarsening
    units: int
    capacity: int
    steps: int
    seed: int
    discriminator: Weights = field(repr=False)
    generator: Weights = field(repr=False)


Task: TypeAlias = CountOneWays | CountPairs | SumGradients | TrainDiscriminator


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters; a study overrides them by name under [engine]."""

    width: int = 64
    """Of the discriminator's two hidden layers."""
    pull: float = 3.0
    """Of each pair of columns on the discriminator's log odds; 0 for one without weights for pairs, as with
    `trust = "local"`."""
    components: int = 1000
    """Kinds of row that the generator mixes."""
    spread: float = 1.0
    """Of the components' logits at the beginning, a standard deviation."""
    bins: int = 24
    """About as many for an ordered column."""
    steps: int = 98
    """Rounds of the game; with the counts fifty, a hundred or two hundred releases, by epsilon."""
    learning_rate: float = 0.01
    """Of the discriminator."""
    steepness: float = 0.01
    """Weight of the discriminator's squared slope at fakes in its loss, with secure sums."""
    generator_rate: float = 0.05
    generator_steps: int = 3
    """In each round."""
    batch: int = 1000
    """Rows of a step of the generator."""
    fakes: int = 4000
    """Rows of the generator in a step of the discriminator."""
    temperature: float = 0.5
    """Of the relaxed choice of a bin, through which the generator learns."""
    likeness: float = 3.0
    """Weight of the squared distance to the noisy 1-ways in the generator's loss."""
    average: float = 0.98
    """Decay of the exponential average of the generator's weights."""
    share_one_ways: float = 0.12
    """Of the budget, in mu^2; what the counts leave pays for the rounds."""
    share_pairs: float = 0.08
    local_steps: int = 10
    """Of a site's own discriminator in each round, where nobody is trusted."""
    sample: int = 150
    """Units expected in such a step at a site of average capacity; all sites sample at one rate, which is public."""
    conditional: int = 1
    """Where nobody is trusted: 1 for a generator of each site's own, taught by that site's discriminator alone; 0 for
    one generator, taught by the sum of their odds."""


_MOST = Settings(
    width=1024,
    pull=100.0,
    components=10_000,
    spread=10.0,
    bins=256,
    steps=10_000,
    learning_rate=1.0,
    steepness=10.0,
    generator_rate=1.0,
    generator_steps=100,
    batch=100_000,
    fakes=100_000,
    temperature=10.0,
    likeness=1e4,
    average=0.9999,
    share_one_ways=0.9,
    share_pairs=0.9,
    local_steps=1000,
    sample=100_000,
    conditional=1,
)
_MAY_BE_NONE = ("pull", "steepness", "conditional")


def settings(study: Study) -> Settings:
    """The study's hyper-parameters. Raises InvalidStudy for a name or value that means nothing."""
    of_trust = _by_epsilon if study.trust is Trust.SECURE_SUM else _local_by_epsilon
    found = settled(study, of_trust(study.budget.epsilon), _MOST, _MAY_BE_NONE)
    if found.share_one_ways + found.share_pairs >= 1:
        raise InvalidStudy("engine settings 'share_one_ways' and 'share_pairs' must add up to less than 1")
    return found


def _by_epsilon(epsilon: float) -> Settings:
    """Defaults as measured: the larger a budget, the more rounds it pays for."""
    ample, plenty = 2, 8
    return Settings(steps=48 if epsilon < ample else 98 if epsilon < plenty else 198)


def _local_by_epsilon(epsilon: float) -> Settings:
    """Defaults where nobody is trusted, as measured: a small budget needs a larger part of itself for the counts."""
    settled = Settings(width=32, steps=60, learning_rate=0.01, fakes=256, batch=400)
    return replace(settled, share_one_ways=0.4) if epsilon < 1 else settled


def split(study: Study) -> tuple[Share, ...]:
    """How the budget is divided, from public facts only; the shares add up to 1."""
    settled, columns = settings(study), len(study.schema.columns)
    one_ways = Fraction(settled.share_one_ways)
    first = Share(ONE_WAYS, 1, one_ways)
    if study.trust is Trust.LOCAL:
        rest, rows = 1 - one_ways, sum(member.capacity for member in study.roster)
        rate = min(Fraction(1), Fraction(settled.sample * len(study.roster), max(1, rows)))
        steps = Share(GRADIENT, settled.local_steps, rest, rate or Fraction(1))
        return first, Share(DISCRIMINATOR, settled.steps, rest, within=(steps,))
    pairs = Fraction(settled.share_pairs) if 1 < columns <= WIDEST_WITH_PAIRS else Fraction(0)
    rounds = Share(GRADIENT, settled.steps, 1 - one_ways - pairs)
    return (first, Share(PAIRS, 1, pairs), rounds) if pairs else (first, rounds)


def step_of(study: Study, kind: str) -> Step:
    """The plan's step of a kind, be it within another one. Raises MalformedFrame where the study plans none."""
    for step in study.plan:
        for found in (step, *step.within):
            if found.kind == kind:
                return found
    raise MalformedFrame("a task must be of a kind that the study plans")


def shape(study: Study, coarsening: Coarsening) -> Shape:
    """The networks' shape."""
    settled = settings(study)
    sums = study.trust is Trust.SECURE_SUM and len(coarsening.sizes) <= WIDEST_WITH_PAIRS
    pull = settled.pull if sums else 0.0  # its gradients have a closed form, but are too long to be written down
    sharing = len(study.roster) if learns_for_each_site(study) else 1
    return Shape(coarsening.sizes, settled.width, max(1, settled.components // sharing), pull)


def learns_for_each_site(study: Study) -> bool:
    """Whether a study trains a generator for each site, which share the components, and not one for all."""
    return study.trust is Trust.LOCAL and bool(settings(study).conditional)


def answer_size(study: Study, task: Task) -> int:
    """Length of a task's answer."""
    match task:
        case CountOneWays():
            return int(OneWays(study.schema.sizes).offsets[-1])
        case CountPairs(coarsening):
            return int(Pairs(coarsening).offsets[-1])
        case SumGradients(coarsening):
            return shape(study, coarsening).size
        case TrainDiscriminator(coarsening):
            return MOMENTS * shape(study, coarsening).size


def kind_of(task: Task) -> str:
    """The plan's word for a task."""
    match task:
        case CountOneWays():
            return ONE_WAYS
        case CountPairs():
            return PAIRS
        case SumGradients():
            return GRADIENT
        case TrainDiscriminator():
            return DISCRIMINATOR


def take_apart(task: Task) -> Parts:
    """A task for the wire."""
    match task:
        case CountOneWays():
            return Parts(ONE_WAYS)
        case CountPairs(coarsening):
            return Parts(PAIRS, coarsening.maps)
        case SumGradients(coarsening, weights):
            return Parts(GRADIENT, coarsening.maps, weights)
        case TrainDiscriminator(coarsening, units, capacity, steps, seed, discriminator, generator):
            tensor = np.concatenate([discriminator.ravel(), generator])
            return Parts(DISCRIMINATOR, (*coarsening.maps, (units, capacity, steps, seed)), tensor)


def put_together(study: Study, parts: Parts) -> Task:
    """A task from the wire. Raises MalformedFrame unless it is one of this study's and well-formed."""
    if parts.kind not in {step.kind for step in study.training.plan}:
        raise MalformedFrame("a task must be of a kind that the study plans")
    if parts.kind in {ONE_WAYS, PAIRS} and parts.tensor.size:
        raise MalformedFrame("a count takes no weights")
    if parts.kind == ONE_WAYS:
        if parts.lists:
            raise MalformedFrame("the 1-ways take no coarsening")
        return CountOneWays()
    columns = len(study.schema.sizes)
    coarsening = Coarsening(parts.lists[:columns])
    coarsening.check(study.schema.sizes)
    rest = parts.lists[columns:]
    if parts.kind == DISCRIMINATOR:
        task = _train(shape(study, coarsening), coarsening, rest, parts.tensor)
        if task.capacity not in {member.capacity for member in study.roster}:  # few rows would mean many fakes a block
            raise MalformedFrame("a site trains on samples of as many rows as one has declared")
        return task
    if rest:
        raise MalformedFrame("a sum takes a coarsening and nothing else")
    if parts.kind == PAIRS:
        return CountPairs(coarsening)
    _check(parts.tensor, shape(study, coarsening).size)
    return SumGradients(coarsening, parts.tensor)


def packed(weights: Weights) -> Vector:
    """The bits of float32 weights as integers: what a site that trained a discriminator answers."""
    return weights.astype("<f4").ravel().view("<i4").astype(np.int64)


def unpacked(answer: Vector, size: int) -> Weights:
    """The networks in such an answer, shape (MOMENTS, size). Raises MalformedFrame where they are not finite numbers.

    A diverged or hostile site is found here, by name, before its discriminator teaches the generator anything.
    """
    if answer.shape != (MOMENTS * size,) or (answer != answer.astype(np.int32)).any():
        raise MalformedFrame("an answer that holds no weights of a discriminator")
    weights = answer.astype("<i4").view("<f4").reshape(MOMENTS, size).astype(np.float32)
    _check(weights.ravel(), MOMENTS * size)
    return weights


def _train(
    networks: Shape, coarsening: Coarsening, rest: tuple[tuple[int, ...], ...], tensor: Weights
) -> TrainDiscriminator:
    match rest:
        case ((units, capacity, steps, seed),) if min(units, capacity) >= 1 and min(steps, seed) >= 0:
            if networks.size > _MOST_WEIGHTS:
                raise MalformedFrame("a discriminator too large for gradients row by row")
            _check(tensor, MOMENTS * networks.size + networks.generator_size)
            discriminator, generator = np.split(tensor, [MOMENTS * networks.size])
            stacked = discriminator.reshape(MOMENTS, networks.size)
            return TrainDiscriminator(coarsening, units, capacity, steps, seed, stacked, generator)
    raise MalformedFrame("training takes a number of units, of rows, of steps, and a seed")


def _check(weights: Weights, size: int) -> None:
    if weights.shape != (size,) or not np.isfinite(weights).all():
        raise MalformedFrame("weights must be finite and as many as the networks have parameters")
