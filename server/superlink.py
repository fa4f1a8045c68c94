"""Flower's SuperLink, as far as a coordinator needs it: the service itself, its control, and the Grid of a run.

Rules:
  L1  sites sign every request with the key that was registered for them, and a node speaks in no other node's name
      (Flower itself checks the first, not the second);
  L2  nothing that a run ships is unpacked or imported here: the task of the ServerApp is acquired by this very process;
  L3  whoever wants to control it shows the coordinator's secret;
  L4  no telemetry, no search for updates, no installation: none of Flower's commands, which do these, is run.

This is the only module of a coordinator that uses Flower's internals. A test names each of them, so that another
version of Flower fails there, and not between institutions.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from hashlib import sha256
from hmac import new as new_mac
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
from fastapi import FastAPI
from flwr.app import Message
from flwr.common.constant import (
    HEARTBEAT_DEFAULT_INTERVAL,
    ISOLATION_MODE_PROCESS,
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    TRANSPORT_TYPE_GRPC_RERE,
    SubStatus,
)
from flwr.common.serde import run_from_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PushMessagesRequest
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import NodeStatus, TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufClient, ProtobufRequestContext
from flwr.supercore.retry import RetryInvoker
from flwr.supercore.routers.runtime.tracing import RuntimeTracingMiddleware
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.grid import HttpGrid
from flwr.superlink.main import create_app
from flwr.superlink.routers.control import middlewares as control_layers
from flwr.superlink.routers.fleet.middlewares import FleetEventLogMiddleware
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from silosynth.common.bundle import bundle, bundle_hash
from silosynth.common.errors import InvalidInput, SilosynthError
from silosynth.server.nodes import LineCut

FLOWER: Final = "1.41."
"""The version whose internals these are."""

BADGE: Final = "x-silosynth-control"
"""The header that carries what `badge` makes of the secret (L3)."""

_IDLE: Final[frozenset[object]] = frozenset({
    control_layers.ControlAuthenticationMiddleware, control_layers.ControlEventLogMiddleware,
    control_layers.ControlLicenseMiddleware, control_layers.ControlSensitiveResponseMiddleware,
    FleetEventLogMiddleware, RuntimeTracingMiddleware,
})  # fmt: skip
"""Layers that do nothing to requests of sites and runs, at a quarter of a millisecond each: two thirds of a request."""

_OFTEN: Final = ("/v1/fleet/", "/v1/runtime/")
_ACQUIRE: Final = "/flwr.proto.Runtime/AcquireTask"
_TIMEOUT_S: Final = 60.0
_BEAT_S: Final = 10.0  # a task is given up after 30 s without
_FIRST_S, _LONGEST_S = 0.05, 2.0
_GONE: Final = (401, 403)
_SERVER_ERROR: Final = 500

Client = TypeVar("Client", bound=ProtobufClient)
Given = TypeVar("Given")


class Unreachable(SilosynthError):
    """The coordinator's SuperLink does not answer on the loopback listener."""


def badge(secret: bytes) -> str:
    """What opens the loopback listener, made of the secret."""
    return new_mac(secret, b"silosynth/control/1", sha256).hexdigest()


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
    layers = app.user_middleware
    app.user_middleware = [Middleware(_Seldom, layer=one.cls) if one.cls in _IDLE else one for one in layers]
    app.user_middleware.append(Middleware(_OwnVoice))  # innermost: requests are parsed and signatures checked
    return app


