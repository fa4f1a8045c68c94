"""Whole rows: do synthetic rows lie where real rows lie, and everywhere real rows lie?

Alpha-precision and beta-recall (Alaa, van Breugel, Saveliev, van der Schaar 2022, "How Faithful is your Synthetic
Data?"), integrated over alpha and beta as in their equation 7, on rows as regression sees them: numbers standardised,
codes at distance 1 from each other. Nearest neighbours by brute force, a group of rows at a time.
"""

from dataclasses import dataclass

import numpy as np

from silosynth.common.arrays import Index, Real

LEVELS = np.linspace(0, 1, 31)[1:-1]
"""Values of alpha, and of beta, over which is integrated."""


@dataclass(frozen=True)
class Support:
    """Integrated scores, 1 at best; each (1 + groups,): of all rows, then without one group at a time."""

    alpha_precision: Real
    beta_recall: Real


def support(real: Real, other: Real, groups: Index) -> Support:
    """Of `other` rows against as many `real` rows.

    Args:
        real: (rows, inputs).
        other: (rows, inputs).
        groups: the jackknife's group of each of the other rows, from 0; each group holds a row.
    """
    return Support(_precision(real, other, groups), _recall(real, other, groups))


def _precision(real: Real, other: Real, groups: Index) -> Real:
    """1 - 2 * mean |P(alpha) - alpha|: P(alpha) is the share of other rows in the ball that holds alpha of the real."""
    centre = real.mean(axis=0)
    radii = np.quantile(_lengths(real - centre), LEVELS)
    within = _lengths(other - centre)[:, None] <= radii  # (rows, levels)
    inside = np.stack([within[groups == group].sum(axis=0) for group in range(int(groups.max()) + 1)])
    return _integrated(_with_left_out(inside) / _with_left_out(np.bincount(groups).astype(np.float64)[:, None]))


def _recall(real: Real, other: Real, groups: Index) -> Real:
    """1 - 2 * mean |R(beta) - beta|.

    R(beta): share of real rows whose nearest other row is at least as near as the nearest real one, and lies among the
    beta most central of those nearest rows.
    """
    among = _nearest(real, real, itself=True)[0]
    many = int(groups.max()) + 1
    distance, depth = np.empty((many, len(real))), np.empty((many, len(real)))
    outward = _lengths(other - other.mean(axis=0))
    for group in range(many):
        rows = np.flatnonzero(groups == group)
        distance[group], nearest = _nearest(real, other[rows])
        depth[group] = outward[rows[nearest]]
    curves = [_covered(distance, depth, among)]
    for out in range(many if many > 1 else 0):
        kept = np.arange(many) != out
        curves.append(_covered(distance[kept], depth[kept], among))
    return _integrated(np.stack(curves))


def _covered(distance: Real, depth: Real, among: Real) -> Real:
    """R(beta) at all LEVELS, from distance and depth of the nearest row of each group, (groups, real rows)."""
    group = distance.argmin(axis=0)
    row = np.arange(distance.shape[1])
    near, deep = distance[group, row], depth[group, row]
    radii = np.quantile(deep, LEVELS)
    covered: Real = ((near <= among)[:, None] & (deep[:, None] <= radii)).mean(axis=0)
    return covered


def _with_left_out(sums: Real) -> Real:
    """From sums of each group, (groups, k): of all, then without one group at a time, (1 + groups, k)."""
    whole = sums.sum(axis=0, keepdims=True)
    return np.vstack([whole, whole - sums]) if len(sums) > 1 else whole


def _integrated(curves: Real) -> Real:
    area: Real = 1 - 2 * np.abs(curves - LEVELS).mean(axis=1)
    return np.maximum(0, area)


def _lengths(rows: Real) -> Real:
    lengths: Real = np.sqrt((rows**2).sum(axis=1))
    return lengths


_BLOCK = 1_000


def _nearest(rows: Real, among: Real, *, itself: bool = False) -> tuple[Real, Index]:
    """Distance to the nearest row `among`, and which; `itself`: the two are one table, and a row is not its own."""
    squares = (among**2).sum(axis=1)
    distance, which = np.empty(len(rows)), np.empty(len(rows), dtype=np.int64)
    for first in range(0, len(rows), _BLOCK):
        some = rows[first : first + _BLOCK]
        gaps = (some**2).sum(axis=1)[:, None] + squares - 2 * some @ among.T
        if itself:
            at = np.arange(len(some))
            gaps[at, first + at] = np.inf
        nearest = gaps.argmin(axis=1)
        # exact for the one found: differences of large squares would not tell 0 from nearly 0
        distance[first : first + _BLOCK] = _lengths(some - among[nearest])
        which[first : first + _BLOCK] = nearest
    return distance, which
