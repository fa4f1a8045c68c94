"""The only noise at a site. A verb bounds every unit, adds noise for that bound, and writes down what it did.

The guarantee, for adding or removing one unit (a person with all their rows), whatever they hold and the task says:

1. *Rows of a unit.* The mechanism counts them itself, keeps the first `max_rows_per_unit` and gives each of the k kept
   the share 1/k. Neither depends on other units.
2. *Histogram.* A row adds floor(grid / k) to one cell of each table; that the cell lies in its table is checked for
   every row. So a unit moves each table by at most grid in L1, hence in L2, and the vector by grid * sqrt(groups), in
   exact integers.
3. *Clipped sum.* A row's vector is an integer vector q_r with |q_r| <= grid * w_r * n_r, where n_r is its reported norm
   (contract of engine.Terms), and w_r = share * min(1, 1/n_r) * (1 - 2^-30) in float64. The last factor covers the
   relative errors of w_r (below 2^-50) and of n_r as a float64 sum of up to 2^20 squares (below 2^-32); a norm that
   underflows is of a vector far shorter than 1. A row whose norm is not finite has weight 0. So a unit's rows add up to
   at most grid in L2. Blocks are checked to be integers within grid * slots and added as int64: exact in any order.
4. *Other rows.* Adding a unit must not change what the others add, yet kernels are chosen by shape and position, and
   hostile weights amplify a last bit into a whole vector. So there are always `capacity` slots in blocks of
   scale.MICRO_BATCH, all computed, and rows are put into them by a secret uniform injection. Restricted to the other
   units' rows it has the same law in both worlds; couple them with equal slots, and each of those q_r is equal, being a
   function of its row, slot and weight and of public values. The release is as private as the worst coupled pair, by
   joint convexity of the hockey-stick divergence.
5. *Noise.* Discrete Gaussian of variance scale.site_variance in each coordinate, from a stream that is a PRF of a
   secret of this process, the context and the value: a context asked twice gets the same noise for the same value and
   independent noise for another. Every sum of a task has a context of its own. So an answer is mu-GDP as
   privacy.Gaussian says, up to 2^-40 in delta.
6. *Sampled sum.* client/sampling.py has the argument. Others must not know whose coin showed heads, nor see the sum of
   several sites with the noise of all: only where this site adds all of the noise (shares = 1).
7. *Learning.* A learner is told the noised sums that it asks for, and nothing else; every sum is an event, and `events`
   says all of them in order. So what it answers is post-processing of their adaptive composition: private by itself
   because each sum carries all of its noise (shares = 1). No sum of it can be sealed, only its answer.

Assumed, not enforced: an engine's terms and gradients keep their contract, and it hands its learner no rows; one
machine's arithmetic of one shape is deterministic; `capacity` and `max_rows_per_unit` are public. More rows than
`capacity` is an error, and errors tell about rows: a site compares them before it approves a study.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol, TypeVar

import numpy as np

from silosynth.client import sampling
from silosynth.common import engine, scale
from silosynth.common.arrays import Index, Real, Vector
from silosynth.common.csprng import KEY_BYTES, Csprng, random_injection
from silosynth.common.discrete import DiscreteGaussian
from silosynth.common.engine import Layout, Learner, RowGradients, Terms, TermsOf, Units
from silosynth.common.privacy import Event, Gaussian, NoPrivacy, Sampled, in_runs
from silosynth.common.scale import MICRO_BATCH, Sensitivity

_SHRINK: Final = 1 - 2.0**-30
_CELLS_AT_A_TIME: Final = 1 << 21

Ask = TypeVar("Ask")


class NoiseSource(Protocol):
    """Where a mechanism's randomness comes from. `SystemNoise` is the only one in client/.

    A stream belongs to a context, and noise to a value as well.
    """

    @property
    def private(self) -> bool:
        """Whether nobody can predict or leave out the noise. Anything else is stamped NO PRIVACY."""
        ...

    def add(self, value: Vector, variance: int, context: bytes) -> Vector:
        """`value` plus discrete Gaussian noise, shape (size,). Variance 0 asks for none: a private source raises."""
        ...

    def slots(self, context: bytes) -> Csprng:
        """The stream that puts rows into slots."""
        ...

    def coins(self, context: bytes) -> Csprng:
        """The stream that decides which units take part in a sampled sum."""
        ...

    def under(self, key: bytes) -> "NoiseSource":
        """The source of one masked round, whose secret `key`, 32 bytes, exists in the memory of its session only."""
        ...


class SystemNoise:
    """Noise under a key from the operating system that exists in this process's memory only.

    It cannot be seeded, copied or stored. A stream is AES-CTR under HMAC-SHA256(key, purpose | context | ...): purpose,
    context and value make it, so no two different answers share noise. In a masked round the key is the round's, from
    the same system: then a copy of this process gives the same answer the same noise, and has nothing to average.
    """

    __slots__ = ("_key",)

    private: Final = True

    def __init__(self) -> None:
        self._key = os.urandom(KEY_BYTES)

    def under(self, key: bytes) -> "SystemNoise":
        """See NoiseSource."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        noise = SystemNoise()
        noise._key = key
        return noise

    def __reduce__(self) -> str:
        raise TypeError("a noise key is neither copied nor stored")

    def add(self, value: Vector, variance: int, context: bytes) -> Vector:
        """See NoiseSource. Raises ValueError for variance 0."""
        stream = self._stream(
            b"noise", context, variance.to_bytes(16), hashlib.sha256(value.astype("<i8").tobytes()).digest()
        )
        return value + DiscreteGaussian(variance).sample(value.size, stream)

    def slots(self, context: bytes) -> Csprng:
        """See NoiseSource."""
        return self._stream(b"slots", context)

    def coins(self, context: bytes) -> Csprng:
        """See NoiseSource."""
        return self._stream(b"coins", context)

    def _stream(self, purpose: bytes, *parts: bytes) -> Csprng:
        said = b"".join(len(part).to_bytes(8) + part for part in (b"silosynth/1", purpose, *parts))
        return Csprng(hmac.digest(self._key, said, "sha256"))


