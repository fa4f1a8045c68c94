"""Carries requests to the sites over Flower's Grid, and brings back the replies that came before the deadline.

Rules:
  W1  every request has a nonce of its own for every site and sending, and a reply counts only if it repeats that nonce
      and what it was asked for (a registered node can send replies in another's name);
  W2  what a site is called is its node's own claim, asked for once: who may claim a name is the transport's business,
      and what must be a site's is signed inside the frame.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from silosynth.common import wire
from silosynth.common.errors import MalformedFrame, QuorumLost

_ROUND: Final = "query"
_SESSION: Final = "query.session"
_NAME: Final = "query.name"
_FRAME: Final = "frame"

Heard = Callable[[int], None]
"""Told how many sites have answered, whenever that changes."""


@dataclass(frozen=True)
class Patience:
    """How long the coordinator waits."""

    roll_call_s: float = 120.0
    round_s: float = 600.0
    pull_s: float = 0.02


class Carrier:
    """Requests to sites by their names. Setting `stop` ends every wait."""

    def __init__(self, grid: Grid, patience: Patience, stop: threading.Event) -> None:
        self._grid = grid
        self._patience = patience
        self._stop = stop
        self._nodes: dict[str, int] = {}

    def ask(self, requests: Mapping[str, wire.Request], heard: Heard) -> Mapping[str, wire.Reply]:
        """The valid replies, by the names of the sites, which were all connected once, or QuorumLost. Sets nonces."""
        asked = {name: replace(request, nonce=os.urandom(wire.NONCE_BYTES)) for name, request in requests.items()}
        said = self._carry(_ROUND, {name: wire.encode_request(one) for name, one in asked.items()}, heard)
        replies = {name: _reply(asked[name], frame) for name, frame in said.items()}
        return {name: reply for name, reply in replies.items() if reply is not None}

    def agree(self, requests: Mapping[str, wire.SessionRequest], heard: Heard) -> Mapping[str, wire.SessionReply]:
        """The same, for the messages that open a session of secure sums, and for the one that asks for receipts."""
        asked = {name: replace(request, nonce=os.urandom(wire.NONCE_BYTES)) for name, request in requests.items()}
        said = self._carry(_SESSION, {name: wire.encode_session_request(one) for name, one in asked.items()}, heard)
        replies = {name: _session_reply(asked[name], frame) for name, frame in said.items()}
        return {name: reply for name, reply in replies.items() if reply is not None}

    def _carry(self, route: str, frames: Mapping[str, bytes], heard: Heard) -> Mapping[str, bytes]:
        nodes = self._roll_call(frames)
        said = self._exchange(route, {nodes[name]: frame for name, frame in frames.items()}, heard)
        return {name: said[nodes[name]] for name in frames if nodes[name] in said}

    def _roll_call(self, names: Collection[str]) -> Mapping[str, int]:
        """The node of each member (W2)."""
        deadline = time.monotonic() + self._patience.roll_call_s
        while absent := set(names) - set(self._nodes):
            if time.monotonic() > deadline or self._stop.is_set():
                raise QuorumLost(f"these sites of the roster are not connected: {', '.join(sorted(absent))}")
            strangers = {node: b"" for node in self._grid.get_node_ids() if node not in self._nodes.values()}
            said = self._exchange(_NAME, strangers, lambda _count: None)
            for node, name in said.items():
                self._nodes.setdefault(name.decode("ascii", "replace"), node)
            if not said:
                time.sleep(self._patience.pull_s)
        return self._nodes

    def _exchange(self, route: str, frames: Mapping[int, bytes], heard: Heard) -> Mapping[int, bytes]:
        """The reply of each node that gave one in time."""
        waiting: dict[str, int] = {}
        replies: dict[int, bytes] = {}
        heard(0)
        for node, frame in frames.items():
            message = Message(_packed(frame), node, route, ttl=self._patience.round_s)
            # One at a time: a grid may drop a message, and then returns fewer ids than it was given messages.
            waiting |= dict.fromkeys(self._grid.push_messages([message]), node)
            self._pull(waiting, replies, heard)
        deadline = time.monotonic() + self._patience.round_s
        while waiting and time.monotonic() < deadline and not self._stop.is_set():
            time.sleep(self._patience.pull_s)
            self._pull(waiting, replies, heard)
        return replies

    def _pull(self, waiting: dict[str, int], replies: dict[int, bytes], heard: Heard) -> None:
        for reply in self._grid.pull_messages(list(waiting)):
            # Errors made up by the transport come from a node of its own: go by what a reply answers.
            node = waiting.pop(reply.metadata.reply_to_message_id, None)
            if node is not None:
                replies[node] = _unpacked(reply)
                heard(len(replies))


def _reply(asked: wire.Request, frame: bytes) -> wire.Reply | None:
    try:
        reply = wire.decode_reply(frame)
    except MalformedFrame:
        return None
    about = (reply.study, reply.release, reply.attempt, reply.nonce)
    return reply if about == (asked.study, asked.release, asked.attempt, asked.nonce) else None  # W1


def _session_reply(asked: wire.SessionRequest, frame: bytes) -> wire.SessionReply | None:
    try:
        reply = wire.decode_session_reply(frame)
    except MalformedFrame:
        return None
    about = (reply.study, reply.phase, reply.nonce)
    return reply if about == (asked.study, asked.phase, asked.nonce) else None  # W1


def _packed(frame: bytes) -> RecordDict:
    return RecordDict({_FRAME: ArrayRecord({_FRAME: Array("uint8", (len(frame),), "silosynth", frame)})})


def _unpacked(reply: Message) -> bytes:
    if reply.has_error():
        return b""
    try:
        return reply.content.array_records[_FRAME][_FRAME].data
    except KeyError:
        return b""
