"""What held-out units would have said without noise: only a simulation, which has all rows, can know it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from silosynth.client.mechanism import Metered, open_noised
from silosynth.common.arrays import Vector
from silosynth.common.engine import Parted
from silosynth.common.engines import heldout
from silosynth.common.evaluate.asked import Heard
from silosynth.common.evaluate.federated import Federated, federated
from silosynth.common.study import Study
from silosynth.server.product import Product, heard_of
from silosynth.simulations.noiseless import ZeroNoise


def federated_and_exact(product: Product, sites: Mapping[str, Parted], seed: int) -> Federated | None:
    """The scores of a finished study's held-out units, each beside its exact value; None where they were not asked."""
    noisy, heard = heard_of(product, seed), product.learnt.heard
    if noisy is None or heard is None:
        return None
    true = counted(product.study, heard, sites)
    return noisy.beside(federated(product.study, true, [0] * len(true.totals), seed=seed, exact=True))


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
