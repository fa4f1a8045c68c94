"""How little a history of Gaussian sums hides, to relative accuracy: delta at every epsilon, from its privacy losses.

The privacy loss of a sum over a Poisson sample is log(p(x)/q(x)), x ~ p, where {p, q} are {(1 - rate) N(0, s^2) + rate
N(1, s^2), N(0, s^2)}: this pair dominates the vector sum at noise multiplier s, in one order for a unit that leaves the
table, in the other for one that joins it (Zhu, Dong, Wang 2022, theorem 11 and proposition 30). Losses of adaptive
steps add up (their theorem 10), so here is a convolution:

  1  losses are rounded to a grid without ever understating delta: the mass between two grid points is split between
     them so that both its p and its q are kept ("connect the dots", Doroshenko et al. 2022, theorem 6);
  2  they are added up by FFT after exponential tilting: an FFT's errors are absolute, about 1e-13, and would drown the
     small deltas that a certificate needs; tilted to a mean near epsilon, what matters there is the bulk.

Every delta is an upper bound: what is cut off is counted as given away, and `ROUNDING` pays for float arithmetic.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from scipy.special import log_ndtr, ndtr

from silosynth.common.arrays import Real

ROUNDING = 1e-6
"""Relative: added to every delta. Far above what rounding does to 10^7 steps, far below anything anybody can see."""

LEAST_MULTIPLIER = 0.05
MOST_STEPS = 10_000_000

_FINENESS = 24  # grid points in a standard deviation of one step's loss: costs 0.03 % in epsilon
_MOST_POINTS = 1 << 19
_MOST_SIZE = 1 << 22
_REACH = 10.0  # standard deviations of noise beyond which a step counts as without any: a chance of 2e-23
_STEEPEST = 700.0  # e to it is still a float
_STRIDE = 1.5  # between tilts, in standard deviations
_OUTSIDE = 45.0  # log of one over what may lie outside the FFT's window
_SHOWN = 256  # epsilons in a standard deviation


@dataclass(frozen=True)
class Steps:
    """`count` Gaussian sums at noise multiplier `multiplier` over Poisson samples at `rate`."""

    count: int
    rate: float
    multiplier: float


@dataclass(frozen=True)
class Curve:
    """Upper bounds `deltas` at increasing `epsilons` from 0, for units that join and that leave; the last is tiny."""

    epsilons: Real = field(repr=False)
    deltas: Real = field(repr=False)

    def epsilon(self, delta: float) -> float:
        """Least epsilon, rounded up, with a delta not above `delta`; inf where the curve does not go so far."""
        below = np.flatnonzero(self.deltas <= delta)
        if not below.size or below[0] == 0:
            return 0.0 if below.size else math.inf
        after = int(below[0])
        # delta is convex in e^epsilon: between two points it lies below their chord
        (low, high), (more, less) = self.epsilons[after - 1 : after + 1], self.deltas[after - 1 : after + 1]
        return float(low + math.log1p(math.expm1(high - low) * (more - delta) / (more - less))) * (1 + 1e-12)


@dataclass(frozen=True)
class _Losses:
    """Masses of one step's loss on the grid, from `lowest` * step on; `lost` is the mass of infinite loss."""

    count: int
    lowest: int
    masses: Real
    lost: float


_History: TypeAlias = tuple[_Losses, ...]


@lru_cache(maxsize=64)
def curve(history: tuple[Steps, ...], least: float) -> Curve:
    """Delta of a history at every epsilon, down to `least` (> 0). Raises ValueError for steps too many or too bare."""
    if sum(part.count for part in history) > MOST_STEPS or any(part.multiplier < LEAST_MULTIPLIER for part in history):
        raise ValueError(f"more than {MOST_STEPS:,} sums, or noise below {LEAST_MULTIPLIER} x one person")
    step, spread = _grid(history)
    stride = max(1, int(spread / step / _SHOWN))
    both = [_deltas(tuple(_losses(part, step, joins=joins) for part in history), step, stride, least)
            for joins in (False, True)]  # fmt: skip
    size = max(len(deltas) for deltas in both)
    worst = np.max([np.pad(deltas, (0, size - len(deltas)), mode="edge") for deltas in both], axis=0)
    falling = np.minimum.accumulate(np.minimum(1.0, worst * (1 + ROUNDING)))  # delta never rises
    return Curve(_multiples(0, size, stride * step), falling)


