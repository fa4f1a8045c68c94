"""The discrete Gaussian sampler against its law. Keys are fixed, so a test passes always or never."""

import os
from bisect import bisect_right
from itertools import accumulate, pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from silosynth.common import discrete
from silosynth.common.csprng import Csprng
from silosynth.common.discrete import MAX_VARIANCE, DiscreteGaussian, levels

ALARM = 1e-6


@given(st.integers(1, MAX_VARIANCE))
def test_levels_add_up_to_the_variance_exactly_and_smooth_each_other(variance):
    parts = levels(variance)
    assert sum(factor**2 * part for factor, part in parts) == variance
    for i, (factor, part) in enumerate(parts[:-1]):
        k = parts[i + 1][0] // factor
        coarse = sum(f**2 * p for f, p in parts[i + 1 :]) // (factor * k) ** 2
        assert parts[i + 1][0] == k * factor
        assert part * coarse >= 16 * (part + k**2 * coarse)  # r^2 >= 16
    assert all(f < g for (f, _), (g, _) in pairwise(parts))


@pytest.mark.parametrize("variance", [0, -1, MAX_VARIANCE + 1])
def test_variances_out_of_range_are_refused(variance):
    with pytest.raises(ValueError, match=r"1\.\.2\^100"):
        DiscreteGaussian(variance)


def test_levels_that_would_not_smooth_are_refused(monkeypatch):
    monkeypatch.setattr(discrete, "_MAX_FACTOR", 200)
    with pytest.raises(AssertionError, match="too far apart"):
        levels(10**12)


@pytest.mark.parametrize(("fine", "k", "coarse"), [(2**16, 60, 2**8), (66_000, 60, 2**17), (2**16, 16, 2**8)])
def test_the_sum_of_two_levels_is_one_discrete_gaussian(fine, k, coarse):
    # The convolution itself, in floating point: the law of x1 + k x2 at a few points around 0 and one sigma out.
    variance = fine + k * k * coarse
    reach = int(12 * coarse**0.5) + 1
    j = np.arange(-reach, reach + 1)
    weight = np.exp(-(j**2) / (2 * coarse))
    points = np.array([0, 1, k // 2, k - 1, k, int(variance**0.5), int(variance**0.5) + k // 2])
    mixed = np.array([(weight * np.exp(-((z - k * j) ** 2) / (2 * fine))).sum() for z in points])
    ratio = mixed / np.exp(-(points**2) / (2 * variance))
    assert np.ptp(ratio) / ratio[0] < 1e-12


@pytest.mark.parametrize("sigma", [1, 3, 64, 1_000, 1_000_000, 2**36])
def test_samples_follow_the_law(sigma):
    n = 1_000_000
    sample = DiscreteGaussian(sigma**2).sample(n, Csprng(bytes([7]) * 32))
    if sigma <= 3:
        edges = np.arange(-3 * sigma, 3 * sigma + 1)
        mass = np.exp(-(np.arange(-20 * sigma, 20 * sigma + 1) ** 2) / (2 * sigma**2))
        cumulative = np.cumsum(mass / mass.sum())[edges + 20 * sigma]
    else:
        # Wide laws: the normal at half-integers, off by (x^2/sigma^2 - 1) / (24 sigma^2): 1e-4 in the statistic.
        edges = np.unique(np.rint(np.linspace(-3.5, 3.5, 202) * sigma).astype(np.int64))
        cumulative = stats.norm.cdf((edges + 0.5) / sigma)
    expected = np.diff(cumulative, prepend=0, append=1) * n
    observed = np.bincount(np.searchsorted(edges, sample, side="left"), minlength=edges.size + 1)
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert expected.min() > 20
    assert ALARM < stats.chi2.sf(statistic, expected.size - 1) < 1 - ALARM


@pytest.mark.parametrize("sigma", [64, 1_000, 1_000_000])
def test_the_lowest_digits_are_uniform(sigma):
    # Levels that were too far apart would show here as a comb, long before they show in the variance.
    sample = DiscreteGaussian(sigma**2).sample(1_000_000, Csprng(bytes([9]) * 32))
    for modulus in (2, 3, 60):
        observed = np.bincount(sample % modulus, minlength=modulus)
        expected = sample.size / modulus
        assert stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), modulus - 1) > ALARM


