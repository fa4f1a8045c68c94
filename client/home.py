"""A site's home: where everything of a site lies, and what its site.toml says. Read `SiteHome` first.

site.toml               what the site is; written by `silosynth site init`, edited by the site
policy.toml             what it allows; nothing at first
request.json            public: what its coordinator enrols
officer.key             of the person who answers for the data; only `site approve` reads it, it may lie elsewhere
agent/                  agent.key and ledger.sqlite: the agent's own, where rows are read
relay/                  node.key, node.pub and the coordinator's ca.pem: the relay's own, where there is a network
studies/                DIGEST.toml, and DIGEST.approval.json where the officer approved it
run/agent.sock          between agent and relay
log/                    of both, in JSON lines
reports/                DIGEST/: released tables against the site's own rows, exact, for its eyes only
"""

import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from silosynth.client.where import Source, read_source
from silosynth.common.errors import InvalidInput, InvalidStudy
from silosynth.common.site_request import MOST_ROWS, check_name
from silosynth.common.toml_read import TableReader

FORMAT: Final = 1

_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LAST_PORT: Final = 65535

Read = TypeVar("Read")


@dataclass(frozen=True)
class Address:
    """Where the coordinator listens. `host` without the brackets of an IPv6 address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class SiteConfig:
    """What site.toml says. `capacity`: most rows the site will ever answer with, which is public."""

    name: str
    capacity: int
    address: Address
    source: Source


@dataclass(frozen=True)
class SiteHome:
    """The folder of a site, and where everything lies in it. Values only: nothing is read or made."""

    path: Path

    @property
    def config(self) -> Path:
        """site.toml."""
        return self.path / "site.toml"

    @property
    def policy(self) -> Path:
        """policy.toml."""
        return self.path / "policy.toml"

    @property
    def request(self) -> Path:
        """request.json, public."""
        return self.path / "request.json"

    @property
    def officer_key(self) -> Path:
        """The officer's key, unless the officer keeps it elsewhere."""
        return self.path / "officer.key"

    @property
    def agent(self) -> Path:
        """The agent's folder; its key and its ledger are below."""
        return self.path / "agent"

    @property
    def agent_key(self) -> Path:
        """The agent's key; `keys.agent_key(home.agent)` reads it."""
        return self.agent / "agent.key"

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.agent / "ledger.sqlite"

    @property
    def relay(self) -> Path:
        """The relay's folder."""
        return self.path / "relay"

    @property
    def node_key(self) -> Path:
        """The key under which Flower knows the relay: EC P-384, OpenSSH's form."""
        return self.relay / "node.key"

    @property
    def node_pub(self) -> Path:
        """Its public half, one line."""
        return self.relay / "node.pub"

    @property
    def ca(self) -> Path:
        """The certificate of the coordinator's own authority."""
        return self.relay / "ca.pem"

    @property
    def studies(self) -> Path:
        """Studies and approvals."""
        return self.path / "studies"

    def study(self, digest: str) -> Path:
        """The file of a study, by its digest. Raises ValueError for what is no digest: no other text becomes a path."""
        return self.studies / f"{_checked(digest)}.toml"

    def approval(self, digest: str) -> Path:
        """Its approval, likewise."""
        return self.studies / f"{_checked(digest)}.approval.json"

    def rows(self, digest: str) -> Path:
        """What the agent keeps to know again the rows of a study, likewise."""
        return self.agent / "rows" / _checked(digest)

    @property
    def run(self) -> Path:
        """What lives as long as a process."""
        return self.path / "run"

    @property
    def socket(self) -> Path:
        """Between agent and relay."""
        return self.run / "agent.sock"

    def report(self, digest: str) -> Path:
        """The folder of a site's own report on a study, likewise."""
        return self.path / "reports" / _checked(digest)

    @property
    def log(self) -> Path:
        """Logs."""
        return self.path / "log"


def read_site(path: Path) -> SiteConfig:
    """What a site.toml says; paths in it are relative to its folder.

    Raises InvalidInput: file, table, key and cure.
    """
    try:
        raw = tomllib.loads(read_text(path, "run `silosynth site init` first, or give the site's folder with --home"))
        return _site(str(path), path.parent, raw)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path}: not TOML: {error}. Mend the line it names") from error
    except InvalidStudy as error:
        raise InvalidInput(str(error)) from error


def read_text(path: Path, cure: str) -> str:
    """A text file of a site, its line ends as they are. Raises InvalidInput, with `cure` where there is none."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file; {cure}") from None
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}); correct its owner, mode or path") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: is not text in UTF-8; save it as that") from None


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that after a crash it is either the old one or the new one, and never readable to more."""
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_address(text: str) -> Address:
    """HOST:PORT. Raises InvalidInput."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= _LAST_PORT:
        raise InvalidInput(f"{text!r} is no address: write HOST:PORT, such as coordinator.example.org:8443")
    return Address(found["host"].strip("[]"), int(found["port"]))


def _site(source: str, folder: Path, raw: dict[str, Any]) -> SiteConfig:
    top = TableReader(source, "top level", raw)
    if top.whole("format", 1, MOST_ROWS, FORMAT) != FORMAT:
        raise top.wrong("format", f"this version reads format {FORMAT} only")
    coordinator = TableReader(source, "[coordinator]", top.take("coordinator") or {})
    address = coordinator.text("address")
    coordinator.done()
    config = SiteConfig(
        _or_wrong(top, "name", top.text("name"), check_name),
        top.whole("capacity", 1, MOST_ROWS),
        _or_wrong(coordinator, "address", address, read_address),
        read_source(top.take("data"), source, folder),
    )
    top.done()
    return config


def _or_wrong(table: TableReader, key: str, text: str, read: Callable[[str], Read]) -> Read:
    try:
        return read(text)
    except InvalidInput as error:
        raise table.wrong(key, str(error)) from None


def _checked(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError("a study is named by 64 hex digits")
    return digest
