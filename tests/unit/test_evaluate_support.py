"""Alpha-precision and beta-recall: rows in the same places, rows too central, rows in one corner."""

import numpy as np
import pytest

from silosynth.common.arrays import Real
from silosynth.common.evaluate.support import LEVELS, support
from silosynth.common.evaluate.tables import groups_of

ROWS = 1200


def points(seed: int, spread: float = 1.0) -> Real:
    return np.random.default_rng(seed).normal(size=(ROWS, 3)) * spread


def measured(other: Real, real: Real | None = None) -> tuple[float, float]:
    groups = groups_of(np.arange(len(other)), np.random.default_rng(0))
    found = support(points(1) if real is None else real, other, groups)
    return float(found.alpha_precision[0]), float(found.beta_recall[0])


def test_fresh_rows_are_precise_and_recall_half_of_the_nearest_neighbours() -> None:
    precision, recall = measured(points(2))
    assert precision > 0.93
    assert 0.4 < recall < 0.6  # of two samples, each holds the nearest row half of the time


def test_shrunken_rows_are_too_central_and_wide_ones_lie_outside() -> None:
    assert measured(points(2, spread=0.4))[0] < 0.6
    assert measured(points(2, spread=3))[0] < 0.4
    assert measured(points(2, spread=3))[1] < measured(points(2))[1] - 0.1


def test_rows_of_one_corner_recall_little() -> None:
    corner = points(2) * 0.1 + 2
    precision, recall = measured(corner)
    assert precision < 0.4
    assert recall < 0.05


def test_the_real_rows_themselves_recall_everything() -> None:
    """Each real row has a row at distance 0: all of beta is recalled. Real twins lie at distance 0 too."""
    assert measured(points(1))[1] > 0.95
    twins = np.repeat(points(1)[:600], 2, axis=0)
    assert measured(twins, real=twins)[1] > 0.95


def test_neighbours_are_those_of_scikit_learn_and_the_curve_is_the_definition() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    real, other = points(1), points(2) * 1.3
    among = neighbors.NearestNeighbors(n_neighbors=2).fit(real).kneighbors(real)[0][:, 1]
    near, which = neighbors.NearestNeighbors(n_neighbors=1).fit(other).kneighbors(real)
    deep = np.sqrt(((other - other.mean(axis=0)) ** 2).sum(axis=1))[which[:, 0]]
    curve = [((near[:, 0] <= among) & (deep <= np.quantile(deep, beta))).mean() for beta in LEVELS]
    outward = np.sqrt(((real - real.mean(axis=0)) ** 2).sum(axis=1))
    inside = np.sqrt(((other - real.mean(axis=0)) ** 2).sum(axis=1))
    ball = [(inside <= np.quantile(outward, alpha)).mean() for alpha in LEVELS]
    precision, recall = measured(other)
    assert recall == pytest.approx(1 - 2 * np.abs(np.array(curve) - LEVELS).mean(), abs=1e-12)
    assert precision == pytest.approx(1 - 2 * np.abs(np.array(ball) - LEVELS).mean(), abs=1e-12)


def test_leaving_a_group_out_is_measuring_the_others() -> None:
    real, other = points(1)[:300], points(2)[:300]
    groups = np.arange(300) % 4
    left = support(real, other, groups)
    kept = groups != 2
    alone = support(real, other[kept], groups[kept] - (groups[kept] > 2))
    assert left.alpha_precision[3] == pytest.approx(alone.alpha_precision[0])
    assert left.beta_recall[3] == pytest.approx(alone.beta_recall[0], abs=0.03)  # the centre is that of all rows
