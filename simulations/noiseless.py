"""Sources of noise that protect nobody, for simulations and tests. Everything made with them is stamped NO PRIVACY.

They live outside client/: no site can be configured to use one.
"""

import hashlib
import hmac
from typing import Final

from silosynth.common.arrays import Vector
from silosynth.common.csprng import Csprng
from silosynth.common.discrete import DiscreteGaussian


class SeededNoise:
    """Noise that anybody who knows `seed` can subtract: the same run gives the same answers, in any process."""

    private: Final = False

    def __init__(self, seed: int, site: str) -> None:
        self._key = hashlib.sha256(f"silosynth/seeded/1\n{seed}\n{site}".encode()).digest()

    def add(self, value: Vector, variance: int, context: bytes) -> Vector:
        """See mechanism.NoiseSource. Variance 0 adds nothing."""
        if variance == 0:
            return value
        stream = self._stream(b"noise", context, variance.to_bytes(16))
        return value + DiscreteGaussian(variance).sample(value.size, stream)

    def slots(self, context: bytes) -> Csprng:
        """See mechanism.NoiseSource."""
        return self._stream(b"slots", context)

    def coins(self, context: bytes) -> Csprng:
        """See mechanism.NoiseSource."""
        return self._stream(b"coins", context)

    def under(self, key: bytes) -> "SeededNoise":
        """See mechanism.NoiseSource. Itself: what is to be repeatable does not hang on a session's secrets."""
        del key
        return self

    def _stream(self, purpose: bytes, *parts: bytes) -> Csprng:
        said = b"".join(len(part).to_bytes(8) + part for part in (purpose, *parts))
        return Csprng(hmac.digest(self._key, said, "sha256"))


class ZeroNoise(SeededNoise):
    """No noise at all, whatever variance is asked for."""

    def __init__(self) -> None:
        super().__init__(0, "")

    def add(self, value: Vector, variance: int, context: bytes) -> Vector:
        """The value itself."""
        del variance, context
        return value