class _Seldom:
    """A layer of Flower's, around all requests but those that it does nothing to."""

    def __init__(self, app: ASGIApp, layer: Callable[[ASGIApp], ASGIApp]) -> None:
        self._bare, self._layered = app, layer(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bare = scope["type"] == "http" and scope["path"].startswith(_OFTEN)
        await (self._bare if bare else self._layered)(scope, receive, send)


class _OwnVoice:
    """Holds L1, and lets whoever comes back in at once: else its last connection would have to time out first."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = scope.get("state", {}).get("protobuf_request")
        if isinstance(said, PushMessagesRequest) and any(
            one.metadata.src_node_id != said.node.node_id for one in said.messages_list
        ):
            await JSONResponse({"detail": "not this node"}, 403)(scope, receive, send)
            return
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


class Line(HttpGrid):
    """The Grid of a run, and of the next one where that is lost: the SuperLink was away, or this process was.

    `begun` is told the number of each run. Between two runs, messages under way are lost: then LineCut is raised.
    """

    def __init__(
        self,
        access: Access,
        alone: Callable[[], AbstractContextManager[object]],
        stop: threading.Event,
        begun: Callable[[int], None],
    ) -> None:
        """`alone`: a lock under which one process of this host at a time begins a run."""
        super().__init__(f"127.0.0.1:{access.port}", insecure=True, token="-")  # noqa: S106  # each run has its own
        self._access, self._alone, self._stop, self._begun = access, alone, stop, begun
        self._patient = _Patient(stop)
        self._control = Control(access)
        self._beats = threading.Event()
        self.stopped = False

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """See Grid. Raises LineCut."""
        return self._unless_cut(lambda: super(Line, self).push_messages(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """See Grid. Raises LineCut."""
        return self._unless_cut(lambda: super(Line, self).pull_messages(message_ids))

    def get_nodes(self) -> Iterable[NodeInfo]:
        """See Grid. Begins a run where there is none. Raises LineCut."""
        if not self._is_connected:
            self._connect()
        return self._unless_cut(super().get_nodes)

    def finish(self, *, well: bool) -> None:
        """End the run, and let go of the connection. A SuperLink that is away ends it by itself."""
        self._beats.set()
        if self._is_connected:
            status = SubStatus.COMPLETED if well else SubStatus.STOPPED
            with suppress(LineCut, httpx.HTTPError):
                self._patient.patient = False
                self._runtime_client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=""))
            self._disconnect()
        if self._run is not None:
            with suppress(SilosynthError):
                self._control.stopped(self._run.run_id)
        self._control.close()

    def _unless_cut(self, work: Callable[[], Given]) -> Given:
        if not self._is_connected:
            raise LineCut
        try:
            return work()
        except LineCut:
            self._beats.set()
            self._disconnect()
            raise

    def _connect(self) -> None:
        """Begin a run, and become its ServerApp (L2)."""
        try:
            with self._alone():
                if self._run is not None and self._control.stopped(self._run.run_id):
                    self.stopped = True
                    self._stop.set()
                    raise LineCut
                run = self._control.start()
                self._client = self._acquired(run)
            given = self._client.PullTaskInput(PullTaskInputRequest())
        except (Unreachable, httpx.HTTPError) as error:
            self._client = None
            self._stop.wait(_LONGEST_S)
            raise LineCut from error
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = given.task_id, run, given.context.node_id
        self.set_run(run_from_proto(given.run))
        self._beats = threading.Event()
        threading.Thread(target=_beat, args=(self._client, self._beats), daemon=True).start()
        self._begun(run)

    def _acquired(self, run: int) -> RuntimeHttpClient:
        """A client with the token of the ServerApp of `run`. Tasks that a dead process left are ended on the way."""
        signed = SuperExecAuthHttpInterceptor(master_secret=self._access.secret, protected_methods={_ACQUIRE})
        acquirer = self._access.client(RuntimeHttpClient, signed)
        try:
            while not self._stop.is_set():
                found = acquirer.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
                if not found.token:
                    break
                if found.task.run_id == run:
                    token = RuntimeTokenHttpInterceptor(token=found.token)
                    return self._access.client(RuntimeHttpClient, token, retry=self._patient)
                self._control.stop(found.task.run_id)
        finally:
            acquirer.close()
        raise LineCut


class _Patient(RetryInvoker):
    """Tries again while the SuperLink is away. Flower's own would end the process where a run is over."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(lambda: iter(()), httpx.HTTPError, None, None)  # type: ignore[arg-type, return-value]
        self._stop = stop
        self.patient = True

    def invoke(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `target` gives. Raises LineCut where the run is over, or `stop` is set."""
        pause = _FIRST_S
        while True:
            try:
                return target(*args, **kwargs)
            except httpx.HTTPStatusError as error:
                if error.response.status_code < _SERVER_ERROR or not self.patient:
                    raise LineCut from error
            except httpx.TransportError as error:
                if not self.patient:
                    raise LineCut from error
            if self._stop.wait(pause):
                raise LineCut
            pause = min(2 * pause, _LONGEST_S)


def _beat(client: RuntimeHttpClient, over: threading.Event) -> None:
    """Keep the task alive. That it is over anyway, the next message finds out."""
    while not over.wait(_BEAT_S):
        with suppress(httpx.HTTPError, LineCut, RuntimeError):
            client.SendTaskHeartbeat(SendTaskHeartbeatRequest())


def _revoked(name: str) -> str:
    return (
        f"the node key of {name} was revoked, and is not let in again: have the site make another one "
        "(relay/node.key), and enrol its new request"
    )
