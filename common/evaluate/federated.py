"""What held-out units of all sites said of the generator, under differential privacy: scores with their error bars.

A pure function of the questions, the noisy totals and the study. In a simulation, which has the rows, the same function
of exact totals of the same units gives the exact score, to stand beside it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from silosynth.common import scale
from silosynth.common.arrays import Real
from silosynth.common.engines import heldout
from silosynth.common.engines.forest import Forest
from silosynth.common.evaluate.asked import Heard, Shape
from silosynth.common.evaluate.deconvolved import Distances, Tables, Z, distances
from silosynth.common.evaluate.ranked import OF_SUBGROUPS, SCORES, Ranked, estimated
from silosynth.common.study import Study

FORMAT: Final = 2
MODELS: Final = ("boosting", "regression")
"""The models of a question about scores, in their order."""

_TOLD: Final = 4.3
"""Standard deviations of noise that a code's count must reach for anything to be said of it, here or among synthetic
rows: one of 100,000 counts does so by noise alone, and a schema may have thousands of codes."""
_LOST: Final = 0.1  # of a code's least share among the units, with noise: with less, the synthetic rows have lost it

SAYS: Final = {
    "tvd1": "mean total variation distance of the 1-ways",
    "tvd2": "mean total variation distance of the 2-ways that were asked for, coarse",
    "auc": "area under the ROC curve of a model trained on synthetic rows",
    "average_precision": "its average precision",
    "accuracy": "its share of right answers at one half",
    "f1": "its F1 at one half",
    "calibration": "its mean probability less the share of outcomes",
    "error": "its share of wrong answers at one half",
}


@dataclass(frozen=True)
class Measure:
    """One score of the generator.

    `interval`, 95 %: where the exact score of these very units lies, by the known noise. `population`: where it would
    lie for all persons they stand for, where that can be said. `exact`: without noise, where rows are at hand.
    """

    value: float
    interval: tuple[float, float]
    population: tuple[float, float] | None = None
    exact: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As in metrics.json; what is undefined is null."""
        return {
            "value": _plain(self.value),
            "interval": [_plain(end) for end in self.interval],
            "population_interval": None if self.population is None else [_plain(end) for end in self.population],
            "exact": _plain(self.exact),
        }


@dataclass(frozen=True)
class Code:
    """How a code came out: its share of held-out units, with interval, and of synthetic rows.

    `state`: "kept"; "lost", where synthetic rows have less than a tenth of what units have at the least; "invented",
    where units have less than a tenth of what synthetic rows have, even at the most; or "under the noise", where
    nothing can be said.
    """

    column: str
    code: str
    share: Measure
    synthetic: float
    state: str


@dataclass(frozen=True)
class Subgroup:
    """How a model serves the units with one code: how many they are, and their scores.

    A score that is NaN lies under the noise; its interval is all that it may be.
    """

    column: str
    code: str
    share: Measure
    scores: Mapping[str, Measure]

    @property
    def known(self) -> bool:
        """Whether anything can be said of it."""
        return any(math.isfinite(one.value) for one in self.scores.values())


@dataclass(frozen=True)
class Sum:
    """One release that the scores are made of. `deviation`: of the noise in a count, in units; 0 without noise."""

    kind: str
    multiplier: float | None
    deviation: float