def gaussian(mu: float, epsilons: Real) -> Real:
    """Delta of a mu-GDP mechanism, shape of `epsilons` (Balle, Wang 2018, theorem 8), within 1e-9 or so."""
    return np.maximum(0.0, _tested(mu, epsilons, epsilons))


def under_gaussian(mu: float, epsilons: Real) -> tuple[Real, Real]:
    """Bounds on the delta of a mu-GDP mechanism between neighbours of `epsilons`, from below: at their left and right.

    Straight in e^epsilon between the two: what the best test for the middle achieves. Shape (points - 1,) each.
    """
    middle = (epsilons[:-1] + epsilons[1:]) / 2
    return _tested(mu, middle, epsilons[:-1]), _tested(mu, middle, epsilons[1:])


def _tested(mu: float, best_for: Real, epsilons: Real) -> Real:
    """P(A) - e^epsilon Q(A) for the region A that maximises it at other epsilons, P = N(mu, 1) and Q = N(0, 1)."""
    false_alarm = log_ndtr(-mu / 2 - best_for / mu)
    return np.asarray(ndtr(mu / 2 - best_for / mu) - np.exp(epsilons + false_alarm))


def _grid(history: tuple[Steps, ...]) -> tuple[float, float]:
    """The step of the loss grid, and about the standard deviation of the whole loss."""
    count = sum(part.count for part in history)
    spread = math.sqrt(sum(part.count * (part.rate / part.multiplier) ** 2 for part in history))
    widest = max(2 * _REACH / part.multiplier + part.multiplier**-2 for part in history)
    return max(spread / math.sqrt(count) / _FINENESS, widest / _MOST_POINTS), spread


def _losses(part: Steps, step: float, *, joins: bool) -> _Losses:
    """One step's loss on the grid: connect the dots, for a unit that `joins` or one that leaves."""
    rate, sigma = part.rate, part.multiplier

    def loss(x: float) -> float:
        log_ratio = (2 * x - 1) / (2 * sigma**2)
        mixed = np.logaddexp(math.log1p(-rate), math.log(rate) + log_ratio) if rate < 1 else log_ratio
        return float(-mixed if joins else mixed)

    ends = sorted((loss(-_REACH * sigma), loss(1 + _REACH * sigma)))
    lowest = math.floor(ends[0] / step)
    dots = _multiples(lowest, math.ceil(ends[1] / step) + 1 - lowest, step)
    ratio = -dots if joins else dots
    with np.errstate(divide="ignore"):  # a loss that is never reached: the log of nothing
        # two ways to write e^ratio - (1 - rate), each where it does not cancel
        odds = np.where(ratio < -1, np.exp(ratio) - (1 - rate), np.expm1(ratio) + rate)
        at = np.where(odds > 0, sigma**2 * np.log(np.maximum(odds, 0) / rate) + 0.5, -np.inf)
    at = np.concatenate([[np.inf], at, [-np.inf]]) if joins else np.concatenate([[-np.inf], at, [np.inf]])
    out, into = _between(at / sigma), _between((at - 1) / sigma)
    mixed = (1 - rate) * out + rate * into
    upper, lower = (out, mixed) if joins else (mixed, out)
    # of the mass between two dots, the part for the right one keeps its sum with e^-loss; beyond the last dot: infinity
    right = np.clip(upper[1:] - lower[1:] * np.exp(dots), 0, upper[1:])
    right[:-1] = np.minimum(right[:-1] / -math.expm1(-step), upper[1:-1])
    masses = upper[1:] - right
    masses[0] += upper[0]
    masses[1:] += right[:-1]
    return _Losses(part.count, lowest, masses, float(right[-1]))


def _multiples(first: int, count: int, of: float) -> Real:
    return np.arange(first, first + count, dtype=np.float64) * of


def _between(x: Real) -> Real:
    """Standard normal masses between neighbours of a monotone x, each to relative accuracy."""
    low, high = np.minimum(x[:-1], x[1:]), np.maximum(x[:-1], x[1:])
    upside = low + high > 0
    return np.asarray(np.where(upside, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low)))


def _deltas(history: _History, step: float, stride: int, least: float) -> Real:
    """Delta at 0, stride * step, ... until it is below `least`, shape (points,)."""
    lost = -math.expm1(sum(part.count * math.log1p(-part.lost) for part in history))
    found: list[Real] = []
    points = 0
    for theta, centre, log_scale, following in _tilts(history, step, math.log(least)):
        until = math.ceil(following / (stride * step))
        if until > points:
            epsilons = _multiples(points, until - points, stride * step)
            found.append(_tail(history, step, theta, centre, epsilons) * math.exp(log_scale))
            points = until
    return np.concatenate([*found, [least]]) + lost  # Chernoff: beyond the last tilt's mean there is less than `least`


