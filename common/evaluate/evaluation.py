"""A synthetic table, scored: the order of work. What cannot be measured leaves a note in place of its score."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from silosynth.common.arrays import Real
from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.details import column_details, pair_details
from silosynth.common.evaluate.detection import Grouped, copies, detection
from silosynth.common.evaluate.fidelity import (
    Counted,
    Sides,
    distances,
    marginal_cells,
    pair_trends,
    shape,
    trend_tables,
)
from silosynth.common.evaluate.intervals import BOOTSTRAP, JACKKNIFE, WILSON, jackknife, wilson
from silosynth.common.evaluate.models import inputs
from silosynth.common.evaluate.outcome import Task, outcome_of
from silosynth.common.evaluate.scores import Better, ColumnDetail, Matched, PairDetail, Score, Scores
from silosynth.common.evaluate.sections import Curve, Sections
from silosynth.common.evaluate.tables import Panel, Table, panel, read
from silosynth.common.evaluate.utility import Contest, Limits, tstr
from silosynth.common.progress import Progress, silent
from silosynth.common.schema import Schema

LEAST_DETECTION = 100
"""Held-out rows below which detection has no ceiling: a detector cannot be trained on fewer."""

_CHUNK = 100
"""Pairs between two signs of life."""

Persons: TypeAlias = tuple[Sequence[Any], Sequence[Any]]
"""Whose each row of the training table is, and of the hold-out."""


@dataclass(frozen=True)
class Budget:
    """How much is measured. What was sampled is said in `Scores.rows`."""

    cells: int = 10_000_000  # rows times columns of one table, for marginals
    pairs: int = 5_000
    triples: int = 150
    detection: int = 5_000  # rows on each side
    models: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class _Case:
    """All tables, and the randomness of one evaluation."""

    schema: Schema
    labels: tuple[tuple[str, ...], ...]
    train: Grouped
    holdout: Grouped
    synthetic: Table
    floor: Table
    budget: Budget
    rng: np.random.Generator


@dataclass
class _Found:
    """What is known so far."""

    tick: Callable[[str], None]
    scores: dict[str, Score] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    columns: tuple[ColumnDetail, ...] = ()
    pairs: tuple[PairDetail, ...] = ()
    curves: tuple[Curve, ...] = ()


def evaluate(
    schema: Schema,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    synthetic: pd.DataFrame,
    target: str | None,
    *,
    seed: int,
    progress: Progress = silent,
    budget: Budget | None = None,
    persons: Persons | None = None,
) -> Scores:
    """All scores of a synthetic table.

    Floor: `train` with every column shuffled apart, the target too. Ceiling: `holdout` in place of `synthetic`.
    Distances between samples shrink with their size, so such scores are also given on samples of one size (`matched`),
    and only those are compared with each other. Models learn from equally many rows of each table.

    Args:
        schema: the columns of all frames.
        train: typed rows the generator was learnt from (the frame of Schema.conform).
        holdout: typed rows nobody was trained on; may be empty: then there are no ceilings.
        synthetic: typed synthetic rows.
        target: the column to predict, or None.
        seed: drives samples, shuffles and models; the same arguments give the same scores.
        progress: hears about each step.
        budget: how much to measure.
        persons: whose each row is, where a person has several: persons, not rows, are then independent.

    Raises:
        ValueError: without training rows or without synthetic rows.
        NotPossible: where scikit-learn or scipy is not installed.
    """
    if missing := [name for name in ("sklearn", "scipy") if find_spec(name) is None]:
        raise NotPossible(f"scores need {' and '.join(missing)}: pip install 'silosynth[demo]'")
    if not len(train) or not len(synthetic):
        raise ValueError("an evaluation needs training rows and synthetic rows")
    rng = np.random.default_rng(seed)
    (real, held, made), labels = read(schema, [train, holdout, synthetic])
    whose = persons or (np.arange(len(train)), np.arange(len(holdout)))
    case = _Case(
        schema,
        labels,
        Grouped(real, np.unique(np.asarray(whose[0]), return_inverse=True)[1]),
        Grouped(held, np.unique(np.asarray(whose[1]), return_inverse=True)[1]),
        made,
        real.shuffled(rng),
        budget or Budget(),
        rng,
    )
    pairs = _subsets(len(labels), 2, case.budget.pairs, rng)
    found = _Found(_ticker(progress, steps=len(labels) + 2 * -(-len(pairs) // _CHUNK) + 11))
    found.rows |= {"train": real.rows, "holdout": held.rows, "synthetic": made.rows}
    if not held.rows:
        found.notes.append("no held-out rows: no ceilings, and nothing to test models on")
    _likeness(case, pairs, found)
    words = _use(case, target, found)
    _detect(case, found)
    _copied(case, found)
    shown = Sections(curves=found.curves)
    return Scores(found.scores, found.rows, tuple(found.notes), target, words, found.columns, found.pairs, shown)


def _likeness(case: _Case, pairs: Sequence[tuple[int, ...]], found: _Found) -> None:
    """Columns, pairs and marginals."""
    most = max(1_000, case.budget.cells // len(case.labels))
    real, held, made, floor = (
        table if table.rows <= most else table.take(np.sort(case.rng.permutation(table.rows)[:most]))
        for table in (case.train.table, case.holdout.table, case.synthetic, case.floor)
    )
    views = panel(made, floor, held if held.rows else None, case.rng)
    sides = Sides(real, views, case.labels)
    cells = marginal_cells(sides)
    found.rows |= {"marginals_train": real.rows, "marginals_synthetic": made.rows}
    if views.matched_rows is not None:
        found.rows["matched"] = views.matched_rows

    every = range(len(case.labels))
    rows_of_shapes = []
    for at in every:
        rows_of_shapes.append(shape(sides, at))
        found.tick("columns")
    alike, one = np.stack(rows_of_shapes), distances(sides, cells, [(at,) for at in every])
    _add(found, "column_shapes", alike, views, "higher")
    _add(found, "tvd1", one, views, "lower")
    found.columns = column_details(case.schema, sides, alike, one)
    if real is case.train.table:
        _weigh_persons(case, cells, found)

    tables = trend_tables(sides)
    two, similar, strong = [], [], []
    for at in range(0, len(pairs), _CHUNK):
        some = pairs[at : at + _CHUNK]
        two.append(distances(sides, cells, some))
        found.tick("pairs of columns")
        trends = pair_trends(sides, tables, [(first, second) for first, second in some])
        similar.append(trends.similarity)
        strong.append(trends.strong)
        found.tick("pairs of columns")
    if pairs:
        found.pairs = pair_details(pairs, np.vstack(two), views)
        _trends(found, np.vstack(similar), np.concatenate(strong), views)
        _add(found, "tvd2", np.vstack(two), views, "lower")
    else:
        found.notes.append("one column only: no scores of pairs")
    triples = _subsets(len(case.labels), 3, case.budget.triples, case.rng)
    if triples:
        _add(found, "tvd3", distances(sides, cells, triples), views, "lower")
    found.tick("triples of columns")
    found.rows |= {"pairs": len(pairs), "triples": len(triples)}


def _weigh_persons(case: _Case, cells: Counted, found: _Found) -> None:
    """A note where persons have unlike numbers of rows: a generator learns from persons, scores compare rows."""
    rows_of = np.bincount(case.train.units)
    if rows_of.min() == rows_of.max():
        return
    weights = 1 / rows_of[case.train.units]
    moved = [
        np.abs(np.bincount(own, weights) / weights.sum() - np.bincount(own) / len(own)).sum() / 2 for own in cells.own
    ]
    found.notes.append(
        "persons have unlike numbers of rows, and each counts once in training: that alone moves single columns by "
        f"{np.mean(moved):.3f} on average (tvd1 of training rows weighted by person)"
    )


def _trends(found: _Found, similarity: Real, strong: NDArray[np.bool_], views: Panel) -> None:
    """SDMetrics counts strongly associated pairs only; where there is none, all are counted and a note says so."""
    counted = strong & np.isfinite(similarity[:, 0])
    if not counted.any():
        found.notes.append("pair_trends: no pair of columns is strongly associated, so all pairs are counted")
    found.rows["pairs_strong"] = int(counted.sum())
    _add(found, "pair_trends", similarity[counted] if counted.any() else similarity, views, "higher")
    _add(found, "pair_trends_all", similarity, views, "higher")


def _add(found: _Found, name: str, items: Real, views: Panel, better: Better) -> None:
    """The mean over columns, pairs or triples, of every view; undefined items are left out."""
    defined = np.isfinite(items)
    many = defined.sum(axis=0)
    means = np.divide(np.where(defined, items, 0).sum(axis=0), many, out=np.full(many.shape, np.nan), where=many > 0)

    def of(view: str) -> float | None:
        value = float(means[views.named[view]].mean()) if view in views.named else float("nan")
        return value if np.isfinite(value) else None

    value = of("value")
    if value is None:
        found.notes.append(f"{name}: undefined for every column, pair or triple (constant or missing throughout)")
        return
    matched = None
    sides = of("matched_value"), of("matched_floor"), of("matched_ceiling")
    if views.matched_rows is not None and sides[0] is not None and sides[1] is not None and sides[2] is not None:
        matched = Matched(views.matched_rows, sides[0], sides[1], sides[2])
    interval = jackknife(value, means[views.named["jackknife"]])
    found.scores[name] = Score(value, of("floor"), of("ceiling"), interval, better, JACKKNIFE, matched)


def _use(case: _Case, target: str | None, found: _Found) -> str | None:
    """TSTR scores; the question the models were asked, in words."""
    if target is None:
        found.notes.append("TSTR: the study names no target")
        return None
    at = case.schema.index(target)
    outcome = outcome_of(case.schema.columns[at], case.labels[at], case.train.table.columns[at])
    if isinstance(outcome, str):
        found.notes.append(f"TSTR: {outcome}")
        return None
    if case.holdout.table.rows:
        contest = Contest(case.synthetic, case.train.table, case.floor, case.holdout.table, case.holdout.units)
        of = inputs(case.train.table, case.labels, leave_out=at)
        verdict = tstr(Task(at, outcome), contest, of, case.budget.models, case.rng, found.tick)
        found.scores |= verdict.scores
        found.rows |= verdict.rows
        found.notes += verdict.notes
        found.curves = verdict.curves
    return outcome.words


def _detect(case: _Case, found: _Found) -> None:
    """Detection AUC on samples of one size, because a detector grows better with rows."""
    held = case.holdout.table.rows
    size = min(case.budget.detection, case.train.table.rows, case.synthetic.rows)
    if held >= LEAST_DETECTION:
        size = min(size, held)
    else:
        found.notes.append(f"detection_auc: no ceiling from fewer than {LEAST_DETECTION} held-out rows")
    real = case.train.sample(size, case.rng)
    of = inputs(case.train.table, case.labels)
    aucs = {}
    for name, other in (
        ("value", Grouped(case.synthetic, np.arange(case.synthetic.rows))),
        ("floor", Grouped(case.floor, np.arange(case.floor.rows))),
        ("ceiling", case.holdout),
    ):
        measured = name != "ceiling" or held >= LEAST_DETECTION
        aucs[name] = detection(real, other.sample(size, case.rng), of, case.rng) if measured else None
        found.tick("detection")
    value, floor, ceiling = aucs["value"], aucs["floor"], aucs["ceiling"]
    if value is None:
        found.notes.append("detection_auc: too few rows or persons to train a detector")
        return
    found.rows["detection"] = size
    method = BOOTSTRAP.format(what="rows (of persons, where known)")
    low, high = (None if side is None else side.auc for side in (floor, ceiling))
    found.scores["detection_auc"] = Score(value.auc, low, high, value.interval, "lower", method)


def _copied(case: _Case, found: _Found) -> None:
    """Exact copies of training rows, beside the hold-out's own rate: real tables hold twins."""
    spans = [
        float(np.nanmax(np.abs(column), initial=0.0)) if column.dtype == np.float64 else 1.0
        for column in case.train.table.columns
    ]
    tables = {"value": case.synthetic, "floor": case.floor, "ceiling": case.holdout.table}
    hits = {name: copies(case.train.table, table, spans) for name, table in tables.items()}
    rate = {name: hits[name] / table.rows for name, table in tables.items() if table.rows}
    interval = wilson(hits["value"], case.synthetic.rows)
    found.scores["copies"] = Score(rate["value"], rate["floor"], rate.get("ceiling"), interval, "lower", WILSON)
    found.tick("copies")


def _subsets(columns: int, size: int, most: int, rng: np.random.Generator) -> tuple[tuple[int, ...], ...]:
    """All subsets of `size` columns, or `most` of them drawn without replacement, in order."""
    total = math.comb(columns, size)
    if total <= most:
        return tuple(itertools.combinations(range(columns), size))
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < most:
        drawn[tuple(sorted(int(column) for column in rng.choice(columns, size, replace=False)))] = None
    return tuple(sorted(drawn))


def _ticker(progress: Progress, steps: int) -> Callable[[str], None]:
    done = iter(range(1, steps + 10_000))

    def tick(note: str) -> None:
        progress("evaluate", min(next(done), steps), steps, note)

    return tick
