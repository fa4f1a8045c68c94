"""What a site, or somebody on its host, may try beyond what it is for. Each attempt says what came of it.

An attempt that is stopped proves little by itself: each kind has a control that succeeds where it should.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from lab.canaries import search
from lab.commands import CLI, environment, typed
from lab.evidence import Check
from lab.hosts import Host
from lab.installed import Bare
from lab.parties import Site
from lab.scene import PORT, STRANGER, Lab
from lab.services import Service
from lab.streams import Spoken
from silosynth.client.relay import AgentProxy
from silosynth.common import wire
from silosynth.common.engine import Parts

_SAY: Final = """
import http.client, json, ssl, sys
host, ca = sys.argv[1:3]
context = ssl.create_default_context(cafile=ca)
said = []
for method, path, head, body in json.load(sys.stdin):
    line = http.client.HTTPSConnection(host, context=context, timeout=10)
    try:
        line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in head:
            line.putheader(name, value)
        line.endheaders(bytes.fromhex(body))
        said.append(line.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        said.append(type(error).__name__)
    finally:
        line.close()
print(json.dumps(said))
"""

_POSE: Final = """
import sys
from pathlib import Path
import httpx
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.node_pb2 import Node
from silosynth.client.home import SiteHome, read_site
from silosynth.client.node import connect
from silosynth.client.relay import authority, node_key
home = SiteHome(Path(sys.argv[1]))
fleet = connect(str(read_site(home.config).address), authority(home.ca), node_key(home.node_key))
for number in sys.argv[2:]:
    try:
        fleet.PullMessages(PullMessagesRequest(node=Node(node_id=int(number))))
        print(200)
    except httpx.HTTPStatusError as error:
        print(error.response.status_code)
"""

HEALTH: Final = "/health"
_DISGUISES: Final = (
    "/v1/fleet/../control/{name}", "/v1/fleet/%2e%2e/control/{name}", "/v1/fleet/..%2fcontrol/{name}",
    "//v1/control/{name}", "/V1/control/{name}", "/v1//control/{name}", "/health/../v1/control/{name}",
    "/./v1/control/{name}", "/v1/fleet/..;/control/{name}", "http://127.0.0.1/v1/control/{name}",
)  # fmt: skip


_PLANTED: Final = 20


@dataclass(frozen=True)
class Outcome:
    """An HTTP request, and its status, or the name of the error that came instead."""

    path: str
    status: int | str

    @property
    def refused(self) -> bool:
        """Whether nothing was done."""
        return not isinstance(self.status, int) or 400 <= self.status < 500


def sent(host: Host, to: str, ca: Path, requests: Sequence[Spoken]) -> tuple[Outcome, ...]:
    """Each request, as it is, from a host over TLS, on a connection of its own."""
    plain = [[one.method, one.path, _headers(one.head), one.body.hex()] for one in requests]
    done = host.run([sys.executable, "-I", "-c", _SAY, to, ca], stdin=json.dumps(plain), timeout_s=600)
    if done.returncode:
        raise subprocess.SubprocessError(done.stderr)
    return tuple(Outcome(one.path, said) for one, said in zip(requests, json.loads(done.stdout), strict=True))


def control_calls(known: Sequence[str], host: str) -> tuple[Spoken, ...]:
    """Calls of everything that the coordinator's server knows, beside what sites need; and of it in disguise."""
    other = [path for path in known if path != HEALTH]  # of the fleet's, too: these calls are not signed
    disguised = [form.format(name=name) for form in _DISGUISES for name in ("start-run", "list-runs", "register-node")]
    pages = ["/", "/redoc", "/metrics"]
    head = f"\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n".encode()
    calls = [("POST", path) for path in (*other, *disguised)] + [("GET", path) for path in (*pages, *disguised)]
    return tuple(Spoken(method, path, head, b"") for method, path in calls)


def _headers(head: bytes) -> list[list[str]]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return [[part.strip() for part in line.split(":", 1)] for line in lines if line]


def on_everything(lab: Lab, study: str) -> None:
    """Every attack of this module, while a finished `study` is all that there is to gain."""
    before = {name: site.outbox() for name, site in lab.sites.items()}
    asked = partial(_own_agent, study=study)
    attacks = (_calls, _poses, _replays, _strays, _leak, _other_authority, _unregistered, asked)
    with ThreadPoolExecutor() as pool:  # all at once, as enemies would
        for checks in pool.map(lambda attack: list(attack(lab)), attacks):
            lab.check(*checks)
    after = {name: site.outbox() for name, site in lab.sites.items()}
    lab.check(Check("no attack made a site answer", before == after, f"{sum(map(len, after.values()))} answers in all"))


def _calls(lab: Lab) -> Iterator[Check]:
    """A site calls what only the coordinator may."""
    to, ca = f"{lab.coordinator.host.address}:{PORT}", lab.sites["north"].home / "relay" / "ca.pem"
    known = lab.coordinator.paths()
    calls = control_calls(known, to)
    outcomes = sent(lab.hosts["north"], to, ca, calls)
    done = [one for one in outcomes if not one.refused]
    yield Check("control calls from a site fail", bool(known) and not done, f"{len(outcomes)} calls, done: {done[:3]}")
    alive = sent(lab.hosts["north"], to, ca, [Spoken("GET", HEALTH, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"")])
    yield Check("what a site needs is reachable (control)", alive[0].status == 200, str(alive[0]))


def _poses(lab: Lab) -> Iterator[Check]:
    """A site asks for another one's messages, with its own key."""
    north, south = lab.sites["north"], lab.sites["south"]
    numbers = [(site.home / "relay" / "node.id").read_text(encoding="ascii") for site in (north, south)]
    done = north.host.run([sys.executable, "-c", _POSE, north.home, *numbers], env=environment())
    own, other = done.stdout.split() or (done.stderr[-200:], "")
    yield Check("a site pulls its own messages (control)", own == "200", own)
    yield Check("a site that asks for another's messages is refused", other in {"401", "403"}, other)


def _replays(lab: Lab) -> Iterator[Check]:
    """All that a site sent to push its answers is sent once more, by a stranger and by its own host."""
    site = lab.sites["south"]
    pushes = [one for one in lab.heard(site.name).spoken if "push" in one.path.lower()]
    to, ca = f"{lab.coordinator.host.address}:{PORT}", site.home / "relay" / "ca.pem"
    for host in (lab.hosts[STRANGER], site.host):
        outcomes = sent(host, to, ca, pushes)
        done = [one for one in outcomes if not one.refused]
        yield Check(
            f"a site's frames, replayed from {host.name}, are refused", bool(pushes) and not done, _counted(outcomes)
        )


def _counted(outcomes: Sequence[Outcome]) -> str:
    by = {(one.path.rsplit("/", 1)[-1], one.status) for one in outcomes}
    return f"{len(outcomes)} requests: " + ", ".join(sorted(f"{path} {status}" for path, status in by))


def _strays(lab: Lab) -> Iterator[Check]:
    """The control of all counters: a host that tries other addresses gets nowhere, and each try is counted."""
    host, seen = lab.hosts[STRANGER], lab.wire.seen[STRANGER]
    before = seen.stray
    targets = [(lab.coordinator.host.address, 8444), (lab.hosts["south"].address, PORT), ("192.0.2.53", 53)]
    program = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5)"
    done = [host.run([sys.executable, "-S", "-c", program, where, str(port)]) for where, port in targets]
    missed = [where for where, port in targets if f"tcp {where}:{port}" not in seen.strays]
    yield Check(
        "strays are counted, and arrive nowhere (control)",
        not missed and seen.stray > before and all(one.returncode for one in done),
        f"{seen.stray - before} packets",
    )


