"""Distances between rows of mixed columns are what the module says."""

import numpy as np
import pytest

from silosynth.common.evaluate.attacks.space import nearest, space, width
from silosynth.common.evaluate.tables import Table

pytest.importorskip("sklearn")


def table(*columns: list[float] | list[int]) -> Table:
    arrays = tuple(np.array(one, np.float64 if isinstance(one[0], float) else np.int32) for one in columns)
    return Table(arrays, len(columns[0]))


def between(attacked: Table, levels: tuple[int, ...], first: int, second: int) -> float:
    points = space(attacked, levels).points(attacked)
    return float(((points[first] - points[second]) ** 2).sum())


def test_equal_rows_have_no_distance_and_an_unlike_code_has_one() -> None:
    rows = table([1.0, 1.0, 1.0], [0, 0, 1], [-1, -1, -1])
    assert between(rows, (0, 2, 1), 0, 1) == 0
    assert between(rows, (0, 2, 1), 0, 2) == pytest.approx(1)


def test_a_missing_code_is_a_code_and_a_missing_number_is_far_from_numbers_only() -> None:
    rows = table([np.nan, np.nan, 1.0], [-1, 0, -1])
    assert between(rows, (0, 2), 0, 1) == pytest.approx(1)
    assert between(rows, (0, 2), 0, 2) >= 1


def test_numbers_lie_by_rank_so_that_one_giant_does_not_decide() -> None:
    rows = table([0.0, 1.0, 2.0, 1e12])
    assert between(rows, (0,), 0, 1) == pytest.approx(1 / 16)
    assert between(rows, (0,), 2, 3) == pytest.approx(1 / 16)


def test_values_beyond_those_attacked_lie_at_the_end() -> None:
    attacked, others = table([0.0, 1.0, 2.0]), table([-50.0, 0.0, 99.0, 2.0])
    points = space(attacked, (0,)).points(others)
    assert points[0].tolist() == points[1].tolist()
    assert points[2].tolist() == points[3].tolist()


def test_many_codes_are_apart_like_few() -> None:
    rows = table(list(range(500)))
    points = space(rows, (500,)).points(rows)
    assert points.shape[1] == width(500) == 24
    apart = ((points[1:] - points[:-1]) ** 2).sum(axis=1)
    assert apart.mean() == pytest.approx(1, abs=0.05)  # standard error .008
    assert apart.min() > 0.2


def test_the_nearest_row_is_itself_at_distance_zero() -> None:
    rng = np.random.default_rng(0)
    rows = Table((rng.normal(size=300), rng.integers(0, 5, 300).astype(np.int32)), 300)
    points = space(rows, (0, 5)).points(rows)
    distances, found = nearest(points, points, 2)
    assert (distances[:, 0] == 0).all()
    assert (distances[:, 1] > 0).all()
    assert (found[:, 0] == np.arange(300)).all()
    assert nearest(points, points[:1], 5)[0].shape == (300, 1)


def test_columns_may_be_chosen_and_may_be_constant_or_missing_throughout() -> None:
    rows = table([np.nan, np.nan], [3.0, 3.0], [0, 0])
    made = space(rows, (0, 0, 1))
    assert not np.ptp(made.points(rows), axis=0).any()
    assert made.of(made.points(rows), [2, 0]).shape == (2, 4)
