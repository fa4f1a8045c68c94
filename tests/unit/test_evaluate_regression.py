"""The compared regression: against statsmodels, against fitting again, and on tables that break naive fits."""

import numpy as np
import pytest

from silosynth.common.arrays import Real
from silosynth.common.evaluate.regression import (
    Fitted,
    coefficient_difference,
    compared,
    fit,
    interval_overlap,
    terms,
)
from silosynth.common.evaluate.tables import Table


def sample(rows: int, seed: int, effect: float = 1.0) -> tuple[Real, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, 4))
    chance = 1 / (1 + np.exp(-(0.3 + inputs @ np.array([effect, -effect / 2, 0.0, 0.0]))))
    return inputs, rng.random(rows) < chance


def fitted(rows: int, seed: int, effect: float = 1.0) -> Fitted:
    inputs, outcome = sample(rows, seed, effect)
    return fit(inputs, outcome, np.arange(rows) % 20)


def test_coefficients_and_errors_are_those_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    inputs, outcome = sample(3000, 1)
    ours = fit(inputs, outcome, np.zeros(3000, dtype=np.int64))
    theirs = api.Logit(outcome.astype(float), api.add_constant(inputs)).fit(disp=0)
    np.testing.assert_allclose(ours.coefficients[0], theirs.params[1:], atol=0.01)  # the ridge of one row
    np.testing.assert_allclose(ours.errors[0], theirs.bse[1:], rtol=0.01)


def test_one_newton_step_leaves_a_group_out() -> None:
    inputs, outcome = sample(2000, 2)
    groups = np.arange(2000) % 20
    left = fit(inputs, outcome, groups)
    kept = groups != 7
    alone = fit(inputs[kept], outcome[kept], np.zeros(kept.sum(), dtype=np.int64))
    np.testing.assert_allclose(left.coefficients[8], alone.coefficients[0], atol=2e-3)
    np.testing.assert_allclose(left.errors[8], alone.errors[0], rtol=0.02)


def test_the_same_fit_overlaps_wholly_and_an_opposite_one_not_at_all() -> None:
    real = fitted(2000, 1)
    assert compared(real)[:2].all()
    assert interval_overlap(real, real)[0] == pytest.approx(1)
    assert coefficient_difference(real, real)[0] == 0
    assert interval_overlap(real, fitted(2000, 3, effect=-1.0))[0] == 0
    assert coefficient_difference(real, fitted(2000, 3, effect=-1.0))[0] > 10


def test_fresh_samples_overlap_as_theory_says() -> None:
    """Of two samples of one size the difference is normal with variance 2: overlap 1 - E|d| / (2 * 1.96) = .71."""
    overlaps = [
        interval_overlap(fitted(1000, 2 * seed, effect=2), fitted(1000, 2 * seed + 1, effect=2))[0]
        for seed in range(40)
    ]
    assert np.mean(overlaps) == pytest.approx(0.71, abs=0.1)


def test_half_an_interval_is_half_an_overlap() -> None:
    real = Fitted(np.array([[2.0]]), np.array([[0.1]]))
    moved = Fitted(np.array([[2.0 + 1.959963984540054 * 0.1]]), np.array([[0.1]]))
    assert interval_overlap(real, moved)[0] == pytest.approx(0.5)
    assert coefficient_difference(real, moved)[0] == pytest.approx(1.96, abs=1e-3)


@pytest.mark.filterwarnings("error")
def test_a_perfect_predictor_and_a_constant_outcome_still_have_a_fit() -> None:
    inputs = np.random.default_rng(0).normal(size=(300, 2))
    for outcome in (inputs[:, 0] > 0, np.zeros(300, dtype=bool)):
        found = fit(inputs, outcome, np.arange(300) % 5)
        assert np.isfinite(found.coefficients).all()
        assert np.isfinite(found.errors).all()


def test_predictors_are_common_codes_and_numbers_that_vary() -> None:
    rng = np.random.default_rng(0)
    code = rng.choice(4, size=1000, p=[0.5, 0.3, 0.195, 0.005]).astype(np.int32)
    number = rng.normal(10, 3, size=1000)
    number[:50] = np.nan
    table = Table((code, number, np.full(1000, 3.0), rng.normal(size=1000)), 1000)
    outcome = code == 1
    found = terms(table, (("a", "b", "c", "d"), (), (), ()), outcome, target=3)
    assert [term.column for term in found] == [0, 1]
    assert found[0].codes == (1, 2)
    assert found[1].missing
    assert found[1](table).shape == (1000, 2)
    assert found[1](table)[:, 0].std() == pytest.approx(1, abs=0.03)
    assert found[0](table).sum(axis=0).tolist() == [(code == 1).sum(), (code == 2).sum()]
