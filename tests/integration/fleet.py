"""A real SuperLink of this version, with TLS and node authentication, in a thread; and the grid of a run in it."""

import datetime as dt
import ipaddress
import logging
import socket
import threading
import time
from contextlib import contextmanager

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)
from cryptography.x509.oid import NameOID
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.main import create_app

logging.getLogger("flwr").setLevel(logging.ERROR)


def certificate(folder, host="127.0.0.1"):
    """A certificate that signs itself, and its key: the paths."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(cert.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class _Paths:
    """Notes which paths were asked for."""

    def __init__(self, app, seen):
        self._app, self._seen = app, seen

    async def __call__(self, scope, receive, send):
        self._seen.append(scope.get("path"))
        await self._app(scope, receive, send)


class SuperLink:
    """Serves until `stop`. `state`: Flower's own state of it; `paths`: what was asked of it."""

    def __init__(self, folder, port=None):
        self.port = port or free_port()
        self.ca, key = certificate(folder)
        app = create_app()
        self.paths = []
        app.add_middleware(_Paths, seen=self.paths)
        app.state.enable_supernode_auth = True
        self.state = app.state.linkstate_factory.state()
        files = {"ssl_certfile": self.ca, "ssl_keyfile": key}
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", ws="none", **files)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.02)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def enrol(self, public):
        """Register a node by its public key, one line as OpenSSH writes it; the node's number."""
        pem = load_ssh_public_key(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return self.state.create_node("", "", pem, 0)

    @contextmanager
    def grid(self, fab_hash="0" * 64):
        """The grid of a new run, which goes on for as long as this serves."""
        run = self.state.create_run("a/b", "1", fab_hash, {}, NOOP_FEDERATION_ID, None, "", TaskType.SERVER_APP)
        info = self.state.get_run_info(run_ids=[run])[0]
        token = self.state.claim_task(info.primary_task_id)
        assert self.state.activate_task(info.primary_task_id)
        threading.Thread(target=self._beat, args=(info.primary_task_id,), daemon=True).start()
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run, 1, info.primary_task_id
        grid = HttpGrid(self.address, insecure=False, root_certificates=self.ca.read_bytes(), token=token)
        grid.set_run(info)
        try:
            yield grid
        finally:
            grid._disconnect()

    def _beat(self, task):
        while not self._server.should_exit and self.state.acknowledge_task_heartbeat(task):
            time.sleep(5)

    def stop(self):
        self._server.should_exit = True
        self._thread.join(10)
