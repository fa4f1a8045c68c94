"""Scores of what a simulation publishes, against the rows that were held back."""

from functools import partial

import pandas as pd

from silosynth.common.evaluate import evaluate as score
from silosynth.common.evaluate.scores import Scores
from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.server.product import Judge
from silosynth.simulations.cohort import Cohort


def judge(study: Study, cohort: Cohort, seed: int, progress: Progress, *, attack: bool) -> Judge:
    """What scores a synthetic table against the cohort's rows, and attacks it if asked to."""
    return partial(_score, study, cohort, seed, progress, attack)


def _score(
    study: Study, cohort: Cohort, seed: int, progress: Progress, attack: bool, synthetic: pd.DataFrame
) -> Scores:
    persons = None if study.unit is None else (list(cohort.train.ids), list(cohort.holdout.ids))
    sites = None if cohort.sites is None else (list(cohort.sites[0]), list(cohort.sites[1]))
    return score(
        study.schema,
        cohort.train.frame,
        cohort.holdout.frame,
        synthetic,
        study.target,
        seed=seed,
        progress=progress,
        persons=persons,
        attack=attack,
        sites=sites,
    )
