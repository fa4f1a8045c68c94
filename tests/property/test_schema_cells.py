"""Whatever bounds and lattice a column has: cells are found again, values stay inside, exact values stay exact."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.common.schema import Column, Kind, Schema


@st.composite
def ordered_columns(draw):
    kind = draw(st.sampled_from([Kind.INTEGER, Kind.NUMBER, Kind.DATE, Kind.DURATION]))
    decimals = draw(st.none() | st.integers(0, 4)) if kind in {Kind.NUMBER, Kind.DURATION} else None
    whole = kind in {Kind.INTEGER, Kind.DATE}
    size = 10**5 if kind is Kind.DATE else 10**9
    numbers = st.integers(-size, size) if whole else st.floats(-size, size)
    low, middle, high = sorted(draw(st.lists(numbers, min_size=3, max_size=3)))
    if decimals is not None:
        low, middle, high = (round(value, decimals) for value in (low, middle, high))
    scale = "auto" if kind is Kind.DATE else draw(st.sampled_from(["auto", "linear", "asinh"]))
    if not low < high:
        high = low + 1 if decimals is None else round(low + 1, decimals)
    special = (middle,) if low <= middle <= high else ()
    return Column("x", kind, low=low, high=high, decimals=decimals, special=special, scale=scale)


@given(ordered_columns(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=200)
def test_cells_are_found_again_and_values_stay_inside(column, seed):
    schema, rng = Schema((column,)), np.random.default_rng(seed)
    codes = rng.integers(0, column.size, (500, 1)).astype(np.int32)
    typed = schema.decode(codes, rng)
    assert np.array_equal(schema.encode(typed), codes)
    values = typed["x"].dropna()
    assert values.between(*column.bounds).all()
    if column.per_unit == 1:
        assert (values == values.round()).all()


@given(ordered_columns())
@settings(deadline=None)
def test_exact_values_come_back_exactly(column):
    low, high = column.bounds
    exact = np.array(
        [low, high, *column.special, *([0.0] if low <= 0 <= high and column.kind is not Kind.DATE else [])]
    )
    cells = column.grid.encode(exact)
    assert np.array_equal(column.grid.decode(cells, np.random.default_rng(0)), exact)


@given(ordered_columns())
@settings(deadline=None)
def test_grids_stay_small(column):
    low, high = column.bounds
    fine = column.per_unit == 1 and high - low <= 1024
    assert column.size <= (1026 if fine else 256 + 2 * 4 + 1)
