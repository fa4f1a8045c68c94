"""Bins and frequencies from noisy counts; coarsenings that are not one are refused; rows fall into the right tables."""

from itertools import combinations, product

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows
from hypothesis import given
from hypothesis import strategies as st

from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import OneWays, Pairs
from silosynth.common.engines.preparation import STEP_COST, estimated_units, prepare, project, smooth
from silosynth.common.errors import MalformedFrame
from silosynth.common.schema import Column, Kind, Schema

SIZES = SCHEMA.sizes


def counts(codes, deviation=0.0, seed=0):
    exact = np.bincount(OneWays(SIZES).cells(codes).ravel(), minlength=sum(SIZES)).astype(np.float64)
    return exact + np.random.default_rng(seed).normal(0, deviation, exact.size)


@pytest.mark.parametrize("deviation", [0.0, 5.0, 50.0, 5000.0])
def test_whatever_the_noise_bins_cover_all_cells_and_frequencies_are_frequencies(deviation):
    made = prepare(SCHEMA, counts(rows(4000), deviation), deviation, 24)
    made.coarsening.check(SIZES)
    for size, marginal, within, bin_of in zip(
        made.coarsening.sizes, made.marginals, made.within, made.coarsening.arrays, strict=True
    ):
        assert marginal.shape == (size,)
        assert marginal.min() >= 0
        assert marginal.sum() == pytest.approx(1)
        np.testing.assert_allclose(np.bincount(bin_of, weights=within), 1)


def test_without_noise_frequencies_and_units_are_exact():
    codes = rows(4000)
    made = prepare(SCHEMA, counts(codes), 0.0, 24)
    assert made.units == pytest.approx(4000)
    bins = made.coarsening.bins(codes)
    for column, (marginal, within) in enumerate(zip(made.marginals, made.within, strict=True)):
        size = made.coarsening.sizes[column]
        np.testing.assert_allclose(marginal, np.bincount(bins[:, column], minlength=size) / 4000, atol=1e-12)
        fine = marginal[made.coarsening.arrays[column]] * within
        np.testing.assert_allclose(fine, np.bincount(codes[:, column], minlength=SIZES[column]) / 4000, atol=1e-12)


def test_ordered_bins_are_intervals_and_heavy_enough_and_a_spike_stands_alone():
    schema = Schema((Column("income", Kind.INTEGER, low=0, high=199),))
    noisy = np.full(201, 20.0)
    noisy[70], noisy[-1] = 6000, 0
    made = prepare(schema, noisy, 10.0, 24)
    bin_of = made.coarsening.arrays[0][:-1]
    assert (np.diff(bin_of) >= 0).all()
    assert (bin_of == bin_of[70]).sum() == 1
    assert 12 <= made.coarsening.sizes[0] <= 27
    assert (np.bincount(bin_of, weights=noisy[:-1]) >= 40).all()


def test_a_missing_cell_that_counts_has_its_own_bin():
    schema = Schema((Column("income", Kind.INTEGER, low=0, high=9),))
    for missing, alone in ((5000.0, True), (1.0, False)):
        bin_of = prepare(schema, np.append(np.full(10, 500.0), missing), 10.0, 24).coarsening.maps[0]
        assert (bin_of.count(bin_of[-1]) == 1) is alone


def test_rare_codes_share_a_bin():
    schema = Schema((Column("c", Kind.CATEGORICAL, codes=("a", "b", "c", "d")),))
    made = prepare(schema, np.array([900.0, 20, 15, 800, 10, 0]), 10.0, 24)
    assert made.coarsening.maps[0] == (0, 2, 2, 1, 2, 2)
    assert made.within[0][1] > made.within[0][2] > 0


