"""The autoregressive engine: its tasks, how they travel, its hyper-parameters and how it divides a budget.

Three kinds of sum, in this order: the fine 1-ways once, all pair tables of the coarsened columns once (not for wide
tables), clipped gradients many times. Where nobody is trusted, a site makes all sums but the first by itself, within
one release, and what leaves is the network it has learnt. Everything is fixed before the start.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from silosynth.common.arrays import Weights
from silosynth.common.engine import Parts
from silosynth.common.engines.autoregressive_shape import Shape
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import OneWays, Pairs
from silosynth.common.engines.settle import settled
from silosynth.common.engines.share import Share
from silosynth.common.errors import InvalidStudy, MalformedFrame
from silosynth.common.study import Step, Study, Trust

ONE_WAYS, PAIRS, GRADIENT, LEARN = "one-ways", "pairs", "gradient", "learn"

WIDEST_WITH_PAIRS = 50
"""Columns beyond which the noise of each pair table, which grows with their number, leaves nothing to learn."""


@dataclass(frozen=True)
class CountOneWays:
    """Count every fine cell of every column."""


@dataclass(frozen=True)
class CountPairs:
    """Count the table of every pair of coarsened columns."""

    coarsening: Coarsening


@dataclass(frozen=True)
class SumGradients:
    """Sum the clipped gradients at these weights, shape (Shape.size,)."""

    coarsening: Coarsening
    weights: Weights = field(repr=False)


@dataclass(frozen=True)
class Learn:
    """Learn a network from sums over this site alone: from these weights, shape (Shape.size,), for about `units` units.

    Everything in it comes from the site's own noisy 1-ways.
    """

    coarsening: Coarsening
    units: float
    weights: Weights = field(repr=False)


Sum: TypeAlias = CountPairs | SumGradients
"""What a site that learns asks itself."""

Task: TypeAlias = CountOneWays | Sum | Learn


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters; a study overrides them by name under [engine]."""

    width: int = 8
    """Of a bin's embedding."""
    tall: int = 32
    """Hidden units that predict one column."""
    parents: int = 48
    """Columns that a column is predicted from, at most: the last before it. Bounds the network of a wide table."""
    bins: int = 24
    """About as many for an ordered column."""
    steps: int = 50
    learning_rate: float = 0.03
    average: float = 0.98
    """Decay of the exponential average of the weights."""
    share_one_ways: float = 0.12
    """Of the budget, in mu^2; what the counts leave pays for the steps."""
    share_pairs: float = 0.15
    tilt: float = 0.3
    """Trust in the network against the pair tables, in units for each unit there is."""


_MOST = Settings(64, 256, 256, 256, 10_000, 1.0, 0.9999, 0.9, 0.9, 1000.0)


def settings(study: Study) -> Settings:
    """The study's hyper-parameters. Raises InvalidStudy for a name or value that means nothing."""
    defaults = _by_epsilon(study.budget.epsilon)
    if study.trust is Trust.LOCAL:
        defaults = _for_one_site(defaults)
    found = settled(study, defaults, _MOST)
    if found.share_one_ways + found.share_pairs >= 1:
        raise InvalidStudy("engine settings 'share_one_ways' and 'share_pairs' must add up to less than 1")
    return found


def _by_epsilon(epsilon: float) -> Settings:
    """Defaults as measured: a small budget needs a larger part of itself for the counts, a large one pays for steps."""
    tight, ample, plenty = 1, 3, 8
    if epsilon < tight:
        return Settings(share_one_ways=0.15)
    if epsilon < ample:
        return Settings()
    if epsilon < plenty:
        return Settings(share_one_ways=0.1)
    return Settings(share_one_ways=0.1, share_pairs=0.25, steps=100, learning_rate=0.02)


def _for_one_site(settled: Settings) -> Settings:
    """Defaults as measured where a site learns from its own rows alone: few rows are learnt from in larger steps.

    Adult at five unlike sites, epsilon 1, three runs each: AUC .903 with the learning rate .05, .895 with .03, .893
    with .02, .899 with .08; 2-way distance .0326 with a share of the pairs of .2, .0332 with .3, .0374 with .45.
    """
    return replace(settled, learning_rate=0.05, share_pairs=0.2)


def learns_at_sites(study: Study) -> bool:
    """Whether its sites learn by themselves, so that the generator is a mixture of theirs: its plan says so."""
    return any(step.kind == LEARN for step in study.plan)