def _tilts(history: _History, step: float, log_least: float) -> Iterator[tuple[float, float, float, float]]:
    """Tilts from 0 on, mean losses under them, log E[e^(theta (loss - mean))], and the next mean."""
    theta, most = 0.0, step * sum(part.count * (part.lowest + len(part.masses) - 1) for part in history)
    log_moment, mean, deviation = _moments(history, step, theta)
    while log_moment - theta * mean > log_least and mean < most - step / 2:
        stride = _STRIDE / deviation
        while (after := _moments(history, step, theta + stride))[1] > mean + 2 * _STRIDE * deviation:
            stride /= 2  # the rare large losses take over here
        yield theta, mean, log_moment - theta * mean, after[1] if after[1] < most - step / 2 else most
        theta, (log_moment, mean, deviation) = theta + stride, after


def _moments(history: _History, step: float, theta: float) -> tuple[float, float, float]:
    """The log of E[e^(theta loss)] for the sum of losses, and its mean and standard deviation under that tilt."""
    log_moment = mean = variance = 0.0
    for part in history:
        losses = _multiples(part.lowest, len(part.masses), step)
        weights, log_one = _tilted(part.masses, theta * losses)
        middle = float(weights @ losses)
        log_moment += part.count * log_one
        mean += part.count * middle
        variance += part.count * float(weights @ (losses - middle) ** 2)
    return log_moment, mean, math.sqrt(max(variance, step**2))


def _tilted(masses: Real, exponents: Real) -> tuple[Real, float]:
    """Weights masses * e^exponents, scaled to add up to 1, and the log of what they added up to."""
    most = float(exponents[masses > 0].max())
    weights = masses * np.exp(exponents - most)
    total = float(weights.sum())
    return weights / total, most + math.log(total)


def _tail(history: _History, step: float, theta: float, centre: float, epsilons: Real) -> Real:
    """E[(1 - e^(epsilon - loss))^+] at epsilons >= about `centre`, divided by E[e^(theta (loss - centre))]."""
    low, high = _window(history, step, theta)
    size = 1 << (high - low).bit_length()
    if size > _MOST_SIZE:
        raise ValueError("sums so many and so rarely sampled that their losses cannot be added up")
    spectrum = np.ones(size // 2 + 1, dtype=np.complex128)
    start = 0
    for part in history:
        losses = _multiples(part.lowest, len(part.masses), step)
        weights, _ = _tilted(part.masses, theta * losses)
        folded = np.zeros(-(-len(weights) // size) * size)
        folded[: len(weights)] = weights
        spectrum *= np.fft.rfft(folded.reshape(-1, size).sum(axis=0)) ** part.count
        start += part.count * part.lowest
    tilted = np.roll(np.fft.irfft(spectrum, size), start - low)  # position 0 is loss number `low`
    losses = _multiples(low, size, step)
    above = losses > epsilons[0]
    beyond, masses = losses[above], np.maximum(tilted[above], 0) * np.exp(-theta * (losses[above] - centre))
    first = np.searchsorted(beyond, epsilons, side="right")
    mass = np.append(np.cumsum(masses[::-1])[::-1], 0)
    kept = np.append(np.cumsum((masses * np.exp(epsilons[0] - beyond))[::-1])[::-1], 0)
    outside = math.exp(-_OUTSIDE - theta * (high * step - centre))
    rises = np.exp(np.minimum(epsilons - epsilons[0], _STEEPEST))
    return np.asarray(np.maximum(mass[first] - rises * kept[first], 0) + outside)


def _window(history: _History, step: float, theta: float) -> tuple[int, int]:
    """Loss numbers outside of which the tilted sum has less than e^-_OUTSIDE of its mass on either side (Chernoff)."""
    log_moment, mean, deviation = _moments(history, step, theta)
    ends = []
    for side in (-1, 1):
        reaches = []
        for more in (0.1, 0.3, 1.0, 3.0, 5.0, 7.0, 9.0, 12.0):
            shift = side * more / deviation
            reach = (_moments(history, step, theta + shift)[0] - log_moment - shift * mean + _OUTSIDE) / abs(shift)
            reaches.append(reach)
        ends.append(mean + side * min(reaches))
    return math.floor(ends[0] / step), math.ceil(ends[1] / step)
