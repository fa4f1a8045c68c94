"""Sums over Poisson samples: whose turn it is, where rows are put, what a unit adds. mechanism.Metered performs them.

The guarantee, for adding or removing one unit u, whatever its rows hold and whatever the task says. Let q be the rate.

1. *Coins.* A unit takes part if its 64-bit word of a secret stream, which serves nothing else, lies below
   floor(q 2^64): independently, with probability at most q. Every sum has a stream of its own: two sums over one sample
   would be one sum with half the variance, not two sums over samples.
2. *Slots.* A public number, scale.sampled_slots, in blocks of scale.SAMPLED_BLOCK, all of them computed: no shape tells
   how many units take part. A sample that does not fit, of probability below 2^-60, is an error; 2^10 sums make that
   2^-50, part of the slack in accounting.delta. Rows are put into slots by a secret uniform injection.
3. *A unit's vector* is the mean of its rows' gradients, added in float64 to its first row's in its own order; scaled to
   norm <= 1 and shortened by 2^-30, which covers the rounding of a norm of up to 2^20 squares (below 2^-32; squares of
   float32 neither overflow nor vanish in float64); truncated towards zero on the grid. So it is an integer vector q_u
   of norm <= grid, however many rows there are; zero where something is not finite. It is worked out where the first
   row lies: a function of u's rows, of their slots and of public values.
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

from silosynth.common.arrays import Codes, Index, Real, Vector, Weights
from silosynth.common.csprng import Csprng
from silosynth.common.engine import RowGradients
from silosynth.common.scale import SAMPLED_BLOCK, SUM_GRID

_SHRINK: Final = 1 - 2.0**-30
_MOST_SQUARES: Final = 1 << 20
_MOST_HELD: Final = 1 << 28
_MOST_PUBLIC_WEIGHT: Final = 1024.0
_VECTORS_AT_A_TIME: Final = 8  # in float64 they stay in cache


@dataclass(frozen=True)
class Batch:
    """Rows of a sample in their slots. Empty slots hold code 0."""

    codes: Codes  # (slots, columns)
    share: Real  # (slots,): 1 / rows of the unit where its first row lies, 0 in every other slot
    more: dict[int, list[int]]  # where a unit's first row lies: where its others lie, in order


def coins(rate: Fraction, units: int, stream: Csprng) -> NDArray[np.bool_]:
    """Whose coin shows heads, shape (units,). Rule 1."""
    heads: NDArray[np.bool_] = stream.words(units) < math.floor(rate * 2**64)
    return heads


def put(codes: Codes, owner: Index, places: Index, slots: int) -> Batch:
    """Rows (`codes`, shape (rows, columns), of units `owner`, shape (rows,)) at `places`, shape (rows,)."""
    spread = np.zeros((slots, codes.shape[1]), dtype=np.int32)
    spread[places] = codes
    share, more = np.zeros(slots), {}
    order = np.argsort(owner, kind="stable")
    begins = np.flatnonzero(np.diff(owner[order], prepend=-1))
    for rows in np.split(places[order], begins[1:]) if begins.size else ():
        share[rows[0]] = 1 / rows.size
        if rows.size > 1:
            more[int(rows[0])] = rows[1:].tolist()
    return Batch(spread, share, more)


def check(gradients: RowGradients, slots: int, max_rows_per_unit: int) -> None:
    """Raise RuntimeError for a sum that cannot be made exactly, or in this memory. Public: it looks at no row."""
    if not 1 <= gradients.size <= _MOST_SQUARES:
        raise RuntimeError(f"a gradient has 1 to {_MOST_SQUARES} numbers")
    if not 0 <= gradients.public_weight <= _MOST_PUBLIC_WEIGHT:
        raise RuntimeError(f"public rows count for 0 to {_MOST_PUBLIC_WEIGHT:g} units each")
    if max_rows_per_unit > 1 and slots * gradients.size > _MOST_HELD:
        raise RuntimeError("rows of a unit share a sum only where a batch's gradients fit into memory: lower the rate")


def total(gradients: RowGradients, batch: Batch, max_rows_per_unit: int) -> Vector:
    """What the units of a batch and the public rows add up to, on the grid, exactly, shape (size,). Rules 3 and 4.

    Rows of a unit lie in several blocks, so where units may have several all gradients are held until the last block.
    """
    summed = np.zeros(gradients.size, dtype=np.int64)
    slots, hold = batch.share.size, max_rows_per_unit > 1
    held = np.empty((slots if hold else 0, gradients.size), dtype=np.float32)
    for block, at in enumerate(_pieces(slots, SAMPLED_BLOCK)):
        rows, public = gradients(block, batch.codes[at])
        for vectors, wanted in ((rows, SAMPLED_BLOCK), (public, len(public))):
            if vectors.shape != (wanted, gradients.size) or vectors.dtype != np.float32:
                raise RuntimeError("gradients are float32 numbers, as many as was said, one vector a row")
        summed += _added(public, np.ones(len(public)), {}, gradients.public_weight)
        if hold:
            held[at] = rows
        else:
            summed += _added(rows, batch.share[at], {}, 1.0)
    return summed + _added(held, batch.share, batch.more, 1.0) if hold else summed


def _added(gradients: Weights, share: Real, more: dict[int, list[int]], weight: float) -> Vector:
    """Sum of clipped means on the grid, times `weight`, shape (size,)."""
    summed = np.zeros(gradients.shape[1], dtype=np.int64)
    buffer = np.empty((_VECTORS_AT_A_TIME, gradients.shape[1]))
    for at in _pieces(len(gradients), _VECTORS_AT_A_TIME):
        vectors = buffer[: at.stop - at.start]
        vectors[:] = gradients[at]
        for slot in range(at.start, at.stop):
            for other in more.get(slot, ()):
                vectors[slot - at.start] += gradients[other]
        norms = share[at] * np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        used = np.isfinite(norms) & (share[at] > 0)
        vectors[~used] = 0
        factors = np.where(used, weight * SUM_GRID * _SHRINK * share[at] / np.maximum(norms, 1), 0)
        np.multiply(vectors, factors[:, None], out=vectors)
        summed += np.trunc(vectors, out=vectors).sum(axis=0).astype(np.int64)  # integers below 2^53: exact
    return summed


def _pieces(n: int, piece: int) -> Iterator[slice]:
    return (slice(at, min(at + piece, n)) for at in range(0, n, piece))
