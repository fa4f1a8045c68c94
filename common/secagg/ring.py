"""Integers modulo 2^32 or 2^64: where masks are uniform, sums are exact, and signed values come back if none wraps.

Which ring a sum uses follows from public facts only, so that neither it nor a refusal tells about data. Encoding never
refuses: it reduces, and a value beyond the bound (an engine's fault) spoils the total without telling anybody.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Vector
from silosynth.common.errors import NotPossible

RingVector: TypeAlias = NDArray[Any]
"""Elements of a ring, little-endian unsigned, shape (size,)."""

_BITS: Final = (32, 64)
_TAIL_DEVIATIONS: Final = 12
"""A coordinate of noise is farther out with probability below 2 exp(-12^2 / 2) = 2^-102.8 (subgaussian tail)."""


@dataclass(frozen=True)
class Ring:
    """The integers modulo 2^bits. Raises ValueError for other sizes than 32 and 64."""

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in _BITS:
            raise ValueError("a ring has 32 or 64 bits")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Little-endian on every machine: keystream, payload and element are the same bytes."""
        return np.dtype(f"<u{self.itemsize}")

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.bits // 8

    @property
    def largest(self) -> int:
        """The largest absolute value that a sum may have and still decode to itself."""
        return (1 << self.bits - 1) - 1

    def encode(self, vector: Vector) -> RingVector:
        """The residues of `vector`, a new array of the same shape."""
        residues: RingVector = vector.view(np.uint64).astype(self.dtype)
        return residues

    def decode(self, residues: RingVector) -> Vector:
        """The representatives in [-2^(bits-1), 2^(bits-1)), as a new array of the same shape."""
        native = residues.astype(f"u{self.itemsize}", copy=False)
        return native.view(f"i{self.itemsize}").astype(np.int64)


def ring_for(*, sites: int, site_bound: int, variance: int) -> Ring:
    """The smallest ring in which a sum over all `sites` cannot wrap.

    `site_bound` bounds the absolute value of any coordinate of any site before noise; `variance` is the parameter of
    each site's discrete Gaussian, whose sum over sites is subgaussian with parameter sites * variance (Canonne, Kamath,
    Steinke 2020). Raises NotPossible where 64 bits do not suffice.
    """
    if sites < 1 or site_bound < 0 or variance < 0:
        raise ValueError("sites, bound and variance must not be negative")
    most = sites * site_bound + math.isqrt(_TAIL_DEVIATIONS**2 * sites * variance) + 1
    for bits in _BITS:
        ring = Ring(bits)
        if most <= ring.largest:
            return ring
    raise NotPossible(
        f"a sum of {sites} sites could reach {most:.3g}, beyond 64 bits; "
        "use fewer sites, smaller capacities or less noise"
    )