def _leak(lab: Lab) -> Iterator[Check]:
    """The control of the search for raw values: a host that says them under TLS is caught, in every form."""
    values = lab.rows.canaries("north", _PLANTED)
    bodies = [np.asarray(values, form).tobytes() for form in ("<f4", "<f8", ">f8")] + [repr(values).encode()]
    to, ca = f"{lab.coordinator.host.address}:{PORT}", lab.sites["north"].home / "relay" / "ca.pem"
    path = "/v1/fleet/push-object"
    head = f"POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {{}}\r\n\r\n"
    sent(lab.hosts[STRANGER], to, ca, [Spoken("POST", path, head.format(len(one)).encode(), one) for one in bodies])
    found = search(lab.heard(STRANGER).streams, values)
    forms = {one.form for one in found}
    planted = {"float32, little end first", "float64, little end first", "float64, big end first", "text"}
    yield Check(
        "planted raw values are found (control)",
        forms == planted and {one.value for one in found} == set(values),
        f"{len(found)} of {len(values) * len(planted)}",
    )


def _other_authority(lab: Lab) -> Iterator[Check]:
    """A site that trusts another coordinator's authority does not speak to this one."""
    other = lab.how.out / "other-coordinator"
    typed(lab.hosts[STRANGER], "coordinator", "init", "--home", other, "--host", lab.hosts[STRANGER].address)
    site = Site("misled", Bare(lab.hosts[STRANGER], lab.how.out / "misled"))
    _newcomer(lab, site, other / "ca.pem")
    yield from _turned_away(lab, site, "certificate", "a site with another authority's certificate turns away")


