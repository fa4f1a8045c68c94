"""All sites behind Flower's Grid: one request to each of them, one sum back, or nothing at all.

Rules:
  S1  every member of the roster is asked, each with a nonce of its own; a reply counts only if it repeats that nonce
      and the study, release and attempt it was asked for (a registered node can send replies in another's name);
  S2  all or nothing: one refusal or one missing answer, and no total is formed;
  S3  the sum is exact: integers of 64 bits, and an overflow is an error, never a wrap.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from silosynth.common import wire
from silosynth.common.arrays import Vector
from silosynth.common.engine import Parts
from silosynth.common.errors import MalformedFrame, QuorumLost, StudyRefused
from silosynth.common.progress import Progress
from silosynth.common.study import Study, Trust
from silosynth.server.certificate import prices
from silosynth.server.coordinator import Answers, Total

_FRAME: Final = "frame"
_ATTEMPT: Final = 0  # a second attempt costs every site a second event: nothing here makes one


@dataclass(frozen=True)
class Patience:
    """How long the coordinator waits."""

    roll_call_s: float = 120.0
    round_s: float = 600.0
    pull_s: float = 0.02


class GridSites:
    """Implements coordinator.Sites. The roster's names are found by asking every node for its name, once."""

    def __init__(
        self, grid: Grid, progress: Progress, patience: Patience | None = None, stop: threading.Event | None = None
    ) -> None:
        self._grid = grid
        self._progress = progress
        self._patience = patience or Patience()
        self._stop = stop or threading.Event()
        self._nodes: dict[str, int] = {}

    def total(self, study: Study, release: int, parts: Parts) -> Total:
        """The sum over the roster, shape as answered, and every site's receipt. Raises StudyRefused, QuorumLost."""
        return _sum(self._ask(study, release, {member.name: parts for member in study.roster}))

    def each(self, study: Study, release: int, parts: Mapping[str, Parts]) -> Answers:
        """Every site's own answer to its own task. Raises StudyRefused, QuorumLost."""
        if study.trust is not Trust.LOCAL or set(parts) != {member.name for member in study.roster}:
            raise ValueError('each site is asked by itself only with trust = "local", and all of them are')
        heard = _complete(self._ask(study, release, parts))
        return Answers(
            {name: reply.vector for name, reply in heard.items() if reply.vector is not None}, _receipts(heard)
        )

    def _ask(self, study: Study, release: int, parts: Mapping[str, Parts]) -> Mapping[str, wire.Reply | None]:
        """One request to each site of `parts`, and each one's valid reply, or None."""
        names = list(parts)
        nodes = self._roll_call(names)
        note = _spent_note(study, release)

        def heard(count: int) -> None:
            phase = study.step_of(release).kind
            self._progress(phase, release, study.releases, f"{count} of {len(names)} sites answered; {note}")

        asked = {
            name: wire.Request(study.digest, release, _ATTEMPT, os.urandom(wire.NONCE_BYTES), own)
            for name, own in parts.items()
        }
        frames = {name: wire.encode_request(request) for name, request in asked.items()}
        answers = _Round(self._grid, self._patience, self._stop).ask(
            "query", {nodes[n]: f for n, f in frames.items()}, heard
        )
        return {name: _checked(asked[name], answers.get(nodes[name], b"")) for name in names}

    def _roll_call(self, names: list[str]) -> Mapping[str, int]:
        """The node of each member. A name is the node's own claim: who may claim it is the transport's business."""
        deadline = time.monotonic() + self._patience.roll_call_s
        while absent := set(names) - set(self._nodes):
            if time.monotonic() > deadline or self._stop.is_set():
                raise QuorumLost(f"these sites of the roster are not connected: {', '.join(sorted(absent))}")
            strangers = {node: b"" for node in self._grid.get_node_ids() if node not in self._nodes.values()}
            said = _Round(self._grid, self._patience, self._stop).ask("query.name", strangers, lambda _count: None)
            for node, name in said.items():
                self._nodes.setdefault(name.decode("ascii", "replace"), node)
            if not said:
                time.sleep(self._patience.pull_s)
        return self._nodes


