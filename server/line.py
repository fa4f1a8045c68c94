"""The Grid of a run, held by a process that may outlive runs: studies go on over whatever happens to the SuperLink.

Rules:
  G1  this process is the ServerApp: it starts a run and acquires its task, and never looks into the bundle (L2 of
      superlink.py);
  G2  where the run is lost, whoever asks is told by LineCut that what was under way is lost, and the next question
      begins another one: sites answer it with the same bytes;
  G3  a run that somebody stopped is not begun again.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, TypeVar

import httpx
from flwr.app import Message
from flwr.common.constant import SubStatus
from flwr.common.serde import run_from_proto
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.retry import RetryInvoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from silosynth.common.errors import SilosynthError
from silosynth.server.nodes import LineCut
from silosynth.server.superlink import Access, Control, Unreachable

_ACQUIRE: Final = "/flwr.proto.Runtime/AcquireTask"
_BEAT_S: Final = 10.0  # a task is given up after 30 s without
_FIRST_S, _LONGEST_S = 0.05, 2.0
_SERVER_ERROR: Final = 500

Given = TypeVar("Given")


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
        """See Grid; messages whose parts were not all taken are dropped. Raises LineCut."""
        try:
            return self._unless_cut(lambda: super(Line, self).push_messages(messages))
        except ObjectPushError:  # the SuperLink was away in between, and may or may not have kept a part
            return ()

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
