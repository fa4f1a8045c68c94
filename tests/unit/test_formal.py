"""Bounds on membership tests: reached by the best test between two Gaussians, exceeded by none, and caught if false."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import norm

from silosynth.common import formal
from silosynth.common.formal import advantage_within, hiding, within
from silosynth.common.privacy import Composed, Gaussian, NoPrivacy, Repeated, Sampled
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Study, Trust

SCHEMA = Schema((Column("ill", Kind.BOOLEAN, codes=("no", "yes")),))
ROSTER = tuple(Member(f"s{at}", 100, "ab" * 32) for at in range(4))
MASKED = Study("s", SCHEMA, Budget(1.0, 1e-6, 1), roster=ROSTER)
LOCAL = replace(MASKED, trust=Trust.LOCAL)
TWO = Composed((Repeated(3, Gaussian(Fraction(3), 3)), Gaussian(Fraction(2), 3)))
TRIALS = 400_000


def tpr_of(log_ratio_in: np.ndarray, log_ratio_out: np.ndarray, fpr: float) -> float:
    """Of the likelihood ratio test."""
    return float((log_ratio_in > np.quantile(log_ratio_out, 1 - fpr)).mean())


def brute(fpr: float) -> tuple[float, float]:
    """TPR and advantage of the likelihood ratio test on the four sums of TWO, by simulation: 1/3, 1/3, 1/3 and 1/2."""
    rng = np.random.default_rng(0)
    shift = np.array([1 / 3, 1 / 3, 1 / 3, 1 / 2])
    out, into = (rng.normal(size=(TRIALS, 4)) + mean for mean in (0.0, shift))
    ratios = [seen @ shift for seen in (into, out)]
    middle = float(shift @ shift) / 2
    return tpr_of(*ratios, fpr), float((ratios[0] > middle).mean() - (ratios[1] > middle).mean())


def test_the_best_test_between_two_gaussians_reaches_the_bound_and_does_not_exceed_it() -> None:
    """Standard errors: of the TPR .0005, of the quantile's FPR 5 %; six of each are allowed."""
    public = hiding(MASKED, TWO)[0]
    assert public.mu == pytest.approx(math.sqrt(3 / 9 + 1 / 4))
    for fpr, most in public.tpr:
        assert brute(fpr)[0] == pytest.approx(most, rel=0.3 if fpr < 0.005 else 0.1)
    assert brute(0.01)[1] == pytest.approx(public.advantage, abs=0.006)
    assert public.advantage == pytest.approx(2 * norm.cdf(public.mu / 2) - 1, abs=1e-9)


def test_a_bound_from_half_the_noise_is_not_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: mu halved. The simulated test above it must exceed what it promises."""
    monkeypatch.setattr(formal, "mu_squared", lambda events, view: Fraction(7, 12) / 4)
    public = hiding(MASKED, TWO)[0]
    assert brute(0.01)[0] > public.tpr[1][1] * 1.5
    assert brute(0.01)[1] > public.advantage + 0.05


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (0.5, 0.0), (1.0, 1e-3), (5.0, 0.1), (1000.0, 0.0)])
def test_one_epsilon_and_delta_bound_what_the_worst_mechanism_reaches(epsilon: float, delta: float) -> None:
    """Kairouz et al.'s own mechanism: with chance delta it tells, else randomised response. Brute force over tests."""
    odds = math.exp(min(epsilon, 700))
    inside = np.array([delta, (1 - delta) * odds / (1 + odds), (1 - delta) / (1 + odds), 0])
    outside = inside[::-1]
    tpr, fpr = np.cumsum(np.append(0, inside)), np.cumsum(np.append(0, outside))
    assert (tpr - fpr).max() == pytest.approx(advantage_within([(epsilon, delta)]))
    for at in (0.0, 1e-3, 0.01, 0.2, 0.5, 0.9, 1.0):
        reached = float(np.interp(at, fpr, tpr)) if at else float(tpr[fpr == 0].max())
        assert within([(epsilon, delta)], at) == pytest.approx(reached, abs=1e-12)


