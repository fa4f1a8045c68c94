"""The hosts of a lab with everything installed on them, and what both of its studies need."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab import evidence
from lab.contained import Contained, image_digest
from lab.database import database, why_no_database
from lab.evidence import Check, Heard
from lab.hosts import Hosts
from lab.installed import Bare, Installation
from lab.parties import Coordinator, Site, digest_of
from lab.rows import SITES, STUDY, Rows, real_rows
from lab.services import NotReady, said, until
from lab.wire import Wire

if TYPE_CHECKING:
    import subprocess

COORDINATOR: Final = "coordinator"
STRANGER: Final = "stranger"
INSIDE: Final = "inside"
"""Where the agent of one site is: a host without any network but loopback."""

ADDRESSES: Final = {
    COORDINATOR: "10.77.0.1",
    "north": "10.77.1.1",
    "south": "10.77.2.1",
    "west": "10.77.3.1",
    STRANGER: "10.77.4.1",
}
PORT: Final = 8443
CAPACITY: Final = 6000

_APART: Final = "west"
_POLICY: Final = """\
format = 1
engines = ["autoregressive"]
least_sites = 3
least_floor = 2
"""
_CAP: Final = """\
[caps.{scope}.{view}]
epsilon = {epsilon}
delta = 1e-5
"""
_EPSILON: Final = {"aggregate": 100.0, "local": 300.0}
"""What a site that is restarted dozens of times in one study may have to put aside; nobody's data but the lab's."""


@dataclass(frozen=True)
class How:
    """How much of it. `steps`: gradients of the first and the second study; `kills`: of each kind of process.

    `contained`: the sites that run in containers of `image`.
    """

    out: Path
    steps: tuple[int, int] = (3, 8)
    kills: int = 1
    seed: int = 1
    patience_s: float = 240.0
    image: str = ""
    contained: frozenset[str] = frozenset()


@dataclass
class Lab:
    """Everything that stands while a campaign goes on."""

    how: How
    rows: Rows
    hosts: Hosts
    wire: Wire
    coordinator: Coordinator
    sites: Mapping[str, Site]
    tell: Callable[[str], None]
    checks: list[Check] = field(default_factory=list)

    def check(self, *checks: Check) -> None:
        """Keep and tell what was checked."""
        for one in checks:
            self.checks.append(one)
            self.tell(str(one))

    def digest(self, study: str) -> str:
        """The digest of a proposed study."""
        return digest_of(self.coordinator.folder(study) / "study.toml")

    def heard(self, host: str) -> Heard:
        """What a site, or the stranger, has said up to now."""
        self.wire.settle()
        return evidence.heard(self.how.out / f"{host}.pcap", self.hosts[host].address, self.coordinator.secrets)


@contextmanager
def raised(how: How, tell: Callable[[str], None]) -> Iterator[Lab]:
    """A lab whose sites are enrolled, running and connected. At the end, all that was started has ended.

    Raises CommandFailed, NotReady.
    """
    began = time.monotonic()

    def told(line: str) -> None:
        tell(f"{time.monotonic() - began:6.1f} s  {line}")

    how.out.mkdir(parents=True)
    with ExitStack() as stack:
        rows, hosts = real_rows(), stack.enter_context(Hosts({**ADDRESSES, INSIDE: ""}))
        on_wire = {name: hosts[name] for name in ADDRESSES if name != COORDINATOR}
        wire = stack.enter_context(Wire(hosts[COORDINATOR], on_wire, PORT, how.out))
        told("hosts: " + ", ".join(f"{name} {address}" for name, address in ADDRESSES.items()))
        coordinator = Coordinator(hosts[COORDINATOR], how.out / COORDINATOR, PORT, how.out / "tls-secrets.log")
        sites = {name: Site(name, _installation(how, hosts, name)) for name in SITES}
        if how.contained:
            told(f"in containers: {', '.join(sorted(how.contained))}; image {how.image} {image_digest(how.image)}")
        lab = Lab(how, rows, hosts, wire, coordinator, sites, told)
        with ThreadPoolExecutor() as pool:
            files = _files(lab, stack)
            made = [pool.submit(_made, site, files[name], coordinator) for name, site in sites.items()]
            coordinator.init()
            for one in made:
                one.result()
            for site in sites.values():
                site.take(coordinator.enrol(site.request))
            told("three sites are enrolled")
            stack.enter_context(coordinator.running(how.out / "coordinator.log"))
            told("the coordinator listens")
            running = [pool.submit(stack.enter_context, site.running(how.out)) for site in sites.values()]
            for started in running:
                started.result()
        told("all sites are connected")
        yield lab
    told("everything that was started has ended")


def agreed(lab: Lab, name: str, steps: int) -> None:
    """A study of that name, proposed, and approved by every site's officer."""
    text = STUDY.read_text(encoding="utf-8").replace('name = "lab"', f'name = "{name}"')
    draft = lab.how.out / f"{name}.toml"
    draft.write_text(text.replace("[[columns]]", f"[engine]\nsteps = {steps}\n\n[[columns]]", 1), encoding="utf-8")
    resolved = lab.coordinator.propose(draft, name, list(lab.sites))
    with ThreadPoolExecutor() as pool:
        read = list(pool.map(lambda site: site.approve(resolved), lab.sites.values()))
    held = all(name in text for text in read)
    lab.check(Check(f"officers read study {name} in words, and signed", held, f"{len(read)} sites"))


