"""A coordinator as `silosynth coordinator run` starts it, in its own process; and sites of made keys, in threads."""

import logging
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from silosynth.client.app import client_app
from silosynth.client.node import Node, connect
from silosynth.common.site_request import SiteRequest, write_request
from silosynth.server.carrier import Carrier, Patience
from silosynth.server.enrol import enrol, node_keys
from silosynth.server.home import CoordinatorHome, Settings, enrolled, held, read_secret
from silosynth.server.line import Line
from silosynth.server.nodes import Keys
from silosynth.server.setup import init
from silosynth.server.superlink import Access, Control

CLI = (sys.executable, "-c", "from silosynth.simulations.cli import main; main()")
PATIENCE = Patience(roll_call_s=60, round_s=60, pull_s=0.02, again_s=0.5)

logging.getLogger("flwr").setLevel(logging.ERROR)


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def request_of(name, node=None):
    """A request with new keys. `node`: the private key of its node."""
    node = node or generate_private_key(SECP384R1())
    line = node.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    agent, officer = (Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex() for _ in range(2))
    return SiteRequest(name, 100, agent, officer, line)


@dataclass
class Running:
    """A coordinator's home; `keys`: private ones of the nodes that were enrolled in it."""

    folder: Path
    home: CoordinatorHome = None
    settings: Settings = None
    process: subprocess.Popen = None
    keys: dict = field(default_factory=dict)
    lines: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self):
        self.home = CoordinatorHome(self.folder / "coordinator")
        self.settings = Settings(("127.0.0.1", "localhost"), free_port(), "127.0.0.1", free_port())
        init(self.home, self.settings)

    @property
    def address(self):
        return self.settings.address

    @property
    def access(self):
        return Access(self.settings.loopback_port, read_secret(self.home))

    def add(self, *names):
        """Enrol sites."""
        for name in names:
            self.keys[name] = generate_private_key(SECP384R1())
            path = self.folder / f"{name}.json"
            path.write_text(write_request(request_of(name, self.keys[name])))
            enrol(self.home, self.settings, path)

    def start(self):
        """Start the service, and wait until it is ready."""
        command = [*CLI, "coordinator", "run", "--home", self.home.path]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().startswith("ready"), self.process.stderr.read()

    def kill(self):
        """As a power cut would."""
        self.process.kill()
        self._close()

    def stop(self):
        """Its exit code, and what it logged."""
        self.lines.close()
        self.process.terminate()
        said = self.process.communicate(timeout=20)[1]
        return self.process.returncode, said

    def _close(self):
        self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()

    def fleet(self, name=None, ca=None):
        """Flower's Fleet API, with the node key of a site, or one that nobody enrolled."""
        key = self.keys[name] if name else generate_private_key(SECP384R1())
        return self.lines.enter_context(connect(self.address, ca or self.home.ca.read_bytes(), key))

    def control(self):
        """The control of the service."""
        return self.lines.enter_context(closing(Control(self.access)))

    @contextmanager
    def site(self, name, answers, folder=None):
        """The node of a site, connected, for as long as the context lasts; `answers` has its `answer_frame`."""
        folder, over = folder or self.folder / f"node-{name}", threading.Event()
        folder.mkdir(exist_ok=True)
        node = Node(self.fleet(name), self.keys[name], folder, lambda _told: None)
        thread = threading.Thread(target=node.run, args=(client_app(lambda _context: answers), over))
        thread.start()
        try:
            yield node
        finally:
            over.set()
            thread.join(20)
            node.leave()

    @contextmanager
    def carrier(self, names, patience=PATIENCE):
        """Requests to these sites, in a run of their own."""
        stop = threading.Event()
        line = Line(self.access, lambda: held(self.home.run / "begin.lock", wait=True), stop, lambda _run: None)
        keys = node_keys({name: enrolled(self.home)[name] for name in names})
        try:
            yield Carrier(line, patience, stop, Keys(line, keys))
        finally:
            line.finish(well=True)