def test_a_curve_of_epsilons_is_no_looser_than_the_closed_form() -> None:
    """The same Gaussian history, once in closed form and once as a sampled one with rate 1."""
    for multiplier in (Fraction(1), Fraction(5, 2)):
        closed = hiding(LOCAL, Repeated(2, Gaussian(multiplier, 1)))[0]
        event = Composed((Repeated(2, Gaussian(multiplier, 1)), Sampled(Fraction(1, 10**6), Gaussian(Fraction(50), 1))))
        curve = hiding(LOCAL, event)[0]
        assert curve.mu is None
        assert curve.advantage == pytest.approx(closed.advantage, rel=5e-3)
        for (fpr, most), (same, exact) in zip(curve.tpr, closed.tpr, strict=True):
            assert fpr == same
            assert exact <= most * (1 + 1e-6)
            assert most == pytest.approx(exact, rel=1e-2)


def test_a_sampled_sum_hides_as_its_best_test_finds() -> None:
    """One sum over a sample at rate .3, noise 1: the likelihood ratio test between N(0, 1) and the mixture."""
    found = hiding(LOCAL, Sampled(Fraction(3, 10), Gaussian(Fraction(1), 1)))[0]
    grid = np.linspace(-8, 9, 200_001)
    out, into = norm.sf(grid), 0.7 * norm.sf(grid) + 0.3 * norm.sf(grid - 1)
    assert found.advantage == pytest.approx(float((into - out).max()), rel=5e-3)
    assert found.advantage >= float((into - out).max()) * (1 - 1e-9)
    for fpr, most in found.tpr:
        exact = float(np.interp(fpr, out[::-1], into[::-1]))
        assert exact * (1 - 1e-6) <= most <= exact * 1.6  # the bound is for joining and leaving at once


def test_each_adversary_has_its_own_bound() -> None:
    public, coalition, everybody = hiding(MASKED, TWO)
    assert public.tpr == coalition.tpr
    assert everybody.mu == pytest.approx(math.sqrt(3) * public.mu)
    assert everybody.advantage > public.advantage
    assert "at most 1 of the 4 sites" in coalition.against
    plain = hiding(replace(MASKED, roster=tuple(replace(one, key="") for one in ROSTER)), TWO)
    assert [one.epsilon for one in plain] == [public.epsilon, public.epsilon, everybody.epsilon]
    assert "plain" in plain[2].against
    one = hiding(LOCAL, Gaussian(Fraction(2), 1))
    assert one[0].tpr == one[1].tpr


def test_no_secret_noise_promises_nothing_and_says_so() -> None:
    for found in (*hiding(MASKED, NoPrivacy()), *hiding(MASKED, TWO, private=False)):
        assert found.advantage == 1
        assert math.isinf(found.epsilon)
        assert "no secret noise" in found.words[0]
        assert json.dumps(found.to_json(), allow_nan=False)


def test_words_round_up_and_name_the_unit() -> None:
    found = hiding(replace(MASKED, unit="patient"), TWO)[0]
    first, rare, less_rare = found.words
    assert found.right == pytest.approx(0.6487, abs=1e-4)
    assert "one person took part" in first
    assert "at most 64.9 of 100" in first
    assert "1 in 1,000 of those who did not" in rare
    assert "1 in 100 of those who did not" in less_rare
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["tpr_at_fpr"]["0.001"] == found.tpr[0][1]
    assert "one row took part" in hiding(MASKED, TWO)[0].words[0]


def test_more_noise_hides_more_and_nothing_hides_less_than_a_coin() -> None:
    bounds = [hiding(LOCAL, Gaussian(Fraction(noise), 1))[0] for noise in (1, 3, 30, 10**6)]
    assert [one.advantage for one in bounds] == sorted((one.advantage for one in bounds), reverse=True)
    assert bounds[-1].advantage < 1e-6
    assert all(most >= fpr for one in bounds for fpr, most in one.tpr)
