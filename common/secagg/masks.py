"""Pairwise secrets, and the masks made from them that cancel in a sum.

Rules, each named where it is kept:
  K1  a pair's secret belongs to one unordered pair of members, their two keys and one transcript: all are in its
      derivation, so a copied, reflected or replayed key gives a secret that nobody else holds;
  K2  a key agreement that gives zero (a point of low order) is refused;
  K3  a mask belongs to one context: its key does, and a key makes one stream;
  K4  a secret moves forward with the releases of the plan and never back: what is taken from a site's memory opens no
      earlier release. Erasing is best effort: Python and the operating system may hold copies.

Assumed: X25519 with HKDF-SHA256 is a secure key agreement for many keys at once (PRF-ODH), AES-256 a pseudo-random
permutation. Then masks are uniform, and independent but for each being added at one end and subtracted at the other.
"""

from typing import Final

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from silosynth.common.secagg.encoding import prefixed
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.ring import RingVector
from silosynth.common.secagg.roster import KEY_BYTES, Agreement

_CHUNK_BYTES: Final = 1 << 17  # keystream, its source and the part of the vector it is added to stay in the L2 cache
_ZEROS: Final = bytes(_CHUNK_BYTES)
_BLOCK_BYTES: Final = 16


def pair_info(agreement: Agreement, transcript: bytes, one: tuple[int, bytes], other: tuple[int, bytes]) -> bytes:
    """What a pair's secret is bound to (K1). `one`, `other`: index and X25519 public key of the two members."""
    (low, low_key), (high, high_key) = sorted((one, other))
    ids = low.to_bytes(2, "little"), high.to_bytes(2, "little")
    return prefixed(b"pair", agreement.study, agreement.roster.digest, transcript, *ids, low_key, high_key)


def pair_secret(own: X25519PrivateKey, peer: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 of the X25519 secret with `peer`, the other's public key, 32 bytes. Raises SumRefused (K2)."""
    try:
        agreed = own.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError as error:  # the library's own check of an all-zero secret
        raise SumRefused(Fault.WEAK_KEY) from error
    if not any(agreed):
        raise SumRefused(Fault.WEAK_KEY)
    return _hkdf(info).derive(agreed)


class Ratchet:
    """A secret that moves forward, one step a release, and is gone behind (K4). For a pair's secret and for noise."""

    __slots__ = ("_key", "_release", "_releases")

    def __init__(self, key: bytes, releases: int) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = bytearray(key)
        self._release = 0
        self._releases = releases

    def __reduce__(self) -> str:
        raise TypeError("a secret is neither copied nor stored")

    def forward(self, release: int) -> None:
        """Move to `release`. Raises SumRefused for one beyond the plan or behind; then nothing has moved."""
        if not 0 <= release < self._releases:
            raise SumRefused(Fault.OUT_OF_PLAN)  # also bounds the work
        if release < self._release:
            raise SumRefused(Fault.OUT_OF_ORDER)
        for _ in range(self._release, release):
            _hkdf(prefixed(b"next")).derive_into(self._key, self._key)
        self._release = release

    def derive(self, purpose: bytes, context: bytes) -> bytes:
        """The key of one purpose and context at the present release, 32 bytes (K3)."""
        if self._releases == 0:
            raise SumRefused(Fault.OUT_OF_PHASE)
        return _hkdf(prefixed(purpose, context)).derive(self._key)

    def erase(self) -> None:
        """Forget the secret; nothing can be derived any more."""
        self._key[:] = bytes(KEY_BYTES)
        self._releases = 0


def add_mask(vector: RingVector, key: bytes, *, negative: bool) -> None:
    """Add (or subtract) the stream of AES-256-CTR under `key`, from counter 0, to `vector` in place.

    Elements are the stream's bytes, little-endian, in order, so that all members make the same mask. A key is used for
    one vector (K3).
    """
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(_BLOCK_BYTES))).encryptor()
    buffer = bytearray(min(_CHUNK_BYTES, vector.nbytes) + _BLOCK_BYTES)  # the library wants room for a block more
    stream = np.frombuffer(buffer, dtype=vector.dtype, count=(len(buffer) - _BLOCK_BYTES) // vector.itemsize)
    zeros = memoryview(_ZEROS)
    combine = np.subtract if negative else np.add
    step = _CHUNK_BYTES // vector.itemsize
    for at in range(0, vector.size, step):
        part = vector[at : at + step]
        encryptor.update_into(zeros[: part.nbytes], buffer)
        combine(part, stream[: part.size], out=part)


def _hkdf(info: bytes) -> HKDF:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info)
