"""A small schema, studies over it and rows that depend on each other, for the tests of engines."""

import numpy as np

from silosynth.client.mechanism import Metered, open_noised
from silosynth.common.engine import Units
from silosynth.common.plan import resolve
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Study, Trust
from silosynth.simulations.noiseless import SeededNoise, ZeroNoise

SCHEMA = Schema(
    (
        Column("age", Kind.INTEGER, low=0, high=99),
        Column("colour", Kind.CATEGORICAL, codes=("red", "green", "blue")),
        Column("smoker", Kind.BOOLEAN, codes=("no", "yes")),
        Column("grade", Kind.INTEGER, low=1, high=6),
    )
)
SITES = 3


def study(epsilon=1.0, schema=SCHEMA, capacity=2000, trust=Trust.SECURE_SUM, sites=SITES, **settings):
    """A study of an engine alone: held-out units are asked nothing."""
    budget, settled = Budget(epsilon, 1e-5, 1), tuple(settings.items())
    asked = Study("test", schema, budget, settings=settled, engine="autoregressive", trust=trust, evaluate=False)
    return resolve(asked, tuple(Member(f"site{k}", capacity) for k in range(sites)))


def rows(n, seed=0):
    """Codes of rows in which every column depends on the ones before it, shape (n, 4)."""
    rng = np.random.default_rng(seed)
    age = rng.binomial(99, rng.beta(2, 3, n))
    colour = (age // 34 + (rng.random(n) < 0.2)) % 3
    smoker = rng.random(n) < np.where(colour == 0, 0.7, 0.1)
    grade = np.clip(age // 20 + smoker + rng.integers(0, 2, n), 0, 5)
    return np.stack([age, colour, smoker, grade], axis=1).astype(np.int32)


def shards(codes, sites=SITES, seed=0):
    """Units at each of `sites` sites, a row each."""
    at = np.random.default_rng(seed).integers(0, sites, len(codes))
    return [Units(codes[at == k], np.arange((at == k).sum())) for k in range(sites)]


def answer(of, half, task, own, at=0, seed=0):
    """One site's answer to one task, through the real mechanism."""
    noise = ZeroNoise() if of.plan[0].multiplier is None else SeededNoise(seed, f"site{at}")
    mechanism = Metered(
        noise,
        repr(task).encode(),
        shares=of.shares,
        capacity=of.roster[0].capacity,
        max_rows_per_unit=of.most_rows_of_a_unit,
    )
    noised, claim = half.answer(task, own, mechanism), half.claim(task)
    assert mechanism.events == (claim.event,)
    return open_noised(noised, mechanism, claim.size)


def total(of, half, task, units, seed=0):
    """The sum over sites of their answers to one task."""
    return sum(answer(of, half, task, own, at, seed) for at, own in enumerate(units))


def each(of, half, tasks, units, seed=0):
    """Each site's answer to its own task, by its name; `units` in the roster's order."""
    named = zip(of.roster, units, strict=True)
    return {m.name: answer(of, half, tasks[m.name], own, at, seed) for at, (m, own) in enumerate(named)}


def tvd_of_pairs(real, made, sizes):
    """Mean total variation distance over all pairs of columns."""
    distances = []
    for i in range(len(sizes)):
        for j in range(i):
            one, other = (
                np.bincount(codes[:, i] * sizes[j] + codes[:, j], minlength=sizes[i] * sizes[j]) / len(codes)
                for codes in (real, made)
            )
            distances.append(np.abs(one - other).sum() / 2)
    return float(np.mean(distances))
