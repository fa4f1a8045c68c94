"""Do five sites learn what one site with all their rows would? The same study twice, at equal noise in the total.

The pooled study is made of the same parts as any other, but no person could start it: a roster of one, which trusts
nobody (so its answers carry all of the noise), with multipliers that give its answers the variance of five sites' sum.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd

from silosynth.common.engine import Parted, Units
from silosynth.common.engines.autoregressive import settings
from silosynth.common.evaluate import evaluate
from silosynth.common.plan import resolve
from silosynth.common.privacy import Part
from silosynth.common.progress import Progress
from silosynth.common.study import Member, Step, Study, Trust
from silosynth.server.publish import sampled
from silosynth.simulations.bench import tables
from silosynth.simulations.bench.learn import learn
from silosynth.simulations.bench.quality import METHOD, absent
from silosynth.simulations.bench.results import Row
from silosynth.simulations.cohort import Cohort, gather
from silosynth.simulations.repeats import mean

SCORES: Final = ("tstr_auc_gb", "pair_trends", "tvd2", "tvd3")

_DIGITS: Final = 10**9


@dataclass(frozen=True)
class _Arm:
    """A study and who answers it."""

    study: Study
    units: Mapping[str, Parted] = field(repr=False)


def pooled(seeds: tuple[int, ...], progress: Progress) -> Iterator[Row]:
    """Adult at epsilon 1: mean difference, five sites less one pooled site, over pairs of studies of one seed."""
    found: dict[str, list[float]] = {score: [] for score in SCORES}
    for seed in seeds:
        case = tables.adult(seed)
        if case is None:
            yield absent("pooled")
            return
        cohort = gather(case.study, case.sites, case.holdout, seed, progress)
        split = resolve(case.study, cohort.roster)
        here, there = (
            _scored(arm, cohort, seed, progress)
            for arm in (_Arm(split, cohort.units), _Arm(one_site(split), {"pooled": joined(cohort.units)}))
        )
        for score, differences in found.items():
            differences.append(here[score] - there[score])
    for score, differences in found.items():
        summed = mean(differences)
        yield Row(
            "pooled",
            f"five sites less one: {score}",
            summed.value,
            "score",
            interval=summed.interval,
            method=METHOD + " of the difference",
            deviation=summed.deviation,
            seeds=seeds,
            by_seed=tuple(differences),
        )


def one_site(study: Study) -> Study:
    """The study of one site whose answers have the noise variance of the roster's total, to a relative 1e-8.

    A roster of n adds n variances of (multiplier * sensitivity)^2 / shares each.
    """
    more = len(study.roster) / study.shares
    capacity = sum(member.capacity for member in study.roster)
    return replace(
        study,
        trust=Trust.LOCAL,
        settings=tuple(asdict(settings(study)).items()),  # those of sums, which local defaults would replace
        budget=replace(study.budget, colluders=0),
        roster=(Member("pooled", capacity),),
        plan=tuple(_scaled(step, math.sqrt(more)) for step in study.plan),
    )


def joined(units: Mapping[str, Parted]) -> Parted:
    """All sites' rows as one site's; sites share no unit."""
    return Parted(*(_pooled([own.of(part) for own in units.values()]) for part in (Part.TRAIN, Part.HOLDOUT)))


def _pooled(sites: Sequence[Units]) -> Units:
    firsts = np.cumsum([0, *(own.owner.max(initial=-1) + 1 for own in sites)])
    owners = [own.owner + first for own, first in zip(sites, firsts[:-1], strict=True)]
    return Units(np.concatenate([own.codes for own in sites]), np.concatenate(owners))


def _scored(arm: _Arm, cohort: Cohort, seed: int, progress: Progress) -> dict[str, float]:
    study = arm.study
    with TemporaryDirectory() as folder:
        learnt = learn(study, arm.units, Path(folder), seed, progress)
    blocks = sampled(learnt.generator, study.schema, max(1, round(learnt.units)), seed, progress)
    synthetic = pd.concat(list(blocks), ignore_index=True)
    train, held = cohort.train.frame, cohort.holdout.frame
    scores = evaluate(study.schema, train, held, synthetic, study.target, seed=seed, progress=progress).scores
    return {name: scores[name].value for name in SCORES}


def _scaled(step: Step, factor: float) -> Step:
    if step.multiplier is None:
        return step
    return replace(step, multiplier=Fraction(round(step.multiplier * Fraction(factor) * _DIGITS), _DIGITS))
