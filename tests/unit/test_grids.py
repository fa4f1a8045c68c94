"""Grids: cells lie side by side, cover the bounds, and keep what may be a spike apart."""

import numpy as np
import pytest

from silosynth.common.grids import CELLS, Range, grid

RANGES = [
    Range(0, 1024, (), 1, asinh=False),
    Range(0, 1025, (0.0,), 1, asinh=False),
    Range(0, 1e6, (0.0, 12_345.0), 1, asinh=True),
    Range(-5e5, 1e6, (0.0,), 1, asinh=True),
    Range(-3.5, 8.25, (0.0, 1.5), None, asinh=False),
    Range(-1e9, 1e9, (0.0,), None, asinh=True),
    Range(0, 9.99, (0.0, 5.0), 100, asinh=False),
    Range(0, 0.03, (0.0,), 100, asinh=False),
    Range(5e-324, 1e-300, (), None, asinh=False),
]


@pytest.mark.parametrize("of", RANGES, ids=str)
def test_cells_lie_side_by_side_and_cover_the_bounds(of):
    cells = grid(of)
    step = np.nextafter(cells.last[:-1], np.inf) if of.per_unit is None else cells.last[:-1] + 1
    assert np.array_equal(step, cells.first[1:])
    assert (cells.first <= cells.last).all()
    assert cells.first[0] == np.rint(of.low * of.per_unit) if of.per_unit else cells.first[0] == of.low
    assert cells.last[-1] == np.rint(of.high * of.per_unit) if of.per_unit else cells.last[-1] == of.high


@pytest.mark.parametrize("of", RANGES, ids=str)
def test_decode_stays_in_the_cell_and_encode_finds_it_again(of):
    cells = grid(of)
    every = np.tile(np.arange(cells.size), 20)
    values = cells.decode(every, np.random.default_rng(1))
    assert np.array_equal(cells.encode(values), every)
    assert values.min() >= of.low
    assert values.max() <= of.high


@pytest.mark.parametrize("of", RANGES, ids=str)
def test_bounds_and_exact_values_come_back_exactly(of):
    values = np.array([of.low, of.high, *of.exact], dtype=np.float64)
    assert np.array_equal(grid(of).decode(grid(of).encode(values), np.random.default_rng(2)), values)


def test_whole_numbers_up_to_1024_have_a_cell_each_and_wider_ranges_few():
    assert grid(RANGES[0]).size == 1025
    for of in RANGES[1:]:
        assert grid(of).size <= CELLS + 2 * (len(of.exact) + 2)


def test_an_asinh_grid_is_fine_near_zero_and_coarse_far_out():
    cells = grid(Range(0, 1e6, (0.0,), None, asinh=True))
    widths = (cells.last - cells.first)[cells.last > cells.first]
    assert widths[0] < 50
    assert widths[-2] > 10_000


def test_values_beyond_the_bounds_fall_into_the_outermost_cells():
    cells = grid(RANGES[4])
    assert cells.encode(np.array([-1e300, 1e300])).tolist() == [0, cells.size - 1]


def test_draws_are_uniform_over_the_values_of_a_cell():
    cells = grid(Range(0, 2560, (), 1, asinh=False))
    cell = int(np.argmax(cells.last - cells.first))
    members = np.arange(cells.first[cell], cells.last[cell] + 1)
    drawn = cells.decode(np.full(20_000, cell), np.random.default_rng(3))
    counts = np.array([(drawn == member).sum() for member in members])
    expected = len(drawn) / len(members)
    # 8 standard deviations of a binomial count: false alarms under 1e-13
    assert (np.abs(counts - expected) < 8 * np.sqrt(expected)).all()