def test_samples_are_independent():
    sample = DiscreteGaussian(10**12).sample(1_000_000, Csprng(bytes([8]) * 32)) / 1e6
    assert abs((sample[1:] * sample[:-1]).mean()) < 5 / 1000
    assert abs((sample[1:] ** 2 * sample[:-1] ** 2).mean() - 1) < 5 * 8**0.5 / 1000


@pytest.mark.parametrize("variance", [1, 9, 70_000])
def test_a_table_is_exact_to_192_bits(variance):
    # The definition, tails cut where the table cuts them, in 500-bit arithmetic.
    table = discrete._Table(variance)
    with mpmath.workprec(500):
        weights = [mpmath.exp(mpmath.mpf(-x * x) / (2 * variance)) for x in range(-table._reach, table._reach + 1)]
        total = mpmath.fsum(weights)
        assert len(table._entries) == len(weights) - 1
        for entry, running in zip(table._entries, accumulate(weights), strict=False):
            assert abs(entry - running / total * 2**192) <= 1


@pytest.mark.parametrize("variance", [1, 2, 9, 70_000, 2**17])
def test_what_a_table_leaves_out_is_below_2_to_minus_141(variance):
    reach = discrete._Table(variance)._reach
    with mpmath.workprec(500):
        outside = mpmath.nsum(lambda i: mpmath.exp(-((reach + 1 + i) ** 2) / mpmath.mpf(2 * variance)), [0, reach])
        inside = mpmath.fsum(mpmath.exp(mpmath.mpf(-x * x) / (2 * variance)) for x in range(-reach, reach + 1))
        assert 2 * outside / inside < mpmath.mpf(2) ** -141


class Scripted:
    """A stream that gives the words it was told, and counts them."""

    def __init__(self, words):
        self.left = [int(word) for word in words]

    def words(self, n):
        taken, self.left = self.left[:n], self.left[n:]
        assert len(taken) == n
        return np.array(taken, dtype=np.uint64)


@pytest.mark.parametrize("variance", [1, 2, 9, 70_000])
def test_ties_are_broken_by_the_whole_192_bits(variance):
    # Inversion by big integers, and by one word and, only on a tie, two more, at and around entries.
    table = discrete._Table(variance)
    firsts = {entry >> 128 for entry in table._entries}
    for entry in table._entries[:: max(1, len(table._entries) // 400)]:
        word = entry >> 128 << 128
        around = (word - 1, word, entry - 1, entry, entry + 1, word + 2**128 - 1, word + 2**128)
        for number in (number for number in around if 0 <= number < 2**192):
            words = [number >> 64 * i & (2**64 - 1) for i in (2, 1, 0)]
            stream = Scripted(words)
            assert table.sample(1, stream)[0] == bisect_right(table._entries, number) - table._reach
            assert len(stream.left) == (0 if words[0] in firsts else 2)


def test_words_that_tie_do_not_disturb_their_neighbours():
    table = discrete._Table(9)
    tie = table._entries[40]
    clear = [1 << 63, (1 << 63) + 12345]
    stream = Scripted([clear[0], tie >> 128, clear[1], (tie >> 64) & (2**64 - 1), tie & (2**64 - 1)])
    drawn = table.sample(3, stream)
    alone = [table.sample(1, Scripted([word]))[0] for word in clear]
    assert drawn.tolist() == [alone[0], 41 - table._reach, alone[1]]
    assert stream.left == []


def test_the_stream_decides_everything():
    law = DiscreteGaussian(10**10)
    first, again, other = (law.sample(1000, Csprng(bytes([key]) * 32)) for key in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).mean() > 0.99
    assert law.sample(0, Csprng(bytes(32))).shape == (0,)


def test_the_largest_variance_stays_within_its_bound():
    largest = sum(factor * discrete._table(part)._reach for factor, part in levels(MAX_VARIANCE))
    assert largest < 2**55


def test_opendp_agrees():
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    n, sigma = 4_000, 50.0
    space = dp.vector_domain(dp.atom_domain(T="i32")), dp.l2_distance(T="f64")
    theirs = np.array(dp.m.make_gaussian(*space, scale=sigma)([0] * n))
    ours = DiscreteGaussian(int(sigma**2)).sample(n, Csprng(os.urandom(32)))
    # Two fresh samples: the same law is rejected with probability 1e-6.
    assert stats.ks_2samp(theirs, ours).pvalue > ALARM
