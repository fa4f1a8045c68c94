"""Makes a coordinator's home, and renews the certificate of its public listener."""

import secrets
from pathlib import Path
from typing import Final

from silosynth.common.errors import InvalidInput
from silosynth.server.ca import Pair, alternative, fingerprint, new_authority, new_server
from silosynth.server.files import replace, write_secret, write_text
from silosynth.server.home import CoordinatorHome, Settings, write_settings

_SECRET_BYTES: Final = 32


def init(home: CoordinatorHome, settings: Settings) -> str:
    """Make everything that a coordinator needs; the fingerprint of its authority. coordinator.toml is written last.

    Raises InvalidInput where there is one already.
    """
    if home.config.exists():
        raise InvalidInput(f"{home.config}: there is a coordinator here already; choose another folder with --home")
    for host in settings.hosts:
        alternative(host)
    home.path.mkdir(parents=True, exist_ok=True)
    home.path.chmod(0o700)
    authority = new_authority(settings.hosts[0])
    write_secret(home.ca_key, authority.key)
    replace(home.ca, authority.certificate)
    _certify(home, authority, settings.hosts)
    write_secret(home.secret, secrets.token_bytes(_SECRET_BYTES))
    write_text(home.config, write_settings(settings))
    return fingerprint(authority.certificate)


def renew(home: CoordinatorHome, settings: Settings) -> None:
    """Give the public listener a new key and certificate for the `hosts` of coordinator.toml. Sites need nothing new.

    Raises InvalidInput where the authority's key is not there.
    """
    _certify(home, Pair(_read(home.ca_key), _read(home.ca)), settings.hosts)


def _certify(home: CoordinatorHome, authority: Pair, hosts: tuple[str, ...]) -> None:
    server = new_server(authority, hosts)
    write_secret(home.server_key, server.key)
    replace(home.server, server.certificate)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}); put it back from where it is kept") from None
