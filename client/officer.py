"""The officer's key: an Ed25519 key of the person who answers for a site's data. It signs approvals, and nothing else.

No process of a site reads it: only `site approve`, while a person waits. It may be encrypted with a passphrase, and lie
on a medium of its own.
"""

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from silosynth.common.errors import InvalidInput

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def new_officer_key(passphrase: bytes | None) -> tuple[Ed25519PrivateKey, bytes]:
    """A fresh key, and its PEM, encrypted where there is a passphrase."""
    key = Ed25519PrivateKey.generate()
    lock: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def is_encrypted(path: Path) -> bool:
    """Whether a key file asks for a passphrase. Raises InvalidInput where it cannot be read."""
    return b"ENCRYPTED" in _read(path).split(b"\n")[0]


def officer_key(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """The key in a file. Raises InvalidInput: no such file, readable to others, no such key, or another passphrase."""
    pem = _read(path)
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        raise InvalidInput(f"{path}: others may read this key. Run `chmod 600` on it, and ask who has read it")
    try:
        key = load_pem_private_key(pem, passphrase if is_encrypted(path) else None)
    except (ValueError, TypeError):  # neither says more than that it does not fit
        raise InvalidInput(f"{path}: is no key in PEM, or the passphrase is another one; give the right one") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInput(f"{path}: is no Ed25519 key. Put the officer's own key back")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such key; give the officer's with --officer-key") from None
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be read ({error.strerror}); only its owner may, and must run this"
        ) from None
