"""The coordinator and a site of the lab: what people there would type, typed on their hosts."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab.accounts import Answer
from lab.commands import CLI, environment, typed
from lab.database import QUERY
from lab.hosts import Host
from lab.installed import Installation
from lab.services import NotReady, Service, said, until
from silosynth.common.study_file import read_study

if TYPE_CHECKING:
    import subprocess

_WIRETAP: Final = Path(__file__).with_name("wiretap")
_PATHS: Final = """
import sys
from pathlib import Path
from silosynth.server.superlink import application
app = application(Path(sys.argv[1]), bytes(32))
print(*app.openapi()["paths"], *(route.path for route in app.routes if hasattr(route, "path")))
"""
_READY_S: Final = 60.0


def digest_of(study: Path) -> str:
    """The digest of a resolved study."""
    return read_study(study.read_text(encoding="utf-8"), source=str(study)).digest


@dataclass
class Coordinator:
    """The coordinator's side. `port` is the public one; `secrets`: the key log of its TLS."""

    host: Host
    home: Path
    port: int
    secrets: Path
    service: Service | None = None

    def init(self) -> None:
        """Certificate authority, server certificate, keys."""
        typed(self.host, "coordinator", "init", "--home", self.home, "--host", self.host.address)

    def enrol(self, request: Path) -> Path:
        """The bundle that goes back to the site."""
        typed(self.host, "coordinator", "enrol", request, "--home", self.home)
        name: str = json.loads(request.read_text(encoding="utf-8"))["name"]
        return self.home / "bundles" / name

    @contextmanager
    def running(self, log: Path) -> Iterator[Service]:
        """Its service, ready for sites."""
        path = os.pathsep.join(filter(None, (str(_WIRETAP), os.environ.get("PYTHONPATH"))))
        env = environment(PYTHONPATH=path, LAB_TLS_SECRETS=str(self.secrets))
        command: list[str | Path] = [*CLI, "coordinator", "run", "--home", self.home]
        with Service(self.host, command, log, env) as service:
            self.service = service
            until(lambda: "ready for sites" in said(log), "the coordinator did not begin to listen", _READY_S)
            yield service

    def propose(self, study: Path, name: str, sites: Sequence[str]) -> Path:
        """The resolved study, which goes to the sites' officers."""
        typed(self.host, "coordinator", "study", "propose", study, "--sites", ",".join(sites), "--home", self.home)
        return self.folder(name) / "study.toml"

    def folder(self, name: str) -> Path:
        """The folder of a study."""
        return self.home / "studies" / name

    def launch(self, name: str, log: Path, *, again: bool = False) -> "subprocess.Popen[bytes]":
        """Run a study; the process ends when it has been published."""
        verb = "resume" if again else "launch"
        return self.host.start([*CLI, "coordinator", "study", verb, name, "--home", self.home], log, env=environment())

    def releases(self, name: str) -> int:
        """How many releases of a study have been absorbed."""
        journal = self.folder(name) / "journal.jsonl"
        return journal.read_bytes().count(b'"total"') if journal.exists() else 0

    def journal(self, name: str) -> list[dict[str, Any]]:
        """The lines of a study's journal."""
        lines = (self.folder(name) / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def finished(self, name: str) -> bool:
        """Whether its certificate, the last file, is there."""
        return (self.folder(name) / "certificate.json").exists()

    def certificate(self, name: str) -> dict[str, Any]:
        """The certificate of a finished study."""
        content: dict[str, Any] = json.loads((self.folder(name) / "certificate.json").read_bytes())
        return content

    def paths(self) -> list[str]:
        """Everything that its server knows, whoever may reach it."""
        done = self.host.run([sys.executable, "-W", "ignore", "-c", _PATHS, self.home / "never-served.sqlite"])
        return done.stdout.split()

    def kill(self) -> None:
        """End its service as a crash would, with all that it started."""
        if self.service is not None:
            self.service.kill()


@dataclass(frozen=True)
class Site:
    """A site's side, whose software is there in one way or another."""

    name: str
    installation: Installation

    @property
    def host(self) -> Host:
        """Its host."""
        return self.installation.host

    @property
    def home(self) -> Path:
        """Its home."""
        return self.installation.home

    def init(self, data: Path, capacity: int, address: str) -> None:
        """Keys, policy and request file. `data`: a CSV or Parquet file, or one that holds a database's URL."""
        words: list[str | Path] = ["init", "--name", self.name, "--capacity", str(capacity), "--coordinator", address]
        if data.suffix == ".url":
            query = data.with_suffix(".sql")
            query.write_text(QUERY, encoding="ascii")
            words += ["--sql", query, "--url-file", data]
        else:
            words += ["--data", self.installation.given(data)]
        self.installation.typed(*words)

    @property
    def request(self) -> Path:
        """What goes to the coordinator."""
        return self.home / "request.json"

    @property
    def ledger(self) -> Path:
        """Its ledger."""
        return self.home / "agent" / "ledger.sqlite"

    def take(self, bundle: Path) -> None:
        """Put the coordinator's bundle where it belongs."""
        shutil.copy(bundle / "ca.pem", self.home / "relay" / "ca.pem")

    def allow(self, policy: str) -> None:
        """Write a policy."""
        (self.home / "policy.toml").write_text(policy, encoding="utf-8")

    def approve(self, study: Path) -> str:
        """What the officer reads, and signs."""
        return self.installation.typed("approve", self.installation.given(study), "--yes", digest_of(study))

    @contextmanager
    def running(self, logs: Path) -> Iterator[None]:
        """Its processes."""
        with self.installation.running(logs):
            until(self._ready, f"site {self.name} did not connect", _READY_S)
            yield

    def kill(self, part: str) -> None:
        """Kill -9 of the agent or the relay."""
        pid = self.installation.pid(part)
        if not pid:
            raise NotReady(f"no {part} of site {self.name} is running")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def outbox(self) -> tuple[Answer, ...]:
        """What its outbox lists."""
        sent = json.loads(self.installation.typed("outbox", "--json"))["sent"]
        keys = ("study", "release", "attempt", "payload", "octets")
        return tuple(Answer(*(line[key] for key in keys)) for line in sent)

    def events(self, part: str) -> list[dict[str, Any]]:
        """What one of its processes told so far."""
        path = self.home / "log" / f"{part}.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def _ready(self) -> bool:
        waited_for = {"agent": "ready", "relay": "connected"}
        return all(any(told["event"] == event for told in self.events(part)) for part, event in waited_for.items())