def test_units_are_found_within_their_noise():
    deviation, estimates = 30.0, []
    tables = [np.split(counts(rows(4000), deviation, seed), OneWays(SIZES).offsets[1:-1]) for seed in range(200)]
    estimates = np.array([estimated_units(split) for split in tables])
    expected = deviation / np.sqrt(sum(1 / size for size in SIZES))
    assert abs(estimates.mean() - 4000) < 5 * expected / np.sqrt(200)  # false alarms: 6e-7
    assert estimates.std() < 1.4 * expected  # chi-square with 199 degrees: false alarms below 1e-7


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(1, 1e6))
def test_projection_is_the_nearest_point(values, total):
    noisy = np.array(values)
    nearest = project(noisy, total)
    assert nearest.min() >= 0
    assert nearest.sum() == pytest.approx(total, rel=1e-6)
    active = nearest > 0
    shift = (noisy - nearest)[active]
    assert np.ptp(shift) <= 1e-6 * (1 + np.abs(noisy).max())  # one threshold for all cells that keep something
    assert (noisy[~active] <= shift.mean() + 1e-6 * (1 + np.abs(noisy).max())).all()


@pytest.mark.parametrize(
    "maps",
    [
        (),
        ((0,) * 101,),
        ((0,) * 100, (0,) * 5, (0,) * 4, (0,) * 7),
        ((1,) * 101, (0,) * 5, (0,) * 4, (0,) * 7),
        ((0, 2) + (0,) * 99, (0,) * 5, (0,) * 4, (0,) * 7),
        ((0, -1) + (0,) * 99, (0,) * 5, (0,) * 4, (0,) * 7),
        ((0, 1 << 62) + (0,) * 99, (0,) * 5, (0,) * 4, (0,) * 7),
    ],
)
def test_a_malformed_coarsening_is_refused(maps):
    assert SIZES == (101, 5, 4, 7)
    with pytest.raises(MalformedFrame):
        Coarsening(maps).check(SIZES)


def test_pairs_count_what_crossing_columns_counts():
    codes = rows(500)
    coarsening = prepare(SCHEMA, counts(rows(4000)), 0.0, 10).coarsening
    layout, bins = Pairs(coarsening), coarsening.bins(codes)
    cells = layout.cells(codes)
    assert ((cells >= layout.offsets[:-1]) & (cells < layout.offsets[1:])).all()
    tables = np.split(np.bincount(cells.ravel(), minlength=layout.offsets[-1]), layout.offsets[1:-1])
    for (i, j), table in zip(combinations(range(4), 2), tables, strict=True):
        crossed = np.zeros((coarsening.sizes[i], coarsening.sizes[j]))
        np.add.at(crossed, (bins[:, i], bins[:, j]), 1)
        assert np.array_equal(table, crossed.ravel())


def test_smoothing_finds_the_best_of_all_piecewise_constant_fits():
    rng = np.random.default_rng(3)
    for deviation in (0.5, 3.0, 20.0):
        noisy = np.repeat([10.0, 40.0, 12.0], [3, 1, 4]) + rng.normal(0, deviation, 8)

        def cost(fit, steps, noisy=noisy, deviation=deviation):
            return ((noisy - fit) ** 2).sum() + STEP_COST * deviation**2 * steps

        best = np.inf
        for cuts in product([False, True], repeat=7):
            step = np.append(0, np.cumsum(cuts))
            fit = (np.bincount(step, noisy) / np.bincount(step))[step]
            best = min(best, cost(fit, step[-1] + 1))
        found = smooth(noisy, deviation)
        assert cost(found, 1 + np.count_nonzero(np.diff(found))) == pytest.approx(best)


def test_smoothing_keeps_spikes_totals_and_what_has_no_noise():
    exact = np.zeros(500)
    exact[[0, 499]] = 2000, 1000
    noisy = exact + np.random.default_rng(1).normal(0, 60, 500)
    found = smooth(noisy, 60.0)
    assert np.abs(found - exact).sum() < np.abs(noisy - exact).sum() / 3  # a quarter, here
    assert found.sum() == pytest.approx(noisy.sum())
    assert np.array_equal(smooth(noisy, 0.0), noisy)
