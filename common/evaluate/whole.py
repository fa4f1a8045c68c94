"""Whole rows of a synthetic table, scored: can a model tell them, do they fill the same space, are any copies?"""

import numpy as np

from silosynth.common.evaluate.case import Case, Found
from silosynth.common.evaluate.detection import Detected, Grouped, copies, detection
from silosynth.common.evaluate.intervals import BOOTSTRAP, WILSON, percentiles, wilson
from silosynth.common.evaluate.models import inputs, placed
from silosynth.common.evaluate.scores import Score
from silosynth.common.evaluate.support import Support, support
from silosynth.common.evaluate.tables import groups_of

LEAST_DETECTION = 100
"""Held-out rows below which whole rows have no ceiling: a detector cannot be trained on fewer."""

TICKS = 7
"""Signs of life that `score_rows` gives."""


def score_rows(case: Case, found: Found) -> None:
    """Detection, alpha-precision, beta-recall, copies."""
    held = case.holdout.table.rows
    if held < LEAST_DETECTION:
        found.notes.append(f"whole rows: no ceiling from fewer than {LEAST_DETECTION} held-out rows")
    _detect(case, found)
    _support(case, found)
    _copied(case, found)


def _sides(case: Case) -> dict[str, Grouped]:
    sides = {
        "value": Grouped(case.synthetic, np.arange(case.synthetic.rows)),
        "floor": Grouped(case.floor, np.arange(case.floor.rows)),
    }
    if case.holdout.table.rows >= LEAST_DETECTION:
        sides["ceiling"] = case.holdout
    return sides


def _detect(case: Case, found: Found) -> None:
    """Detection AUC on samples of one size, because a detector grows better with rows."""
    sides = _sides(case)
    size = min(case.budget.detection, case.train.table.rows, *(side.table.rows for side in sides.values()))
    real, of = case.train.sample(size, case.rng), inputs(case.train.table, case.labels)
    aucs: dict[str, Detected | None] = {}
    for name, side in sides.items():
        aucs[name] = detection(real, side.sample(size, case.rng), of, case.rng)
        found.tick("detection")
    value, floor, ceiling = aucs["value"], aucs["floor"], aucs.get("ceiling")
    if value is None:
        found.notes.append("detection_auc: too few rows or persons to train a detector")
        return
    found.rows["detection"] = size
    between = None
    if floor and ceiling:
        with np.errstate(invalid="ignore", divide="ignore"):
            place = 100 * (value.draws - floor.draws) / (ceiling.draws - floor.draws)
        between = percentiles(place)
    low, high = (None if side is None else side.auc for side in (floor, ceiling))
    method = BOOTSTRAP.format(what="rows (of persons, where known)")
    found.scores["detection_auc"] = Score(value.auc, low, high, value.interval, "lower", method, None, between)


def _support(case: Case, found: Found) -> None:
    """Alpha-precision and beta-recall, on samples of one size, because neighbours draw nearer with rows."""
    sides, of = _sides(case), inputs(case.train.table, case.labels)
    size = min(case.budget.neighbours, case.train.table.rows, *(side.table.rows for side in sides.values()))
    if not of.used or size <= 1:
        found.notes.append("alpha_precision, beta_recall: no column varies, or too few rows")
        return
    found.rows["neighbours"] = size
    real = placed(of, case.train.sample(size, case.rng).table)
    measured: dict[str, Support] = {}
    for name, side in sides.items():
        sample = side.sample(size, case.rng)
        measured[name] = support(real, placed(of, sample.table), groups_of(sample.units, case.rng))
        found.tick("nearest rows")
    found.add_samples("alpha_precision", {name: one.alpha_precision for name, one in measured.items()}, "higher")
    found.add_samples("beta_recall", {name: one.beta_recall for name, one in measured.items()}, "higher")


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
