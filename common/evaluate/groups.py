"""Utility for each subgroup and each site: a table that serves the many can fail the few.

Subgroups are the codes of coded columns, in training, held-out and synthetic rows alike. Synthetic rows belong to no
site: the whole synthetic table is held against each site's own rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.case import Case, Found
from silosynth.common.evaluate.fidelity import Counted, Sides, cross
from silosynth.common.evaluate.intervals import BOOTSTRAP, bootstrap_weights, curve, percentiles
from silosynth.common.evaluate.likeness import Likeness, subsets
from silosynth.common.evaluate.scores import GroupDetail, Score
from silosynth.common.evaluate.utility import LEAST_CASES, Answers

LEAST_ROWS = 100
"""Training rows below which a subgroup or site is not measured."""

_MOST_CODES = 20
"""Columns with more codes in use make no subgroups: neither age in years nor a diagnosis is one."""


@dataclass(frozen=True)
class Group:
    """Rows of a subgroup or site: of training rows, of stacked rows (None: all), of the hold-out."""

    name: str
    own: NDArray[np.bool_] = field(repr=False)
    other: NDArray[np.bool_] | None = field(repr=False)
    held: NDArray[np.bool_] = field(repr=False)
    column: int | None = None


@dataclass(frozen=True)
class _Measured:
    """Distances in each view, (groups, views)."""

    one: Real
    two: Real


def score_groups(case: Case, known: Likeness, answers: Answers | None, target: str | None, found: Found) -> None:
    """Distances and AUC within subgroups, means over them as scores and each as a detail."""
    _score(case, known, answers, _subgroups(case, known, target), "subgroup", found)


def score_sites(
    case: Case, known: Likeness, answers: Answers | None, sites: tuple[Sequence[Any], Sequence[Any]], found: Found
) -> None:
    """The same for sites: `sites` says whose each training row is, and each held-out row."""
    train, held = (np.asarray(of).astype(str) for of in sites)
    train = train[known.rows]
    names, rows = np.unique(train, return_counts=True)
    order = [at for at in np.argsort(-rows, kind="stable") if rows[at] >= LEAST_ROWS][: case.budget.groups]
    groups = [Group(str(names[at]), train == names[at], None, held == names[at]) for at in order]
    _score(case, known, answers, groups, "site", found)


def _subgroups(case: Case, known: Likeness, target: str | None) -> list[Group]:
    sides = known.sides
    used = {
        at: np.bincount(sides.train.columns[at][sides.train.columns[at] >= 0], minlength=len(sides.labels[at]))
        for at in np.flatnonzero(sides.coded)
        if case.schema.columns[at].name != target
    }
    codes = {at: int(np.count_nonzero(counts)) for at, counts in used.items()}
    groups = []
    for at in sorted(codes, key=lambda column: codes[column]):
        if not 1 < codes[at] <= _MOST_CODES:
            continue
        name = case.schema.columns[at].name
        for code in np.flatnonzero(used[at] >= LEAST_ROWS):
            own, other, held = (
                table.columns[at] == code for table in (sides.train, sides.panel.table, case.holdout.table)
            )
            groups.append(Group(f"{name} = {sides.labels[at][code]}", own, other, held, int(at)))
    return groups[: case.budget.groups]


def _score(case: Case, known: Likeness, answers: Answers | None, groups: list[Group], kind: str, found: Found) -> None:
    if not groups:
        found.notes.append(f"{kind}s: none has {LEAST_ROWS} training rows or more")
        return
    views = known.sides.panel
    measured = _distances(case, known.sides, known.cells, groups)
    found.rows[f"{kind}s"] = len(groups)
    found.add(f"{kind}_tvd1", measured.one, views, "lower")
    found.add(f"{kind}_tvd2", measured.two, views, "lower")
    aucs = None if answers is None else _auc(case, answers, groups, kind, found)
    at_ceiling = views.named.get("ceiling")
    found.groups += tuple(
        GroupDetail(
            kind,
            group.name,
            int(group.own.sum()),
            _number(measured.two[at, 0]),
            None if at_ceiling is None else _number(measured.two[at, at_ceiling].mean()),
            None if aucs is None else _number(aucs[at, 0]),
            None if aucs is None else _number(aucs[at, 1]),
        )
        for at, group in enumerate(groups)
    )
    found.tick(f"{kind}s")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _distances(case: Case, sides: Sides, cells: Counted, groups: list[Group]) -> _Measured:
    views = len(sides.panel.views)
    one, two = (np.full((len(groups), views), np.nan) for _ in range(2))
    singles = [(at,) for at in range(len(sides.labels))]
    pairs = subsets(len(sides.labels), 2, case.budget.group_pairs)
    for at, group in enumerate(groups):
        for out, some in ((one, singles), (two, pairs)):
            asked = [subset for subset in some if group.column not in subset]
            if asked:
                out[at] = np.mean([_within(sides, cells, subset, group) for subset in asked], axis=0)
    return _Measured(one, two)


def _within(sides: Sides, cells: Counted, subset: Sequence[int], group: Group) -> Real:
    own, other, size = cross(cells, subset)
    other = other if group.other is None else other[group.other]
    expected, shares = sides.panel.shares(own[group.own], other, size, group.other)
    distance: Real = np.abs(shares - expected).sum(axis=1) / 2
    return distance


def _auc(case: Case, answers: Answers, groups: list[Group], kind: str, found: Found) -> Real:
    """Adds the mean AUC over groups; returns AUC by group of the synthetic model and of the real one, (groups, 2)."""
    units = np.unique(case.holdout.units[answers.rows], return_inverse=True)[1]
    weights = bootstrap_weights(units, case.rng)
    draws = {side: np.full((len(groups), len(weights)), np.nan) for side in answers.said}
    for at, group in enumerate(groups):
        rows = np.flatnonzero(group.held[answers.rows])
        scored = _scored(answers.truth[rows])
        if len(scored):
            for side, said in answers.said.items():
                some = [curve(said[rows, one], answers.truth[rows, one], weights[:, rows]).auc for one in scored]
                draws[side][at] = np.mean(some, axis=0)
                draws[side][at, 1:] += answers.luck[side] * case.rng.normal(size=len(weights) - 1)
    known = np.isfinite(draws["value"][:, 0])
    if not known.any():
        found.notes.append(f"{kind}_auc: no {kind} has {LEAST_CASES} held-out cases and as many others")
    else:
        value, floor, ceiling = (_mean(draws[side][known]) for side in ("value", "floor", "ceiling"))
        with np.errstate(invalid="ignore", divide="ignore"):
            way = percentiles(100 * (value - floor) / (ceiling - floor))
        method = BOOTSTRAP.format(what="held-out units")
        found.scores[f"{kind}_auc"] = Score(
            float(value[0]), float(floor[0]), float(ceiling[0]), percentiles(value), "higher", method, None, way
        )
    return np.stack([draws["value"][:, 0], draws["ceiling"][:, 0]], axis=1)


def _scored(truth: NDArray[np.bool_]) -> Index:
    hits = truth.sum(axis=0)
    return np.flatnonzero((hits >= LEAST_CASES) & (len(truth) - hits >= LEAST_CASES))


def _mean(draws: Real) -> Real:
    """Over groups; a draw that lacks cases in one is the mean of the others."""
    defined = np.isfinite(draws)
    mean: Real = np.where(defined, draws, 0).sum(axis=0) / np.maximum(1, defined.sum(axis=0))
    return np.where(defined.any(axis=0), mean, np.nan)
