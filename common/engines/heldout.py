"""What held-out units are asked when training is over: the tasks, how they travel, how their budget is divided.

Four sums, each once: the 1-ways (every code of a coded column, about twenty bins of an ordered one), some coarse
2-ways, how the scores of models that were trained on synthetic rows lie among units with and without the outcome, and
how those of one model lie within subgroups. The same for every engine. Everything in a task comes from the finished
generator: post-processing of what training released.

Formal guarantee: held-out units pay for these sums, and for nothing else, because they were never trained on; units
that were trained on do not pay for these (privacy.Parallel). A sum is a histogram, bounded by the mechanism to one unit
a table. Nothing is counted over synthetic rows, of which one person can change all. A model is integers, so that the
cell of a row is a function of that row and the task, with no rounding in which rows could meet; a task that comes from
outside is bounded and checked before it is computed with.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np

from silosynth.common.arrays import Codes, Index
from silosynth.common.engine import Layout, Parts
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.forest import Forest
from silosynth.common.engines.layouts import OneWays, rising
from silosynth.common.engines.share import Share
from silosynth.common.errors import MalformedFrame
from silosynth.common.privacy import Part
from silosynth.common.study import Step, Study

ONE_WAYS, PAIRS, SCORES, GROUPS = "holdout-one-ways", "holdout-pairs", "holdout-scores", "holdout-groups"
KINDS: Final = (ONE_WAYS, PAIRS, SCORES, GROUPS)

MOST_PAIRS: Final = 40
"""2-ways that are asked for, at most: the noise of each grows with the root of their number."""
MOST_MODELS: Final = 2
MOST_GROUPED: Final = 3
"""Columns whose codes are subgroups, at most; the noise of each grows with the root of their number."""
MOST_CODES: Final = 20
"""A column with more codes makes no subgroups: each would be too small for anything to rise above the noise."""
MOST_CELLS: Final = 400_000
"""Fine cells of a schema above which no scores are asked for: two models would not fit a request."""

BLOCK: Final = 4096
"""Rows that are scored at a time."""
NO_LABEL: Final = 2
"""What a unit without an outcome is counted as; the others are 0 and 1."""

_SHARES: Final = {ONE_WAYS: Fraction(1, 8), PAIRS: Fraction(1, 8), SCORES: Fraction(5, 8), GROUPS: Fraction(1, 8)}
"""Of the part's budget, in mu^2. Adult's 9,769 held-out persons, epsilon 1: errors (one standard deviation) of .001 in
the mean distance of 1-ways and of 2-ways, .0025 in the area under the curve, .02 in that of its 3,200 women."""

_LISTS_OF_A_MODEL: Final = 7


@dataclass(frozen=True)
class CountOneWays:
    """Count the bins of every column."""

    coarsening: Coarsening


@dataclass(frozen=True)
class CountPairs:
    """Count the tables of these pairs of coarsened columns."""

    coarsening: Coarsening
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class CountScores:
    """Count, for each model, units in every bin of its score, without and with the outcome.

    `labels[cell]`: 0, 1 or NO_LABEL, for every fine cell of the study's target.
    """

    labels: tuple[int, ...]
    models: tuple[Forest, ...]


@dataclass(frozen=True)
class CountGroups:
    """The same for one model, within each fine cell of these coded `columns`."""

    labels: tuple[int, ...]
    model: Forest
    columns: tuple[int, ...]


Task: TypeAlias = CountOneWays | CountPairs | CountScores | CountGroups


def asks(study: Study) -> bool:
    """Whether a study's held-out units are asked anything."""
    return study.evaluate and study.holdout > 0


def split(study: Study) -> tuple[Share, ...]:
    """How the budget of the held-out units is divided; the shares add up to 1, or there are none."""
    if not asks(study):
        return ()
    scored = study.target is not None and sum(study.schema.sizes) <= MOST_CELLS
    kinds = [ONE_WAYS] + [PAIRS] * (len(study.schema.columns) > 1) + [SCORES] * scored
    kinds += [GROUPS] * (scored and bool(grouped(study)))
    whole = sum((_SHARES[kind] for kind in kinds), Fraction(0))
    return tuple(Share(kind, 1, _SHARES[kind] / whole) for kind in kinds)


def is_sound(step: Step) -> bool:
    """Whether a step is answered by the part that it is for: only the questions here by the held-out units."""
    plain = not step.within and step.rate is None and step.certified is None
    return (step.kind in KINDS) == (step.part is Part.HOLDOUT) and (plain or step.part is Part.TRAIN)


