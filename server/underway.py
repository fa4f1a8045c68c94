"""What is on its way through a SuperLink: its state, as the calls of a round see it (direct.py).

Rules:
  Q3  who looks for messages and there are none is answered when one comes, or after a second: nobody has to look often;
  Q4  a reply is there once all of it is. What a node left half-pushed is dropped when it pushes another: one at a time;
  Q5  a reply is a small tree of objects that are new, with a time that is a number. Flower tells a tree again from what
      is stored, branch by branch, and reads times when all replies are asked for: one bad one would stop all others.
"""

import asyncio
import math
import os
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

HOLD_S: Final = 1.0
"""How long who looks for messages waits for one."""

_REMEMBERED_S: Final = 5.0
_MOST_OBJECTS: Final = 64  # a message, its records, and a piece for each 4 MiB of the largest frame
_DEEPEST: Final = 4


@dataclass(frozen=True)
class _Coming:
    """A message that is being pushed. `whom`: the node or the run that it is for. `parts`: of it that are missing."""

    session: str
    message: str
    sender: int
    whom: int
    parts: set[str]
    is_reply: bool


class UnderWay:
    """The state of a SuperLink: that of Flower, but for what is here. All calls of it come from one thread."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self._known: dict[tuple[object, ...], tuple[float, Any]] = {}
        self._coming: dict[str, _Coming] = {}
        """By the message that they reply to, or by their own name."""
        self._bells: dict[int, asyncio.Event] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    async def mail(self, whom: int) -> None:
        """Wait until there may be a message for a node or a run (Q3)."""
        bell = self._bells.setdefault(whom, asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S):
                await bell.wait()
        bell.clear()

    def start_session(self, _run: int) -> str:
        """See CoreState. In Flower's database this account is some twenty statements a message."""
        return os.urandom(16).hex()

    def store_message_and_object_tree(self, message: Any, tree: Any, session: str) -> tuple[bool, list[str]]:
        """See LinkState."""
        about = message.metadata
        is_reply = bool(about.reply_to_message_id)
        name = about.reply_to_message_id or about.message_id
        for known, before in list(self._coming.items()):
            if before.sender == about.src_node_id and (known == name or (is_reply and before.is_reply)):
                del self._coming[known]
                self._drop(before.message)  # Q4
        if is_reply and not self._is_sound(about, tree):
            return False, []
        store = self._state.store_message_res if is_reply else self._state.store_message_ins
        if store(message) is None:
            return False, []
        missing = list(self._state.object_store.preregister(about.run_id, tree))
        whom = about.run_id if is_reply else about.dst_node_id
        self._coming[name] = _Coming(session, about.message_id, about.src_node_id, whom, set(missing), is_reply)
        self._arrived(session, "")
        return True, missing

    def store_object(self, _run: int, session: str, name: str, content: bytes) -> bool:
        """See CoreState."""
        if not any(one.session == session and name in one.parts for one in self._coming.values()):
            return False
        self._state.object_store.put(name, content)
        self._arrived(session, name)
        return True

    def get_object(self, _run: int, name: str) -> bytes | None:
        """See CoreState."""
        found: bytes | None = self._state.object_store.get(name)
        return found

    def get_message_res(self, message_ids: Collection[str], run_id: int) -> list[Any]:
        """See LinkState; without those that are still coming (Q4)."""
        found: list[Any] = self._state.get_message_res(set(message_ids) - self._coming.keys(), run_id)
        return found

    def store_traffic(self, *_: object, **__: object) -> None:
        """Nobody reads this account, and it costs a statement a request."""

    def get_node_id_by_public_key(self, key: bytes) -> int | None:
        """See LinkState."""
        number: int | None = self._remembered("get_node_id_by_public_key", key)
        return number

    def get_task_by_token(self, token: str) -> Any:
        """See LinkState."""
        return self._remembered("get_task_by_token", token)

    def get_run_status(self, run_ids: Collection[int]) -> Any:
        """See LinkState."""
        return self._remembered("get_run_status", frozenset(run_ids))

    def forget(self) -> None:
        """Forget what is remembered of nodes and runs: it may have changed."""
        self._known.clear()

    def _remembered(self, name: str, asked: object) -> Any:
        until, found = self._known.get((name, asked), (0.0, None))
        if until < time.monotonic():
            found = getattr(self._state, name)(asked)
            if found is not None:
                self._known[name, asked] = (time.monotonic() + _REMEMBERED_S, found)
        return found

    def _is_sound(self, about: Any, tree: Any) -> bool:
        """Whether a reply is one (Q5)."""
        if not (math.isfinite(about.created_at) and math.isfinite(about.ttl)) or tree.object_id != about.message_id:
            return False
        level, many, depth = [tree], 0, 0
        while level and many <= _MOST_OBJECTS and depth < _DEEPEST:
            if any(one.object_id in self._state.object_store for one in level):
                return False
            many, depth = many + len(level), depth + 1
            level = [child for one in level for child in one.children]
        return not level and many <= _MOST_OBJECTS

    def _drop(self, message: str) -> None:
        self._state.object_store.delete(message)
        self._state._on_push_session_expired({message})  # noqa: SLF001  # else a second reply would be refused

    def _arrived(self, session: str, part: str) -> None:
        for name, one in list(self._coming.items()):
            if one.session == session:
                one.parts.discard(part)
                if not one.parts:
                    del self._coming[name]
                    self._bells.setdefault(one.whom, asyncio.Event()).set()
