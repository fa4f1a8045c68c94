"""Flower's Grid inside one process: a message is answered where it is pushed. No Ray, no socket, no thread, no clock.

The same ServerApp and ClientApp objects run here and on Flower's own engine (flower.py). Nodes are numbered from 1 and
answer in the order they are asked, so a run is as deterministic as its apps.
"""

from collections.abc import Iterable
from typing import NoReturn

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

_RUN = 1
_SERVER_NODE = 1
_FIRST_NODE = 2


class LocalGrid(Grid):
    """`nodes` copies of one ClientApp; node i finds `partition-id` i in its context, as in Flower's simulation."""

    def __init__(self, app: ClientApp, nodes: int) -> None:
        # Message() reads the sender from here; Flower's own in-process runtimes set it the same way.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = _RUN, _SERVER_NODE, 1
        self._app = app
        self._pushed = 0
        self._replies: dict[str, Message] = {}
        self._contexts = {_FIRST_NODE + i: _context(_FIRST_NODE + i, i, nodes) for i in range(nodes)}

    def set_run(self, run: Run) -> None:
        """There is only one run."""

    @property
    def run(self) -> Run:
        """The one run."""
        return Run.create_empty(_RUN)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> NoReturn:
        """Deprecated in Flower: use Message()."""
        raise NotImplementedError("use flwr.app.Message")

    def get_node_ids(self) -> Iterable[int]:
        """Every node, always online."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run the app on each message at once; its reply waits to be pulled. What an app raises is raised here."""
        ids = []
        for message in messages:
            self._pushed += 1
            message.metadata.__dict__["_message_id"] = f"{self._pushed:08d}"
            ids.append(message.metadata.message_id)
            self.deliver(message)
        return ids

    def deliver(self, message: Message) -> None:
        """Run the app on a message, and keep its reply."""
        self._replies[message.metadata.message_id] = self._app(message, self._contexts[message.metadata.dst_node_id])

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to these messages, each once."""
        return [self._replies.pop(name) for name in list(message_ids) if name in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push and pull; nothing can time out."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def context(self) -> Context:
        """The context of the ServerApp."""
        return Context(run_id=_RUN, node_id=_SERVER_NODE, node_config={}, state=RecordDict(), run_config={})


def _context(node: int, partition: int, of: int) -> Context:
    config: dict[str, bool | float | int | str] = {"partition-id": partition, "num-partitions": of}
    return Context(run_id=_RUN, node_id=node, node_config=config, state=RecordDict(), run_config={})
