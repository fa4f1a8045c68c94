"""What is hashed, signed or derived from, as bytes that mean one thing.

Every list of byte strings has its own encoding, because each string is preceded by its length; every use has its own
purpose as the first string. So no signature, hash or key of one use is one of another, and no two contexts are one.
"""

import hashlib
from typing import Final

PROTOCOL: Final = b"silosynth/secagg/1"
DIGEST_BYTES: Final = 32


def prefixed(*parts: bytes) -> bytes:
    """The parts, each after its length in 4 bytes: injective, as is prefixing it with PROTOCOL."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in (PROTOCOL, *parts))


def digest(purpose: bytes, *parts: bytes) -> bytes:
    """SHA-256 of the parts, for one purpose, 32 bytes."""
    return hashlib.sha256(prefixed(purpose, *parts)).digest()
