"""The relay: the one process of a site that has a network. It carries frames between the coordinator and the agent.

Rules:
  R1  it has no row, no ledger and no key of a study, and imports nothing that could read one: a test holds that. With
      what it has, a node key, one can keep the site from answering, but not answer a masked sum in its name;
  R2  it looks into no frame, and sends no text of an error: where the agent gives no answer, an empty frame goes back;
  R3  it waits for an agent that is being started again, since asking twice costs nothing, and then says so and goes on.

`python -m silosynth.client.relay HOME` runs it in the foreground; `silosynth site run` starts it again where it ends.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from cryptography.x509 import load_pem_x509_certificates
from flwr.app import Context

from silosynth.client.app import client_app
from silosynth.client.events import Event, Tell, Told
from silosynth.client.home import SiteHome, read_site
from silosynth.client.link import METHODS, SERVICE, options, target
from silosynth.client.node import Node, connect
from silosynth.client.process import alone, main
from silosynth.common.errors import InvalidInput, NotPossible

log = logging.getLogger(__name__)

PATIENCE_S: Final = 60.0
"""How long an agent may take to come back."""

_FIRST_S, _LONGEST_S = 0.1, 2.0
_PASSING: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED)


class AgentProxy:
    """The site, as the relay knows it: a socket. The same methods as client.site.Site, on bytes."""

    def __init__(self, socket: Path, tell: Tell, patience_s: float = PATIENCE_S) -> None:
        self._channel = grpc.insecure_channel(target(socket), options())
        self._calls: dict[str, grpc.UnaryUnaryMultiCallable[bytes, bytes]] = {
            method: self._channel.unary_unary(f"/{SERVICE}/{method}") for method in METHODS
        }
        self._tell = tell
        self._patience_s = patience_s

    @property
    def name(self) -> str:
        """The site's public name; empty if the agent does not say."""
        return self._call("Name", b"").decode("ascii")

    def answer_frame(self, frame: bytes) -> bytes:
        """The agent's reply to a request; empty where there is none (R2)."""
        return self._call("Answer", frame)

    def session_frame(self, frame: bytes) -> bytes:
        """The agent's reply to a step of a session; empty where there is none (R2)."""
        return self._call("Session", frame)

    def close(self) -> None:
        """Let go of the socket."""
        self._channel.close()

    def _call(self, method: str, frame: bytes) -> bytes:
        until, pause = None, _FIRST_S
        while True:
            try:
                return self._calls[method](frame)  # without a time-out: learning takes what it takes
            except grpc.RpcError as error:
                if until is None:
                    log.warning("the agent gives no answer: %s", error.code())
                if error.code() not in _PASSING:
                    break
            if until is None:
                until = time.monotonic() + self._patience_s
            if time.monotonic() > until:
                break
            time.sleep(pause)  # R3
            pause = min(2 * pause, _LONGEST_S)
        self._tell(Told(Event.NO_ANSWER))
        return b""


def serve(home: SiteHome, tell: Tell, stop: threading.Event) -> None:
    """Carry frames until `stop`. Raises InvalidInput: cause and cure."""
    address, key, ca = str(read_site(home.config).address), node_key(home.node_key), authority(home.ca)
    with alone(home.relay / "relay.lock", "relay"):
        app = client_app(_just(AgentProxy(home.socket, tell)))
        node = Node(connect(address, ca, key), key, home.relay, tell)
        # It may hang in a call when told to stop: it is not waited for.
        work = ThreadPoolExecutor(1).submit(node.run, app, stop)
        work.add_done_callback(lambda _work: stop.set())
        stop.wait()
        node.leave()
        if work.done() and isinstance(work.exception(), SystemExit):  # so ends Flower's own check of versions
            raise NotPossible("the coordinator runs another version of Flower: install the one that goes with its own")
        if work.done():
            work.result()


def node_key(path: Path) -> EllipticCurvePrivateKey:
    """The key that the coordinator knows this node by. Raises InvalidInput."""
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file; run `silosynth site init`, or put the key back") from None
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput(f"{path}: cannot be read as a key ({type(error).__name__}); put the key back") from None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise InvalidInput(f"{path}: is no key on an elliptic curve; put back the one that `site init` made")
    return key


def authority(path: Path) -> bytes:
    """The certificate of the coordinator's authority, in PEM. Raises InvalidInput."""
    try:
        pem = path.read_bytes()
        found = load_pem_x509_certificates(pem)
    except FileNotFoundError:
        raise InvalidInput(
            f"{path}: there is no such file; put the ca.pem there that the coordinator's `enrol` made for this site"
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: cannot be read as certificates ({type(error).__name__}); put it back") from None
    if all(one.not_valid_after_utc < datetime.now(UTC) for one in found):
        raise InvalidInput(f"{path}: has expired; ask the coordinator for its new ca.pem")
    return pem


def _just(proxy: AgentProxy) -> Callable[[Context], AgentProxy]:
    return lambda _context: proxy


if __name__ == "__main__":
    main("relay", serve)
