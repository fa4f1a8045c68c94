"""A synthetic table, scored: the order of work. What cannot be measured leaves a note in place of its score."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.case import Budget, Case, Found
from silosynth.common.evaluate.detection import Grouped, copies, detection
from silosynth.common.evaluate.intervals import BOOTSTRAP, WILSON, wilson
from silosynth.common.evaluate.likeness import score_likeness, ticks
from silosynth.common.evaluate.models import inputs
from silosynth.common.evaluate.outcome import Task, outcome_of
from silosynth.common.evaluate.scores import Score, Scores
from silosynth.common.evaluate.tables import read
from silosynth.common.evaluate.utility import Contest, tstr
from silosynth.common.progress import Progress, silent
from silosynth.common.schema import Schema

LEAST_DETECTION = 100
"""Held-out rows below which detection has no ceiling: a detector cannot be trained on fewer."""

Persons: TypeAlias = tuple[Sequence[Any], Sequence[Any]]
"""Whose each row of the training table is, and of the hold-out."""


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
    case = Case(
        schema,
        labels,
        Grouped(real, np.unique(np.asarray(whose[0]), return_inverse=True)[1]),
        Grouped(held, np.unique(np.asarray(whose[1]), return_inverse=True)[1]),
        made,
        real.shuffled(rng),
        budget or Budget(),
        rng,
    )
    found = Found(_ticker(progress, steps=ticks(case) + 10))
    found.rows |= {"train": real.rows, "holdout": held.rows, "synthetic": made.rows}
    if not held.rows:
        found.notes.append("no held-out rows: no ceilings, and nothing to test models on")
    score_likeness(case, found)
    words = _use(case, target, found)
    _detect(case, found)
    _copied(case, found)
    return Scores(found.scores, found.rows, tuple(found.notes), target, words, found.columns, found.pairs)


def _use(case: Case, target: str | None, found: Found) -> str | None:
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
    return outcome.words


def _detect(case: Case, found: Found) -> None:
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


def _copied(case: Case, found: Found) -> None:
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


def _ticker(progress: Progress, steps: int) -> Callable[[str], None]:
    done = iter(range(1, steps + 10_000))

    def tick(note: str) -> None:
        progress("evaluate", min(next(done), steps), steps, note)

    return tick