class _Round:
    """One message to each of some nodes, and the frames that came back before the deadline."""

    def __init__(self, grid: Grid, patience: Patience, stop: threading.Event) -> None:
        self._grid = grid
        self._patience = patience
        self._stop = stop

    def ask(self, kind: str, frames: Mapping[int, bytes], heard: Callable[[int], None]) -> Mapping[int, bytes]:
        """The reply of each node that gave one; `heard` is told how many there are whenever that changes."""
        waiting: dict[str, int] = {}
        replies: dict[int, bytes] = {}
        heard(0)
        for node, frame in frames.items():
            message = Message(_packed(frame), node, kind, ttl=self._patience.round_s)
            # One at a time: a grid may drop a message, and then returns fewer ids than it was given messages.
            waiting |= dict.fromkeys(self._grid.push_messages([message]), node)
            self._pull(waiting, replies, heard)
        deadline = time.monotonic() + self._patience.round_s
        while waiting and time.monotonic() < deadline and not self._stop.is_set():
            time.sleep(self._patience.pull_s)
            self._pull(waiting, replies, heard)
        return replies

    def _pull(self, waiting: dict[str, int], replies: dict[int, bytes], heard: Callable[[int], None]) -> None:
        for reply in self._grid.pull_messages(list(waiting)):
            # Errors made up by the transport come from a node of its own: go by what a reply answers.
            node = waiting.pop(reply.metadata.reply_to_message_id, None)
            if node is not None:
                replies[node] = _unpacked(reply)
                heard(len(replies))


def _complete(replies: Mapping[str, wire.Reply | None]) -> Mapping[str, wire.Reply]:
    """All replies, if each is an answer (S2). Raises StudyRefused, QuorumLost."""
    heard = {name: reply for name, reply in replies.items() if reply is not None}
    refusals = [(name, reply.refusal) for name, reply in heard.items() if reply.refusal is not None]
    if refusals:
        raise StudyRefused(refusals)
    if len(heard) < len(replies):
        missing = ", ".join(sorted(set(replies) - set(heard)))
        raise QuorumLost(f"no valid answer from {missing}: nothing was summed; resume the study when they are back")
    return heard


def _receipts(heard: Mapping[str, wire.Reply]) -> tuple[tuple[str, str], ...]:
    return tuple((name, reply.receipt) for name, reply in sorted(heard.items()))


def _sum(replies: Mapping[str, wire.Reply | None]) -> Total:
    heard = _complete(replies)
    vectors = [reply.vector for reply in heard.values() if reply.vector is not None]
    if len({vector.shape for vector in vectors}) != 1:
        raise QuorumLost("sites answered with vectors of unequal length: nothing was summed")
    return Total(exact_sum(vectors), _receipts(heard))


def exact_sum(vectors: list[Vector]) -> Vector:
    """The sum of int64 vectors of one shape. Raises OverflowError where 64 bits could not hold it (S3)."""
    bound = sum(max(-int(vector.min(initial=0)), int(vector.max(initial=0))) for vector in vectors)
    if bound > np.iinfo(np.int64).max:
        raise OverflowError("the sum of the sites' answers does not fit 64 bits")
    total: Vector = np.sum(vectors, axis=0, dtype=np.int64)
    return total


def _checked(request: wire.Request, frame: bytes) -> wire.Reply | None:
    try:
        reply = wire.decode_reply(frame)
    except MalformedFrame:
        return None
    wanted = (request.study, request.release, request.attempt, request.nonce)
    return reply if (reply.study, reply.release, reply.attempt, reply.nonce) == wanted else None


def _spent_note(study: Study, release: int) -> str:
    if any(step.noiseless for step in study.plan):
        return "NO PRIVACY"
    spent = prices(study, release).aggregate if release else 0.0
    return f"epsilon {spent:.2f} of {study.budget.epsilon:g} spent"


def _packed(frame: bytes) -> RecordDict:
    return RecordDict({_FRAME: ArrayRecord({_FRAME: Array("uint8", (len(frame),), "silosynth", frame)})})


def _unpacked(reply: Message) -> bytes:
    if reply.has_error():
        return b""
    try:
        return reply.content.array_records[_FRAME][_FRAME].data
    except KeyError:
        return b""
