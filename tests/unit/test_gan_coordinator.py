"""The GAN's half at the coordinator: resumes to the same bits, learns, stops where networks run away; both trusts."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows, shards, total, tvd_of_pairs
from gan_made import gan_study

from silosynth.client.engines.gan import Gan as SiteHalf
from silosynth.common.engines import gan as engine
from silosynth.common.errors import Diverged
from silosynth.common.schema import Schema
from silosynth.server.engines.gan import Gan

ROWS = 3000


def run(of, codes, seed=0, stop=None, state=None):
    half, site, units = Gan(of, seed), SiteHalf(of), shards(codes)
    state = state or half.start()
    while state.released != stop and (task := half.next(state)) is not None:
        state = half.absorb(state, task, total(of, site, task, units, seed))
    return half, state


def test_tasks_follow_the_plan_and_end():
    of = gan_study(1.0, steps=3)
    half, state = run(of, rows(500))
    assert half.next(state) is None
    assert state.released == of.releases == 5
    assert 300 < half.units(state) < 700


def test_a_resumed_study_ends_in_the_same_generator_bit_for_bit():
    of, codes = gan_study(1.0, steps=6), rows(1000)
    half, state = run(of, codes)
    for stop in (0, 1, 2, 3, 5, 7):
        first, early = run(of, codes, stop=stop)
        frozen = {name: array.copy() for name, array in first.freeze(early).items()}
        second, later = run(of, codes, state=Gan(of, 0).thaw(frozen))
        for name, array in half.freeze(state).items():
            assert array.tobytes() == second.freeze(later)[name].tobytes()
    one, other = half.finish(state), second.finish(later)
    assert one.weights.tobytes() == other.weights.tobytes()
    assert np.array_equal(*(made.sample(100, np.random.default_rng(0)) for made in (one, other)))


def test_another_seed_makes_another_generator():
    of, codes = gan_study(1.0, steps=2), rows(300)
    (half, one), (_, other) = run(of, codes, seed=0), run(of, codes, seed=1)
    assert not np.array_equal(half.finish(one).weights, half.finish(other).weights)


def test_a_total_of_the_wrong_size_is_an_error():
    half = Gan(gan_study(1.0), 0)
    with pytest.raises(ValueError, match="size"):
        half.absorb(half.start(), engine.CountOneWays(), np.zeros(3, dtype=np.int64))


def test_the_snapshot_that_fits_the_noisy_pairs_best_is_kept():
    of, codes = gan_study(math.inf, steps=8), rows(1000)
    half, site, units = Gan(of, 0), SiteHalf(of), shards(codes)
    state, kept = half.start(), []
    while (task := half.next(state)) is not None:
        state = half.absorb(state, task, total(of, site, task, units))
        kept.append((state.misfit, state.best.tobytes()))
    taken = [misfit for misfit, _ in kept]
    assert taken[:2] == [math.inf] * 2  # counts
    assert taken[2:] == sorted(taken[2:], reverse=True)
    assert math.isfinite(taken[2])
    assert all((a == b) == (one == other) for (a, one), (b, other) in pairwise(kept[2:]))


def test_learning_beats_independent_columns():
    codes, rng = rows(ROWS), np.random.default_rng(9)
    shuffled = np.stack([rng.permutation(column) for column in codes.T], axis=1)
    coarse = np.array([20, 1, 1, 1])
    sizes = [size // by + 1 for size, by in zip(SCHEMA.sizes, coarse, strict=True)]
    half, state = run(gan_study(10.0, capacity=1300, steps=40), codes)
    made = half.finish(state).sample(ROWS, rng)
    distance, floor = (tvd_of_pairs(codes // coarse, table // coarse, sizes) for table in (made, shuffled))
    assert distance < 0.6 * floor
    ages = [np.bincount(table[:, 0], minlength=101) / ROWS for table in (codes, made)]
    assert np.abs(ages[0] - ages[1]).sum() / 2 < 0.12


@pytest.mark.parametrize("columns", [1, 2])
def test_narrow_tables_work(columns):
    of = gan_study(math.inf, schema=Schema(SCHEMA.columns[:columns]), steps=5, capacity=1300)
    codes = rows(ROWS)[:, :columns]
    half, state = run(of, codes)
    made = half.finish(state).sample(ROWS, np.random.default_rng(0))
    assert made.shape == codes.shape
    counted = [np.bincount(table[:, 0], minlength=101) / ROWS for table in (codes, made)]
    assert np.abs(counted[0] - counted[1]).sum() / 2 < 0.05  # by calibration


def test_no_rows_at_all_still_make_a_generator():
    half, state = run(gan_study(1.0, steps=2, capacity=10), np.zeros((0, 4), dtype=np.int32))
    assert half.finish(state).sample(50, np.random.default_rng(0)).shape == (50, 4)


@pytest.mark.parametrize(("network", "said"), [("critic", "discriminator's"), ("generator", "generator's")])
def test_networks_that_run_away_stop_the_study_and_say_what_was_spent(network, said):
    of, codes = gan_study(1.0, steps=4), rows(300)
    half, state = run(of, codes, stop=3)
    sick = replace(state, **{network: getattr(state, network) * np.float32(np.inf)})
    task = engine.SumGradients(half.next(state).coarsening, state.critic[0])
    some = np.ones(engine.answer_size(of, task), dtype=np.int64)
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=rf"round 2: the {said}.*4 of 6 releases.*epsilon"):
        half.absorb(sick, task, some)
    assert half.next(half.absorb(state, task, some)) is not None  # the state before the bad step goes on


def test_the_plan_is_that_of_its_trust():
    of = gan_study(1.0, steps=2)
    assert [step.kind for step in of.plan] == ["one-ways", "pairs", "gradient"]
    assert sum((step.repeats / step.multiplier**2 for step in of.plan), Fraction(0)) > 0
