"""Sums over Poisson samples: whose turn it is, where rows are put, what a unit adds. mechanism.Metered performs them.

The guarantee, for adding or removing one unit u, whatever its rows hold and whatever the task says. Let q be the rate.

1. *Coins.* A unit takes part if its 64-bit word of a secret stream, which serves nothing else, lies below
   floor(q 2^64): independently, with probability at most q. Every sum has a stream of its own: two sums over one sample
   would be one sum with half the variance, not two sums over samples.
2. *Slots.* A public number, scale.sampled_slots, in blocks of scale.SAMPLED_BLOCK, all of them computed: no shape tells
   how many units take part. A sample that does not fit, of probability below 2^-90, is an error: at an epsilon of 7 it
   counts 1 + e^7 times, and in 15 plans of 10^7 sums it makes 2^-52, part of the slack in accounting.delta. Rows are
   put into slots by a secret uniform injection.
3. *A unit's vector* is the mean of its rows' gradients, added in float64 in the order of its slots; scaled to norm <= 1
   and shortened by 2^-30, which covers the rounding of a norm of up to 2^20 squares (below 2^-32; squares of float32
   neither overflow nor vanish in float64); truncated towards zero on the grid. So it is an integer vector q_u of norm
   <= grid, however many rows there are; zero where something is not finite. It is worked out where the last row lies:
   a function of u's rows, of their slots and of public values.
4. *Public rows* are clipped alike and added. Blocks have one shape and rows do not influence each other, so what they
   add is the same whoever takes part.
5. *Amplification.* Couple the worlds with and without u: the others have the same coins, and their rows the same slots
   (an injection restricted to them is uniform in both). Let s be what they and public rows add: integers, exact in any
   order. Without u the answer is s + noise. With u it is s + noise where its coin, which is independent of all that,
   shows tails, and s + q_u + noise where it shows heads. For any s and q_u this pair is dominated, in both directions,
   by N(0, sigma^2) and (1 - q) N(0, sigma^2) + q N(grid, sigma^2): discrete noise is one channel applied to continuous
   noise, whatever integer it is added to, and a smaller rate or a shorter q_u is more private. Mixing over s and q_u is
   no worse (joint convexity of the hockey-stick divergence). The next sum's weights may depend on all answers so far,
   its coins do not: dominating pairs compose adaptively (Zhu, Dong, Wang 2022, theorem 10). That is privacy.Sampled.
   Of Poisson samples alone: in one of fixed size, or in shuffled batches, u takes somebody's place.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Codes, Index, Real, Vector
from silosynth.common.csprng import Csprng
from silosynth.common.engine import RowGradients
from silosynth.common.scale import SAMPLED_BLOCK, SUM_GRID

_SHRINK: Final = 1 - 2.0**-30
_MOST_SQUARES: Final = 1 << 20
_MOST_HELD: Final = 1 << 28
_MOST_PUBLIC_WEIGHT: Final = 1024.0
_VECTORS_AT_A_TIME: Final = 8  # of 40,000 numbers: in float64 they stay in cache; divides SAMPLED_BLOCK


@dataclass(frozen=True)
class Batch:
    """Rows of a sample in their slots. Empty slots hold code 0."""

    codes: Codes  # (slots, columns)
    share: Real  # (slots,): 1 / rows of the unit in the last slot of a unit, 0 in every other slot
    unit: Index  # (slots,): number of the unit, where it has rows in several slots; otherwise -1


def coins(rate: Fraction, units: int, stream: Csprng) -> NDArray[np.bool_]:
    """Whose coin shows heads, shape (units,). Rule 1."""
    heads: NDArray[np.bool_] = stream.words(units) < math.floor(rate * 2**64)
    return heads


def put(codes: Codes, owner: Index, places: Index, slots: int) -> Batch:
    """Rows (`codes`, shape (rows, columns), of units `owner`, shape (rows,)) at `places`, shape (rows,)."""
    spread = np.zeros((slots, codes.shape[1]), dtype=np.int32)
    spread[places] = codes
    share, unit = np.zeros(slots), np.full(slots, -1)
    order = np.lexsort((places, owner))
    last = np.diff(owner[order], append=-1) != 0
    _, of, rows = np.unique(owner, return_inverse=True, return_counts=True)
    share[places[order][last]] = 1 / rows
    several = rows[of] > 1
    unit[places[several]] = of[several]
    return Batch(spread, share, unit)


def check(gradients: RowGradients, slots: int, max_rows_per_unit: int) -> None:
    """Raise RuntimeError for a sum that cannot be made exactly, or in this memory. Public: it looks at no row."""
    if not 1 <= gradients.size <= _MOST_SQUARES:
        raise RuntimeError(f"a gradient has 1 to {_MOST_SQUARES} numbers")
    if not 0 <= gradients.public_weight <= _MOST_PUBLIC_WEIGHT:
        raise RuntimeError(f"public rows count for 0 to {_MOST_PUBLIC_WEIGHT:g} units each")
    if max_rows_per_unit > 1 and slots * gradients.size > _MOST_HELD:
        raise RuntimeError("rows of a unit share a sum only where a batch's gradients fit into memory: lower the rate")


def total(gradients: RowGradients, batch: Batch) -> Vector:
    """What the units of a batch and the public rows add up to, on the grid, exactly, shape (size,). Rules 3 and 4."""
    summed = np.zeros(gradients.size, dtype=np.int64)
    begun: dict[int, Real] = {}  # units of which some rows are added and others lie in later slots
    for block, at in enumerate(_pieces(batch.share.size, SAMPLED_BLOCK)):
        rows, public = gradients(block, batch.codes[at])
        for given, wanted in ((rows, SAMPLED_BLOCK), (public, len(public))):
            if given.shape != (wanted, gradients.size) or given.dtype != np.float32:
                raise RuntimeError("gradients are float32 numbers, as many as was said, one vector a row")
        share, unit = batch.share[at], batch.unit[at]
        for eight in _pieces(SAMPLED_BLOCK, _VECTORS_AT_A_TIME):
            vectors = np.asarray(rows[eight], np.float64)
            _collect(vectors, share[eight], unit[eight], begun)
            summed += _clipped(vectors, share[eight], 1.0)
        for eight in _pieces(len(public), _VECTORS_AT_A_TIME):
            vectors = np.asarray(public[eight], np.float64)
            summed += _clipped(vectors, np.ones(len(vectors)), gradients.public_weight)
    return summed


def _collect(vectors: Real, share: Real, unit: Index, begun: dict[int, Real]) -> None:
    """Add up the vectors of units that have several, in the order of their slots, into the one in the last slot."""
    for slot in np.flatnonzero(unit >= 0):
        number = int(unit[slot])
        if number in begun:
            vectors[slot] += begun.pop(number)
        if share[slot] == 0:
            begun[number] = vectors[slot].copy()


def _clipped(vectors: Real, share: Real, weight: float) -> Vector:
    """Sum of `weight` times `vectors`, each times its share, then clipped to norm 1, on the grid; uses them up."""
    norms = share * np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    used = np.isfinite(norms) & (share > 0)
    vectors[~used] = 0
    factors = np.where(used, weight * SUM_GRID * _SHRINK * share / np.maximum(norms, 1), 0)
    np.multiply(vectors, factors[:, None], out=vectors)
    summed: Vector = np.trunc(vectors, out=vectors).sum(axis=0).astype(np.int64)  # integers below 2^53: exact
    return summed


def _pieces(n: int, piece: int) -> Iterator[slice]:
    return (slice(at, min(at + piece, n)) for at in range(0, n, piece))
