"""A site's node in Flower's fleet: pulls messages from the coordinator's SuperLink, has them answered, pushes replies.

It stands where `flower-supernode` and its executors stand, and speaks the same Fleet API by Flower's own client.
What those do besides, a site does not want: they fetch the coordinator's app, unpack it and run it, in a new process a
message, behind a local API that any process of the host can call, and look for work every three seconds.

Rules:
  N1  no app is fetched, so none can be run: a message is answered by the ClientApp that this process was given;
  N2  a message in hand is on disk, as the few hundred bytes that name it, until its reply is sent: a process that is
      killed anywhere takes it up again, and the site's answer to it is the same bytes, at no second charge;
  N3  the node's number is on disk, too: who comes back goes on as the node that left, if that had a message in hand, or
      else says goodbye for it first. Otherwise the SuperLink takes the old one for alive and refuses the new one for a
      minute (which ends a `flower-supernode`, exit code 305), and nobody learns that what was under way is lost;
  N4  a node that is stopped says so, unless it has a message in hand: then it may yet answer it;
  N5  what cannot be delivered is dropped, never the connection; and no text of an error is sent.

This is the only module of a site that uses Flower's internals. A test names each of them, so that another version of
Flower fails there, and not between institutions.
"""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, ErrorCode
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node as NodeNumber
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from silosynth.client.events import Event, Tell, Told
from silosynth.client.home import write_whole
from silosynth.common.errors import NotPossible
from silosynth.common.wire import LIMITS

log = logging.getLogger(__name__)

FLOWER: Final = "1.41."
"""The version whose internals these are."""

_UNAUTHORIZED, _NOT_ADMITTED, _SERVER_ERROR = 401, 412, 500
_BEAT_S: Final = HEARTBEAT_DEFAULT_INTERVAL * 2 / 3
_BEAT_AGAIN_S: Final = 3.0
_QUICK_S, _SLOW_S, _SHARE = 0.04, 1.0, 0.2
_BACK_OFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
_TRIES: Final = 5
_AT_ONCE: Final = 4
_OBJECT_WAIT_S: Final = 10.0
_BYE_S: Final = 0.7


class Trouble(StrEnum):
    """Why there is no connection, and what to do."""

    UNREACHABLE = "the coordinator cannot be reached: check the network, and `address` in site.toml"
    CERTIFICATE = "the coordinator's certificate is not accepted: expired, for another name, or not by relay/ca.pem"
    NOT_KNOWN = "the coordinator does not know this node, or the clocks differ by minutes: have request.json enrolled"
    NOT_ADMITTED = "the node is not enrolled, or another relay holds its key: have request.json enrolled, run one relay"
    FAILING = "the coordinator answers with an error: ask its operator"


class _UndeliverableError(Exception):
    """A message that cannot be fetched or answered any more."""


def connect(address: str, ca: bytes, key: EllipticCurvePrivateKey) -> FleetHttpClient:
    """The coordinator's Fleet API at host:port, by TLS that ends at a certificate of the authority `ca`, in PEM.

    Raises NotPossible with a Flower of another version than this was written for.
    """
    if not version("flwr").startswith(FLOWER):
        raise NotPossible(
            f"flwr {version('flwr')} is installed, and this needs {FLOWER}x: pip install 'flwr=={FLOWER}*'"
        )
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # or a line for each look for work
    signed = NodeAuthHttpInterceptor(key, key.public_key())
    versioned = RuntimeVersionHttpInterceptor(component_name="SuperNode")
    return FleetHttpClient.from_server_address(address, False, ca, interceptors=[versioned, signed])


def pause_s(idle_s: float, look_s: float) -> float:
    """How long to wait before looking for work again, after `idle_s` without any and a look that took `look_s`.

    A coordinator's SuperLink has a look wait for work. With one that does not, a wait grows by a fifth, up to a second.
    """
    return max(min(_SHARE * idle_s, _SLOW_S) - look_s, _QUICK_S)


