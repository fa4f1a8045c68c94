"""Train on synthetic, test on real: what a model learnt from synthetic rows is worth on people nobody trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.details import roc_points
from silosynth.common.evaluate.intervals import (
    BOOTSTRAP,
    DRAWS,
    GROUPED,
    bootstrap_weights,
    brier,
    calibration_error,
    curve,
    f1,
    jackknife,
    left_out_weights,
    percentiles,
    way_interval,
)
from silosynth.common.evaluate.models import Boosting, Inputs, Model, Regression
from silosynth.common.evaluate.outcome import Task
from silosynth.common.evaluate.scores import Better, Score
from silosynth.common.evaluate.sections import Curve
from silosynth.common.evaluate.tables import Table, groups_of

LEAST_CASES = 5
"""Held-out rows of a class, and outside it, below which no score of that class is given."""

REFITS = 5
"""Parts that each lesson is divided into, to learn from each alone: how far that moves a score is the luck of rows."""

_LEAST_PART = 20
_REFITTED = f"held-out units, with the spread of models learnt from each {REFITS}th of the rows (more than that of all)"
_METHOD = BOOTSTRAP.format(what=_REFITTED)
_METHOD_GROUPED = GROUPED.format(what=_REFITTED)
_LEARNT_FROM: Final[Mapping[str, Literal["synthetic", "real", "floor"]]] = {
    "value": "synthetic",
    "ceiling": "real",
    "floor": "floor",
}
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
    answers: "Answers | None" = None
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class Answers:
    """What gradient boosting said about test rows, after each lesson, of each scored class."""

    rows: Index = field(repr=False)  # of the test table, (rows,)
    truth: NDArray[np.bool_] = field(repr=False)  # (rows, classes)
    said: Mapping[str, Real] = field(repr=False)  # of "value", "ceiling" and "floor": (rows, classes)
    luck: Mapping[str, float]  # standard deviation of the AUC over lessons


@dataclass(frozen=True)
class Limits:
    """Most rows that enter a model. Samples are drawn without replacement, of one size for all tables."""

    boosting: int = 50_000
    regression: int = 20_000
    test: int = 10_000


_MEASURES: Mapping[str, Better] = {"auc": "higher", "ap": "higher", "f1": "higher", "brier": "lower", "ece": "lower"}


def tstr(
    task: Task, contest: Contest, of: Inputs, limits: Limits, rng: np.random.Generator, tick: Callable[[str], None]
) -> Verdict:
    """Scores of two models, and the share of the real model's signal that is kept.

    AUC, average precision, F1, Brier score and calibration error. A target of several classes is scored one against the
    rest, averaged over the classes the hold-out holds. F1 is at the likeliest class, so that of a rare outcome is low
    even for a good model: read its average precision.
    """
    have, truth = task.rows(contest.test)
    chosen = np.sort(rng.permutation(len(have))[: limits.test])
    have, truth = have[chosen], truth[chosen]
    scored = _scored_classes(truth, task.outcome.classes)
    if not scored:
        return Verdict({}, {}, (f"TSTR: fewer than {LEAST_CASES} held-out rows of a class, or outside it",))
    units = np.unique(contest.units[have], return_inverse=True)[1]
    weights = np.vstack([bootstrap_weights(units, rng), left_out_weights(groups_of(units, rng))])
    test, seed = contest.test.take(have), int(rng.integers(2**31))
    scores: dict[str, Score] = {}
    rows, notes = {"tstr_test": len(have)}, []
    said: dict[str, Real] = {}
    luck: dict[str, float] = {}
    curves: list[Curve] = []
    models: tuple[tuple[str, Model, int], ...] = (
        ("lr", Regression(of), limits.regression),
        ("gb", Boosting(of), limits.boosting),
    )
    for name, model, most in models:
        lessons = _lessons(task, contest, most, rng)
        if lessons is None:
            return Verdict({}, {}, ("TSTR: no training or no synthetic row has the target",))
        rows[f"tstr_train_{name}"] = len(lessons["value"][1])
        measured = {}
        for side, lesson in lessons.items():

            def taught(table: Table, classes: Index, model: Model = model) -> Real:
                return _padded(model.probabilities(table, classes, test, seed), truth, scored)

            said[side] = taught(*lesson)
            alone = [_measure(taught(*part), truth, scored, weights[:1]) for part in _parts(lesson, rng)]
            measured[side] = _spread(_measure(said[side], truth, scored, weights), alone, rng)
            if len(scored) == 1:
                points = roc_points(said[side][:, scored[0]], truth == scored[0])
                curves.append(Curve(_LEARNT_FROM[side], _MODELS[name], float(measured[side]["auc"].draws[0]), points))
            tick("train on synthetic, test on real")
        scores |= {f"tstr_{measure}_{name}": _score(measured, measure) for measure in _MEASURES}
        luck = {side: one["auc"].luck for side, one in measured.items()}
        if name == "gb":
            kept = _signal_kept({side: one["auc"].draws for side, one in measured.items()})
            if isinstance(kept, str):
                notes.append(kept)
            else:
                scores["tstr_signal_kept"] = kept
    if len(scored) < task.outcome.classes and task.outcome.classes > len((0, 1)):
        notes.append(f"TSTR: {task.outcome.classes - len(scored)} classes are too rare in the hold-out to be scored")
    each = {side: chances[:, list(scored)] for side, chances in said.items()}
    return Verdict(
        scores, rows, tuple(notes), Answers(have, truth[:, None] == np.array(scored), each, luck), tuple(curves)
    )


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


def _parts(lesson: tuple[Table, Index], rng: np.random.Generator) -> list[tuple[Table, Index]]:
    """REFITS lessons apart from each other; none of a lesson that is too short to be divided."""
    table, classes = lesson
    if len(classes) < REFITS * _LEAST_PART:
        return []
    return [(table.take(rows), classes[rows]) for rows in np.array_split(rng.permutation(len(classes)), REFITS)]


def _padded(probabilities: Real, truth: Index, scored: tuple[int, ...]) -> Real:
    """Classes that the lesson did not hold have probability 0."""
    missing = max(int(truth.max()), scored[-1]) + 1 - probabilities.shape[1]
    return np.pad(probabilities, ((0, 0), (0, max(0, missing))))


@dataclass(frozen=True)
class _Measured:
    """One measure of one lesson: itself and bootstrap draws of test units, (1 + DRAWS,); without a group of them each.

    `luck`: standard deviation over lessons. The draws hold it too, the replicates of the jackknife do not.
    """

    draws: Real
    left_out: Real
    luck: float = 0.0


def _measure(chances: Real, truth: Index, scored: tuple[int, ...], weights: Real) -> dict[str, Real]:
    """Each measure under each row of weights, (draws,)."""
    likeliest = chances.argmax(axis=1)
    parts: dict[str, list[Real]] = {name: [] for name in _MEASURES}
    for at in range(0, len(weights), _CHUNK):
        some = weights[at : at + _CHUNK]
        of_class = [_of_class(chances[:, one], likeliest == one, truth == one, some) for one in scored]
        for name, values in zip(_MEASURES, zip(*of_class, strict=True), strict=True):
            parts[name].append(np.mean(values, axis=0))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _of_class(
    chance: Real, said: NDArray[np.bool_], true: NDArray[np.bool_], weights: Real
) -> tuple[Real, Real, Real, Real, Real]:
    ranked = curve(chance, true, weights)
    return (
        ranked.auc,
        ranked.average_precision,
        f1(said, true, weights),
        brier(chance, true, weights),
        calibration_error(chance, true, weights),
    )


def _spread(whole: dict[str, Real], alone: list[dict[str, Real]], rng: np.random.Generator) -> dict[str, _Measured]:
    """Adds to each draw the luck of the rows that were learnt from."""
    out = {}
    for name, values in whole.items():
        luck = float(np.std([part[name][0] for part in alone], ddof=1)) if alone else 0.0
        draws = values[: 1 + DRAWS] + np.append(0.0, luck * rng.normal(size=DRAWS))
        out[name] = _Measured(np.clip(draws, 0, 1), values[1 + DRAWS :], luck)
    return out


def _score(measured: Mapping[str, Mapping[str, _Measured]], measure: str) -> Score:
    """All three sides are measured on the same test rows, so that draws of the way between them are drawn together."""
    value, floor, ceiling = (measured[side][measure] for side in ("value", "floor", "ceiling"))
    plain = float(value.draws[0]), float(floor.draws[0]), float(ceiling.draws[0])
    better = _MEASURES[measure]
    if measure != "ece":
        with np.errstate(invalid="ignore", divide="ignore"):
            way = 100 * (value.draws - floor.draws) / (ceiling.draws - floor.draws)
        return Score(*plain, percentiles(value.draws), better, _METHOD, None, percentiles(way))
    # a distance grows with the noise of a bootstrap draw; see intervals.jackknife
    interval = jackknife(plain[0], value.left_out, luck=value.luck)
    between = None
    if plain[1] != plain[2]:
        left = (value.left_out, floor.left_out, ceiling.left_out)
        between = way_interval(plain, left, (value.luck, floor.luck, ceiling.luck))
    return Score(*plain, interval, better, _METHOD_GROUPED, None, between)


def _signal_kept(auc: Mapping[str, Real]) -> Score | str:
    """(AUC_synthetic - .5) / (AUC_real - .5), both on the same held-out rows, also in each draw."""
    real = auc["ceiling"]
    between = percentiles(real)
    if between is None or between[0] <= 0.5:  # noqa: PLR2004 - a coin
        return (
            "tstr_signal_kept: a model trained on real rows is no better than chance on the hold-out "
            f"(AUC {real[0]:.3f}), so there is no signal to keep"
        )
    kept = (auc["value"] - 0.5) / (real - 0.5)
    interval = percentiles(kept)
    way = None if interval is None else (100 * interval[0], 100 * interval[1])
    return Score(float(kept[0]), 0.0, 1.0, interval, "higher", _METHOD, None, way)