@dataclass(frozen=True)
class Federated:
    """A whole federated evaluation: scores by name, the worst columns and codes, and what noise they carry."""

    units: Measure
    scores: Mapping[str, Measure]
    columns: Mapping[str, Measure]
    """Total variation distance of each column's 1-way."""
    codes: tuple[Code, ...] = field(repr=False)
    """Every declared code of every coded column."""
    subgroups: tuple[Subgroup, ...] = field(repr=False)
    """Every declared code of the columns that are asked for, through the first of MODELS."""
    sums: tuple[Sum, ...]
    synthetic_rows: int

    def beside(self, exact: "Federated") -> "Federated":
        """The same, with each score's exact value, which only a simulation knows."""

        def known(noisy: Mapping[str, Measure], true: Mapping[str, Measure]) -> dict[str, Measure]:
            return {name: replace(one, exact=true[name].value) for name, one in noisy.items()}

        return replace(
            self,
            units=replace(self.units, exact=exact.units.value),
            scores=known(self.scores, exact.scores),
            columns=known(self.columns, exact.columns),
            codes=tuple(
                replace(one, share=replace(one.share, exact=true.share.value))
                for one, true in zip(self.codes, exact.codes, strict=True)
            ),
            subgroups=tuple(
                replace(
                    one,
                    share=replace(one.share, exact=true.share.value),
                    scores=known(one.scores, true.scores),
                )
                for one, true in zip(self.subgroups, exact.subgroups, strict=True)
            ),
        )

    def codes_that_are(self, state: str) -> tuple[Code, ...]:
        """Those in a state."""
        return tuple(code for code in self.codes if code.state == state)

    def to_json(self) -> dict[str, Any]:
        """The section "federated" of metrics.json."""
        return {
            "format": FORMAT,
            "units": self.units.to_json(),
            "scores": {name: one.to_json() | {"says": says(name)} for name, one in self.scores.items()},
            "columns": {name: one.to_json() for name, one in self.columns.items()},
            "codes": {
                "kept": len(self.codes_that_are("kept")),
                "lost": [_code_row(code) for code in self.codes_that_are("lost")],
                "invented": [_code_row(code) for code in self.codes_that_are("invented")],
                "under_the_noise": [[code.column, code.code] for code in self.codes_that_are("under the noise")],
            },
            "subgroups": [_subgroup_row(one) for one in self.subgroups if one.known],
            "subgroups_under_the_noise": [[one.column, one.code] for one in self.subgroups if not one.known],
            "sums": [{"kind": one.kind, "multiplier": one.multiplier, "deviation": one.deviation} for one in self.sums],
            "synthetic_rows": self.synthetic_rows,
        }


def says(name: str) -> str:
    """A score's name in words."""
    return SAYS[name.removeprefix("boosting_").removeprefix("regression_")]


def federated(study: Study, heard: Heard, answers: Sequence[int], *, seed: int, exact: bool = False) -> Federated:
    """The scores that follow from totals.

    Args:
        study: the resolved study.
        heard: questions and totals.
        answers: how many sites' noise is in each total.
        seed: of draws, never of noise.
        exact: whether the totals carry no noise, whatever the study plans: of a simulation's own counts.
    """
    rng = np.random.default_rng([seed, 4])
    sums, scores, columns, codes, subgroups = [], {}, {}, list[Code](), list[Subgroup]()
    shapes = iter(heard.questions.shapes)
    units = Measure(math.nan, (math.nan, math.nan))
    asked = zip(heard.questions.tasks, heard.totals, heard.questions.synthetic, answers, strict=True)
    for task, total, synthetic, sites in asked:
        multiplier = heldout.step_of(study, task).multiplier
        deviation = 0.0 if exact else noise(study, task, sites)
        sums.append(Sum(heldout.kind_of(task), None if multiplier is None else float(multiplier), deviation))
        counts, offsets = total / scale.HISTOGRAM_GRID, heldout.layout(study, task).offsets
        tables = Tables(counts, synthetic, offsets, deviation, heard.questions.rows)
        match task:
            case heldout.CountOneWays():
                found = distances(tables, rng)
                units = _normal(tables.units, tables.units_deviation)
                scores["tvd1"] = Measure(found.mean, found.interval)
                columns = dict(zip(study.schema.names, _each(found), strict=True))
                codes = list(_codes(study, tables))
            case heldout.CountPairs():
                found = distances(tables, rng)
                scores["tvd2"] = Measure(found.mean, found.interval)
            case heldout.CountScores():
                scores |= _of_models(task, tables, [next(shapes) for _ in task.models])
            case heldout.CountGroups():
                subgroups = list(_subgroups(study, task, tables, next(shapes)))
    return Federated(units, scores, columns, tuple(codes), tuple(subgroups), tuple(sums), heard.questions.rows)


