"""A lower bound on epsilon from one run: what right guesses about canaries prove (Steinke, Nasr, Jagielski 2023).

Canaries are made-up units, each of which was in the data or not by a secret fair coin of its own. Somebody who sees
what the mechanism gave out says of some of them whether they were in. If the mechanism is (epsilon, delta)-private,
right guesses are hardly more than those of coins that fall right with probability e^epsilon / (1 + e^epsilon); so more
of them refute that epsilon. A bound far below what is accounted for is the rule and proves nothing; one above it is a
proof, at the stated confidence, that the accounting or the noise is wrong.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Real

CONFIDENCE: Final = 0.95

SHARES: Final = (1.0, 0.3, 0.1)
"""Of all canaries: how many are guessed about, the surest first. Each share has its part of what may go wrong."""

_MOST_EPSILON = 50.0
_STEPS = 40


@dataclass(frozen=True)
class Refuted:
    """What a run refuted: with CONFIDENCE, epsilon is not below `lower`; from the guesses that showed most."""

    lower: float
    guesses: int
    right: int


def refuted(scores: Real, taken: NDArray[np.bool_], delta: float) -> Refuted:
    """The largest lower bound over SHARES of the canaries.

    Formal guarantee: if the scores are computed from the output of an (epsilon, delta)-private mechanism (add/remove of
    one unit), which was given each canary by an independent fair coin, then `lower` <= epsilon with probability at
    least CONFIDENCE (union bound over SHARES), whatever the other units are and however scores are made.

    Args:
        scores: of each canary, (canaries,): above 0 for those thought to be in, the surer the farther from 0.
        taken: whether each was in, (canaries,).
        delta: of the claim.
    """
    right = (scores > 0) == taken
    surest = np.argsort(-np.abs(scores), kind="stable")
    found = []
    for share in SHARES:
        guesses = max(1, round(share * len(scores)))
        hits = int(right[surest[:guesses]].sum())
        found.append(Refuted(_lower(len(scores), guesses, hits, delta), guesses, hits))
    return max(found, key=lambda one: one.lower)


def chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Most probability of so many right guesses, or more, under (epsilon, delta) (their theorem 5.2)."""
    from scipy.stats import binom  # noqa: PLC0415 - heavy, and only an audit needs it

    coin = 1 / (1 + math.exp(-epsilon))
    falling = binom.pmf(np.arange(right - 1, -1, -1), guesses, coin)
    steepest = float((np.cumsum(falling) / np.arange(1, right + 1)).max(initial=0.0))
    return min(1.0, float(binom.sf(right - 1, guesses, coin)) + 2 * canaries * delta * steepest)


def _lower(canaries: int, guesses: int, right: int, delta: float) -> float:
    allowed = (1 - CONFIDENCE) / len(SHARES)
    if chance(canaries, guesses, right, 0.0, delta) > allowed:
        return 0.0
    low, high = 0.0, _MOST_EPSILON
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if chance(canaries, guesses, right, middle, delta) > allowed else (middle, high)
    return low
