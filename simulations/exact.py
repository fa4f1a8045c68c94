"""What held-out units would have said without noise: only a simulation, which has all rows, can know it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from silosynth.client.mechanism import Metered, open_noised
from silosynth.common.arrays import Codes, Vector
from silosynth.common.engine import Parted
from silosynth.common.engines import heldout
from silosynth.common.engines.forest import UNIT, Forest
from silosynth.common.evaluate.asked import Heard, Shape
from silosynth.common.evaluate.federated import Federated, federated
from silosynth.common.study import Study
from silosynth.server.product import Product, heard_of
from silosynth.simulations.noiseless import ZeroNoise


def federated_and_exact(product: Product, sites: Mapping[str, Parted], seed: int) -> Federated | None:
    """The scores of a finished study's held-out units, each beside its exact value; None where they were not asked."""
    noisy, heard = heard_of(product, seed), product.learnt.heard
    if noisy is None or heard is None:
        return None
    return noisy.beside(exactly(product.study, heard, sites, seed))


def exactly(study: Study, heard: Heard, sites: Mapping[str, Parted], seed: int) -> Federated:
    """The scores of the held-out units of `sites` themselves: no noise, and a bin for every score that a row has."""
    tasks, shapes = list[heldout.Task](), list[Shape]()
    codes = np.concatenate([own.holdout.codes for own in sites.values()])
    for task in heard.questions.tasks:
        match task:
            case heldout.CountScores(models=models):
                finest = [_finest(model, codes) for model in models]
                shapes += [_alone(model, 1) for model in finest]
                tasks.append(replace(task, models=tuple(finest)))
            case heldout.CountGroups(model=model, columns=columns):
                fine = _finest(model, codes)
                shapes.append(_alone(fine, sum(study.schema.sizes[at] for at in columns)))
                tasks.append(replace(task, model=fine))
            case _:
                tasks.append(task)
    asked = replace(heard, questions=replace(heard.questions, tasks=tuple(tasks), shapes=tuple(shapes)))
    true = counted(study, asked, sites)
    return federated(study, true, [0] * len(true.totals), seed=seed, exact=True)


def _finest(model: Forest, codes: Codes) -> Forest:
    """The model with a bin for each score among rows; one begins at even odds, as at the site."""
    return replace(model, cuts=tuple(np.union1d(model.score(codes), [0]).tolist()))


def _alone(model: Forest, subgroups: int) -> Shape:
    """Of bins that are as fine as can be. Bin b begins at cut b - 1, which is the score of all rows in it."""
    score = np.array([model.cuts[0], *model.cuts])
    return Shape(np.arange(score.size), 1 / (1 + np.exp(-score / UNIT)), np.zeros((subgroups, score.size, 2)))


def counted(study: Study, heard: Heard, sites: Mapping[str, Parted]) -> Heard:
    """The same questions, with exact totals over the held-out units of `sites`."""
    totals = [sum_over(study, task, sites) for task in heard.questions.tasks]
    return replace(heard, totals=tuple(totals))


def sum_over(study: Study, task: heldout.Task, sites: Mapping[str, Parted]) -> Vector:
    """One exact total: the very mechanism, without noise."""
    size = heldout.answer_size(study, task)
    total = np.zeros(size, dtype=np.int64)
    for own in sites.values():
        mechanism = Metered(ZeroNoise(), b"", shares=1, capacity=1, max_rows_per_unit=study.max_rows_per_unit)
        answer = mechanism.histogram(own.holdout, heldout.layout(study, task), multiplier=None)
        total += open_noised(answer, mechanism, size)
    return total
