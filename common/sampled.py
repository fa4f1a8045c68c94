"""What sums over Poisson samples cost: the epsilon of a history, and the mu^2 that may stand for it in a ledger.

A ledger stops on a sum of mu^2, which is an exact filter for mu-GDP mechanisms, however adaptively they follow each
other (Smith, Thakurta 2022). Sums over Poisson samples are not mu-GDP at any useful mu, and a filter that stops on the
epsilons of sampled histories is not valid. So a history of such sums, fixed before it starts, enters as one purchase:

Formal guarantee: let delta(e) be the history's for units that join and for units that leave, and delta_mu(e) that of a
mu-GDP mechanism. Where delta(e) <= d + (1 - d) delta_mu(e) for all e >= 0 in both directions, d = `SLACK`,

  1  the right-hand side is the delta of a mechanism that with chance d tells all, and else draws a Gaussian (mu-GDP);
  2  so the history can be simulated from one run of that mechanism (Blackwell 1953; Dong, Roth, Su 2019, theorem 2),
     also while its adversary asks other mechanisms in between (Vadhan, Zhang 2023, on interactive f-DP);
  3  so but for a chance d, which does not depend on the data, a ledger with it is one of Gaussians only: the filter on
     the sum of mu^2 holds (for mechanisms asked at the same time: Haney et al. 2023), and delta grows by d.

`MOST_CERTIFIED` such histories in a ledger cost at most 15/16 of accounting.SLACK. What is simulated is the whole: a
started history cannot be credited back in part, because its rest is not covered by the rest of mu^2.

Which pair of distributions dominates a sampled sum, and how their losses add up: privacy_loss.py. The noise of a sum is
discrete; it is post-processing of a Gaussian at `multiplier` whatever the sample was (privacy.Gaussian), and sampling
comes before it. Epsilons of a single study need no certificate: they are those of its own losses.
"""

import math
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from silosynth.common import accounting
from silosynth.common.errors import NotPossible
from silosynth.common.privacy import (
    Certified,
    Composed,
    Event,
    Gaussian,
    NoPrivacy,
    Parallel,
    Repeated,
    Sampled,
    Unpriced,
    View,
)
from silosynth.common.privacy import mu_squared as priced

if TYPE_CHECKING:
    from silosynth.common.privacy_loss import Curve

SLACK: Final = 2.0**-44
"""Chance that a certificate leaves uncovered."""

MOST_CERTIFIED: Final = 15
"""Certified histories that one ledger may pay for: their slack must fit into accounting.SLACK."""

DIGITS: Final = 6
"""Of a price or a multiplier in a plan: rounded up, short enough to read."""

_SPARE = 1e-6  # relative: certified more strictly than checked, so that another machine's rounding cannot refuse


def certify(history: Event) -> Fraction:
    """The least mu^2 of 6 digits, rounded up, that covers a history with sampled sums.

    Raises NotPossible where the losses cannot be added up: too many sums, or with too little noise.
    """
    try:
        curve = _curve(history, SLACK / 2)
    except (ValueError, ArithmeticError) as error:
        raise NotPossible(f"the sampled sums of the plan cannot be accounted for: {error}") from error
    low, high = 0.0, 1.0
    while not _dominated(curve, high, 1 + _SPARE):
        low, high = high, 2 * high
    while high - low > high * 10 ** -(DIGITS + 2):
        middle = (low + high) / 2
        low, high = (low, middle) if _dominated(curve, middle, 1 + _SPARE) else (middle, high)
    return rounded_up(Fraction(high))


def covers(certified: Certified) -> bool:
    """Whether a claimed mu^2 covers its history: what a site checks for itself before it believes a plan."""
    try:
        claimed = float(certified.mu_squared)
        return claimed > 0 and _dominated(_curve(certified.event, SLACK / 2), claimed, 1.0)
    except (ValueError, ArithmeticError, Unpriced):
        return False


