"""The marginals engine at the coordinator: resumes to the same bits, learns, and works on tables of any width."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows, shards, total, tvd_of_pairs
from marginals_made import marginals_study, run, wide

from silosynth.client.engines.marginals import Marginals as SiteHalf
from silosynth.common.engines import marginals as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.marginals_learning import FEWEST_BINS, affordable_bins, noise
from silosynth.common.generator import load, save
from silosynth.common.scale import HISTOGRAM_GRID
from silosynth.common.schema import Schema
from silosynth.common.study import Trust
from silosynth.server.engines.marginals import Marginals

ROWS = 3000


def test_tasks_follow_the_plan_and_end():
    of = marginals_study(3.0)
    half, state = run(of, rows(1000))
    assert half.next(state) is None
    assert state.released == of.releases == 5
    assert 800 < half.units(state) < 1200


@pytest.mark.parametrize("products", [0, 1])
def test_a_resumed_study_ends_in_the_same_generator_bit_for_bit(products):
    of, codes = marginals_study(3.0, products=products), rows(1000)
    half, state = run(of, codes)
    for stop in range(of.releases):
        first, early = run(of, codes, stop=stop)
        frozen = {name: array.copy() for name, array in first.freeze(early).items()}
        second, later = run(of, codes, state=Marginals(of, 0).thaw(frozen))
        for name, array in half.freeze(state).items():
            assert array.tobytes() == second.freeze(later)[name].tobytes()
    assert save(half.finish(state), of, {}) == save(second.finish(later), of, {})


def test_a_total_of_the_wrong_size_is_an_error():
    half = Marginals(marginals_study(), 0)
    with pytest.raises(ValueError, match="size"):
        half.absorb(half.start(), engine.CountOneWays(), np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="1-ways come first"):
        half.units(half.start())
    with pytest.raises(NotImplementedError):
        half.absorb_each(half.start(), {}, {})


@pytest.mark.parametrize("trust", list(Trust))
def test_the_noise_it_reckons_with_is_the_noise_there_is(trust):
    of = marginals_study(1.0, trust=trust)
    maps = tuple(tuple(range(size)) for size in SCHEMA.sizes)
    none = shards(np.zeros((0, 4), dtype=np.int32))
    for tables in (((0, 3),), ((0, 1), (0, 3), (0, 1, 3))):
        task = engine.CountTables("marginals", Coarsening(maps), tables)
        found = total(of, SiteHalf(of), task, none) / HISTOGRAM_GRID
        # false alarm below 1e-6: the deviation of some 800 numbers has itself one of 2.5 %
        assert found.std() == pytest.approx(noise(of, "marginals", len(tables)), rel=0.13)


def floor_of(codes):
    rng = np.random.default_rng(9)
    return np.stack([rng.permutation(column) for column in codes.T], axis=1)


@pytest.mark.parametrize("products", [0, 1])
def test_learning_beats_independent_columns(products):
    codes = rows(ROWS)
    coarse = np.array([20, 1, 1, 1])
    sizes = [size // by + 1 for size, by in zip(SCHEMA.sizes, coarse, strict=True)]
    half, state = run(marginals_study(10.0, capacity=1300, products=products, iterations=150, components=200), codes)
    made = half.finish(state).sample(ROWS, np.random.default_rng(0))
    distance, floor = (tvd_of_pairs(codes // coarse, table // coarse, sizes) for table in (made, floor_of(codes)))
    assert distance < 0.4 * floor
    ages = [np.bincount(table[:, 0], minlength=101) / ROWS for table in (codes, made)]
    assert np.abs(ages[0] - ages[1]).sum() / 2 < 0.12


def test_the_fit_says_whether_something_is_missed():
    codes = rows(ROWS)
    half, state = run(marginals_study(1.0, capacity=1300), codes)
    assert 0.6 < half.finish(state).misfit < 1.4
    begun = replace(state, asked=state.asked[:0], counts=state.counts[:0], released=3)
    first = half._head.begun(state.ready, np.random.default_rng(0))
    strangers = half.finish(replace(begun, parameters=first))  # independent columns, measured by the coarse tables
    assert strangers.misfit > 1.5 * half.finish(state).misfit


def test_with_local_trust_sites_add_all_noise_and_nothing_else_changes():
    of, codes = marginals_study(10.0, trust=Trust.LOCAL, capacity=1300), rows(ROWS)
    half, state = run(of, codes)
    assert half.next(state) is None
    made = half.finish(state).sample(ROWS, np.random.default_rng(0))
    sizes = SCHEMA.sizes
    assert tvd_of_pairs(codes, made, sizes) < tvd_of_pairs(codes, floor_of(codes), sizes)


@pytest.mark.parametrize("columns", [1, 2])
def test_narrow_tables_work(columns):
    of = marginals_study(math.inf, schema=Schema(SCHEMA.columns[:columns]), target=None, capacity=1300)
    codes = rows(ROWS)[:, :columns]
    half, state = run(of, codes)
    made = half.finish(state).sample(ROWS, np.random.default_rng(0))
    assert made.shape == codes.shape
    counted = [np.bincount(table[:, 0], minlength=101) / ROWS for table in (codes, made)]
    assert np.abs(counted[0] - counted[1]).sum() / 2 < 0.05


@pytest.mark.parametrize("products", [0, 1])
def test_wide_tables_find_the_pairs(products):
    schema, codes = wide(40, 3000)
    of = marginals_study(20.0, schema=schema, target=None, capacity=2000, products=products, components=100)
    half, state = run(of, codes)
    first = set(state.tables(0))
    assert len(first & {(at, at + 1) for at in range(0, 40, 2)}) >= 18  # of 20 that go together, among 780
    generator = half.finish(state)
    made = generator.sample(3000, np.random.default_rng(0))
    same = (made[:, ::2] == made[:, 1::2]).mean()
    # a mixture of 100 products cannot hold twenty pairs that know nothing of each other; a graphical model can
    assert (codes[:, ::2] == codes[:, 1::2]).mean() - same < (0.3 if products else 0.03)
    again = load(save(generator, of, {})).generator
    assert np.array_equal(again.sample(100, np.random.default_rng(1)), generator.sample(100, np.random.default_rng(1)))


def test_no_rows_at_all_still_make_a_generator():
    half, state = run(marginals_study(1.0, capacity=10), np.zeros((0, 4), dtype=np.int32))
    assert half.finish(state).sample(50, np.random.default_rng(0)).shape == (50, 4)


def test_tables_are_chosen_from_noisy_totals_alone():
    """The same totals give the same next task, whatever the rows were."""
    of = marginals_study(1.0)
    half, state = run(of, rows(1000), stop=3)
    task = half.next(state)
    assert task.kind == "marginals"
    again = Marginals(of, 0).thaw(half.freeze(state))
    assert Marginals(of, 0).next(again) == task


def test_the_target_is_counted_with_each_other_column_however_weak():
    of = marginals_study(1.0)
    half, state = run(of, rows(1000), stop=3)
    at = of.schema.index(of.target)
    with_it = {tuple(sorted((at, column))) for column in range(4) if column != at}
    assert with_it <= set(half.next(state).tables)
    none = marginals_study(0.01, target=None)
    half, state = run(none, rows(1000), stop=2)
    assert len(half.next(state).tables) == 1  # lost in the noise, but something must be asked


def test_the_noise_decides_how_fine_tables_are():
    """In a table of two columns, a cell holds some deviations of the noise on average; never below a few bins."""
    of = marginals_study(1.0)
    deviation = noise(of, "marginals", 8)
    for units in (3e3, 1e4, 3e4):
        bins = affordable_bins(of, units)
        assert FEWEST_BINS <= bins <= 24
        if FEWEST_BINS < bins < 24:
            assert units / (bins + 0.5) ** 2 < 5 * deviation < units / (bins - 0.5) ** 2
    assert affordable_bins(of, 10.0) == FEWEST_BINS
    assert affordable_bins(of, 1e7) == 24
    assert affordable_bins(marginals_study(1.0, bins=6), 1e7) == affordable_bins(marginals_study(1.0, bins=6), 9.0) == 6
    assert affordable_bins(marginals_study(math.inf), 1e6) == 24
    assert affordable_bins(marginals_study(1.0, usefulness=20), 3e4) < affordable_bins(of, 3e4)


@pytest.mark.parametrize("cells", [120, 1200, 100_000])
def test_what_is_always_counted_fits_the_model_whatever_bins_are_asked_for(cells):
    of = marginals_study(math.inf, bins=256, cells=cells)
    tables = len(engine.with_each(of))
    assert tables * affordable_bins(of, 1e9) ** 2 <= cells // 2


def test_a_model_holds_what_it_is_allowed_to():
    of = marginals_study(10.0, cells=300)
    half, state = run(of, rows(ROWS))
    model = half.finish(state).model
    assert model.fitted.tree.elimination.cells <= 300 + sum(model.fitted.tree.sizes)


def test_sites_together_answer_as_one_pooled_site():
    of, codes = marginals_study(math.inf), rows(800)
    half, site = Marginals(of, 0), SiteHalf(of)
    state = half.start()
    while (task := half.next(state)) is not None:
        pooled = total(of, site, task, shards(codes, 1))
        assert np.array_equal(pooled, total(of, site, task, shards(codes, 3)))
        state = half.absorb(state, task, pooled)


@pytest.mark.parametrize("target", ["smoker", None])
def test_a_study_of_very_few_cells_makes_a_generator_that_can_be_loaded(target):
    of = marginals_study(3.0, target=target, cells=1)
    half, state = run(of, rows(1000))
    assert load(save(half.finish(state), of, {})).generator.sample(10, np.random.default_rng(0)).shape == (10, 4)


def test_a_useless_usefulness_costs_no_budget():
    assert affordable_bins(marginals_study(1.0, usefulness=1e-310), 1e4) == 24
