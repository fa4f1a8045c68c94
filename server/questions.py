"""What held-out units are asked, made of synthetic rows: how columns are cut, and the models whose scores are counted.

Post-processing of a finished generator: no row of a site is near. Models are scikit-learn's, fitted to synthetic rows
and written down in integers (common/engines/forest.py).
"""

import importlib.util
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from silosynth.common.arrays import Codes, Index, Real
from silosynth.common.column import Column
from silosynth.common.engine import Generator
from silosynth.common.engines import heldout
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.forest import LEAF, UNIT, Forest
from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.asked import Questions, Shape
from silosynth.common.study import Study

ROWS: Final = 30_000
"""Synthetic rows that questions are made of, and that answers are compared with."""
FINE_BINS: Final = 20
"""Of an ordered column by itself; a coded one keeps its codes."""
COARSE_BINS: Final = 5
"""Of a column in a 2-way."""
MODEL_BINS: Final = 32
"""Of a column in a model."""
SCORE_BINS: Final = 8
"""Measured on Adult: an area under the curve of .90 is seen to .002, with two thirds of the noise of 12 bins; synthetic
rows within bins make up for .005 to .009 of it."""
GROUP_BINS: Final = 5
"""Of a score in a subgroup."""
SHAPE_BINS: Final = 150
"""Into which synthetic rows are sorted within those."""
_RARER: Final = 0.8
"""How much rows of the rarer class count where scores are cut: there are few units, so most noise."""

_TREES, _DEPTH, _RATE = 60, 4, 0.2
_STREAM: Final = 3  # of a study's seed: 1 and 2 are the engine's
_LEAST_MISSING: Final = 0.25  # of a bin's even share, for missing values to have a bin
_PRIOR: Final = 10  # rows by which a code's share of outcomes is drawn to that of all
_STRONGEST: Final = 30.0  # log odds


def check_installed(study: Study) -> None:
    """Raise NotPossible now, not at the end of a study, where models are asked for and cannot be made."""
    planned = any(step.kind == heldout.SCORES for step in study.plan)
    if planned and importlib.util.find_spec("sklearn") is None:
        raise NotPossible(
            "models that held-out persons are scored by need scikit-learn, which is not installed: pip install "
            "'silosynth[demo]'; or write evaluate = false under [study]"
        )


def made(study: Study, generator: Generator, seed: int) -> Questions:
    """The questions that a study plans, in its order."""
    rng = np.random.default_rng([seed, _STREAM])
    codes, fresh = generator.sample(ROWS, rng), generator.sample(ROWS, rng)  # models flatter the rows they learnt from
    tasks = tuple(_tasks(study, codes, seed))
    shapes = tuple(shape for task in tasks for shape in _shapes(study, task, fresh))
    return Questions(tasks, tuple(shares(study, task, fresh) for task in tasks), shapes, len(fresh))


def shares(study: Study, task: heldout.Task, codes: Codes) -> Real:
    """The share of rows in each cell of a task's tables; each table adds up to 1."""
    layout = heldout.layout(study, task)
    counts = np.bincount(layout.cells(codes).ravel(), minlength=int(layout.offsets[-1]))
    return counts / max(1, len(codes))


def _tasks(study: Study, codes: Codes, seed: int) -> Iterator[heldout.Task]:
    scores: heldout.CountScores | None = None
    for kind in [step.kind for step in study.plan if step.kind in heldout.KINDS]:
        if kind == heldout.ONE_WAYS:
            yield heldout.CountOneWays(_coarsening(study, codes, FINE_BINS, coded=False))
        elif kind == heldout.PAIRS:
            yield heldout.CountPairs(_coarsening(study, codes, COARSE_BINS, coded=True), heldout.pairs_of(study))
        else:
            scores = scores or _scores(study, codes, seed)
            yield scores if kind == heldout.SCORES else _groups(study, scores, codes)


def _scores(study: Study, codes: Codes, seed: int) -> heldout.CountScores:
    target = study.schema.index(str(study.target))
    labels = outcome(study.schema.columns[target], _counts(study, codes, target))
    return heldout.CountScores(tuple(labels.tolist()), _models(study, codes, target, labels, seed))


def _groups(study: Study, scores: heldout.CountScores, codes: Codes) -> heldout.CountGroups:
    """The first model again, with fewer bins."""
    label = np.array(scores.labels)[codes[:, study.schema.index(str(study.target))]]
    known = label != heldout.NO_LABEL
    model = _cut(scores.models[0], codes[known], label[known], GROUP_BINS)
    return heldout.CountGroups(scores.labels, model, heldout.grouped(study))


def _shapes(study: Study, task: heldout.Task, codes: Codes) -> Iterator[Shape]:
    """For each model of a task, where in its bins rows lie."""
    match task:
        case heldout.CountScores(labels, models):
            for model in models:
                yield _shape(study, model, labels, codes, ())
        case heldout.CountGroups(labels, model, columns):
            yield _shape(study, model, labels, codes, columns)
        case _:
            pass