def pairs_of(study: Study) -> tuple[tuple[int, int], ...]:
    """Which 2-ways are asked for: those with the target first, others drawn by lot from the study's digest; rising."""
    every = list(combinations(range(len(study.schema.columns)), 2))
    if len(every) <= MOST_PAIRS:
        return tuple(every)
    target = None if study.target is None else study.schema.index(study.target)
    word = study.digest.encode()
    lot = {pair: hashlib.sha256(b"%s %d %d" % (word, *pair)).digest() for pair in every}
    chosen = sorted(every, key=lambda pair: (target not in pair, lot[pair]))[:MOST_PAIRS]
    return tuple(sorted(chosen))


def grouped(study: Study) -> tuple[int, ...]:
    """Coded columns whose codes are subgroups: those with the fewest declared codes, without the target; rising."""
    few = [
        (len(column.codes), at)
        for at, column in enumerate(study.schema.columns)
        if column.coded and column.name != study.target and 1 < len(column.codes) <= MOST_CODES
    ]
    return tuple(sorted(at for _, at in sorted(few)[:MOST_GROUPED]))


@dataclass(frozen=True)
class SomePairs:
    """One table for each of `pairs` of coarsened columns; bin of the first varies slowest."""

    coarsening: Coarsening
    pairs: tuple[tuple[int, int], ...]

    @cached_property
    def offsets(self) -> Index:
        """Shape (pairs + 1,)."""
        sizes = self.coarsening.sizes
        return rising(tuple(sizes[first] * sizes[second] for first, second in self.pairs))

    def cells(self, codes: Codes) -> Index:
        """Shape (rows, pairs)."""
        bins = self.coarsening.bins(codes)
        first, second = np.array(self.pairs, dtype=np.int64).T
        cells: Index = bins[:, first] * np.array(self.coarsening.sizes)[second] + bins[:, second] + self.offsets[:-1]
        return cells


@dataclass(frozen=True)
class Bins:
    """One table a column, over its bins."""

    coarsening: Coarsening

    @cached_property
    def offsets(self) -> Index:
        """Shape (columns + 1,)."""
        return OneWays(self.coarsening.sizes).offsets

    def cells(self, codes: Codes) -> Index:
        """Shape (rows, columns)."""
        return self.coarsening.bins(codes) + self.offsets[:-1]


@dataclass(frozen=True)
class ScoreBins:
    """One table a model: cell 2 b + label for bin b of the score; the last cell is for units without a label."""

    task: CountScores
    target: int

    @cached_property
    def offsets(self) -> Index:
        """Shape (models + 1,)."""
        return rising(tuple(2 * model.bins + 1 for model in self.task.models))

    def cells(self, codes: Codes) -> Index:
        """Shape (rows, models)."""
        return _in_blocks(self._block, codes)

    def _block(self, codes: Codes) -> Index:
        label = np.array(self.task.labels, dtype=np.int64)[codes[:, self.target]]
        return np.stack([_of_score(model, label, codes) for model in self.task.models], axis=1) + self.offsets[:-1]


@dataclass(frozen=True)
class GroupBins:
    """One table a column, in it the cells of ScoreBins for each fine cell of the column: the last varies fastest."""

    task: CountGroups
    target: int
    sizes: tuple[int, ...]
    """Fine cells of the task's columns."""

    @property
    def each(self) -> int:
        """Cells of a subgroup."""
        return 2 * self.task.model.bins + 1

    @cached_property
    def offsets(self) -> Index:
        """Shape (columns + 1,)."""
        return rising(tuple(size * self.each for size in self.sizes))

    def cells(self, codes: Codes) -> Index:
        """Shape (rows, columns)."""
        return _in_blocks(self._block, codes)

    def _block(self, codes: Codes) -> Index:
        label = np.array(self.task.labels, dtype=np.int64)[codes[:, self.target]]
        own = _of_score(self.task.model, label, codes)
        cells: Index = codes[:, list(self.task.columns)] * np.int64(self.each) + own[:, None] + self.offsets[:-1]
        return cells