def epsilon_of(event: Event, delta: float, view: View = View.LOCAL) -> float:
    """Least epsilon, rounded up, at which a whole history is (epsilon, delta)-differentially private.

    Of certified histories it takes what happened, not the number: this is the epsilon of a study by itself. Inf where
    the accountant cannot reach delta. Of disjoint parts, the largest: each unit is in one. Raises Unpriced for a
    release without noise, ValueError for an impossible delta.
    """
    if isinstance(event, Parallel):
        return max((epsilon_of(part, delta, view) for part in event.parts), default=0.0)
    if not is_sampled(event):
        return accounting.epsilon(priced(event, view), delta)
    if not accounting.SLACK < delta < 1:
        raise ValueError("delta must lie above 2^-40 and below 1")
    try:
        return _curve(event, (delta - accounting.SLACK) / 2).epsilon(delta - accounting.SLACK)
    except (ValueError, ArithmeticError):
        return math.inf


def losses(event: Event) -> "Curve":
    """Delta at every epsilon, from above, of a history. Raises Unpriced, and ValueError where epsilon_of gives inf."""
    return _curve(event, SLACK)


def is_sampled(event: Event) -> bool:
    """Whether a history has sums over Poisson samples."""
    match event:
        case Sampled():
            return True
        case Repeated(_, inner) | Certified(inner, _):
            return is_sampled(inner)
        case Composed(events) | Parallel(events):
            return any(is_sampled(inner) for inner in events)
        case Gaussian() | NoPrivacy():
            return False


def rounded_up(value: Fraction) -> Fraction:
    """A positive number rounded up to 6 significant digits."""
    unit = Fraction(10) ** (math.floor(math.log10(value)) + 1 - DIGITS)
    return math.ceil(value / unit) * unit


@lru_cache(maxsize=64)
def _curve(history: Event, least: float) -> "Curve":
    """Delta at every epsilon, down to `least`. Raises Unpriced, ValueError; ArithmeticError where no float holds it."""
    from silosynth.common.privacy_loss import Steps, curve  # noqa: PLC0415  # loads scipy: only where it is needed

    sums = _sums(history, 1)
    steps = [
        Steps(count, float(event.rate), float(event.event.multiplier))
        for event, count in sums.items()
        if isinstance(event, Sampled)
    ]
    full = sum((count * priced(event, View.LOCAL) for event, count in sums.items() if isinstance(event, Gaussian)), 0)
    if full:  # any number of sums over all units is one Gaussian
        steps.append(Steps(1, 1.0, 1 / math.sqrt(full)))
    return curve(tuple(sorted(steps, key=lambda step: (step.rate, step.multiplier))), least)


def _sums(event: Event, times: int) -> Counter[Sampled | Gaussian]:
    match event:
        case Sampled(rate, inner) if rate < 1:
            return Counter({event: times})
        case Sampled(_, inner):
            return Counter({inner: times})
        case Gaussian():
            return Counter({event: times})
        case Repeated(count, inner):
            return _sums(inner, times * count)
        case Composed(events):
            return sum((_sums(inner, times) for inner in events), Counter())
        case Certified(inner, _):
            return _sums(inner, times)
        case Parallel():
            raise ValueError("parts are accounted for one by one, and stand in nothing else")
        case NoPrivacy():
            raise Unpriced("a release without noise has no finite price")


def _dominated(curve: "Curve", mu_squared: float, factor: float) -> bool:
    """The criterion above, on the curve's points and between them.

    Delta and delta_mu are convex in e^epsilon: between two points delta lies below its chord, delta_mu above a tangent.
    """
    from silosynth.common.privacy_loss import under_gaussian  # noqa: PLC0415  # as above

    claimed = np.minimum(curve.deltas * factor, 1.0)
    left, right = (SLACK + (1 - SLACK) * bound for bound in under_gaussian(math.sqrt(mu_squared), curve.epsilons))
    return bool((claimed[:-1] <= left).all() and (claimed[1:] <= right).all() and curve.deltas[-1] <= SLACK)