def _shape(study: Study, model: Forest, labels: tuple[int, ...], codes: Codes, columns: tuple[int, ...]) -> Shape:
    label = np.array(labels)[codes[:, study.schema.index(str(study.target))]]
    codes, label = codes[label != heldout.NO_LABEL], label[label != heldout.NO_LABEL]
    cuts = np.union1d(model.cuts, _cut(model, codes, label, SHAPE_BINS).cuts)
    score = model.score(codes)
    found = np.searchsorted(cuts, score, side="right")
    rows = np.bincount(found, minlength=cuts.size + 1)
    chance = np.bincount(found, 1 / (1 + np.exp(-score / UNIT)), minlength=cuts.size + 1)
    sizes = [study.schema.sizes[at] for at in columns]
    within = [_sorted(codes[:, at], size, found, label, cuts.size + 1) for at, size in zip(columns, sizes, strict=True)]
    everybody = _sorted(np.zeros_like(found), 1, found, label, cuts.size + 1)
    return Shape(
        bin=np.concatenate([[0], model.bin(cuts)]),
        predicted=np.where(rows > 0, chance / np.maximum(rows, 1), 0.5),
        rows=np.concatenate(within) if within else everybody,
    )


def _sorted(subgroup: Codes | Index, subgroups: int, found: Index, label: Index, fine: int) -> Real:
    """How many rows there are of each subgroup, finer cell and outcome: shape (subgroups, fine, 2)."""
    cells = (subgroup.astype(np.int64) * fine + found) * 2 + label
    counts: Real = np.bincount(cells, minlength=subgroups * fine * 2).reshape(subgroups, fine, 2).astype(np.float64)
    return counts


def outcome(column: Column, counts: Index) -> Index:
    """The label of each fine cell of a target, from its synthetic counts: what a model is asked to predict.

    Of a coded column: any code but the commonest. Of an ordered one: above the median; where nothing is, not below it.
    """
    labels = np.zeros(column.size, dtype=np.int64)
    labels[column.missing_cell] = heldout.NO_LABEL
    values = np.delete(np.arange(column.size), column.missing_cell)
    if not column.ordered:
        labels[values[values != values[counts[values].argmax()]]] = 1
        return labels
    below = np.cumsum(counts[values])
    median = int(np.searchsorted(below, below[-1] / 2))
    above = values > values[median]
    labels[values[above if counts[values][above].any() else values >= values[median]]] = 1
    return labels


def _counts(study: Study, codes: Codes, column: int) -> Index:
    return np.bincount(codes[:, column], minlength=study.schema.sizes[column]).astype(np.int64)


def _coarsening(study: Study, codes: Codes, bins: int, *, coded: bool) -> Coarsening:
    """Each column in about `bins` bins; coded ones only where they are to be coarsened, too."""
    maps = []
    for at, column in enumerate(study.schema.columns):
        counts = _counts(study, codes, at)
        if column.ordered:
            maps.append(_ordered(column, counts, bins))
        elif coded:
            maps.append(_commonest(counts, bins))
        else:
            maps.append(np.arange(column.size))
    return Coarsening(tuple(tuple(one.tolist()) for one in maps))


