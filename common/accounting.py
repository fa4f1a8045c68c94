"""Events in, epsilon out: the only place where a privacy parameter is computed, but for Poisson samples (sampled.py).

A history of Gaussian releases is mu-GDP with mu^2 the sum over its events (privacy.mu_squared), so everything here is a
function of one number (Dong, Roth, Su 2019, corollary 1; Balle, Wang 2018, theorem 8):

    delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu) + 2^-40.

The last term pays for noise that is discrete, truncated and pseudo-random instead of Gaussian and random: the bridge
of privacy.Gaussian, and 1 + e^epsilon times the distances of discrete.py and csprng.py. It suffices for epsilon up to
10 in the largest studies (10^7 coordinates, 5,000 releases, 100 sites) and up to 20 in ordinary ones (10^5, 1,000,
100); beyond, a printed epsilon is that of ideal noise. In a ledger with certified histories (sampled.py), which may
take 15/16 of it, up to 7 and up to 17. Conversions round against whoever spends: epsilon up, mu^2 down.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from statistics import NormalDist

SLACK = 2.0**-40
"""Part of every delta that pays for the implementation of noise."""

_MARGIN = 1e-9  # relative: far above the rounding of `delta`, far below anything anybody can see
_SERIES_FROM = 20  # e^(x^2) overflows beyond 26
_NORMAL = NormalDist()


def delta(mu: float, epsilon: float) -> float:
    """Smallest delta for which mu-GDP is (epsilon, delta)-differential privacy, and the slack. mu, epsilon >= 0."""
    if mu < 0 or epsilon < 0:
        raise ValueError("mu and epsilon are not negative")
    if mu == 0:
        return SLACK
    near, far = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    # far^2 - near^2 = 2 epsilon takes e^epsilon into the density, so that nothing overflows.
    density = math.exp(-near * near / 2)
    below = _erfcx(near / math.sqrt(2)) * density if near > 0 else math.erfc(near / math.sqrt(2))
    return max(0.0, (below - _erfcx(far / math.sqrt(2)) * density) / 2) + SLACK


def epsilon(mu_squared: Fraction, delta: float) -> float:
    """Least epsilon, rounded up, for which a history priced `mu_squared` is (epsilon, delta)-differentially private.

    Raises ValueError where no epsilon can be: delta not above 2^-40 and below 1.
    """
    _check(delta)
    mu = _root_up(mu_squared)
    if _covered(mu, 0.0, delta, _MARGIN):
        return 0.0
    high = mu * mu / 2 + mu + 1e-9
    while not _covered(mu, high, delta, _MARGIN):
        high *= 2
    return _bisect(0.0, high, lambda trial: _covered(mu, trial, delta, _MARGIN))[1]


def mu_squared_for(epsilon: float, delta: float) -> Fraction:
    """Largest mu^2, rounded down, whose history is (epsilon, delta)-differentially private: what a plan may spend.

    Formal guarantee: epsilon(mu_squared_for(e, d), d) <= e. Raises ValueError for epsilon not above 0 or not finite.
    """
    _check(delta)
    if not 0 < epsilon < math.inf:
        raise ValueError("epsilon must be positive and finite")
    high = 1.0
    while _covered(_root_up(Fraction(high)), epsilon, delta, 2 * _MARGIN):
        high *= 2
    return Fraction(
        _bisect(0.0, high, lambda trial: not _covered(_root_up(Fraction(trial)), epsilon, delta, 2 * _MARGIN))[0]
    )


def advantage(mu: float) -> float:
    """Most that any membership test gains over guessing, true positive less false positive rate: 2 Phi(mu/2) - 1."""
    return math.erf(mu / math.sqrt(8))


def tpr_at(mu: float, fpr: float) -> float:
    """True positive rate of the best membership test with false positive rate `fpr`: Phi(Phi^-1(fpr) + mu)."""
    return _NORMAL.cdf(_NORMAL.inv_cdf(fpr) + mu)


def _covered(mu: float, epsilon: float, allowed: float, margin: float) -> bool:
    return delta(mu, epsilon) * (1 + margin) <= allowed


def _bisect(low: float, high: float, holds: Callable[[float], bool]) -> tuple[float, float]:
    """Neighbouring floats between which `holds` turns true; it does not at `low` and does at `high`."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if holds(middle) else (middle, high)
    return low, high


def _root_up(square: Fraction) -> float:
    """A float not below the square root."""
    root = math.sqrt(square)
    while Fraction(root) ** 2 < square:
        root = math.nextafter(root, math.inf)
    return root


def _erfcx(x: float) -> float:
    """e^(x^2) erfc(x) for x >= 0, to a relative 1e-12 or so (Abramowitz, Stegun 1964, 7.1.23)."""
    if x < _SERIES_FROM:
        return math.exp(x * x) * math.erfc(x)
    step = 1 / (2 * x * x)
    return (1 - step * (1 - 3 * step * (1 - 5 * step * (1 - 7 * step)))) / (x * math.sqrt(math.pi))


def _check(delta: float) -> None:
    if not SLACK < delta < 1:
        raise ValueError("delta must lie above 2^-40 and below 1")
