"""The end of a simulation: what a study publishes, and its scores against the rows that were held back."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from silosynth.common.evaluate import evaluate as score
from silosynth.common.evaluate.scores import Scores
from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.server import product as server
from silosynth.server.product import Product
from silosynth.simulations.cohort import Cohort
from silosynth.simulations.exact import federated_and_exact


def publish(out: Path, product: Product, cohort: Cohort, seed: int, progress: Progress, *, evaluate: bool) -> Scores:
    """Write every file of the product, whole; certificate.json last."""
    product = replace(product, federated=federated_and_exact(product, cohort.units, seed))
    judge = partial(_score, product.study, cohort, seed, progress) if evaluate else None
    return server.publish(out, product, seed, progress, judge, cohort.notes)


def _score(study: Study, cohort: Cohort, seed: int, progress: Progress, synthetic: pd.DataFrame) -> Scores:
    persons = None if study.unit is None else (list(cohort.train.ids), list(cohort.holdout.ids))
    return score(
        study.schema,
        cohort.train.frame,
        cohort.holdout.frame,
        synthetic,
        study.target,
        seed=seed,
        progress=progress,
        persons=persons,
    )
