"""A coordinator's home: where everything of it lies, and what its coordinator.toml says. Read `CoordinatorHome` first.

coordinator.toml        how it listens and how long it waits; written by `silosynth coordinator init`, edited by people
ca.key, ca.pem          its own certificate authority: sites trust what it signs, and nothing else
server.key, server.pem  of the public listener
superexec.secret        opens the loopback listener, and the runs that it starts
superlink.sqlite        Flower's state: nodes, runs, messages under way
sites/NAME.json         the request of every site that was enrolled
bundles/NAME/           what goes back to it
studies/NAME/           study.toml, journal.jsonl, status.json, and at the end what a study publishes
run/                    what lives as long as a process
"""

import fcntl
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from silosynth.common.errors import InvalidInput, InvalidStudy
from silosynth.common.site_request import SiteRequest, read_request
from silosynth.common.toml_read import TableReader
from silosynth.common.toml_text import comment, entry

FORMAT: Final = 1
_LAST_PORT: Final = 65535
_DAY_S: Final = 86_400
_LONGEST_S: Final = 3650 * _DAY_S
_SECRETS: Final = 0o077  # what others may do to files that a coordinator makes: nothing


@dataclass(frozen=True)
class Settings:
    """What coordinator.toml says. Times in seconds."""

    hosts: tuple[str, ...]
    """Names and addresses that sites may reach the public listener by; the first is what they are told."""
    port: int = 8443
    listen: str = "0.0.0.0"  # noqa: S104  # the public listener is for other institutions
    loopback_port: int = 8444
    metrics_port: int | None = None
    roll_call_s: int = 900
    """To wait for all sites of a study to be connected."""
    round_s: int = 3600
    """To wait for the answers of one round; the longest that a message lives."""
    study_s: int = 30 * _DAY_S

    @property
    def address(self) -> str:
        """host:port, for sites."""
        host = self.hosts[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


@dataclass(frozen=True)
class CoordinatorHome:
    """The folder of a coordinator. Values only: nothing is read or made."""

    path: Path

    @property
    def config(self) -> Path:
        """coordinator.toml."""
        return self.path / "coordinator.toml"

    @property
    def ca_key(self) -> Path:
        """The authority's private key: could be kept elsewhere between `init` and the next `renew`."""
        return self.path / "ca.key"

    @property
    def ca(self) -> Path:
        """The authority's certificate, for sites."""
        return self.path / "ca.pem"

    @property
    def server_key(self) -> Path:
        """The public listener's private key."""
        return self.path / "server.key"

    @property
    def server(self) -> Path:
        """The public listener's certificate."""
        return self.path / "server.pem"

    @property
    def secret(self) -> Path:
        """What opens the loopback listener."""
        return self.path / "superexec.secret"

    @property
    def database(self) -> Path:
        """Flower's state."""
        return self.path / "superlink.sqlite"

    @property
    def sites(self) -> Path:
        """Requests of enrolled sites."""
        return self.path / "sites"

    @property
    def bundles(self) -> Path:
        """What goes back to sites."""
        return self.path / "bundles"

    @property
    def studies(self) -> Path:
        """A folder for each study."""
        return self.path / "studies"

    @property
    def run(self) -> Path:
        """Locks."""
        return self.path / "run"

    def request(self, name: str) -> Path:
        """The request of a site, by its checked name."""
        return self.sites / f"{name}.json"


def read_settings(home: CoordinatorHome) -> Settings:
    """What coordinator.toml says. Raises InvalidInput: file, key and cure."""
    source = str(home.config)
    try:
        table = TableReader(source, "top level", tomllib.loads(home.config.read_text(encoding="utf-8")))
        if table.whole("format", 1, _LAST_PORT) != FORMAT:
            raise InvalidInput(f"{source}: this version reads format {FORMAT} only")
        waits = TableReader(source, "[deadlines]", table.take("deadlines") or {})
        settings = Settings(
            hosts=table.words("hosts"),
            port=table.whole("port", 0, _LAST_PORT, default=Settings.port),
            listen=table.text("listen", Settings.listen),
            loopback_port=table.whole("loopback_port", 0, _LAST_PORT, default=Settings.loopback_port),
            metrics_port=table.optional_whole("metrics_port", 1, _LAST_PORT),
            roll_call_s=waits.whole("roll_call_s", 1, _LONGEST_S, default=Settings.roll_call_s),
            round_s=waits.whole("round_s", 1, _LONGEST_S, default=Settings.round_s),
            study_s=waits.whole("study_s", 1, _LONGEST_S, default=Settings.study_s),
        )
        table.done()
        waits.done()
    except FileNotFoundError:
        raise InvalidInput(
            f"{home.config}: there is no coordinator here; run `silosynth coordinator init`, or give --home"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{source}: cannot be read ({error}); see who may read it") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{source}: is not valid TOML: {error}; correct that place") from None
    except InvalidStudy as error:
        raise InvalidInput(str(error)) from None
    if not settings.hosts:
        raise InvalidInput(f"{source}: key 'hosts' is missing: the names or addresses that sites reach this host by")
    return settings


def write_settings(settings: Settings) -> str:
    """coordinator.toml, for a person to edit."""
    lines = [
        comment("A coordinator. Sites reach it as one of `hosts`, at `port`; `loopback_port` is for this host alone."),
        entry("format", FORMAT),
        entry("hosts", settings.hosts),
        entry("port", settings.port),
        entry("listen", settings.listen),
        entry("loopback_port", settings.loopback_port),
        *([] if settings.metrics_port is None else [entry("metrics_port", settings.metrics_port)]),
        "",
        "[deadlines]",
        comment("For all sites to be connected; for the answers of one round; for a whole study."),
        entry("roll_call_s", settings.roll_call_s),
        entry("round_s", settings.round_s),
        entry("study_s", settings.study_s),
    ]
    return "\n".join(lines) + "\n"


def enrolled(home: CoordinatorHome) -> dict[str, SiteRequest]:
    """Every enrolled site by its name, in the order of names. Raises InvalidInput."""
    found = {path.stem: read_request(path.read_text(encoding="utf-8"), str(path)) for path in sorted_json(home.sites)}
    for name, request in found.items():
        if request.name != name:
            raise InvalidInput(f"{home.request(name)}: speaks of {request.name}: put back the file that was enrolled")
    return found


def sorted_json(folder: Path) -> list[Path]:
    """The JSON files of a folder; those that are being written have names that begin with a dot."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def read_secret(home: CoordinatorHome) -> bytes:
    """The secret of the loopback listener. Raises InvalidInput where others may read it."""
    try:
        if home.secret.stat().st_mode & _SECRETS:
            raise InvalidInput(f"{home.secret}: others may read this secret; run `chmod 600` on it, and ask who has")
        return home.secret.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{home.secret}: cannot be read ({error.strerror}); run `silosynth coordinator init`"
        ) from None


@contextmanager
def held(path: Path, *, wait: bool) -> Iterator[bool]:
    """A lock between processes that ends with its holder, whatever ends it. False where another one has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
