"""Flower's nodes: which of them is a site, and how a frame is put into a message to one.

Between institutions the key that was enrolled for a site says which node it is (`Keys`). In a simulation, where all
nodes are one process, each is believed its name (`Claims`).
"""

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from silosynth.common.errors import InvalidInput
from silosynth.common.wire import pieces

_NAME: Final = "query.name"
_FRAME: Final = "frame"


class LineCut(Exception):
    """Raised by a grid that has lost all messages under way. It can be used again."""


@dataclass(frozen=True)
class Seat:
    """The node of a site. `since`: when it connected; another value means that it has lost what it was sent before."""

    node: int
    since: str = ""


class Register(Protocol):
    """Knows the nodes of sites."""

    def online(self, names: Collection[str]) -> Mapping[str, Seat]:
        """The seats of those of `names` that are connected. Raises LineCut."""
        ...


class Keys:
    """A register by the public keys that sites were enrolled with: no node can take another's name, or have two."""

    def __init__(self, grid: Grid, keys: Mapping[str, bytes]) -> None:
        """`keys`: of each site, as Flower writes them. Raises InvalidInput where two sites have the same."""
        self._grid = grid
        self._names = {key: name for name, key in keys.items()}
        if len(self._names) < len(keys):
            raise InvalidInput(
                "two sites were enrolled with one node key: revoke both, and ask each for a key of its own"
            )

    def online(self, names: Collection[str]) -> Mapping[str, Seat]:
        """See Register."""
        seats = {
            self._names[info.public_key]: Seat(info.node_id, info.last_activated_at)
            for info in self._grid.get_nodes()
            if info.public_key in self._names
        }
        return {name: seats[name] for name in names if name in seats}


class Claims:
    """A register of what nodes call themselves, asked once: only for simulations, whose nodes belong to one person."""

    def __init__(self, grid: Grid, wait_s: float, pull_s: float, stop: threading.Event) -> None:
        self._grid = grid
        self._wait_s, self._pull_s = wait_s, pull_s
        self._stop = stop
        self._seats: dict[str, Seat] = {}

    def online(self, names: Collection[str]) -> Mapping[str, Seat]:
        """See Register."""
        if not set(names) <= set(self._seats):
            self._meet()
        return {name: self._seats[name] for name in names if name in self._seats}

    def _meet(self) -> None:
        known = {seat.node for seat in self._seats.values()}
        waiting: dict[str, int] = {}
        for node in self._grid.get_node_ids():
            if node not in known:
                message = Message(packed(b""), node, _NAME, ttl=self._wait_s)
                waiting |= dict.fromkeys(self._grid.push_messages([message]), node)
        deadline = time.monotonic() + self._wait_s
        while waiting and time.monotonic() < deadline and not self._stop.is_set():
            for reply in self._grid.pull_messages(list(waiting)):
                if reply.metadata.reply_to_message_id in waiting:
                    node = waiting.pop(reply.metadata.reply_to_message_id)
                    self._seats.setdefault(unpacked(reply).decode("ascii", "replace"), Seat(node))
            self._stop.wait(self._pull_s)


def packed(frame: bytes) -> RecordDict:
    """The content of a message: one record a piece, because each object of a message costs both sides a request."""
    return RecordDict({str(at): ConfigRecord({_FRAME: piece}) for at, piece in enumerate(pieces(frame))})


def unpacked(message: Message) -> bytes:
    """The frame in a message; empty where there is none, and where it is an error."""
    if message.has_error():
        return b""
    records = message.content.config_records
    try:
        return b"".join(records[str(at)][_FRAME] for at in range(len(records)))  # type: ignore[misc]  # else TypeError
    except (KeyError, TypeError):
        return b""
