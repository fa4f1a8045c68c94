"""The Grid of a run, held by a process that may outlive runs: studies go on over whatever happens to the SuperLink.

Rules:
  G1  this process is the ServerApp: it starts a run and acquires its task, and never looks into the bundle (L2 of
      superlink.py);
  G2  where the run is lost, whoever asks is told by LineCut that what was under way is lost, and the next question
      begins another one: sites answer it with the same bytes;
  G3  a run that somebody stopped is not begun again;
  G4  a node can reply with any bytes: whatever they are, they are no more than no answer of that node.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, TypeVar

import httpx
from flwr.app import Error, Message, Metadata
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import run_from_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import SYSTEM_MESSAGE_TYPE, TaskType
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError, inflate_object_from_contents, pull_objects
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.retry import RetryInvoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from silosynth.common.errors import SilosynthError
from silosynth.server.nodes import LineCut
from silosynth.server.superlink import Access, Control, Unreachable

log = logging.getLogger(__name__)

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
        """See Grid; what is no reply is one without content (G4). Raises LineCut."""
        return self._unless_cut(lambda: self._pulled(list(message_ids)))

    def _pulled(self, message_ids: list[str]) -> list[Message]:
        found = self._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=message_ids))
        heads = zip(found.messages_list, found.message_object_trees, strict=True)
        return [self._whole(head.metadata, tree) for head, tree in heads]

    def _whole(self, about: Any, tree: Any) -> Message:
        if self._run is None:
            raise LineCut
        run, client = self._run.run_id, self._runtime_client
        pull = make_pull_object_fn_protobuf(pull_object_protobuf=client.PullObject, node=self.node, run_id=run)
        try:
            parts = pull_objects([one.object_id for one in iterate_object_tree(tree)], pull_object_fn=pull)
            taken = ConfirmMessageReceivedRequest(node=self.node, run_id=run, message_object_id=about.message_id)
            client.ConfirmMessageReceived(taken)
            message: Any = inflate_object_from_contents(about.message_id, parts)
            message.metadata.__dict__["_message_id"] = about.message_id  # AttributeError where it is no message
        except (LineCut, httpx.HTTPError):
            raise
        except Exception:
            log.warning("a node's reply is none", exc_info=True)
            return _nothing(run, self.node.node_id, about.reply_to_message_id)
        return message if isinstance(message, Message) else _nothing(run, self.node.node_id, about.reply_to_message_id)

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


def _nothing(run: int, node: int, reply_to: str) -> Message:
    """In the place of a reply that is none."""
    about = Metadata(run, "", node, node, reply_to, "", time.time(), 0.0, SYSTEM_MESSAGE_TYPE)
    return make_message(metadata=about, error=Error(code=ErrorCode.MESSAGE_UNAVAILABLE, reason="not a reply"))


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
