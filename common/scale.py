"""The integer grids in which answers are given, and the L2 sensitivities that follow. Public facts only.

A mechanism releases integers; here stands, for each of its verbs, how much one unit can move them. client/mechanism.py
enforces the bounds, the coordinator divides by the same grids, and the certificate prints them.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

HISTOGRAM_GRID = 5040
"""Grid units of one unit (person) in a histogram: divisible by 1..10, so that rows of a unit share it exactly."""

SUM_GRID = 1 << 16
"""Grid units of the clip norm in a clipped sum."""


@dataclass(frozen=True)
class Sensitivity:
    """L2 sensitivity in grid units for adding or removing one unit, as its exact square."""

    squared: int


def histogram_sensitivity(groups: int) -> Sensitivity:
    """A unit moves each of `groups` tables by at most HISTOGRAM_GRID in L1, so the vector by grid * sqrt(groups) in L2."""
    return Sensitivity(HISTOGRAM_GRID**2 * groups)


def clipped_sum_sensitivity(size: int, capacity: int) -> Sensitivity:
    """L2 sensitivity of a clipped sum of `size` coordinates over at most `capacity` rows, rounded once to integers.

    With rows' vectors v_r of norm <= 1, weighted so that a unit's sum has norm <= 1, accumulated in float64:
    |fl(S) - S|_2 <= gamma * sum_r |v_r| <= gamma * capacity with gamma = n u / (1 - n u), u = 2^-53, n = capacity + 8, for
    any order of summation (Higham 2002, section 4.2); the same for the neighbour. Rounding two numbers that differ by x to
    integers changes their difference by at most 1 a coordinate, sqrt(size) in L2. Hence
    Delta <= grid * (1 + 2 gamma capacity + 2^-40) + sqrt(size); 2^-40 covers the relative error of norms and weights.
    """
    rounding = Fraction(capacity + 8, 2**53)
    gamma = rounding / (1 - rounding)
    slack = 2 * gamma * capacity + Fraction(1, 2**40)
    bound = SUM_GRID * (1 + slack) + math.isqrt(size - 1) + 1
    return Sensitivity(math.ceil(bound**2))


def site_variance(sensitivity: Sensitivity, multiplier: Fraction, shares: int) -> int:
    """Noise parameter sigma_i^2 of one site in grid units^2, rounded up: (multiplier * Delta)^2 / shares + 4.

    Then the total of `shares` sites satisfies sum sigma_i^2 - 4 >= (multiplier * Delta)^2 and one site's own answer
    sigma_i^2 - 4 >= (multiplier * Delta)^2 / shares: the two prices of privacy.Gaussian.
    """
    return math.ceil(multiplier**2 * sensitivity.squared / shares) + 4
