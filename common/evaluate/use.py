"""Use of a synthetic table, scored: models and a regression learnt from it, beside those learnt from real rows."""

import math

import numpy as np

from silosynth.common.evaluate.case import Case, Found
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.models import inputs
from silosynth.common.evaluate.outcome import Task, outcome_of
from silosynth.common.evaluate.regression import Fitted, coefficient_difference, fit, interval_overlap, terms
from silosynth.common.evaluate.tables import groups_of
from silosynth.common.evaluate.utility import Answers, Contest, tstr

LEAST_REGRESSION = 200
"""Rows with the target below which no regression is compared."""

TICKS = 7
"""Signs of life that `score_use` gives."""


def score_use(case: Case, target: str | None, found: Found) -> tuple[str | None, Answers | None]:
    """TSTR and a regression. The question the models were asked, in words, and what they said about held-out rows."""
    if target is None:
        found.notes.append("TSTR: the study names no target")
        return None, None
    at = case.schema.index(target)
    outcome = outcome_of(case.schema.columns[at], case.labels[at], case.train.table.columns[at])
    if isinstance(outcome, str):
        found.notes.append(f"TSTR: {outcome}")
        return None, None
    task, answers = Task(at, outcome), None
    if case.holdout.table.rows:
        contest = Contest(case.synthetic, case.train.table, case.floor, case.holdout.table, case.holdout.units)
        of = inputs(case.train.table, case.labels, leave_out=at)
        verdict = tstr(task, contest, of, case.budget.models, case.rng, found.tick)
        found.scores |= verdict.scores
        found.rows |= verdict.rows
        found.notes += verdict.notes
        answers, found.curves = verdict.answers, verdict.curves
    _regress(case, task, found)
    return outcome.words, answers


def _regress(case: Case, task: Task, found: Found) -> None:
    """The same regression fitted to as many rows of each table, and to training rows, with errors as of so many."""
    tables = {
        "real": case.train,
        "value": Grouped(case.synthetic, np.arange(case.synthetic.rows)),
        "floor": Grouped(case.floor, np.arange(case.floor.rows)),
        "ceiling": case.holdout,
    }
    having = {side: task.rows(grouped.table) for side, grouped in tables.items()}
    if len(having["ceiling"][0]) < LEAST_REGRESSION:
        del having["ceiling"]
    size = min(case.budget.models.regression, *(len(have) for have, _ in having.values()))
    positive = 1 if task.outcome.classes == len((0, 1)) else 0  # of several, the most frequent
    have, classes = having["real"]
    columns = terms(case.train.table.take(have), case.labels, classes == positive, task.target)
    if size < LEAST_REGRESSION or not columns:
        found.notes.append(f"regression: no predictor, or fewer than {LEAST_REGRESSION} rows with the target")
        return
    fitted: dict[str, Fitted] = {}
    for side, (have, classes) in having.items():
        most = case.budget.models.regression if side == "real" else size
        chosen = np.sort(case.rng.permutation(len(have))[:most])
        table = tables[side].table.take(have[chosen])
        groups = groups_of(tables[side].units[have[chosen]], case.rng)
        one = fit(np.column_stack([term(table) for term in columns]), classes[chosen] == positive, groups)
        fitted[side] = one.as_of(len(chosen), size)
    found.tick("regression")
    found.rows |= {"regression": size, "regression_coefficients": fitted["real"].coefficients.shape[1]}
    real = fitted.pop("real")
    overlap = {side: interval_overlap(real, one) for side, one in fitted.items()}
    found.add_samples("ci_overlap", overlap, "higher")
    gaps = {side: coefficient_difference(real, one) for side, one in fitted.items()}
    found.add_samples("coefficient_difference", gaps, "lower", math.inf)
