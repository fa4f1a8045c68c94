"""Flower's SuperLink, as far as a coordinator needs it: the service itself, and its control. line.py has the Grid.

Rules:
  L1  sites sign every request with the key that was registered for them, and a node speaks in no other node's name
      (Flower itself checks the first, direct.py the second);
  L2  nothing that a run ships is unpacked or imported here: no SuperExec is started, line.py acquires the task;
  L3  whoever wants to control it shows the coordinator's secret;
  L4  no telemetry, no search for updates, no installation: none of Flower's commands, which do these, is run;
  L5  what sites and studies say to each other is never on this host's disk: nodes, runs and the names of messages are
      in the database, their contents in memory. So a run ends with the process (G2 of line.py).

This, direct.py and line.py are the only modules of a coordinator that use Flower's internals. A test names each of
them, so that another version of Flower fails there, and not between institutions.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from hmac import new as new_mac
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
from fastapi import FastAPI
from flwr.common.constant import (
    HEARTBEAT_DEFAULT_INTERVAL,
    ISOLATION_MODE_PROCESS,
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    TRANSPORT_TYPE_GRPC_RERE,
    Status,
    SubStatus,
)
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufClient, ProtobufRequestContext
from flwr.supercore.retry import RetryInvoker
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from silosynth.common.bundle import bundle, bundle_hash
from silosynth.common.errors import InvalidInput, SilosynthError

FLOWER: Final = "1.41."
"""The version whose internals these are."""

BADGE: Final = "x-silosynth-control"
"""The header that carries what `badge` makes of the secret (L3)."""

_TIMEOUT_S: Final = 60.0
_GONE: Final = (401, 403)

Client = TypeVar("Client", bound=ProtobufClient)


class Unreachable(SilosynthError):
    """The coordinator's SuperLink does not answer on the loopback listener."""


def badge(secret: bytes) -> str:
    """What opens the loopback listener, made of the secret."""
    return new_mac(secret, b"silosynth/control/1", sha256).hexdigest()


@contextmanager
def _own_logs() -> Iterator[None]:
    """Undoes what Flower's tool for databases does to a process: silence its loggers, and log in a way of its own."""
    root, known = logging.getLogger(), list(logging.Logger.manager.loggerDict.values())
    before = [(one, one.disabled) for one in known if isinstance(one, logging.Logger)]
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for one, disabled in before:
            one.disabled = disabled
        root.handlers[:] = handlers
        root.setLevel(level)


def application(database: Path, secret: bytes) -> FastAPI:
    """The SuperLink, not yet listening: fleet, control and runtime. Listeners decide who may reach which."""
    config = SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host="127.0.0.1",
        port=0,
        insecure=True,  # TLS is the public listener's
        certificates=None,
        superexec_auth_secret=secret,
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None,
        ssl_certfile=None,
        ssl_keyfile=None,
        database=str(database),
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )
    app = create_app(config, SuperLinkLifespan)
    with _own_logs():
        state = app.state.linkstate_factory.state()
    state._object_store = InMemoryObjectStore()  # noqa: SLF001  # L5; no setting of Flower's
    for run in state.get_run_info(statuses=[Status.PENDING, Status.STARTING, Status.RUNNING]):
        state.finish_task(run.primary_task_id, SubStatus.FAILED, "")
        state.cleanup_run(run.run_id)
    app.user_middleware.append(Middleware(_BackAtOnce))  # innermost: requests are parsed and signatures checked
    return app


