"""Randomness that nobody can predict: AES-256 in counter mode under a 32-byte key.

Noise, and the places of rows in a clipped sum, come from here and from nowhere else. A `Csprng` is as secret as its key
and a key serves one purpose, once: who may make keys is decided in client/mechanism.py. If AES-256 is a pseudo-random
permutation, q blocks of 16 bytes are uniform bits up to an advantage of q^2 2^-129 (switching lemma): 2^-79 for the
noise of 10^7 coordinates at seven levels, 2^-92 for 10^5.
"""

import builtins

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from silosynth.common.arrays import Index

KEY_BYTES = 32


class Csprng:
    """The key stream of AES-256-CTR from counter 0, consumed once from front to back."""

    __slots__ = ("_encryptor",)

    def __init__(self, key: builtins.bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def __reduce__(self) -> str:
        raise TypeError("a stream of secret randomness is neither copied nor stored")

    def bytes(self, n: int) -> builtins.bytes:
        """The next `n` bytes."""
        return self._encryptor.update(bytes(n))

    def words(self, n: int) -> NDArray[np.uint64]:
        """The next `n` 64-bit words, independent and uniform, shape (n,)."""
        return np.frombuffer(self.bytes(8 * n), dtype="<u8").astype(np.uint64, copy=False)


def random_injection(slots: int, n: int, csprng: Csprng) -> Index:
    """`n` different places among `slots`, each such sequence with exactly the same probability, shape (n,).

    The order of independent 64-bit keys is a uniform permutation given that they differ; keys that do not (probability
    below slots^2 2^-65) are drawn again.
    """
    if not 0 <= n <= slots:
        raise ValueError(f"{n} rows do not fit into {slots} slots")
    while True:
        keys = csprng.words(slots)
        order = np.argsort(keys)
        ranked = keys[order]
        if not (ranked[1:] == ranked[:-1]).any():
            return order[:n].astype(np.int64, copy=False)
