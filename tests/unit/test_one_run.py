"""The bound from right guesses: the authors' formula, true as often as it claims, and it does find a broken claim."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from silosynth.common.one_run import CONFIDENCE, chance, refuted


@pytest.mark.parametrize(("guesses", "right"), [(100, 0), (100, 60), (40, 40), (1, 1)])
@pytest.mark.parametrize("epsilon", [0.0, 0.7, 4.0])
def test_the_chance_is_that_of_the_paper(guesses: int, right: int, epsilon: float) -> None:
    """Theorem 5.2, term by term: P(W >= v) + 2 m delta max_i P(v > W >= v - i) / i."""
    coin = binom(guesses, math.exp(epsilon) / (1 + math.exp(epsilon)))
    assert chance(100, guesses, right, epsilon, 0.0) == pytest.approx(coin.sf(right - 1))
    steps = [(coin.cdf(right - 1) - coin.cdf(right - 1 - i)) / i for i in range(1, right + 1)]
    expected = coin.sf(right - 1) + 2 * 100 * 1e-3 * max(steps, default=0)
    assert chance(100, guesses, right, epsilon, 1e-3) == pytest.approx(min(1, expected))


def bound(epsilon: float, rng: np.random.Generator, canaries: int = 400, delta: float = 0.0) -> float:
    """From randomised response, which is epsilon-private with equality: nothing leaks more."""
    taken = rng.random(canaries) < 0.5
    true = rng.random(canaries) < math.exp(epsilon) / (1 + math.exp(epsilon))
    scores = np.where(taken == true, 1, -1) * (1 + rng.random(canaries))
    return refuted(scores, taken, delta).lower


@pytest.mark.parametrize("epsilon", [0.0, 2.0])
def test_the_bound_is_below_the_truth_as_often_as_it_claims_and_not_far(epsilon: float) -> None:
    """200 runs at 95 %: more than 28 above the truth with probability < 1e-6 (binomial at .05)."""
    rng = np.random.default_rng(0)
    bounds = np.array([bound(epsilon, rng) for _ in range(200)])
    assert CONFIDENCE == 0.95
    assert (bounds > epsilon).sum() <= 28
    assert np.median(bounds) >= 0.6 * epsilon


def test_twice_the_epsilon_refutes_the_claim() -> None:
    rng = np.random.default_rng(1)
    assert all(bound(2.0, rng) > 1.0 for _ in range(20))


def test_nothing_but_right_guesses_give_the_closed_form() -> None:
    """All of 50 right: refuted is every coin whose 50th power is below a third of 5 %, a third for each share."""
    coin = (0.05 / 3) ** (1 / 50)
    taken = np.arange(50) % 2 == 0
    found = refuted(np.where(taken, 1.0, -1.0), taken, 0.0)
    assert (found.guesses, found.right) == (50, 50)
    assert found.lower == pytest.approx(math.log(coin / (1 - coin)))


def test_delta_weakens_the_bound_and_few_or_no_right_guesses_show_nothing() -> None:
    assert bound(3.0, np.random.default_rng(2), delta=1e-5) < bound(3.0, np.random.default_rng(2))
    assert refuted(np.ones(50), np.zeros(50, dtype=bool), 0.0).lower == 0
    assert refuted(np.ones(1), np.ones(1, dtype=bool), 0.0).lower == 0


def test_sure_guesses_are_counted_by_themselves() -> None:
    """A tenth of the canaries is known for sure, of the others nothing: abstaining shows it."""
    rng = np.random.default_rng(3)
    taken = rng.random(1_000) < 0.5
    scores = rng.normal(size=1_000) * 0.01
    scores[:100] = np.where(taken[:100], 1, -1)
    found = refuted(scores, taken, 1e-6)
    assert (found.guesses, found.right) == (100, 100)
    assert found.lower > 2.5
