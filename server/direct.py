"""The requests that make up a round, answered by Flower's own handlers, without the web framework around them.

A round is some twenty requests for each site. In Flower's application each costs several milliseconds of a processor,
in layers that do nothing to it and threads that wait for one another. Here each is one call and one transaction. All
other requests go through Flower's application as it is.

Rules:
  Q1  who asks is found out by Flower's own check before anything is done: of a node's signature, of a run's token;
  Q2  a node speaks in no other node's name, which Flower does not check (L1 of superlink.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.supercore.constant import TASK_TOKEN_HEADER
from flwr.supercore.dependencies.task import authenticate_task
from flwr.supercore.error import http_error_translator
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from google.protobuf.message import DecodeError, Message
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from silosynth.server.underway import UnderWay


@dataclass(frozen=True)
class _Call:
    """Who may ask, and Flower's handler. `looks`: for messages, for which it waits a while."""

    who: Callable[[Request, Any, UnderWay], Any]
    handler: Callable[..., Message]
    looks: bool = False


def _node(request: Request, said: Any, _under_way: UnderWay) -> Any:
    """The node that asks; its number is the one that it says."""
    authenticate_node(request)
    if isinstance(said, PushMessagesRequest) and any(
        one.metadata.src_node_id != said.node.node_id for one in said.messages_list
    ):
        raise HTTPException(403, "not this node")  # Q2
    return said.node


def _task(request: Request, _said: Any, under_way: Any) -> Any:
    """The task, and so the run, that asks."""
    return authenticate_task(request, request.headers.get(TASK_TOKEN_HEADER), under_way)


def _fleet(handler: Callable[..., Message]) -> _Call:
    return _Call(_node, lambda said, under_way, _node: handler(said, under_way))


def _fleet_and_store(handler: Callable[..., Message], *, looks: bool = False) -> _Call:
    return _Call(_node, lambda said, under_way, _node: handler(said, under_way, under_way.object_store), looks)


_CALLS: Final[Mapping[str, _Call]] = {
    "/v1/fleet/pull-messages": _fleet_and_store(fleet_handlers.pull_messages, looks=True),
    "/v1/fleet/push-messages": _fleet(fleet_handlers.push_messages),
    "/v1/fleet/pull-object": _fleet(fleet_handlers.pull_object),
    "/v1/fleet/push-object": _fleet(fleet_handlers.push_object),
    "/v1/fleet/confirm-message-received": _fleet_and_store(fleet_handlers.confirm_message_received),
    "/v1/runtime/get-nodes": _Call(_task, runtime_handlers.get_nodes),
    "/v1/runtime/pull-messages": _Call(_task, runtime_handlers.pull_messages, looks=True),
    "/v1/runtime/push-messages": _Call(_task, runtime_handlers.push_messages),
    "/v1/runtime/pull-object": _Call(_task, runtime_handlers.pull_object),
    "/v1/runtime/push-object": _Call(_task, runtime_handlers.push_object),
    "/v1/runtime/confirm-message-received": _Call(_task, runtime_handlers.confirm_message_received),
}


class Direct:
    """Answers what makes up a round, and hands the rest to `app`."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._under_way = UnderWay(app.state.linkstate_factory.state())
        place = SimpleNamespace(state=lambda: self._under_way)
        self._scope = {"app": SimpleNamespace(state=SimpleNamespace(linkstate_factory=place))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        call = _CALLS.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if call is None:
            try:
                await self._app(scope, receive, send)
            finally:
                self._under_way.forget()  # a node may have been revoked, or a run ended
            return
        request = Request({**scope, **self._scope}, receive)
        response = await http_error_translator(request, partial(self._answer, call))
        await response(scope, receive, send)

    async def _answer(self, call: _Call, request: Request) -> Response:
        said: Any = PROTOBUF_REQUEST_TYPES["POST", request.scope["path"]]()
        try:
            said.ParseFromString(await request.body())
        except DecodeError as error:
            raise HTTPException(400) from error
        request.state.protobuf_request = said
        who = call.who(request, said, self._under_way)  # Q1
        if call.looks:
            await self._under_way.mail(who.node_id if call.who is _node else who.run_id)
            if await request.is_disconnected():
                return Response(status_code=408)  # or a message would be handed to nobody
        with self._under_way.session():
            found = call.handler(said, self._under_way, who)
        return Response(found.SerializeToString(), media_type=PROTOBUF_MEDIA_TYPE)