def _in_blocks(cells: Callable[[Codes], Index], codes: Codes) -> Index:
    """`cells` of all rows. They are scored in blocks of one shape, the last one filled up."""
    blocks = max(1, -(-len(codes) // BLOCK))
    filled = np.zeros((blocks * BLOCK, codes.shape[1]), dtype=codes.dtype)
    filled[: len(codes)] = codes
    return np.concatenate([cells(block) for block in np.split(filled, blocks)])[: len(codes)]


def _of_score(model: Forest, label: Index, codes: Codes) -> Index:
    """2 b + label for bin b of a row's score, and one more cell for rows without a label: shape (rows,)."""
    return np.where(label == NO_LABEL, 2 * model.bins, 2 * model.bin(model.score(codes)) + label)


def layout(study: Study, task: Task) -> Layout:
    """How rows fall into the cells of a task."""
    match task:
        case CountOneWays(coarsening):
            return Bins(coarsening)
        case CountPairs(coarsening, pairs):
            return SomePairs(coarsening, pairs)
        case CountScores():
            return ScoreBins(task, _target(study))
        case CountGroups(columns=columns):
            return GroupBins(task, _target(study), tuple(study.schema.sizes[at] for at in columns))


def step_of(study: Study, task: Task) -> Step:
    """The plan's step for a task. Raises MalformedFrame where the study plans none."""
    return _step(study, kind_of(task))


def kind_of(task: Task) -> str:
    """The plan's word for a task."""
    match task:
        case CountOneWays():
            return ONE_WAYS
        case CountPairs():
            return PAIRS
        case CountScores():
            return SCORES
        case CountGroups():
            return GROUPS


def answer_size(study: Study, task: Task) -> int:
    """Length of a task's answer."""
    return int(layout(study, task).offsets[-1])


def take_apart(task: Task) -> Parts:
    """A task for the wire: lists of integers alone."""
    match task:
        case CountOneWays(coarsening):
            return Parts(ONE_WAYS, coarsening.maps)
        case CountPairs(coarsening, pairs):
            return Parts(PAIRS, (*coarsening.maps, tuple(column for pair in pairs for column in pair)))
        case CountScores(labels, models):
            return Parts(SCORES, (labels, *(one for model in models for one in model.lists)))
        case CountGroups(labels, model, columns):
            return Parts(GROUPS, (labels, *model.lists, columns))


def put_together(study: Study, parts: Parts) -> Task:
    """A task from the wire. Raises MalformedFrame unless it is one of this study's and well-formed."""
    _step(study, parts.kind)
    if parts.tensor.size:
        raise MalformedFrame("questions to held-out units are integers")
    columns = len(study.schema.columns)
    if parts.kind == SCORES:
        return CountScores(_labels(study, parts.lists), _models(study, parts.lists[1:]))
    if parts.kind == GROUPS:
        return _groups(study, parts.lists)
    maps, rest = parts.lists[:columns], parts.lists[columns:]
    coarsening = Coarsening(maps)
    coarsening.check(study.schema.sizes)
    if parts.kind == ONE_WAYS:
        if rest:
            raise MalformedFrame("the 1-ways take a coarsening and nothing else")
        return CountOneWays(coarsening)
    pairs = pairs_of(study)
    if rest != (tuple(column for pair in pairs for column in pair),):
        raise MalformedFrame("the 2-ways take one list: the pairs that follow from the study")
    return CountPairs(coarsening, pairs)


def _groups(study: Study, lists: tuple[tuple[int, ...], ...]) -> CountGroups:
    labels, models = _labels(study, lists), _models(study, lists[1:-1])
    if len(models) != 1 or lists[-1] != grouped(study):
        raise MalformedFrame("a question about subgroups has one model, and the columns that the study groups by")
    return CountGroups(labels, models[0], lists[-1])


def _labels(study: Study, lists: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    size = study.schema.sizes[_target(study)]
    if not lists or len(lists[0]) != size or not set(lists[0]) <= {0, 1, NO_LABEL}:
        raise MalformedFrame("every fine cell of the target has one of three labels")
    return lists[0]


def _models(study: Study, lists: tuple[tuple[int, ...], ...]) -> tuple[Forest, ...]:
    each = len(study.schema.columns) + _LISTS_OF_A_MODEL
    if not lists or len(lists) % each or len(lists) // each > MOST_MODELS:
        raise MalformedFrame("a question about scores has one model or two, each whole")
    models = [Forest.of(lists[at : at + each]) for at in range(0, len(lists), each)]
    for model in models:
        model.check(study.schema.sizes)
    return tuple(models)


def _step(study: Study, kind: str) -> Step:
    for step in study.plan:
        if step.kind == kind and step.part is Part.HOLDOUT:
            return step
    raise MalformedFrame("a question must be of a kind that the study plans for its held-out units")


def _target(study: Study) -> int:
    if study.target is None:
        raise MalformedFrame("a study without a target asks for no scores")
    return study.schema.index(study.target)
