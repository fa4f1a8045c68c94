"""The lab's network by itself: who may reach whom, that all is counted and can be read, and that nothing is left."""

import datetime as dt
import ipaddress
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lab_made import ECHO, SAY, needs_lab

from lab.canaries import search
from lab.hosts import Hosts, sweep
from lab.services import until
from lab.streams import Unreadable, conversations, opened, requests, secrets_in
from lab.wire import Wire

pytestmark = [pytest.mark.lab, needs_lab]

HUB, SITES = "10.77.0.1", {"north": "10.77.1.1", "south": "10.77.2.1"}
PORT = 8443
VALUES = [41.0625 + n / 4096 for n in range(8)]


def certificate(folder):
    """A certificate that signs itself, for the hub's address."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HUB)])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HUB))])
    until = now + dt.timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, until)
    made = made.add_extension(alternative, critical=True)
    (folder / "server.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    kind = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(key.private_bytes(*kind))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    certificate(folder)
    with Hosts({"coordinator": HUB, **SITES}) as hosts:
        with Wire(hosts["coordinator"], {name: hosts[name] for name in SITES}, PORT, folder) as wire:
            hosts["coordinator"].start([sys.executable, "-c", ECHO], folder / "echo.log", cwd=folder)
            until = time.monotonic() + 20
            while "ready" not in (folder / "echo.log").read_text() and time.monotonic() < until:
                time.sleep(0.02)
            yield folder, hosts, wire
        spaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
        assert hosts["coordinator"].namespace in spaces
    spaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert hosts["coordinator"].namespace not in spaces


def say(lab, body=b"hello", *, site="north", to=f"{HUB}:{PORT}", timeout_s=0.6):
    """What came of saying something: the answer or the error's name, and the seconds until then."""
    folder, hosts, _ = lab
    outcome = hosts[site].run([sys.executable, "-c", SAY, to, str(timeout_s)], stdin=body.hex(), cwd=folder)
    word, seconds = outcome.stdout.split()
    return word, float(seconds)


def test_a_site_reaches_the_coordinators_port_and_nothing_else_and_every_packet_is_counted(lab):
    _, hosts, wire = lab
    before = wire.seen["north"].stray
    assert say(lab, timeout_s=10)[0] == "yes"
    assert wire.seen["north"].stray == before == 0
    for other in (f"{HUB}:8444", f"{SITES['south']}:{PORT}", f"192.0.2.2:{PORT}"):
        assert say(lab, to=other)[0] == "TimeoutError"
        assert f"tcp {other}" in wire.seen["north"].strays  # positive control: what strays is seen
    wire.settle()
    seen, kernel = wire.seen["north"], hosts["north"].traffic()
    assert seen.all == seen.service + seen.stray == kernel.sent
    assert kernel.dropped == 0
    assert hosts["north"].interfaces() == {"lo", "wan0"}


def test_nobody_reaches_a_site(lab):
    _, hosts, wire = lab
    program = f"import socket; socket.create_connection(('{SITES['south']}', 22), 0.5)"
    outcome = hosts["coordinator"].run([sys.executable, "-c", program])
    assert "TimeoutError" in outcome.stderr
    assert wire.seen["coordinator"].strays[f"tcp {SITES['south']}:22"]


def test_faults_act_and_heal(lab):
    _, hosts, wire = lab
    link = wire.links["south"]
    link.delay_s = 0.1
    word, connected_s = say(lab, site="south", timeout_s=10)
    assert word == "yes"
    assert connected_s > 2 * 0.2  # a trip for the greeting of TCP, one for that of TLS
    wire.heal()
    wire.links["south"].blackhole = True
    assert say(lab, site="south")[0] == "TimeoutError"
    wire.heal()
    wire.links["south"].reset = True
    word, refused_s = say(lab, site="south")
    assert (word, refused_s < 0.5) == ("ConnectionRefusedError", True)
    wire.heal()
    hosts["south"].unplug()
    assert say(lab, site="south")[0] == "OSError"  # unreachable
    hosts["south"].plug()
    assert say(lab, site="south", timeout_s=10)[0] == "yes"


DYING = """
import os, signal, sys, time
from pathlib import Path
from lab.hosts import Hosts, sweep
with Hosts({"a": "", "b": ""}) as hosts:
    started = hosts["a"].start(["sleep", "600"], Path(sys.argv[1]))
    print(hosts["a"].namespace, started.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_lab_that_was_killed_has_left_is_swept_away(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", DYING, str(tmp_path / "log")]
    dead = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert dead.returncode == -9, dead.stderr
    namespace, pid = dead.stdout.split()
    assert (Path("/run/netns") / namespace).exists()  # positive control
    line = Path("/proc", pid, "cmdline")
    until(
        lambda: b"sleep" in line.read_bytes(), "what it started has not begun", 30
    )  # its wrapper may be about to become it
    sweep()
    assert not (Path("/run/netns") / namespace).exists()
    assert not line.exists() or not line.read_bytes()  # gone, or for its new parent to bury


@pytest.mark.parametrize("dtype", ["<f8", "<f4"])
def test_a_leak_under_tls_is_read_and_found(lab, dtype):
    folder, _, wire = lab
    assert say(lab, b"x" * 3000 + np.asarray(VALUES, dtype).tobytes(), timeout_s=10)[0] == "yes"
    wire.settle()
    talks = conversations(folder / "north.pcap", SITES["north"])
    secrets = secrets_in(folder / "secrets.log")
    said = [opened(talk, secrets) for talk in talks]
    assert any(one.body.startswith(b"x" * 3000) for stream in said for one in requests(stream))
    assert {found.value for found in search(said, VALUES)} == set(VALUES)
    assert not search([talk.said() for talk in talks], VALUES)  # the wire itself carries ciphertext
    with pytest.raises(Unreadable):
        opened(max(talks, key=lambda talk: len(talk.said())), {})