def step_of(study: Study, kind: str) -> Step:
    """The plan's step of a kind, be it within another one. Raises MalformedFrame where the study plans none."""
    for step in study.plan:
        for found in (step, *step.within):
            if found.kind == kind:
                return found
    raise MalformedFrame("a task must be of a kind that the study plans")


def split(study: Study) -> tuple[Share, ...]:
    """How the budget is divided, from public facts only; the shares add up to 1."""
    settled, columns = settings(study), len(study.schema.columns)
    if columns == 1:
        return (Share(ONE_WAYS, 1, Fraction(1)),)
    one_ways = Fraction(settled.share_one_ways)
    pairs = Fraction(settled.share_pairs) if columns <= WIDEST_WITH_PAIRS else Fraction(0)
    sums = (Share(PAIRS, 1, pairs), Share(GRADIENT, settled.steps, 1 - one_ways - pairs))
    learning = tuple(share for share in sums if share.share)
    first = Share(ONE_WAYS, 1, one_ways)
    return (first, Share(LEARN, 1, 1 - one_ways, within=learning)) if study.trust is Trust.LOCAL else (first, *learning)


def order(coarsening: Coarsening) -> tuple[int, ...]:
    """The table's columns in the network's order: few bins first, measured better than as given or many first."""
    return tuple(np.argsort(coarsening.sizes, kind="stable").tolist())


def shape(study: Study, coarsening: Coarsening) -> Shape:
    """The network's shape."""
    settled = settings(study)
    bins = tuple(coarsening.sizes[column] for column in order(coarsening))
    return Shape(bins, settled.width, settled.tall, settled.parents)


def learn_size(study: Study, coarsening: Coarsening) -> int:
    """Length of what a site has learnt: the pair tables, where the plan has them, and the weights."""
    pairs = any(step.kind == PAIRS for step in step_of(study, LEARN).within)
    return (int(Pairs(coarsening).offsets[-1]) if pairs else 0) + shape(study, coarsening).size


def answer_size(study: Study, task: Task) -> int:
    """Length of a task's answer."""
    match task:
        case CountOneWays():
            return int(OneWays(study.schema.sizes).offsets[-1])
        case CountPairs(coarsening):
            return int(Pairs(coarsening).offsets[-1])
        case SumGradients(coarsening):
            return shape(study, coarsening).size
        case Learn(coarsening):
            return learn_size(study, coarsening)


def kind_of(task: Task) -> str:
    """The plan's word for a task."""
    match task:
        case CountOneWays():
            return ONE_WAYS
        case CountPairs():
            return PAIRS
        case SumGradients():
            return GRADIENT
        case Learn():
            return LEARN


def take_apart(task: Task) -> Parts:
    """A task for the wire."""
    match task:
        case CountOneWays():
            return Parts(ONE_WAYS)
        case CountPairs(coarsening):
            return Parts(PAIRS, coarsening.maps)
        case SumGradients(coarsening, weights):
            return Parts(GRADIENT, coarsening.maps, weights)
        case Learn(coarsening, units, weights):
            return Parts(LEARN, coarsening.maps, np.append(np.float32(units), weights))


def put_together(study: Study, parts: Parts) -> Task:
    """A task from the wire. Raises MalformedFrame unless it is one of this study's and well-formed."""
    if parts.kind not in {step.kind for step in study.training.plan}:
        raise MalformedFrame("a task must be of a kind that the study plans")
    if parts.kind not in {GRADIENT, LEARN} and parts.tensor.size:
        raise MalformedFrame("a count takes no weights")
    if parts.kind == ONE_WAYS:
        if parts.lists:
            raise MalformedFrame("the 1-ways take no coarsening")
        return CountOneWays()
    coarsening = Coarsening(parts.lists)
    coarsening.check(study.schema.sizes)
    if parts.kind == PAIRS:
        return CountPairs(coarsening)
    units, weights = np.split(parts.tensor, [1]) if parts.kind == LEARN else (np.ones(1), parts.tensor)
    if weights.shape != (shape(study, coarsening).size,) or not np.isfinite(weights).all():
        raise MalformedFrame("weights must be finite and as many as the network has parameters")
    if not 1 <= units[0] < np.inf:
        raise MalformedFrame("a site learns from one unit at least")
    return SumGradients(coarsening, weights) if parts.kind == GRADIENT else Learn(coarsening, float(units[0]), weights)
