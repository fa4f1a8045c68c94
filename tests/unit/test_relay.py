"""The relay imports nothing that could read a row, waits for its agent, and says what a person must mend."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import site_running
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from silosynth.client.events import Event
from silosynth.client.link import SERVICE, options, target
from silosynth.client.relay import AgentProxy, authority, node_key, serve
from silosynth.common.errors import InvalidInput

NEVER = (
    *("torch", "pandas", "pyarrow", "scipy", "sklearn", "opacus", "safetensors", "sqlalchemy", "sqlite3", "ray"),
    *(f"silosynth.client.{name}" for name in ("agent", "site", "gate", "ledger", "mechanism", "keys", "policy")),
    *("silosynth.client.sources", "silosynth.client.engines", "silosynth.client.approval", "silosynth.server"),
)


def test_it_imports_nothing_that_reads_rows():
    code = "import sys, silosynth.client.relay; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    loaded = set(done.stdout.split())
    assert "silosynth.client.node" in loaded
    assert not loaded & set(NEVER)


@pytest.fixture
def socket(tmp_path):
    return tmp_path / "agent.sock"


def answering(socket, answer):
    """A server in the agent's place."""
    server = grpc.server(ThreadPoolExecutor(2), options=options())
    handlers = {name: grpc.unary_unary_rpc_method_handler(answer) for name in ("Name", "Answer", "Session")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    socket.unlink(missing_ok=True)
    server.add_insecure_port(target(socket))
    server.start()
    return server


def test_without_an_agent_it_says_so_in_time(socket):
    told = []
    proxy = AgentProxy(socket, told.append, patience_s=0.5)
    began = time.monotonic()
    assert proxy.answer_frame(b"asked") == proxy.session_frame(b"asked") == b""
    assert proxy.name == ""
    assert 1.5 <= time.monotonic() - began < 15
    assert [one.event for one in told] == [Event.NO_ANSWER] * 3
    proxy.close()


def test_it_asks_an_agent_that_was_started_again(socket):
    """The agent dies with a request in hand: the same bytes are asked again of the next one."""
    asked, died = [], threading.Event()

    def dying(frame, _context):
        asked.append(frame)
        died.wait(20)
        return b"too late"

    first = answering(socket, dying)
    proxy = AgentProxy(socket, lambda _told: None)
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(proxy.answer_frame, b"x" * 5000)
        while not asked:
            time.sleep(0.01)
        first.stop(0)
        for _ in range(500):  # gRPC takes the socket away late: where a process ends, it has before the next one starts
            if not socket.exists():
                break
            time.sleep(0.02)
        second = answering(socket, lambda frame, _context: asked.append(frame) or b"answer")
        assert said.result(40) == b"answer"
    died.set()
    second.stop(0)
    proxy.close()
    assert asked == [b"x" * 5000] * 2


def test_an_agent_that_refuses_the_call_is_not_asked_for_ever(socket):
    server = answering(socket, lambda _frame, context: context.abort(grpc.StatusCode.INTERNAL, "the text of an error"))
    proxy = AgentProxy(socket, lambda _told: None)
    assert proxy.answer_frame(b"") == b""
    server.stop(0)
    proxy.close()


@pytest.fixture
def home(tmp_path):
    return site_running.sites(tmp_path, approved=()).homes["North"]


def test_keys_and_certificates_that_are_missing_or_wrong(home):
    with pytest.raises(InvalidInput, match=r"ca\.pem: there is no such file; put the ca\.pem there"):
        serve(home, lambda _told: None, threading.Event())
    home.ca.write_text("no certificate")
    with pytest.raises(InvalidInput, match=r"ca\.pem: cannot be read as certificates"):
        authority(home.ca)
    assert node_key(home.node_key).curve.name == "secp384r1"
    other = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    home.node_key.write_bytes(other)
    with pytest.raises(InvalidInput, match="no key on an elliptic curve"):
        node_key(home.node_key)
    home.node_key.write_bytes(b"-----")
    with pytest.raises(InvalidInput, match=r"node\.key: cannot be read as a key"):
        node_key(home.node_key)
    home.node_key.unlink()
    with pytest.raises(InvalidInput, match=r"node\.key: there is no such file"):
        node_key(home.node_key)
