"""The integer grids in which answers are given, and the L2 sensitivities that follow. Public facts only.

A mechanism releases integers; here stands, for each of its verbs, how much one unit can move them. client/mechanism.py
enforces the bounds, the coordinator divides by the same grids, and the certificate prints them.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

HISTOGRAM_GRID = 5040
"""Grid units of one unit (person) in a histogram: divisible by 1..10, so that rows of a unit share it exactly."""

SUM_GRID_BITS = 30
SUM_GRID = 1 << SUM_GRID_BITS
"""Grid units of the clip norm in a clipped sum. Sums of up to 2^23 rows stay below 2^53: exact in float64."""

MAX_CAPACITY = 1 << 23
"""Most rows one site may put into a clipped sum."""

MICRO_BATCH = 1024
"""Rows whose vectors are computed together, always exactly so many: no shape, hence no kernel, depends on data."""

SAMPLED_BLOCK = 64
"""The same for sums over Poisson samples, whose gradients are dense: 64 rows of 40,000 parameters are 10 MB. Above
32 MB an array is mapped and cleared anew for every block, which was measured to take four times as long."""

_OVERFLOW_BITS = 90


@dataclass(frozen=True)
class Sensitivity:
    """L2 sensitivity in grid units for adding or removing one unit, as its exact square."""

    squared: int


def histogram_sensitivity(groups: int) -> Sensitivity:
    """A unit moves each of `groups` tables by at most the grid in L1, so the vector by grid * sqrt(groups) in L2."""
    return Sensitivity(HISTOGRAM_GRID**2 * groups)


def clipped_sum_sensitivity() -> Sensitivity:
    """A unit of k rows adds k integer vectors of norm <= grid / k each (engine.Terms): at most grid in L2, exactly.

    Other rows' vectors do not depend on it, sums are exact, so there is no slack for rounding. In a sum over a Poisson
    sample a unit adds one integer vector of norm <= grid, or nothing.
    """
    return Sensitivity(SUM_GRID**2)


def sampled_slots(rate: Fraction, capacity: int, max_rows_per_unit: int) -> int:
    """Slots for the rows of a Poisson sample: a public number that is too small with probability below 2^-90.

    Let units of k_i <= m rows, `capacity` = C rows altogether, take part by independent coins of rate q. The rows that
    take part have mean <= q C and variance <= q (1 - q) m C, and each coin moves them by at most m, so by Bernstein's
    inequality they exceed q C + t with probability below exp(-t^2 / (2 q (1 - q) m C + 2 m t / 3)): whatever the units.
    """
    tail, q, m = _OVERFLOW_BITS * math.log(2), float(rate), min(max_rows_per_unit, capacity)
    linear = tail * m / 3
    beyond = linear + math.sqrt(linear**2 + 2 * tail * q * (1 - q) * m * capacity)
    rows = min(capacity, math.ceil(q * capacity + beyond + 1e-6 * capacity))  # the last covers this arithmetic
    return -(-rows // SAMPLED_BLOCK) * SAMPLED_BLOCK


def site_variance(sensitivity: Sensitivity, multiplier: Fraction, shares: int) -> int:
    """Noise parameter sigma_i^2 of one site in grid units^2, rounded up: (multiplier * Delta)^2 / shares + 4.

    Then the total of `shares` sites satisfies sum sigma_i^2 - 4 >= (multiplier * Delta)^2 and one site's own answer
    sigma_i^2 - 4 >= (multiplier * Delta)^2 / shares: the two prices of privacy.Gaussian.
    """
    return math.ceil(multiplier**2 * sensitivity.squared / shares) + 4


def count_deviation(groups: int, multiplier: Fraction | None, shares: int, answers: int) -> float:
    """Standard deviation of the noise in one count of a sum of `answers` sites' answers, in units; 0 without noise.

    The answers are histograms of `groups` tables counted together, each with the noise of `site_variance`.
    """
    if multiplier is None:
        return 0.0
    variance = answers * site_variance(histogram_sensitivity(groups), multiplier, shares)
    return math.sqrt(variance) / HISTOGRAM_GRID
