"""Sensitivities and the noise that follows: inequalities are checked in exact rationals."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from silosynth.common import scale
from silosynth.common.scale import Sensitivity, clipped_sum_sensitivity, histogram_sensitivity, site_variance

multipliers = st.fractions(Fraction(1, 1000), 1000)


def test_a_unit_moves_every_table_by_its_grid():
    assert histogram_sensitivity(1).squared == 5040**2
    assert histogram_sensitivity(91).squared == 91 * 5040**2


def test_rows_of_a_unit_share_the_histogram_grid_exactly():
    assert all(scale.HISTOGRAM_GRID % rows == 0 for rows in range(1, 11))


def test_a_unit_moves_a_clipped_sum_by_the_grid():
    assert clipped_sum_sensitivity().squared == 2**60


def test_a_block_of_rows_is_an_exact_float():
    assert scale.MICRO_BATCH * scale.SUM_GRID < 2**53
    assert scale.MAX_CAPACITY * scale.SUM_GRID <= 2**53


@given(multipliers, st.integers(1, 200), st.integers(1, 10**20))
def test_both_prices_of_an_event_hold_for_the_noise_it_gets(multiplier, shares, squared):
    # mu^2 = Delta^2 / (sigma^2 - 4): one site against everybody, and the sum of `shares` sites with one -4.
    variance = site_variance(Sensitivity(squared), multiplier, shares)
    assert Fraction(squared) / (variance - 4) <= shares / multiplier**2
    assert Fraction(squared) / (shares * variance - 4) <= 1 / multiplier**2
    # Not wasteful: less than one square grid unit above what is needed.
    assert variance - 4 - multiplier**2 * squared / shares < 1


@pytest.mark.parametrize(("multiplier", "expected"), [(Fraction(1, 3), 7), (Fraction(1), 29), (Fraction(7, 5), 53)])
def test_variances_round_up(multiplier, expected):
    assert site_variance(Sensitivity(100), multiplier, 4) == expected


def test_a_count_deviates_by_the_noise_of_all_answers():
    # Three answers, whose shares of two make the whole: half as much again in variance as is needed.
    found = scale.count_deviation(91, Fraction(7, 2), 2, 3)
    assert found == pytest.approx(3.5 * (91 * 3 / 2) ** 0.5, rel=1e-6)
    assert scale.count_deviation(91, None, 2, 3) == 0


class TestSampledSlots:
    @pytest.mark.parametrize(
        ("rate", "capacity", "rows"),
        [
            (Fraction(1, 50), 31_000, 1),
            (Fraction(1, 50), 31_000, 4),
            (Fraction(1, 10), 200, 1),
            (Fraction(1, 10), 2000, 10),
            (Fraction(9, 10), 20_000, 1),
            (Fraction(1, 1000), 1_000_000, 1),
            (Fraction(1, 1000), 50_000, 50),
        ],
    )
    def test_overflow_with_probability_below_2_to_the_minus_90(self, rate, capacity, rows):
        # Units of the most rows spread most: rows * Binomial(capacity / rows, rate).
        slots = scale.sampled_slots(rate, capacity, rows)
        assert binom.sf(slots // rows, capacity // rows, float(rate)) < 2**-90
        assert slots % scale.SAMPLED_BLOCK == 0

    def test_are_not_many_more_than_needed(self):
        assert scale.sampled_slots(Fraction(1, 50), 31_000, 1) == 960  # 620 on average
        assert scale.sampled_slots(Fraction(1), 1000, 3) == 1024
        assert scale.sampled_slots(Fraction(1, 10**9), 10, 10) == 64

    @given(st.fractions(Fraction(1, 10**6), 1), st.integers(1, scale.MAX_CAPACITY), st.integers(1, 5040))
    def test_hold_the_mean_and_never_exceed_the_capacity_by_a_block(self, rate, capacity, rows):
        slots = scale.sampled_slots(rate, capacity, rows)
        assert rate * capacity <= slots < capacity + scale.SAMPLED_BLOCK
