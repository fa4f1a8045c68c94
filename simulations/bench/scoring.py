"""The scores of the benchmark of record: those of common/evaluate that rank generators, without intervals, so quick.

Distances, shapes and pair trends are measured against the training rows; a model (gradient boosting) that learnt from
the synthetic rows is tested on held-out real rows. A benchmark repeats whole studies, so intervals come from seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.columns import measure
from silosynth.common.evaluate.fidelity import Sides, distances, marginal_cells, pair_trends, trend_tables
from silosynth.common.evaluate.intervals import curve, f1
from silosynth.common.evaluate.likeness import subsets
from silosynth.common.evaluate.models import Boosting, inputs
from silosynth.common.evaluate.outcome import Task, outcome_of
from silosynth.common.evaluate.tables import Table, nested, read
from silosynth.common.study import Study

LIKENESS: Final = ("tvd1", "tvd2", "tvd3", "shapes", "pairs", "pairs_all")
USE: Final = ("auc", "ap", "f1")

_PAIRS: Final = 5_000
_TRIPLES: Final = 150
_LESSON: Final = 50_000
_BINARY: Final = 2
_COIN: Final = 0.5


@dataclass(frozen=True)
class Yardstick:
    """What synthetic rows are held against. Frames are typed; `seed` is of models and shuffles."""

    study: Study
    train: pd.DataFrame = field(repr=False)
    holdout: pd.DataFrame = field(repr=False)
    seed: int

    def scores(self, synthetic: pd.DataFrame) -> dict[str, float]:
        """Of a synthetic table: LIKENESS and, where the target has two values, USE."""
        (train, held, made), labels = read(self.study.schema, [self.train, self.holdout, synthetic])
        return self._likeness(train, made, labels) | self._use(train, made, held, labels)

    def frame(self) -> Mapping[str, dict[str, float]]:
        """The same scores of "floor", training rows with every column shuffled apart, and of "ceiling": real rows.

        Ceilings of USE are those of a model that learnt from the training rows; ceilings of LIKENESS those of a
        bootstrap sample of the training rows, as many: what the luck of sampling leaves of a perfect generator.
        """
        (train, held), labels = read(self.study.schema, [self.train, self.holdout])
        rng = np.random.default_rng([self.seed, 0xF100])
        floor, again = train.shuffled(rng), train.take(rng.integers(train.rows, size=train.rows))
        return {
            "floor": self._likeness(train, floor, labels) | self._use(train, floor, held, labels),
            "ceiling": self._likeness(train, again, labels) | self._use(train, train, held, labels),
        }

    def _likeness(self, train: Table, made: Table, labels: tuple[tuple[str, ...], ...]) -> dict[str, float]:
        columns = self.study.schema.columns
        sides = Sides(train, nested(made, [made.rows]), labels)
        cells, many = marginal_cells(sides), len(columns)
        pairs = subsets(many, 2, _PAIRS)
        trends = pair_trends(sides, trend_tables(sides), [(first, second) for first, second in pairs])
        counted = trends.strong & np.isfinite(trends.similarity[:, 0])
        strong = trends.similarity[counted] if counted.any() else trends.similarity
        return {
            "tvd1": _mean(distances(sides, cells, [(at,) for at in range(many)])),
            "tvd2": _mean(distances(sides, cells, pairs)),
            "tvd3": _mean(distances(sides, cells, subsets(many, 3, _TRIPLES))),
            "shapes": _mean(np.stack([measure(sides, at, column).shape for at, column in enumerate(columns)])),
            "pairs": _mean(strong),
            "pairs_all": _mean(trends.similarity),
        }

    def _use(self, train: Table, lesson: Table, test: Table, labels: tuple[tuple[str, ...], ...]) -> dict[str, float]:
        if self.study.target is None:
            return {}
        at = self.study.schema.index(self.study.target)
        outcome = outcome_of(self.study.schema.columns[at], labels[at], train.columns[at])
        if isinstance(outcome, str) or outcome.classes != _BINARY:
            return {}
        task = Task(at, outcome)
        (taught, classes), (asked, truth) = _some(*task.rows(lesson), self.seed), task.rows(test)
        if not len(taught) or len(np.unique(truth)) < _BINARY:
            return {}
        model = Boosting(inputs(train, labels, leave_out=at))
        chances = model.probabilities(lesson.take(taught), classes, test.take(asked), self.seed)
        said = chances[:, 1] if chances.shape[1] == _BINARY else np.zeros(len(asked))
        once, true = np.ones((1, len(asked))), truth == 1
        ranked = curve(said, true, once)
        right = f1(said > _COIN, true, once)
        return {"auc": float(ranked.auc[0]), "ap": float(ranked.average_precision[0]), "f1": float(right[0])}


def signal_kept(auc: float, ceiling: float) -> float:
    """The share of what a model learns from real rows, above a coin, that one learns from synthetic rows."""
    return (auc - _COIN) / (ceiling - _COIN)


def _some(rows: Index, classes: Index, seed: int) -> tuple[Index, Index]:
    """At most so many rows to learn from."""
    chosen = np.sort(np.random.default_rng([seed, 0x7E57]).permutation(len(rows))[:_LESSON])
    return rows[chosen], classes[chosen]


def _mean(items: Real) -> float:
    """Over items that are defined."""
    return float(items[np.isfinite(items)].mean())
