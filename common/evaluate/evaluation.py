"""A synthetic table, scored: the order of work. What cannot be measured leaves a note in place of its score."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from silosynth.common.errors import NotPossible
from silosynth.common.evaluate import use, whole
from silosynth.common.evaluate.case import Budget, Case, Found
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.likeness import score_likeness, ticks
from silosynth.common.evaluate.scores import Scores
from silosynth.common.evaluate.tables import read
from silosynth.common.progress import Progress, silent
from silosynth.common.schema import Schema

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
    found = Found(_ticker(progress, steps=ticks(case) + use.TICKS + whole.TICKS))
    found.rows |= {"train": real.rows, "holdout": held.rows, "synthetic": made.rows}
    if not held.rows:
        found.notes.append("no held-out rows: no ceilings, and nothing to test models on")
    score_likeness(case, found)
    words, _ = use.score_use(case, target, found)
    whole.score_rows(case, found)
    return Scores(found.scores, found.rows, tuple(found.notes), target, words, found.columns, found.pairs)


def _ticker(progress: Progress, steps: int) -> Callable[[str], None]:
    done = iter(range(1, steps + 10_000))

    def tick(note: str) -> None:
        progress("evaluate", min(next(done), steps), steps, note)

    return tick
