"""Intervals: they hold their value, cover what they claim, and agree with scikit-learn where it has the measure."""

import numpy as np
import pytest

from silosynth.common.evaluate.intervals import (
    bootstrap_weights,
    brier,
    calibration_error,
    curve,
    f1,
    jackknife,
    left_out_weights,
    percentiles,
    way_interval,
    wilson,
)
from silosynth.common.evaluate.tables import PARTS


def test_ranking_scores_are_those_of_scikit_learn_also_with_ties_and_weights() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.2
    scores = np.round(rng.normal(size=400) + truth, 1)  # many ties
    weights = np.vstack([np.ones(400), rng.integers(0, 4, size=(5, 400))])
    measured = curve(scores, truth, weights)
    said = scores > 0.5
    for at, row in enumerate(weights):
        assert measured.auc[at] == pytest.approx(metrics.roc_auc_score(truth, scores, sample_weight=row))
        expected = metrics.average_precision_score(truth, scores, sample_weight=row)
        assert measured.average_precision[at] == pytest.approx(expected)
        assert f1(said, truth, weights)[at] == pytest.approx(metrics.f1_score(truth, said, sample_weight=row))


def test_a_constant_prediction_has_an_auc_of_a_half_and_one_class_has_none() -> None:
    weights = np.ones((1, 4))
    assert curve(np.full(4, 0.3), np.array([True, False, True, False]), weights).auc[0] == 0.5
    assert np.isnan(curve(np.arange(4.0), np.ones(4, dtype=bool), weights).auc[0])
    assert f1(np.zeros(4, dtype=bool), np.zeros(4, dtype=bool), weights)[0] == 0


@pytest.mark.parametrize("same", [True, False])
def test_the_jackknife_of_a_distance_covers_its_expectation(same: bool) -> None:
    """Total variation of a sample of 800 rows over 40 cells; 500 intervals.

    At a true coverage of 95 % fewer than 445 (89 %) hit with probability < 1e-6 (binomial); a bootstrap's percentile
    interval, whose draws are biased upwards, hits far fewer where the two distributions are the same.
    """
    rng = np.random.default_rng(1)
    target = rng.dirichlet(np.full(40, 2.0))
    source = target if same else rng.dirichlet(np.full(40, 2.0)) * 0.3 + target * 0.7
    samples = rng.multinomial(800 // PARTS, source, size=(500, PARTS))  # (repeats, groups, cells)
    whole = samples.sum(axis=1)
    values = np.abs(whole / 800 - target).sum(axis=1) / 2
    left = np.abs((whole[:, None] - samples) / (800 - 800 // PARTS) - target).sum(axis=2) / 2
    expected = values.mean()  # its own error, 1/sqrt(500) of an interval's, is small
    intervals = [jackknife(float(value), row) for value, row in zip(values, left, strict=True)]
    hits = sum(low <= expected <= high for low, high in (one for one in intervals if one))

    assert all(one is not None and one[0] <= value <= one[1] for one, value in zip(intervals, values, strict=True))
    assert hits >= 445
    widths = np.array([high - low for low, high in (one for one in intervals if one)])
    assert widths.mean() < 8 * values.std()  # 4 would be exact; infinitely wide intervals cover everything


def test_no_interval_from_one_group_or_undefined_ones() -> None:
    assert jackknife(0.5, np.array([0.5])) is None
    assert jackknife(0.5, np.array([0.5, np.nan])) is None


def test_wilson_holds_its_rate_and_is_never_empty() -> None:
    for hits, rows in ((0, 10), (10, 10), (3, 10), (1, 100_000)):
        low, high = wilson(hits, rows)
        assert 0 <= low <= hits / rows <= high <= 1
        assert low < high
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson 1927, any textbook


def test_draws_are_of_whole_persons_and_the_first_is_plain() -> None:
    persons = np.array([0, 0, 0, 1, 2, 2])
    weights = bootstrap_weights(persons, np.random.default_rng(2))
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 4] == weights[:, 5]).all()
    assert (weights[1:, [0, 3, 4]].sum(axis=1) == 3).all()


def test_a_bootstrap_interval_holds_its_value_and_needs_enough_draws() -> None:
    draws = np.append(0.9, np.linspace(0.1, 0.3, 300))
    assert percentiles(draws) == (pytest.approx(0.105), 0.9)
    assert percentiles(np.append(0.9, np.full(300, np.nan))) is None


def test_brier_score_is_that_of_scikit_learn_and_calibration_that_of_counting() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    chance = rng.random(500)
    truth = rng.random(500) < chance**2
    weights = np.vstack([np.ones(500), rng.integers(0, 4, size=500)])
    for at, row in enumerate(weights):
        expected = metrics.brier_score_loss(truth, chance, sample_weight=row)
        assert brier(chance, truth, weights)[at] == pytest.approx(expected)
    bins = np.digitize(chance, np.quantile(chance, np.arange(1, 10) / 10), right=True)
    by_hand = sum(abs((chance - truth)[bins == one].sum()) for one in range(10)) / 500
    assert calibration_error(chance, truth, weights)[0] == pytest.approx(by_hand)
    assert calibration_error(np.full(500, truth.mean()), truth, weights)[0] == pytest.approx(0, abs=1e-12)


def test_the_place_between_floor_and_ceiling_counts_the_errors_of_all_three() -> None:
    def left_out(error: float) -> np.ndarray:
        spread = np.linspace(-1, 1, 20)
        return 5 + spread * error / np.sqrt(19 / 20 * (spread**2).sum())

    alone = way_interval((0.9, 0.5, 0.9), (left_out(0.01), left_out(0), left_out(0)))
    assert alone == pytest.approx((100 - 2.093 * 2.5, 100 + 2.093 * 2.5), abs=0.01)  # t, 19 degrees of freedom
    both = way_interval((0.9, 0.5, 0.9), (left_out(0.01), left_out(9), left_out(0.01)))
    assert both == pytest.approx((100 - 2.093 * 2.5 * 2**0.5, 100 + 2.093 * 2.5 * 2**0.5), abs=0.01)
    assert way_interval((0.9, 0.5, 0.9), (left_out(0.01), left_out(0), np.array([0.5]))) is None


def test_weights_that_leave_out_a_group() -> None:
    np.testing.assert_array_equal(left_out_weights(np.array([0, 1, 1])), [[0, 1, 1], [1, 0, 0]])
