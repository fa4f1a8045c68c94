"""A synthetic table, scored: the order of work. What cannot be measured leaves a note in place of its score."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from silosynth.common.errors import NotPossible
from silosynth.common.evaluate import use, whole
from silosynth.common.evaluate.attacks import attack_all
from silosynth.common.evaluate.case import Budget, Case, Found
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.groups import score_groups, score_sites
from silosynth.common.evaluate.likeness import score_likeness, ticks
from silosynth.common.evaluate.longitudinal import score_histories
from silosynth.common.evaluate.scores import Scores
from silosynth.common.evaluate.sections import Sections, attacks_of
from silosynth.common.evaluate.tables import read
from silosynth.common.progress import Progress, silent
from silosynth.common.schema import Schema

Sites: TypeAlias = tuple[Sequence[Any], Sequence[Any]]
"""Where each row of the training table was recorded, and of the hold-out."""

Persons: TypeAlias = tuple[Sequence[Any], Sequence[Any]] | tuple[Sequence[Any], Sequence[Any], Sequence[Any]]
"""Whose each row of the training table is, of the hold-out and, where synthetic rows have persons, of them."""


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
    sites: Sites | None = None,
    attack: bool = False,
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
        sites: where each row was recorded, to measure utility for each site.
        attack: whether to attack the table, too, as one who has it and knows the people.

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
    whose = [np.unique(np.asarray(of), return_inverse=True)[1] for of in persons or ()]
    if not whose:
        whose = [np.arange(len(train)), np.arange(len(holdout))]
    units, units_held, *units_made = whose
    case = Case(
        schema,
        labels,
        Grouped(real, units),
        Grouped(held, units_held),
        made,
        real.shuffled(rng),
        budget or Budget(),
        rng,
    )
    steps = ticks(case) + use.TICKS + whole.TICKS + 4
    found = Found(_ticker(progress, steps))
    found.rows |= {"train": real.rows, "holdout": held.rows, "synthetic": made.rows}
    if not held.rows:
        found.notes.append("no held-out rows: no ceilings, and nothing to test models on")
    known = score_likeness(case, found)
    words, answers = use.score_use(case, target, found)
    score_groups(case, known, answers, target, found)
    if sites is not None:
        score_sites(case, known, answers, sites, found)
    score_histories(case, units_made[0] if units_made else None, found)
    whole.score_rows(case, found)
    progress("evaluate", steps, steps, "done")
    attacks = attack_all(case.train, case.holdout, made, rng, progress=progress) if attack else None
    shown = Sections(curves=found.curves, attacks=None if attacks is None else attacks_of(attacks.to_json()))
    notes, details = tuple(found.notes), (found.columns, found.pairs, found.groups)
    return Scores(found.scores, found.rows, notes, target, words, *details, shown)


def _ticker(progress: Progress, steps: int) -> Callable[[str], None]:
    done = iter(range(1, steps + 10_000))

    def tick(note: str) -> None:
        progress("evaluate", min(next(done), steps - 1), steps, note)

    return tick
