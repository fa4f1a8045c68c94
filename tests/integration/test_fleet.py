"""A site's relay and a real SuperLink: frames by TLS and node authentication, and a coordinator that ships code."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import fleet
import pytest
import site_running
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import Message
from flwr.supercore.fab import Fab

from silosynth.client.app import client_app
from silosynth.client.entries import Committed
from silosynth.client.events import Event
from silosynth.client.home import Address
from silosynth.client.ledger import listing
from silosynth.client.node import Node, Trouble, connect
from silosynth.common.progress import silent
from silosynth.server.carrier import Patience
from silosynth.server.nodes import packed, unpacked
from silosynth.server.sites import GridSites

HOSTILE = """
import os, pathlib, socket
home = pathlib.Path({home!r})
(home / "CAUGHT").write_text(str(dict(os.environ)))
stolen = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
from flwr.clientapp import ClientApp
app = ClientApp()
@app.query()
def answer(message, context):
    return Message(stolen)
"""
PROJECT = """
[project]
name = "silosynth"
version = "0.1.0"
[tool.flwr.app]
publisher = "silosynth"
[tool.flwr.app.components]
serverapp = "silosynth.evil:app"
clientapp = "silosynth.evil:app"
"""


@pytest.fixture(scope="module")
def superlink(tmp_path_factory):
    link = fleet.SuperLink(tmp_path_factory.mktemp("superlink"))
    yield link
    link.stop()


class Echo:
    """A site that says what it was asked, backwards."""

    name = "echo"

    def answer_frame(self, frame):
        return frame[::-1]

    session_frame = answer_frame


def bundle(home):
    """An app that takes all it finds as soon as it is imported."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as whole:
        whole.writestr("pyproject.toml", PROJECT)
        whole.writestr("silosynth/evil.py", HOSTILE.format(home=str(home)))
    return data.getvalue()


def shipped(superlink, home):
    """The digest of such an app, in the coordinator's hands."""
    evil = bundle(home)
    return superlink.state.store_fab(Fab(hashlib.sha256(evil).hexdigest(), evil, {}))


@contextmanager
def node_of(superlink, folder, *, enrolled=True, ca=None):
    """A node at work, whose key may be enrolled: its number, and what it tells."""
    key, told, stop, number = ec.generate_private_key(ec.SECP384R1()), [], threading.Event(), 0
    if enrolled:
        number = superlink.enrol(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    folder.mkdir()
    with closing(
        Node(connect(superlink.address, ca or superlink.ca.read_bytes(), key), key, folder, told.append)
    ) as node:
        thread = threading.Thread(target=node.run, args=(client_app(lambda _context: Echo()), stop))
        thread.start()
        try:
            yield number, told
        finally:
            stop.set()
            thread.join(40)
            node.leave()


def until(condition, seconds=30):
    for _ in range(int(seconds / 0.02)):
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("not in time")


def said(grid, number, frame, route="query"):
    """What one node answers."""
    (sent,) = grid.push_messages([Message(packed(frame), number, route, ttl=60)])
    (reply,) = until(lambda: list(grid.pull_messages([sent])))
    return unpacked(reply)


def test_frames_of_many_pieces_and_none(superlink, tmp_path):
    """In a run whose app would take all it finds: it is not even fetched."""
    with superlink.grid(shipped(superlink, tmp_path)) as grid:
        with node_of(superlink, tmp_path / "node") as (number, told):
            until(lambda: number in grid.get_node_ids())
            for frame in (b"", b"abc", os.urandom(9 << 20)):
                assert said(grid, number, frame) == frame[::-1]
            assert said(grid, number, b"", "query.name") == b"echo"
            assert said(grid, number, b"a row?", "evaluate") == b""
        until(lambda: number not in grid.get_node_ids())
    assert [one.event for one in told] == [Event.CONNECTED]
    assert "/v1/fleet/get-fab" not in superlink.paths
    assert not (tmp_path / "CAUGHT").exists()


@pytest.mark.parametrize("case", ["another authority", "not enrolled"])
def test_whom_to_ask_when_there_is_no_connection(case, superlink, tmp_path):
    ca = fleet.certificate(tmp_path)[0].read_bytes() if case == "another authority" else None
    with node_of(superlink, tmp_path / "node", enrolled=False, ca=ca) as (_number, told):
        until(lambda: told)
    expected = Trouble.CERTIFICATE if ca else Trouble.NOT_ADMITTED
    assert [(one.event, one.reason) for one in told] == [(Event.DISCONNECTED, expected)]


def test_the_hostile_bundle_works_where_it_is_run(tmp_path):
    """The positive control of the next test."""
    with zipfile.ZipFile(io.BytesIO(bundle(tmp_path))) as whole:
        exec(compile(whole.read("silosynth/evil.py"), "evil", "exec"), {})  # noqa: S102 - it is ours
    assert (tmp_path / "CAUGHT").exists()


class Site:
    """`silosynth site run` in a process of its own, started again where it was killed."""

    def __init__(self, home):
        self.home = home
        code = "from silosynth.simulations.cli import main; main()"
        self._command = [sys.executable, "-c", code, "site", "run", "--home", home.path, "--json"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def end(self):
        self.process.kill()
        self.process.wait()

    def part(self, name):
        """The process number of a part."""
        return until(partial(self._part, name))

    def _part(self, name):
        wanted = f"silosynth.client.{name}".encode()
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children) as file:  # noqa: PTH123 - not a file as others
            for pid in file.read().split():
                with open(f"/proc/{pid}/cmdline", "rb") as line:  # noqa: PTH123
                    if wanted in line.read():
                        return int(pid)
        return None


@pytest.mark.slow
def test_a_whole_study_of_three_sites_that_are_killed_by_a_coordinator_that_ships_code(superlink, tmp_path):
    """Agents and relays are killed at work: the study completes, ledgers are right, and no bundle was even fetched."""
    host, port = superlink.address.split(":")
    made = site_running.sites(tmp_path, steps=8, address=Address(host, int(port)))
    numbers, running = [], []
    for home in made.homes.values():
        home.ca.write_bytes(superlink.ca.read_bytes())
        numbers.append(superlink.enrol(home.node_pub.read_bytes()))
        running.append(Site(home))
    with ExitStack() as stack:
        for site in running:
            stack.callback(site.end)
        grid = stack.enter_context(superlink.grid(shipped(superlink, tmp_path)))
        until(lambda: set(numbers) <= set(grid.get_node_ids()), 120)
        done = threading.Event()

        def kill():
            for turn in range(6):
                if done.wait(3):
                    return
                site, part = running[turn % 3], ("relay", "agent")[turn // 3]
                os.kill(site.part(part), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        sites = GridSites(grid, silent, Patience(again_s=10.0))
        learnt = site_running.learnt(made.study, (), tmp_path, sites=sites)
        done.set()
        killer.join(10)
        began = time.monotonic()
        for site in running:
            site.process.terminate()
        assert [site.process.wait(20) for site in running] == [0, 0, 0]
        assert time.monotonic() - began < 10
    assert learnt.generator is not None
    for home in made.homes.values():
        committed = [entry.record for entry in listing(home.ledger) if isinstance(entry.record, Committed)]
        assert {one.release for one in committed} == set(range(made.study.releases))
        assert len({(one.release, one.attempt) for one in committed}) == len(committed)
    assert not list(tmp_path.rglob("CAUGHT"))
    assert "/v1/fleet/pull-messages" in superlink.paths
    assert "/v1/fleet/get-fab" not in superlink.paths