def _unregistered(lab: Lab) -> Iterator[Check]:
    """A site that nobody has enrolled is not admitted."""
    site = Site("uninvited", Bare(lab.hosts[STRANGER], lab.how.out / "uninvited"))
    _newcomer(lab, site, lab.sites["north"].home / "relay" / "ca.pem")
    yield from _turned_away(lab, site, "enrolled", "a node that is not enrolled is not admitted")


def _newcomer(lab: Lab, site: Site, ca: Path) -> None:
    site.init(lab.how.out / "rows" / "north" / "north.csv", 10, f"{lab.coordinator.host.address}:{PORT}")
    shutil.copy(ca, site.home / "relay" / "ca.pem")


def _turned_away(lab: Lab, site: Site, word: str, what: str) -> Iterator[Check]:
    command: list[str | Path] = [*CLI, "site", "run", "--only", "relay", "--home", site.home]
    with Service(site.host, command, lab.how.out / f"{site.name}.log", environment()):
        end = time.monotonic() + 30
        while not (told := [event for event in site.events("relay") if event.get("reason")]) and time.monotonic() < end:
            time.sleep(0.1)
    reasons = {event["reason"] for event in told}
    connected = any(event["event"] == "connected" for event in site.events("relay"))
    away = not connected and any(word in reason for reason in reasons)
    yield Check(what, away, "; ".join(sorted(reasons)) or "silent")


def _own_agent(lab: Lab, study: str) -> Iterator[Check]:
    """Whoever has the relay's place asks the agent itself: for another answer to what was answered, and for more."""
    site, digest = lab.sites["north"], lab.digest(study)
    first = wire.Request(digest, 0, 0, bytes(range(wire.NONCE_BYTES)), Parts("one-ways"))
    frames = {
        "another answer to the first release": wire.encode_request(replace(first, members=(0, 1, 2))),
        "an unmasked sum": wire.encode_request(first),
        "the release after the last": wire.encode_request(replace(first, release=len(site.outbox()))),
        "a study that nobody approved": wire.encode_request(replace(first, study="ab" * 32)),
        "noise": bytes(range(256)),
        "nothing": b"",
    }
    proxy = AgentProxy(site.home / "run" / "agent.sock", lambda _told: None, patience_s=5)
    try:
        said = {what: _refusal(proxy.answer_frame(frame)) for what, frame in frames.items()}
        named = proxy.name
    finally:
        proxy.close()
    yield Check("the agent answers who holds its socket (control)", named == site.name, named)
    yield Check(
        "the agent refuses what its relay makes up",
        all(said.values()),
        "; ".join(f"{what}: {refusal or 'ANSWERED'}" for what, refusal in said.items()),
    )


def _refusal(frame: bytes) -> str:
    return (wire.decode_reply(frame).refusal or "") if frame else "no answer"