class Node:
    """One site's node. `folder`: where it keeps its number and the message in hand, for the next process."""

    def __init__(self, fleet: FleetHttpClient, key: EllipticCurvePrivateKey, folder: Path, tell: Tell) -> None:
        self._fleet = fleet
        self._public = public_key_to_bytes(key.public_key())
        self._number_file = folder / "node.id"
        self._in_hand = folder / "in-hand"
        self._tell = tell
        self._node: NodeNumber | None = None
        self._tries = 0
        self._trouble: Trouble | None = None
        self._met = False
        self._pool = ThreadPoolExecutor(_AT_ONCE, "objects")

    def run(self, app: ClientApp, stop: threading.Event) -> None:
        """Answer messages with `app` until `stop`, through losses of the connection."""
        threading.Thread(target=self._beat, args=(stop,), daemon=True).start()
        pauses = iter(_BACK_OFF_S)
        while not stop.is_set():
            try:
                self._join()
                self._say(None)
                pauses = iter(_BACK_OFF_S)
                self._attend(app, stop)
            except (httpx.HTTPError, ValueError) as error:  # ValueError: not what a SuperLink says
                log.warning("no connection: %s", error)
                self._say(_trouble(error))
                stop.wait(next(pauses, _BACK_OFF_S[-1]))

    def _say(self, trouble: Trouble | None) -> None:
        """Tell that there is a connection, or why not, if that is news."""
        if trouble is not self._trouble or not self._met:
            self._tell(Told(Event.CONNECTED) if trouble is None else Told(Event.DISCONNECTED, reason=trouble))
        self._trouble, self._met = trouble, True

    def leave(self) -> None:
        """Say goodbye, unless a message is in hand (N4); soon, or not at all."""
        if self._node is not None and not self._in_hand.exists():
            number = self._node.node_id
            bye = threading.Thread(target=self._deactivate, args=(number,), daemon=True)
            bye.start()
            bye.join(_BYE_S)

    def close(self) -> None:
        """Let go of the connection."""
        self._pool.shutdown(wait=False)
        self._fleet.close()

    def _deactivate(self, number: int) -> None:
        with suppress(httpx.HTTPError):  # it may have been given up, or be another's by now
            self._fleet.DeactivateNode(DeactivateNodeRequest(node_id=number))

    def _join(self) -> None:
        """Be the node that this one was before, with what it has in hand; or else a node that has just come (N3)."""
        before = self._number_before() if self._node is None else self._node.node_id
        self._node = None
        if before is not None:
            if self._in_hand.exists():
                self._node = NodeNumber(node_id=before)
            else:  # or what was on its way, to a process or by a connection that is no more, would be waited for
                self._deactivate(before)
        if self._node is not None:
            try:
                self._send_beat(self._node)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != _UNAUTHORIZED:
                    raise
                self._node = None  # the coordinator has this key under another number, or not at all
            else:
                return
        asked = ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        number = self._fleet.ActivateNode(asked).node_id
        self._node = NodeNumber(node_id=number)
        with _if_there_is_room():
            write_whole(self._number_file, str(number).encode("ascii"))

    def _number_before(self) -> int | None:
        """The number of the node that was here before, if one was."""
        try:
            return int(self._number_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def _beat(self, stop: threading.Event) -> None:
        pause = _BEAT_S
        while not stop.wait(pause):
            pause = _BEAT_AGAIN_S
            if self._node is not None:
                with suppress(httpx.HTTPError):  # the loop that looks for work says so
                    self._send_beat(self._node)
                    pause = _BEAT_S

    def _send_beat(self, node: NodeNumber) -> None:
        asked = SendNodeHeartbeatRequest(node=node, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        self._fleet.SendNodeHeartbeat(asked)

    def _attend(self, app: ClientApp, stop: threading.Event) -> None:
        if self._in_hand.exists():
            self._tell(Told(Event.RESUMED))
            self._finish(app, self._in_hand.read_bytes())
        idle_since = time.monotonic()
        while not stop.is_set():
            began = time.monotonic()
            pulled = self._fleet.PullMessages(PullMessagesRequest(node=self._node))
            if pulled.messages_list:
                named = pulled.SerializeToString()
                with _if_there_is_room():
                    _keep(self._in_hand, named)  # N2
                self._finish(app, named)
                idle_since = time.monotonic()
            else:
                now = time.monotonic()
                stop.wait(pause_s(now - idle_since, now - began))

    def _finish(self, app: ClientApp, named: bytes) -> None:
        """Answer the message in hand. Raises HTTPError, and then it stays in hand, where the connection is at fault."""
        self._tries += 1
        try:
            message = self._fetched(PullMessagesResponse.FromString(named))
            self._push(_answered(app, message), message.metadata.run_id)
            self._confirm(message)
        except httpx.HTTPError as error:
            if _may_pass(error) and self._tries < _TRIES:
                raise
            log.warning("a message is dropped: %s", error)
            self._tell(Told(Event.LOST))
        except Exception:
            log.exception("a message is dropped")  # N5
            self._tell(Told(Event.LOST))
        self._tries = 0
        self._in_hand.unlink(missing_ok=True)

    def _fetched(self, pulled: PullMessagesResponse) -> Message:
        tree, about = pulled.message_object_trees[0], pulled.messages_list[0].metadata
        names = [part.object_id for part in iterate_object_tree(tree)]
        contents = dict(zip(names, self._pool.map(lambda name: self._pull(name, about.run_id), names), strict=True))
        if sum(map(len, contents.values())) > 2 * LIMITS.frame_bytes:
            raise _UndeliverableError("longer than any frame")
        message = inflate_object_from_contents(tree.object_id, contents)
        if not isinstance(message, Message):
            raise _UndeliverableError("not a message")
        message.metadata.__dict__["_message_id"] = tree.object_id  # as Flower's own runtimes set it
        return message

    def _pull(self, name: str, run: int) -> bytes:
        asked = PullObjectRequest(node=self._node, run_id=run, object_id=name)
        until = time.monotonic() + _OBJECT_WAIT_S
        while time.monotonic() < until:
            found = self._fleet.PullObject(asked)
            if not found.object_found:
                break
            if found.object_available:
                return bytes(found.object_content)
            time.sleep(_QUICK_S)  # its sender is still at it
        raise _UndeliverableError("a part of it is gone")

    def _push(self, reply: Message, run: int) -> None:
        reply.metadata.__dict__["_message_id"] = reply.object_id
        head = message_to_proto(remove_content_from_message(reply))
        with no_object_id_recompute():
            tree, objects = get_object_tree(reply), get_all_nested_objects(reply)
            asked = PushMessagesRequest(node=self._node, messages_list=[head], message_object_trees=[tree])
            session = self._fleet.PushMessages(asked)

        def push(name: str) -> None:
            content, place = objects[name].deflate(), {"object_id": name, "session_id": session.session_id}
            part = PushObjectRequest(node=self._node, run_id=run, object_content=content, **place)
            if not self._fleet.PushObject(part).stored:
                raise _UndeliverableError("a part of the reply was not taken")

        list(self._pool.map(push, session.objects_to_push))

    def _confirm(self, message: Message) -> None:
        about = message.metadata
        asked = ConfirmMessageReceivedRequest(node=self._node, run_id=about.run_id, message_object_id=about.message_id)
        with suppress(httpx.HTTPStatusError):  # the reply is there, so the coordinator may have cleared up before
            self._fleet.ConfirmMessageReceived(asked)


def _answered(app: ClientApp, message: Message) -> Message:
    """The app's reply; or, for a message that no route of it takes, an error without a text (N5)."""
    about = message.metadata
    place = {"run_id": about.run_id, "node_id": about.dst_node_id}
    context = Context(**place, node_config={}, state=RecordDict(), run_config={})
    try:
        return app(message, context)
    except Exception:
        log.exception("no route takes this message")
        return Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=""), reply_to=message)


@contextmanager
def _if_there_is_room() -> Iterator[None]:
    """With a full disk a node works on; only should it be killed, then, something is asked again."""
    try:
        yield
    except OSError:
        log.exception("what should outlive this process could not be written")


def _keep(path: Path, data: bytes) -> None:
    """Write a file at once or not at all. Not forced to disk: it must outlive the process, not the machine."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(data)
    draft.replace(path)


def _may_pass(error: httpx.HTTPError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_ERROR or error.response.status_code == _UNAUTHORIZED
    return True


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, httpx.HTTPStatusError):
        known = {_UNAUTHORIZED: Trouble.NOT_KNOWN, _NOT_ADMITTED: Trouble.NOT_ADMITTED}
        return known.get(error.response.status_code, Trouble.FAILING)
    if not isinstance(error, httpx.HTTPError):
        return Trouble.FAILING
    return Trouble.CERTIFICATE if "certificate" in str(error).lower() else Trouble.UNREACHABLE
