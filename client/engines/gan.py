"""The site's half of the GAN engine: which verb of the mechanism answers which task, and nothing else."""

from functools import lru_cache

import numpy as np
import torch

from silosynth.client.engines.gan_local import trained
from silosynth.common.engine import Claim, Mechanism, Noised, Units
from silosynth.common.engines import gan as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_net import initial_discriminator
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.gan_terms import Gradients
from silosynth.common.engines.layouts import OneWays, Pairs
from silosynth.common.errors import NotPossible
from silosynth.common.scale import MICRO_BATCH
from silosynth.common.study import Study


class Gan:
    """An engine.SiteHalf."""

    def __init__(self, study: Study) -> None:
        torch.set_num_threads(1)  # one thread: sums inside kernels then have one order
        self._study = study

    def claim(self, task: engine.Task) -> Claim:
        """See engine.SiteHalf."""
        event = engine.step_of(self._study, engine.kind_of(task)).event(self._study.shares)
        return Claim(event, engine.answer_size(self._study, task))

    def answer(self, task: engine.Task, units: Units, mechanism: Mechanism) -> Noised:
        """See engine.SiteHalf. Raises NotPossible on a machine whose arithmetic lets rows influence each other."""
        multiplier = engine.step_of(self._study, engine.kind_of(task)).multiplier
        match task:
            case engine.CountOneWays():
                return mechanism.histogram(units, OneWays(self._study.schema.sizes), multiplier=multiplier)
            case engine.CountPairs(coarsening):
                return mechanism.histogram(units, Pairs(coarsening), multiplier=multiplier)
            case engine.SumGradients(coarsening, weights):
                shape = engine.shape(self._study, coarsening)
                check_rows_do_not_meet(shape)
                return mechanism.clipped_sum(units, Gradients(shape, weights, coarsening), multiplier=multiplier)
            case engine.TrainDiscriminator():
                return trained(self._study, task, units, mechanism)


@lru_cache(maxsize=8)
def check_rows_do_not_meet(shape: Shape) -> None:
    """Raise NotPossible unless each row's terms are the same bits in another slot and among other rows.

    The privacy of clipped sums rests on it (client/mechanism.py, rule 4). Kernels are chosen by shape, so the test runs
    at the shapes of the study, once a process: with ordinary weights, with hostile ones that amplify a last bit, and
    with a bin whose rows overflow beside rows that do not, because a vectorised kernel may look at all its lanes.
    """
    rng = np.random.default_rng(0)
    bins = np.stack([rng.integers(0, size, MICRO_BATCH, dtype=np.int32) for size in shape.bins], axis=1)
    slots, others = rng.permutation(MICRO_BATCH), rng.random(MICRO_BATCH) < 1 / 2
    moved = np.where(others[:, None], bins[rng.permutation(MICRO_BATCH)], bins[slots])
    as_they_are = Coarsening(tuple(tuple(range(size)) for size in shape.bins))
    for amplified, overflowing in ((1.0, False), (1e4, False), (1.0, True)):
        weights = initial_discriminator(shape, rng) + rng.standard_normal(shape.size).astype(np.float32)
        weights *= np.float32(amplified)
        if overflowing:  # of every unit of the first layer: its weight for the first column's first bin
            weights[: shape.width * shape.all_bins : shape.all_bins] = np.finfo(np.float32).max
        terms = Gradients(shape, weights, as_they_are)
        here, there = terms(bins), terms(moved)
        same = [np.array_equal(here.squared_norms()[slots][~others], there.squared_norms()[~others], equal_nan=True)]
        for one, other in zip(here.factors, there.factors, strict=True):
            same.append(np.array_equal(one.numpy()[slots][~others], other.numpy()[~others], equal_nan=True))
        if not all(same):
            raise NotPossible(
                "this machine's matrix products let rows influence each other: a site here cannot take part"
            )