def noise(study: Study, task: heldout.Task, answers: int) -> float:
    """Standard deviation of the noise in a count of a total of so many answers, in units."""
    tables = heldout.layout(study, task).offsets.size - 1
    shares = answers - study.budget.colluders if study.masked else study.shares
    return scale.count_deviation(tables, heldout.step_of(study, task).multiplier, shares, answers)


def _each(found: Distances) -> list[Measure]:
    ends = zip(found.of, found.low, found.high, strict=True)
    return [Measure(float(value), (float(low), float(high))) for value, low, high in ends]


def _codes(study: Study, tables: Tables) -> Iterator[Code]:
    """Every declared code of every coded column."""
    units = tables.units
    for at, column in enumerate(study.schema.columns):
        if not column.coded:
            continue
        for cell, label in enumerate(column.labels):
            where = int(tables.offsets[at]) + cell
            count, synthetic = float(tables.counts[where]), float(tables.synthetic[where])
            share = _normal(count / units, tables.deviation / units)
            yield Code(column.name, label, share, synthetic, _state(share, synthetic, _TOLD * tables.deviation / units))


def _state(share: Measure, synthetic: float, told: float) -> str:
    """What can be said of a code; `told`: the share from which on anything can."""
    least, most = (max(end, 0.0) for end in share.interval)
    if synthetic > 0 and synthetic >= told and most < _LOST * synthetic:
        return "invented"
    if share.value <= 0 or share.value < told:
        return "under the noise"
    return "lost" if synthetic < _LOST * least else "kept"


def _of_models(task: heldout.CountScores, tables: Tables, shapes: Sequence[Shape]) -> dict[str, Measure]:
    scores = dict[str, Measure]()
    for name, model, shape, offset in zip(MODELS, task.models, shapes, tables.offsets[:-1], strict=False):
        of = _ranked(model, shape, 0, tables.counts[offset:], tables.deviation)
        scores |= {f"{name}_{score}": _measured(score, of) for score in SCORES}
    return scores


def _subgroups(study: Study, task: heldout.CountGroups, tables: Tables, shape: Shape) -> Iterator[Subgroup]:
    """Every declared code of the task's columns; its cells of a table lie together."""
    units, each, before = tables.units, 2 * task.model.bins + 1, 0
    for at, offset in zip(task.columns, tables.offsets[:-1], strict=True):
        column = study.schema.columns[at]
        for code, label in enumerate(column.codes):
            cells = tables.counts[int(offset) + code * each :][:each]
            share = _normal(float(cells.sum()) / units, tables.deviation * math.sqrt(each) / units)
            of = _ranked(task.model, shape, before + code, cells, tables.deviation)
            yield Subgroup(column.name, label, share, {name: _measured(name, of) for name in OF_SUBGROUPS})
        before += column.size


def _ranked(model: Forest, shape: Shape, subgroup: int, counts: Real, deviation: float) -> Ranked:
    own = counts[: 2 * model.bins].reshape(model.bins, 2)
    positive = int(np.searchsorted(model.cuts, 0, side="right"))
    return Ranked(own, shape.bin, shape.within(subgroup), shape.predicted, positive, deviation)


def _measured(score: str, of: Ranked) -> Measure:
    found = estimated(score, of)
    return Measure(found.value, found.interval, found.population)


def _normal(value: float, deviation: float) -> Measure:
    return Measure(value, (value - Z * deviation, value + Z * deviation))


def _code_row(code: Code) -> dict[str, Any]:
    about = {"column": code.column, "code": code.code, "synthetic": _plain(code.synthetic)}
    return about | {"share": code.share.to_json()}


def _subgroup_row(one: Subgroup) -> dict[str, Any]:
    scores = {name: score.to_json() for name, score in one.scores.items()}
    return {"column": one.column, "code": one.code, "share": one.share.to_json(), "scores": scores}


def _plain(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else round(number, 6)
