"""What a model trained on synthetic rows is asked to predict: the target column, read as classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index
from silosynth.common.evaluate.tables import Table
from silosynth.common.schema import Column

MOST_CLASSES = 10
"""Classes of a target at most: the rarest share the last one."""

_YES_NO = (0, 1)

SPIKE = 0.1
"""Share of training rows at a numeric target's lowest value from which the question is "above that value"."""


@dataclass(frozen=True)
class Outcome:
    """Classes of a target: of two, class 1 is the positive one, the rarer among training rows."""

    words: str
    classes: int
    threshold: float | None = None  # of a numeric target: class 1 lies above
    class_of_code: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64), repr=False)

    def __call__(self, values: NDArray[Any]) -> Index:
        """Class of each row, -1 where the target is missing or of no class; shape (rows,)."""
        if self.threshold is None:
            return np.where(values >= 0, self.class_of_code[values], -1)
        return np.where(np.isnan(values), -1, values > self.threshold).astype(np.int64)


@dataclass(frozen=True)
class Task:
    """Predict column `target` of a table from all others."""

    target: int
    outcome: Outcome

    def rows(self, table: Table) -> tuple[Index, Index]:
        """Rows that have an outcome, and their classes."""
        classes = self.outcome(table.columns[self.target])
        have = np.flatnonzero(classes >= 0)
        return have, classes[have]


def outcome_of(column: Column, labels: Sequence[str], train: NDArray[Any]) -> Outcome | str:
    """The question a target poses, fixed by training rows; or, in words, why it poses none.

    A code list with two codes in use is a yes-or-no question; one with more, a question of classes (scores are means of
    one against the rest). A number is read as "above its lowest value" where at least 10 % of training rows sit there
    (costs, visits, counts: "any"), otherwise as "above the median".
    """
    if labels:
        return _of_codes(column.name, labels, train[train >= 0])
    values = train[~np.isnan(train)]
    if len(np.unique(values)) <= 1:
        return f"target {column.name}: training rows hold fewer than two values"
    low = float(values.min())
    spike = float(np.mean(values == low)) >= SPIKE
    threshold = low if spike else float(np.median(values))
    if not (values > threshold).any():
        threshold = float(values[values < values.max()].max())
    share = float(np.mean(values > threshold))
    why = "its lowest value" if spike else "the median of training rows"
    return Outcome(f"{column.name} above {threshold:g} ({why}): {share:.1%} of training rows", 2, threshold)


def _of_codes(name: str, labels: Sequence[str], codes: Index) -> Outcome | str:
    frequency = np.bincount(codes, minlength=len(labels))
    used = np.argsort(-frequency, kind="stable")[: np.count_nonzero(frequency)]
    if len(used) <= 1:
        return f"target {name}: training rows hold fewer than two codes"
    classes = min(len(used), MOST_CLASSES)
    class_of_code = np.full(len(labels), -1)
    class_of_code[used] = np.minimum(np.arange(len(used)), classes - 1)
    if classes == len(_YES_NO):
        share = frequency[used[1]] / len(codes)
        return Outcome(f"{name} = {labels[used[1]]}: {share:.1%} of training rows", 2, None, class_of_code)
    pooled = f", of which the last pools the {len(used) - classes + 1} rarest codes" if len(used) > classes else ""
    return Outcome(f"{name}, {classes} classes{pooled}, each against the rest", classes, None, class_of_code)