class _BackAtOnce:
    """Lets whoever comes back in at once: else its last connection would have to time out first."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = scope.get("state", {}).get("protobuf_request")
        if isinstance(said, ActivateNodeRequest):
            state = scope["app"].state.linkstate_factory.state()
            number = await run_in_threadpool(state.get_node_id_by_public_key, said.public_key)
            if number is not None:
                await run_in_threadpool(state.deactivate_node, number)
        await self._app(scope, receive, send)


def reconcile(app: FastAPI, keys: Mapping[str, bytes]) -> None:
    """Make the nodes of a SuperLink that is not listening yet those of `keys`, by site, and no others.

    Raises InvalidInput where a key was revoked before: whoever has it could be anybody.
    """
    state = app.state.linkstate_factory.state()
    known = {info.public_key: info for info in state.get_node_info(owner_aids=[NOOP_FLWR_AID])}
    for key, info in known.items():
        if info.status != NodeStatus.UNREGISTERED and key not in set(keys.values()):
            state.delete_node(NOOP_FLWR_AID, info.node_id)
    for name, key in keys.items():
        if key not in known:
            state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL, name=name)
        elif known[key].status == NodeStatus.UNREGISTERED:
            raise InvalidInput(_revoked(name))


def online(app: FastAPI) -> set[bytes]:
    """Public keys of the nodes that are connected."""
    state = app.state.linkstate_factory.state()
    return {info.public_key for info in state.get_node_info(statuses=[NodeStatus.ONLINE])}


@dataclass(frozen=True)
class Access:
    """How to reach the loopback listener of a SuperLink on this host."""

    port: int
    secret: bytes

    def client(self, kind: type[Client], *interceptors: Any, retry: RetryInvoker | None = None) -> Client:
        """A client of one of its APIs, past any proxy."""
        version = RuntimeVersionHttpInterceptor(component_name="flwr-serverapp")
        found = kind(
            f"http://127.0.0.1:{self.port}",
            interceptors=[version, _Badge(badge(self.secret)), *interceptors],
            retry_invoker=retry,
        )
        found._client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)  # noqa: SLF001  # no setting of Flower's
        return found


class _Badge:
    """Shows the badge with each request (L3)."""

    def __init__(self, value: str) -> None:
        self._value = value

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """See Flower's ProtobufClientInterceptor."""
        context.request.headers[BADGE] = self._value
        return call_next(context)


class Control:
    """What a coordinator asks of its SuperLink. Each method raises Unreachable."""

    def __init__(self, access: Access) -> None:
        self._client = access.client(ControlHttpClient)

    def register(self, name: str, key: bytes) -> None:
        """Let the node of a site in. A node that is in already stays. Raises InvalidInput for a key once revoked."""
        if key in {node.public_key for node in self.nodes()}:
            return
        try:
            self._call(self._client.RegisterNode, RegisterNodeRequest(public_key=key, name=name))
        except InvalidInput as error:
            raise InvalidInput(_revoked(name)) from error

    def unregister(self, key: bytes) -> None:
        """Keep a node out from now on."""
        for node in self.nodes():
            if node.public_key == key:
                self._call(self._client.UnregisterNode, UnregisterNodeRequest(node_id=node.node_id))

    def nodes(self) -> list[NodeInfo]:
        """Every node that is let in."""
        listed = self._call(self._client.ListNodes, ListNodesRequest())
        return [info for info in listed.nodes_info if info.status != NodeStatus.UNREGISTERED]

    def start(self) -> int:
        """Begin a run; its number."""
        fab = Fab(hash_str=bundle_hash(), content=bundle())
        return int(self._call(self._client.StartRun, StartRunRequest(fab=fab)).run_id)

    def stop(self, run: int) -> None:
        """End a run, if there is one of this number that has not ended."""
        with suppress(InvalidInput):
            self._call(self._client.StopRun, StopRunRequest(run_id=run))

    def stopped(self, run: int) -> bool:
        """Whether somebody ended this run. Asking also clears what ended runs left."""
        with suppress(InvalidInput):
            listed = self._call(self._client.ListRuns, ListRunsRequest(run_id=run))
            return any(one.status.sub_status == SubStatus.STOPPED for one in listed.run_dict.values())
        return False

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _call(self, method: Callable[[Any], Any], asked: Any) -> Any:
        try:
            return method(asked)
        except httpx.HTTPStatusError as error:
            if error.response.status_code in _GONE:
                raise InvalidInput(
                    "the coordinator that runs here has another secret: is it the one of this home?"
                ) from error
            raise InvalidInput(f"the coordinator said no: {error.response.text[:200]}") from error
        except httpx.TransportError as error:
            raise Unreachable("the coordinator does not run: `silosynth coordinator run` starts it") from error


def _revoked(name: str) -> str:
    return (
        f"the node key of {name} was revoked, and is not let in again: have the site make another one "
        "(relay/node.key), and enrol its new request"
    )