def _commonest(counts: Index, bins: int) -> Index:
    """A bin for each of the commonest codes, and one for all others."""
    rank = np.empty(counts.size, dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(counts.size)
    return np.minimum(rank, bins - 1)


def _ordered(column: Column, counts: Index, bins: int) -> Index:
    """Neighbours in bins of about equal counts; missing values by themselves, where there are enough of them."""
    values = np.delete(np.arange(column.size), column.missing_cell)
    found = np.empty(column.size, dtype=np.int64)
    found[values] = _even(counts[values], bins)
    own = counts[column.missing_cell] * bins >= _LEAST_MISSING * counts.sum()
    found[column.missing_cell] = found[values].max() + own
    return found


def _even(counts: Index, bins: int) -> Index:
    """The bin of each of some cells in a row, numbered from 0 without gaps, of about equal counts."""
    middle = np.cumsum(counts) - counts / 2
    found: Index = np.unique(np.floor(middle * bins / max(1, counts.sum())), return_inverse=True)[1]
    return found


@dataclass(frozen=True)
class _Rows:
    """What models are fitted to: bins of rows that have a label, shape (rows, columns), and the labels."""

    coarsening: Coarsening
    bins: Index = field(repr=False)
    labels: Index = field(repr=False)

    @property
    def prior(self) -> float:
        """Log odds of the outcome, bounded."""
        share = (self.labels.sum() + 0.5) / (self.labels.size + 1)
        return math.log(share / (1 - share))


def _models(study: Study, codes: Codes, target: int, labels: Index, seed: int) -> tuple[Forest, ...]:
    """Gradient boosting and logistic regression; one that knows nothing where there is one class only."""
    label = labels[codes[:, target]]
    codes, label = codes[label != heldout.NO_LABEL], label[label != heldout.NO_LABEL]
    coarsening = _for_models(study, codes, target, label)
    rows = _Rows(coarsening, coarsening.bins(codes), label)
    if len(np.unique(label)) <= 1:
        return (_cut(_constant(rows), codes, label, SCORE_BINS),)
    return tuple(_cut(model, codes, label, SCORE_BINS) for model in (boosted(rows, seed), regressed(rows)))


def _for_models(study: Study, codes: Codes, target: int, label: Index) -> Coarsening:
    """Bins in an order that a tree can cut: codes by how often the outcome is theirs. The target tells nothing."""
    maps = []
    for at, column in enumerate(study.schema.columns):
        counts = _counts(study, codes, at)
        if at == target:
            found = np.zeros(column.size, dtype=np.int64)
        elif column.ordered:
            found = _ordered(column, counts, MODEL_BINS)
        else:
            hits = np.bincount(codes[label == 1, at], minlength=column.size)
            rate = (hits + _PRIOR * label.mean()) / (counts + _PRIOR) if label.size else counts
            order = np.argsort(rate, kind="stable")
            found = np.empty(column.size, dtype=np.int64)
            found[order] = np.arange(column.size) if column.size <= MODEL_BINS else _even(counts[order], MODEL_BINS)
        maps.append(tuple(found.tolist()))
    return Coarsening(tuple(maps))


def boosted(rows: _Rows, seed: int) -> Forest:
    """Gradient boosting (Friedman 2001), in integers."""
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415  # heavy, and optional

    model = GradientBoostingClassifier(
        n_estimators=_TREES,
        max_depth=_DEPTH,
        learning_rate=_RATE,
        subsample=0.5,
        min_samples_leaf=20,
        random_state=seed % (1 << 32),
    )
    model.fit(rows.bins, rows.labels)
    trees = [one.tree_ for one in model.estimators_[:, 0]]
    first = np.cumsum([0, *(tree.node_count for tree in trees)])
    leaf = np.concatenate([tree.children_left for tree in trees]) < 0
    children = np.concatenate(
        [np.stack([tree.children_left, tree.children_right], 1) + at for tree, at in zip(trees, first, strict=False)]
    )
    share = rows.labels.mean()
    return _forest(
        _constant(rows, math.log(share / (1 - share))),
        feature=np.where(leaf, LEAF, np.concatenate([tree.feature for tree in trees])),
        threshold=np.where(leaf, 0, np.floor(np.concatenate([tree.threshold for tree in trees]))),
        children=np.where(leaf[:, None], 0, children).ravel(),
        value=np.where(leaf, _RATE * UNIT * np.concatenate([tree.value[:, 0, 0] for tree in trees]), 0),
        roots=first[:-1],
    )


def regressed(rows: _Rows) -> Forest:
    """Logistic regression (ridge, C = 1) on one indicator for each bin, in integers."""
    from scipy.sparse import csr_array  # noqa: PLC0415  # heavy
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  # heavy, and optional
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    sizes = rows.coarsening.sizes
    begins = np.cumsum([0, *sizes])
    at = (rows.bins + begins[:-1]).ravel()
    starts = np.arange(len(rows.bins) + 1) * len(sizes)
    indicators = csr_array((np.ones(at.size), at, starts), shape=(len(rows.bins), begins[-1]))
    model = LogisticRegression(max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hundred steps are close enough for a yardstick
        model.fit(indicators, rows.labels)
    weights = model.coef_[0].copy()
    weights[: sizes[0]] += model.intercept_[0]  # a row has one bin of the first column
    return _forest(_constant(rows), weights=UNIT * weights)


def _constant(rows: _Rows, odds: float | None = None) -> Forest:
    """The same log odds for every row."""
    sizes = rows.coarsening.sizes
    weights = np.zeros(sum(sizes))
    weights[: sizes[0]] = UNIT * (rows.prior if odds is None else odds)
    return _forest(Forest(rows.coarsening, (), (), (), (), (), (), ()), weights=weights)


def _forest(of: Forest, **arrays: Any) -> Forest:
    """`of` with other numbers, rounded."""
    most = _STRONGEST * UNIT
    whole = {name: tuple(np.rint(np.clip(one, -most, most)).astype(np.int64).tolist()) for name, one in arrays.items()}
    return replace(of, **whole)  # type: ignore[arg-type]  # names of tuples of integers


def _cut(model: Forest, codes: Codes, label: Index, bins: int) -> Forest:
    """The model with cuts between bins of its score: even over the rarer class, mostly, and one where odds are even."""
    score = model.score(codes)
    each = np.bincount(label, minlength=2)
    each_weighs = np.where(each == each.min(), _RARER, 1 - _RARER) / np.maximum(each, 1)
    weight = each_weighs[label]
    order = np.argsort(score, kind="stable")
    within = np.cumsum(weight[order]) / max(weight.sum(), 1e-9)
    at = np.searchsorted(within, np.arange(1, bins) / bins)
    cuts = score[order][np.minimum(at, len(score) - 1)] if len(score) else np.zeros(1, dtype=np.int64)
    cuts[np.abs(cuts).argmin()] = 0
    return replace(model, cuts=tuple(np.unique(cuts).tolist()))
