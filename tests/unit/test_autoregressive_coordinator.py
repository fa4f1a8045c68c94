"""The coordinator's half: a pure machine that resumes where it stopped, learns, and learns less from noise."""

import math

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows, shards, study, total, tvd_of_pairs

from silosynth.client.engines.autoregressive import Autoregressive as SiteHalf
from silosynth.common.engines import autoregressive as engine
from silosynth.common.schema import Schema
from silosynth.server.engines.autoregressive import Autoregressive

ROWS = 3000


def run(of, codes, seed=0, stop=None):
    half, site, units = Autoregressive(of, seed), SiteHalf(of), shards(codes)
    state = half.start()
    while state.released != stop and (task := half.next(state)) is not None:
        state = half.absorb(state, task, total(of, site, task, units, seed))
    return half, state


def sampled(of, codes, seed=0):
    half, state = run(of, codes, seed)
    return half.finish(state).sample(len(codes), np.random.default_rng(seed))


def test_tasks_follow_the_plan_and_end():
    of = study(1.0, steps=3)
    half, state = run(of, rows(500))
    assert half.next(state) is None
    assert state.released == of.releases == 5


def test_a_resumed_study_ends_in_the_same_bits():
    of, codes = study(1.0, steps=6), rows(1000)
    half, state = run(of, codes)
    for stop in (0, 1, 2, 5):
        first, early = run(of, codes, stop=stop)
        second, site, units = Autoregressive(of, 0), SiteHalf(of), shards(codes)
        later = second.thaw({name: array.copy() for name, array in first.freeze(early).items()})
        while (task := second.next(later)) is not None:
            later = second.absorb(later, task, total(of, site, task, units))
        for name, array in half.freeze(state).items():
            assert array.tobytes() == second.freeze(later)[name].tobytes()
    one, other = (h.finish(s).sample(100, np.random.default_rng(0)) for h, s in ((half, state), (second, later)))
    assert np.array_equal(one, other)


def test_a_total_of_the_wrong_size_is_an_error():
    of = study(1.0)
    half = Autoregressive(of, 0)
    with pytest.raises(ValueError, match="size"):
        half.absorb(half.start(), engine.CountOneWays(), np.zeros(3, dtype=np.int64))


def test_nothing_but_one_ways_can_come_first():
    of = study(1.0)
    half = Autoregressive(of, 0)
    assert half.next(half.start()) == engine.CountOneWays()


def test_without_noise_pairs_are_learnt_and_noise_costs_accuracy():
    codes = rows(ROWS)
    rng = np.random.default_rng(9)
    shuffled = np.stack([rng.permutation(column) for column in codes.T], axis=1)
    coarse = np.array([20, 1, 1, 1])
    sizes = [size // by + 1 for size, by in zip(SCHEMA.sizes, coarse, strict=True)]
    distance = {
        epsilon: tvd_of_pairs(codes // coarse, sampled(study(epsilon, capacity=1300), codes) // coarse, sizes)
        for epsilon in (math.inf, 1.0, 0.1)
    }
    independent = tvd_of_pairs(codes // coarse, shuffled // coarse, sizes)
    assert distance[math.inf] < 0.03 < distance[1.0] < distance[0.1]
    assert distance[1.0] < 0.6 * independent


@pytest.mark.parametrize("columns", [1, 2])
def test_narrow_tables_work(columns):
    schema = Schema(SCHEMA.columns[:columns])
    codes = rows(ROWS)[:, :columns]
    made = sampled(study(math.inf, schema=schema, steps=10, capacity=1300), codes)
    assert made.shape == codes.shape
    counted = [np.bincount(table[:, 0], minlength=101) / ROWS for table in (codes, made)]
    assert np.abs(counted[0] - counted[1]).sum() / 2 < 0.05


def test_no_rows_at_all_still_make_a_generator():
    of = study(1.0, steps=2, capacity=10)
    made = sampled(of, rows(1)[:0].reshape(0, 4))
    assert made.shape == (0, 4)
    half, state = run(of, np.zeros((0, 4), dtype=np.int32))
    assert half.finish(state).sample(50, np.random.default_rng(0)).shape == (50, 4)
