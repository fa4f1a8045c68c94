"""Carries requests to the sites over Flower's Grid, and brings back the replies that came before the deadline.

Rules:
  W1  every request has a nonce of its own for every site and sending, and a reply counts only if it repeats that nonce
      and what it was asked for (a registered node can send replies in another's name);
  W2  which node is a site is said by a register: between institutions by the key that was enrolled for the site
      (server/nodes.py), never by what the node calls itself;
  W3  to ask again in the same words is free, because a site then answers with the same bytes: so whoever gave no valid
      answer, or came back after it was asked, is asked again until the deadline. The first valid answer counts, and
      what comes later is dropped.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Generic, TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from silosynth.common import wire
from silosynth.common.errors import MalformedFrame, QuorumLost
from silosynth.server.nodes import Claims, LineCut, Register, Seat, packed, unpacked

_ROUND: Final = "query"
_SESSION: Final = "query.session"

Heard = Callable[[int], None]
"""Told how many sites have answered, whenever that changes."""

Valid = TypeVar("Valid")


@dataclass(frozen=True)
class Patience:
    """How long the coordinator waits."""

    roll_call_s: float = 120.0
    round_s: float = 600.0
    study_s: float = math.inf
    pull_s: float = 0.02
    """Between two looks for replies; a SuperLink lets each wait for one."""
    again_s: float = math.inf
    """After which a site that gave no valid answer is asked again (W3)."""


@dataclass(frozen=True)
class _Question(Generic[Valid]):
    """What one site is asked, and how its answer is told from anything else."""

    frame: bytes
    understood: Callable[[bytes], Valid | None]


@dataclass
class _Exchange(Generic[Valid]):
    """The state of one exchange with several sites."""

    questions: Mapping[str, _Question[Valid]]
    answers: dict[str, Valid] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    """Names of sites by the ids of messages under way."""
    asked: dict[str, Seat] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    """When to ask a site next, unless it has answered."""

    def restart(self) -> None:
        """All messages under way are lost."""
        self.waiting.clear()
        self.asked.clear()
        self.due = dict.fromkeys(self.questions, 0.0)

    @property
    def open(self) -> list[str]:
        """Who has not answered, and may still."""
        expected = {*self.waiting.values(), *(name for name, due in self.due.items() if due < math.inf)}
        return [name for name in self.questions if name not in self.answers and name in expected]


class Carrier:
    """Requests to sites by their names. Setting `stop` ends every wait. Without a register, nodes say who they are."""

    def __init__(self, grid: Grid, patience: Patience, stop: threading.Event, register: Register | None = None) -> None:
        self._grid = grid
        self._patience = patience
        self._stop = stop
        self._register = register or Claims(grid, patience.round_s, patience.pull_s, stop)
        self._until = time.monotonic() + patience.study_s
        self._met: set[str] = set()

    def ask(self, requests: Mapping[str, wire.Request], heard: Heard) -> Mapping[str, wire.Reply]:
        """The valid replies, by the names of the sites, which were all connected once, or QuorumLost. Sets nonces."""
        asked = {name: replace(request, nonce=os.urandom(wire.NONCE_BYTES)) for name, request in requests.items()}
        questions = {name: _Question(wire.encode_request(one), partial(_reply, one)) for name, one in asked.items()}
        return self._carry(_ROUND, questions, heard)

    def agree(self, requests: Mapping[str, wire.SessionRequest], heard: Heard) -> Mapping[str, wire.SessionReply]:
        """The same, for the messages that open a session of secure sums, and for the one that asks for receipts."""
        asked = {name: replace(request, nonce=os.urandom(wire.NONCE_BYTES)) for name, request in requests.items()}
        questions = {
            name: _Question(wire.encode_session_request(one), partial(_session_reply, one))
            for name, one in asked.items()
        }
        return self._carry(_SESSION, questions, heard)

    def _carry(self, route: str, questions: Mapping[str, _Question[Valid]], heard: Heard) -> Mapping[str, Valid]:
        self._roll_call(questions)
        exchange = _Exchange(questions)
        exchange.restart()
        heard(0)
        self._step(route, exchange, heard)  # a grid in memory has a site's work done while it asks: that is no waiting
        for _ in self._looks(self._deadline(self._patience.round_s)):
            if not exchange.open:
                break
            self._step(route, exchange, heard)
        return exchange.answers

    def _step(self, route: str, exchange: _Exchange[Valid], heard: Heard) -> None:
        """Ask who is to be asked now, and take what has come."""
        before = len(exchange.answers)
        try:
            self._send(route, exchange)
            self._pull(exchange)
        except LineCut:
            exchange.restart()
        if len(exchange.answers) > before:
            heard(len(exchange.answers))

    def _roll_call(self, names: Collection[str]) -> None:
        """Wait until each of `names` was connected once."""
        deadline = self._deadline(self._patience.roll_call_s)
        absent = set(names) - self._met
        for _ in self._looks(deadline) if absent else ():
            with suppress(LineCut):
                self._met |= set(self._register.online(absent))
            absent = set(names) - self._met
            if not absent:
                break
        if absent:
            raise QuorumLost(f"these sites of the roster are not connected: {', '.join(sorted(absent))}")

    def _send(self, route: str, exchange: _Exchange[Valid]) -> None:
        """Ask whoever is due, and whoever came back since it was asked (W3)."""
        now = time.monotonic()
        due = [name for name in exchange.open if exchange.due.get(name, math.inf) <= now]
        if not due:
            return
        seats = self._register.online(due)
        for name in due:
            seat = seats.get(name)
            exchange.due[name] = now + self._patience.again_s
            if seat is None or (exchange.asked.get(name) == seat and name in exchange.waiting.values()):
                continue
            message = Message(packed(exchange.questions[name].frame), seat.node, route, ttl=self._patience.round_s)
            # One at a time: a grid may drop a message, and then returns fewer ids than it was given messages.
            exchange.waiting |= dict.fromkeys(filter(None, self._grid.push_messages([message])), name)
            exchange.asked[name] = seat

    def _pull(self, exchange: _Exchange[Valid]) -> None:
        for reply in self._grid.pull_messages(list(exchange.waiting)) if exchange.waiting else ():
            # Errors made up by the transport come from a node of its own: go by what a reply answers.
            name = exchange.waiting.pop(reply.metadata.reply_to_message_id, None)
            if name is None or name in exchange.answers:
                continue
            answer = exchange.questions[name].understood(unpacked(reply))
            if answer is not None:
                exchange.answers[name] = answer

    def _deadline(self, wait_s: float) -> float:
        return min(time.monotonic() + wait_s, self._until)

    def _looks(self, deadline: float) -> Iterator[None]:
        """Now, and again and again, until the deadline or until `stop`."""
        while not self._stop.is_set():
            yield
            if time.monotonic() > deadline or self._stop.wait(self._patience.pull_s):
                return


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
