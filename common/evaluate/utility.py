"""Train on synthetic, test on real: what a model learnt from synthetic rows is worth on people nobody trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.details import roc_curves
from silosynth.common.evaluate.intervals import BOOTSTRAP, bootstrap_weights, curve, f1, percentiles
from silosynth.common.evaluate.models import Boosting, Inputs, Model, Regression
from silosynth.common.evaluate.outcome import Task
from silosynth.common.evaluate.scores import Score
from silosynth.common.evaluate.sections import Curve
from silosynth.common.evaluate.tables import Table

LEAST_CASES = 5
"""Held-out rows of a class, and outside it, below which no score of that class is given."""

_METHOD = BOOTSTRAP.format(what="held-out units")
_MODELS: Final = {"gb": "gradient boosting", "lr": "logistic regression"}
_CHUNK = 50
"""Bootstrap draws at a time, to bound memory."""


@dataclass(frozen=True)
class Contest:
    """Tables to learn from, one to be tested on, and the unit (person) of each test row."""

    synthetic: Table
    train: Table
    floor: Table
    test: Table
    units: Index = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """Scores by name, rows used, and why a score is missing."""

    scores: Mapping[str, Score]
    rows: Mapping[str, int]
    notes: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Most rows that enter a model. Samples are drawn without replacement, of one size for all tables."""

    boosting: int = 50_000
    regression: int = 20_000
    test: int = 10_000


@dataclass(frozen=True)
class _Measured:
    """Scores of one model under each draw of weights, (1 + draws,), the first being the plain score."""

    auc: Real
    ap: Real
    f1: Real


def tstr(
    task: Task, contest: Contest, of: Inputs, limits: Limits, rng: np.random.Generator, tick: Callable[[str], None]
) -> Verdict:
    """AUC, average precision and F1 of two models, and the share of the real model's signal that is kept.

    A target of several classes is scored one against the rest, averaged over the classes the hold-out holds. F1 is at
    the likeliest class, so that of a rare outcome is low even for a good model: read its average precision.
    """
    have, truth = task.rows(contest.test)
    chosen = np.sort(rng.permutation(len(have))[: limits.test])
    have, truth = have[chosen], truth[chosen]
    scored = _scored_classes(truth, task.outcome.classes)
    if not scored:
        return Verdict({}, {}, (f"TSTR: fewer than {LEAST_CASES} held-out rows of a class, or outside it",))
    weights = bootstrap_weights(np.unique(contest.units[have], return_inverse=True)[1], rng)
    test, seed = contest.test.take(have), int(rng.integers(2**31))
    scores: dict[str, Score] = {}
    rows = {"tstr_test": len(have)}
    notes: list[str] = []
    curves: list[Curve] = []
    models: tuple[tuple[str, Model, int], ...] = (
        ("gb", Boosting(of), limits.boosting),
        ("lr", Regression(of), limits.regression),
    )
    for name, model, most in models:
        lessons = _lessons(task, contest, most, rng)
        if lessons is None:
            return Verdict({}, {}, ("TSTR: no training or no synthetic row has the target",))
        rows[f"tstr_train_{name}"] = len(lessons["value"][1])
        measured = {}
        said: dict[str, Real] = {}
        for side, (table, classes) in lessons.items():
            probabilities = model.probabilities(table, classes, test, seed)
            measured[side] = _measure(probabilities, truth, scored, weights)
            if len(scored) == 1 and scored[0] < probabilities.shape[1]:
                said[side] = probabilities[:, scored[0]]
            tick("train on synthetic, test on real")
        aucs = {side: float(one.auc[0]) for side, one in measured.items()}
        curves += roc_curves(_MODELS[name], said, aucs, truth == scored[0])
        for measure in ("auc", "ap", "f1"):
            scores[f"tstr_{measure}_{name}"] = _score(measured, measure)
        if name == "gb":
            kept = _signal_kept(measured)
            if isinstance(kept, str):
                notes.append(kept)
            else:
                scores["tstr_signal_kept"] = kept
    if len(scored) < task.outcome.classes and task.outcome.classes > len((0, 1)):
        notes.append(f"TSTR: {task.outcome.classes - len(scored)} classes are too rare in the hold-out to be scored")
    return Verdict(scores, rows, tuple(notes), tuple(curves))


def _scored_classes(truth: Index, classes: int) -> tuple[int, ...]:
    count = np.bincount(truth, minlength=classes)
    enough = (count >= LEAST_CASES) & (len(truth) - count >= LEAST_CASES)
    asked = range(classes) if classes > len((0, 1)) else (1,)  # of two classes, one question
    return tuple(at for at in asked if enough[at])


def _lessons(
    task: Task, contest: Contest, most: int, rng: np.random.Generator
) -> dict[str, tuple[Table, Index]] | None:
    """As many rows from each table: models grow better with their number."""
    tables = {"value": contest.synthetic, "ceiling": contest.train, "floor": contest.floor}
    having = {side: task.rows(table) for side, table in tables.items()}
    size = min(most, *(len(have) for have, _ in having.values()))
    if size == 0:
        return None
    out = {}
    for side, (have, classes) in having.items():
        chosen = np.sort(rng.permutation(len(have))[:size])
        out[side] = (tables[side].take(have[chosen]), classes[chosen])
    return out


def _measure(probabilities: Real, truth: Index, scored: tuple[int, ...], weights: Real) -> _Measured:
    missing = int(truth.max()) + 1 - probabilities.shape[1]  # classes that the lesson did not hold have probability 0
    padded = np.pad(probabilities, ((0, 0), (0, max(0, missing, scored[-1] + 1 - probabilities.shape[1]))))
    likeliest = padded.argmax(axis=1)
    parts: list[_Measured] = []
    for at in range(0, len(weights), _CHUNK):
        some = weights[at : at + _CHUNK]
        curves = [curve(padded[:, one], truth == one, some) for one in scored]
        parts.append(
            _Measured(
                np.mean([one.auc for one in curves], axis=0),
                np.mean([one.average_precision for one in curves], axis=0),
                np.mean([f1(likeliest == one, truth == one, some) for one in scored], axis=0),
            )
        )
    return _Measured(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("auc", "ap", "f1")))


def _score(measured: Mapping[str, _Measured], measure: str) -> Score:
    draws: dict[str, Real] = {side: getattr(one, measure) for side, one in measured.items()}
    plain = {side: float(values[0]) for side, values in draws.items()}
    return Score(plain["value"], plain["floor"], plain["ceiling"], percentiles(draws["value"]), "higher", _METHOD)


def _signal_kept(measured: Mapping[str, _Measured]) -> Score | str:
    """(AUC_synthetic - .5) / (AUC_real - .5), both on the same held-out rows, also in each draw."""
    real = measured["ceiling"].auc
    between = percentiles(real)
    if between is None or between[0] <= 0.5:  # noqa: PLR2004 - a coin
        return (
            "tstr_signal_kept: a model trained on real rows is no better than chance on the hold-out "
            f"(AUC {real[0]:.3f}), so there is no signal to keep"
        )
    kept = (measured["value"].auc - 0.5) / (real - 0.5)
    return Score(float(kept[0]), 0.0, 1.0, percentiles(kept), "higher", _METHOD)