class Noised:
    """Stands for an answer and holds nothing: the mechanism that gave it keeps the integers, for the gate."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<noised answer>"


def open_noised(noised: object, mechanism: "Metered", size: int) -> Vector:
    """The integers behind `noised`, shape (size,). For client/gate.py alone.

    Raises ValueError where this mechanism did not make it or its size is not the one that was claimed.
    """
    for made, vector in mechanism._answers:  # noqa: SLF001  # hidden from engines, not from the gate
        if made is noised:
            if vector.shape != (size,) or vector.dtype != np.int64:
                raise ValueError("the answer has not the size that was claimed, or is not of integers")
            return vector
    raise ValueError("not an answer of this task's mechanism")


@dataclass(frozen=True)
class _Shared:
    """Rows that are kept, how many rows their unit shares its weight among, and its number, each of shape (kept,)."""

    rows: Index
    among: Index
    owner: Index
    units: int


class Metered:
    """The mechanism of one task: an engine.Mechanism that remembers what it performed in `events`."""

    def __init__(
        self, noise: NoiseSource, context: bytes, *, shares: int, capacity: int, max_rows_per_unit: int
    ) -> None:
        if shares < 1 or not 1 <= capacity <= scale.MAX_CAPACITY or not 1 <= max_rows_per_unit <= scale.HISTOGRAM_GRID:
            raise ValueError("shares, capacity or rows per unit out of range")
        self._noise = noise
        self._context = context
        self._shares = shares
        self._capacity = capacity
        self._max_rows_per_unit = max_rows_per_unit
        self._events: list[Event] = []
        self._answers: list[tuple[Noised, Vector]] = []
        self._sums = 0
        self._has_learnt = False

    @property
    def events(self) -> tuple[Event, ...]:
        """What was performed, in order; all sums of a learner are one event."""
        return tuple(self._events)

    def histogram(self, units: Units, layout: Layout, *, multiplier: Fraction | None) -> Noised:
        """See engine.Mechanism. `multiplier` None: without noise, from a source that is not private."""
        context, event = self._own_context(), self._event(multiplier)
        offsets = np.asarray(layout.offsets)
        if offsets.ndim != 1 or offsets.size <= 1 or offsets[0] != 0 or (np.diff(offsets) < 1).any():
            raise RuntimeError("a layout's tables must follow each other from 0")
        shared = self._shared(units)
        weights = scale.HISTOGRAM_GRID // shared.among
        counts = np.zeros(offsets[-1], dtype=np.int64)
        widest = max(offsets.size - 1, units.codes.shape[1])
        for at in _pieces(shared.rows.size, max(1, _CELLS_AT_A_TIME // widest)):
            counts += _count(layout.cells(units.codes[shared.rows[at]]), weights[at], offsets)
        sensitivity = scale.histogram_sensitivity(offsets.size - 1)
        return self._release(counts, sensitivity, multiplier, context, event)

    def clipped_sum(self, units: Units, terms: TermsOf, *, multiplier: Fraction | None) -> Noised:
        """See engine.Mechanism. `multiplier` None: without noise, from a source that is not private."""
        context, event = self._own_context(), self._event(multiplier)
        shared = self._within_capacity(units)
        slots = -(-self._capacity // MICRO_BATCH) * MICRO_BATCH
        place = random_injection(slots, shared.rows.size, self._noise.slots(context))
        codes = np.zeros((slots, units.codes.shape[1]), dtype=np.int32)
        codes[place] = units.codes[shared.rows]
        share = np.zeros(slots)  # empty slots keep 0
        share[place] = 1 / shared.among
        total = np.zeros(terms.size, dtype=np.int64)
        with np.errstate(all="ignore"):  # what a row holds stops nothing, even where warnings are errors
            for at in _pieces(slots, MICRO_BATCH):
                total += _clipped(terms(codes[at]), share[at], terms.size)
        return self._release(total, scale.clipped_sum_sensitivity(), multiplier, context, event)

    def sampled_sum(
        self, units: Units, gradients: RowGradients, *, rate: Fraction, multiplier: Fraction | None
    ) -> Noised:
        """See engine.Mechanism. `multiplier` None: without noise, from a source that is not private."""
        self._check_all_noise_is_here()
        context, event = self._own_context(), self._event(multiplier, rate)
        slots = scale.sampled_slots(rate, self._capacity, self._max_rows_per_unit)
        sampling.check(gradients, slots, self._max_rows_per_unit)
        shared = self._within_capacity(units)
        heads = sampling.coins(rate, shared.units, self._noise.coins(context))[shared.owner]
        rows, owner = shared.rows[heads], shared.owner[heads]
        places = random_injection(slots, rows.size, self._noise.slots(context))  # raises where they do not fit
        batch = sampling.put(units.codes[rows], owner, places, slots)
        with np.errstate(all="ignore"):
            total = sampling.total(gradients, batch)
        return self._release(total, scale.clipped_sum_sensitivity(), multiplier, context, event)

    def learn(self, learner: Learner[Ask], perform: Callable[[Ask], engine.Noised]) -> Noised:
        """See engine.Mechanism. Once a task; rule 7 of the module."""
        self._check_all_noise_is_here()
        if self._has_learnt:
            raise RuntimeError("a task learns once")
        self._has_learnt = True
        before, self._events, self._answers = self._events, [], []  # what was answered before cannot be sealed either
        try:
            while (ask := learner.next()) is not None:
                noised = perform(ask)
                if len(self._answers) != 1 or self._answers[0][0] is not noised:
                    raise RuntimeError("a learner is told the one sum that was performed for what it asked")
                learner.absorb(ask, self._answers.pop()[1])
            learnt = np.array(learner.answer())
        finally:
            self._events, self._answers = [*before, in_runs((1, event) for event in self._events)], []
        answer = Noised()
        self._answers.append((answer, learnt))
        return answer

    def _check_all_noise_is_here(self) -> None:
        if self._shares != 1:
            raise ValueError("a site samples and learns by itself only where it adds all of the noise")

    def _own_context(self) -> bytes:
        """Another one for every sum, whatever becomes of it."""
        self._sums += 1
        return self._context + self._sums.to_bytes(8)

    def _within_capacity(self, units: Units) -> _Shared:
        shared = self._shared(units)
        if shared.rows.size > self._capacity:
            raise RuntimeError("more rows than the declared capacity")
        return shared

    def _shared(self, units: Units) -> _Shared:
        """Rule 1 of the module."""
        if units.owner.shape != units.codes.shape[:1]:
            raise RuntimeError("every row needs an owner")
        _, owner, rows_of = np.unique(units.owner, return_inverse=True, return_counts=True)
        rows = np.arange(owner.size)
        if rows.size and rows_of.max() > self._max_rows_per_unit:
            by_owner = np.argsort(owner, kind="stable")
            rank = np.empty_like(rows)
            rank[by_owner] = rows - (np.cumsum(rows_of) - rows_of)[owner[by_owner]]
            rows = rows[rank < self._max_rows_per_unit]
        owner = owner[rows]
        return _Shared(rows, np.minimum(rows_of, self._max_rows_per_unit)[owner], owner, rows_of.size)

    def _release(
        self, value: Vector, sensitivity: Sensitivity, multiplier: Fraction | None, context: bytes, event: Event
    ) -> Noised:
        variance = 0 if multiplier is None else scale.site_variance(sensitivity, multiplier, self._shares)
        answer = Noised()
        self._answers.append((answer, self._noise.add(value, variance, context)))
        self._events.append(event)
        return answer

    def _event(self, multiplier: Fraction | None, rate: Fraction | None = None) -> Event:
        if multiplier is None:
            if self._noise.private:
                raise ValueError("a private source of noise releases nothing without noise")
            return NoPrivacy()
        whole = Gaussian(multiplier, self._shares)
        return whole if rate is None else Sampled(rate, whole)


def _pieces(n: int, piece: int) -> Iterator[slice]:
    return (slice(at, min(at + piece, n)) for at in range(0, n, piece))


def _count(cells: Index, weights: Index, offsets: Index) -> Vector:
    """Rule 2: weighted counts of `cells`, shape (offsets[-1],). Exact: sums of float64 integers below 2^53."""
    if cells.shape != (weights.size, offsets.size - 1) or not np.issubdtype(cells.dtype, np.integer):
        raise RuntimeError("a layout gives one cell a row and table")
    if (cells < offsets[:-1]).any() or (cells >= offsets[1:]).any():
        raise RuntimeError("a layout put a row outside its table")
    size = int(offsets[-1])
    if (weights == weights[0]).all():
        return np.bincount(cells.ravel(), minlength=size).astype(np.int64) * np.int64(weights[0])
    spread = np.repeat(weights, offsets.size - 1)
    counts: Vector = np.bincount(cells.ravel(), weights=spread, minlength=size).astype(np.int64)
    return counts


def _clipped(terms: Terms, share: Real, size: int) -> Vector:
    """Rule 3: the sum of one block's vectors, clipped to norm 1 and weighted by `share`, shape (size,)."""
    squared = terms.squared_norms()
    finite = np.isfinite(squared) & (squared >= 0)
    norms = np.sqrt(np.where(finite, squared, 0))
    summed = terms.weighted_sum(np.where(finite, share * _SHRINK / np.maximum(norms, 1), 0))
    if summed.shape != (size,) or not (np.abs(summed) <= scale.SUM_GRID * share.size).all():
        raise RuntimeError("terms broke their contract: not the size they said, or longer than their norms")
    whole = summed.astype(np.int64)
    if (whole != summed).any():
        raise RuntimeError("terms broke their contract: not on the grid")
    return whole