def finished(lab: Lab, name: str, running: "subprocess.Popen[bytes]") -> None:
    """Wait until a study is published. Raises NotReady."""
    log = lab.how.out / f"{name}.log"
    until(lambda: running.poll() is not None, f"study {name} did not end: {said(log)}", lab.how.patience_s)
    if running.returncode or not lab.coordinator.finished(name):
        raise NotReady(f"study {name} ended with exit code {running.returncode}: {said(log)}")


def journal(lab: Lab, name: str) -> Sequence[Mapping[str, Any]]:
    """The absorbed releases of a study."""
    return [line for line in lab.coordinator.journal(name) if "total" in line]


def _installation(how: How, hosts: Hosts, name: str) -> Installation:
    """Containers where that is asked for; one of the other sites has its agent and its relay apart."""
    if name in how.contained:
        return Contained(hosts[name], how.out / name, how.out / "rows" / name, how.image)
    return Bare(hosts[name], how.out / name, hosts[INSIDE] if name == _APART else None)


def _made(site: Site, data: Path, coordinator: Coordinator) -> None:
    rows = CAPACITY
    site.init(data, rows, f"{coordinator.host.address}:{coordinator.port}")
    caps = [
        _CAP.format(scope=scope, view=view, epsilon=most)
        for scope in ("study", "lifetime")
        for view, most in _EPSILON.items()
    ]
    site.allow(_POLICY + "".join(caps))


def _files(lab: Lab, stack: ExitStack) -> Mapping[str, Path]:
    """Where each site's rows are: CSV, Parquet, and a database, or CSV again where there is no server."""
    folders = {name: lab.how.out / "rows" / name for name in SITES}  # a site sees its own
    for folder in folders.values():
        folder.mkdir(parents=True)
    north, south, west = SITES
    kinds = {north: "csv", south: "parquet", west: "url"}
    files = {name: folders[name] / f"{name}.{kind}" for name, kind in kinds.items()}
    lab.rows.tables[north].to_csv(files[north], index=False)
    lab.rows.tables[south].to_parquet(files[south], index=False)
    if reason := why_no_database():
        files[west] = files[west].with_suffix(".csv")
        lab.rows.tables[west].to_csv(files[west], index=False)
        lab.tell(f"west's rows are in a CSV file: {reason}")
        return files
    log = lab.how.out / "database.log"
    url = stack.enter_context(database(lab.hosts[west], lab.rows.tables[west], log))
    files[west].write_text(url, encoding="ascii")
    files[west].chmod(0o600)
    lab.tell("west's rows are in PostgreSQL")
    return files
