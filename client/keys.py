"""A site's agent key: the Ed25519 key under which it is known on rosters. One file in the site's folder, made once.

It proves which agent speaks, and never leaves the site. Its fingerprint is what people of different institutions read
to each other: a roster with another key under this name was made by somebody else.
"""

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from silosynth.common.errors import InvalidInput
from silosynth.common.secagg.roster import grouped

FILE: Final = "agent.key"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def agent_key(folder: Path) -> Ed25519PrivateKey:
    """The key in a site's folder, made there if there is none. Two processes that make it at once get the same.

    Raises InvalidInput for a file that is no such key, or that others may read.
    """
    path = folder / FILE
    if not path.exists():
        _create(path)
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        raise InvalidInput(f"{path}: others may read this key. Run `chmod 600` on it, and ask who has read it")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise InvalidInput(f"{path}: is no key in PEM. Put the site's own key back") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInput(f"{path}: is no Ed25519 key. Put the site's own key back")
    return key


def public_key(key: Ed25519PrivateKey) -> str:
    """The public half, 64 hex digits: what stands in a study's roster."""
    return key.public_key().public_bytes_raw().hex()


def fingerprint(key: Ed25519PrivateKey) -> str:
    """What people compare, in groups of four digits."""
    return grouped(hashlib.sha256(key.public_key().public_bytes_raw()).digest())


def _create(path: Path) -> None:
    """A new key at `path`, whole and on disk, unless somebody else is first."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def key_of_rows(agent: Ed25519PrivateKey, study: str) -> bytes:
    """What decides which rows are held out in the study of that digest: secret, and the same as long as the key is."""
    return hmac.digest(agent.private_bytes_raw(), f"silosynth/rows\n{study}".encode(), "sha256")
