"""The agent: the one process that reads rows. It answers frames on a Unix socket, and has no other way out.

Rules:
  A1  it opens no socket but the one below run/, mode 0660, and the one to the database of a [data.sql] source. That it
      could open no other is for its surroundings: a container without a network, or a unit with PrivateNetwork
      (deploy/). It never imports Flower;
  A2  a study is answered while its approval stands: file, approval and policy are looked at before every answer, and a
      change of any of them takes effect on the next one;
  A3  bytes in, bytes out: what comes is bounded before it is read, and what goes was made by the gate, or is empty.
      No text of an error leaves (client/events.py says where it goes);
  A4  one request of a study at a time;
  A5  it may be killed at any moment: what was promised is on disk before it is said (client/ledger.py), and a start
      clears what a dead process left behind. Two agents of one site never run at once.

`python -m silosynth.client.agent HOME` runs it in the foreground; `silosynth site run` starts it again where it ends.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Final

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silosynth.client import approval
from silosynth.client.events import Event, Tell, Told
from silosynth.client.gate import Gate
from silosynth.client.home import SiteHome, read_site, read_text
from silosynth.client.keys import agent_key, key_of_rows
from silosynth.client.ledger import Ledger
from silosynth.client.link import METHODS, SERVICE, options, target
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import Policy, read_policy
from silosynth.client.process import alone, main
from silosynth.client.refusal import Reason, Refused
from silosynth.client.same_rows import check_same
from silosynth.client.session import Sessions
from silosynth.client.site import Site
from silosynth.client.sources import parted
from silosynth.client.sources.source import open_source
from silosynth.client.where import FileSource, Source, SqlSource
from silosynth.common import wire
from silosynth.common.engine import Parted
from silosynth.common.errors import InvalidInput, Tampered
from silosynth.common.study import Study

log = logging.getLogger(__name__)

_MODE: Final = 0o660
_CALLS: Final = 4
"""Calls at once. One relay makes one; each may hold two frames in memory."""
_STUDIES: Final = 8
"""Studies whose rows are in memory at once."""
_AGAIN_S: Final = 5.0
"""How long a study that could not be taken up is refused without trying again."""
_GRACE_S: Final = 1.0

Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class _Held:
    """The site for one study, as it was when its files had this stamp. `until`: when to try again, if it refuses."""

    stamp: Stamp
    site: Site
    until: float | None = None


class Agent:
    """One institution, in front of all its studies: a Site for each, over one ledger and one agent key."""

    def __init__(self, home: SiteHome, ledger: Ledger, key: Ed25519PrivateKey, tell: Tell) -> None:
        self.name = read_site(home.config).name
        self._home = home
        self._ledger = ledger
        self._key = key
        self._tell = tell
        self._sessions = Sessions(ledger, key)
        self._noise = SystemNoise()
        self._held: dict[str, _Held] = {}
        self._turns: dict[str, threading.Lock] = {}

    def close(self) -> None:
        """End the sessions of secure sums, in order: then the next process pays for none of them."""
        self._sessions.close()

    def answer_frame(self, frame: bytes) -> bytes:
        """One request in, one reply out. Never raises but for a lack of memory."""
        return self._said(frame, lambda site: site.answer_frame(frame), _of_answer)

    def session_frame(self, frame: bytes) -> bytes:
        """The same, for one step of a session of secure sums."""
        return self._said(frame, lambda site: site.session_frame(frame), _of_session)

    def _said(self, frame: bytes, answer: Callable[[Site], bytes], about: Callable[[bytes], Told]) -> bytes:
        began = time.monotonic()
        with self._turn(frame) as site:
            said = answer(site)
        seconds = round(time.monotonic() - began, 3)
        self._tell(replace(about(said), seconds=seconds, bytes_in=len(frame), bytes_out=len(said)))
        return said

    @contextmanager
    def _turn(self, frame: bytes) -> Iterator[Site]:
        """The site that answers a frame, for as long as nobody else asks about that study (A4)."""
        study = wire.study_of(frame)
        known = study if self._stamp(study)[0] else ""  # so that nobody can have locks made without end
        if not known:
            self._held.pop(study, None)  # taken away: its rows go, too
        with self._turns.setdefault(known, threading.Lock()):
            yield self._site(known)

    def _site(self, study: str) -> Site:
        """The site for a study, with its rows; or one that says why not. See A2."""
        stamp, held = self._stamp(study), self._held.get(study)
        if held and held.stamp == stamp and (held.until is None or time.monotonic() < held.until):
            return held.site
        self._held.pop(study, None)  # the rows of before, if any
        while len(self._held) >= _STUDIES:
            self._held.pop(next(iter(self._held), ""), None)  # the one that was taken up first; it can be again
        held = self._taken_up(study, stamp)
        self._held[study] = held
        return held.site

    def _taken_up(self, study: str, stamp: Stamp) -> _Held:
        try:
            approved, config = approval.load(self._home, study), read_site(self._home.config)
            site = self._made(approved.policy, config.source)
            site.approve(approved.study)
        except Refused as refused:
            reason = refused.reason
        except Tampered:
            log.exception("the ledger is broken: nothing is spent until a person has looked")
            reason = Reason.RECORD_BROKEN
        except Exception:
            log.exception("study %s cannot be taken up", study)
            reason = Reason.INTERNAL
        else:
            return _Held(stamp, site)
        gate = Gate(Policy(), self._ledger, self._noise)
        return _Held(stamp, Site(self.name, gate, _none, _refusing(reason)), time.monotonic() + _AGAIN_S)

    def _made(self, policy: Policy, source: Source) -> Site:
        gate = Gate(policy, self._ledger, self._noise, self._sessions)
        return Site(self.name, gate, lambda study: self._rows(study, source))

    def _rows(self, study: Study, source: Source) -> Parted:
        """The rows of a study. Which are held out, or too many of a unit, only the agent's key tells."""
        table, key = open_source(source, study), key_of_rows(self._key, study.digest)
        if study.unit is None and study.asks_held_out:
            check_same(self._home.rows(study.digest), table.unit_ids, key)
        return parted(study, table.frame, table.unit_ids, key)

    def _stamp(self, study: str) -> Stamp:
        """Changes whenever a file changes that says whether a study is answered. It begins with the study's own."""
        try:
            files = (self._home.study(study), self._home.approval(study), self._home.policy, self._home.config)
        except ValueError:
            return (None,)
        return tuple(map(_seen, files))


def _of_answer(said: bytes) -> Told:
    """What is told of an answer: read from what leaves."""
    reply = wire.decode_reply(said)
    round_ = (reply.study, reply.release, reply.attempt)
    if reply.refusal is None:
        return Told(Event.ANSWERED, *round_)
    return Told(Event.REFUSED, *round_, reason=Reason(reply.refusal))


def _of_session(said: bytes) -> Told:
    reply = wire.decode_session_reply(said)
    if reply.refusal is None:
        return Told(Event.SESSION, reply.study)
    return Told(Event.REFUSED, reply.study, reason=Reason(reply.refusal))


def _seen(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _none(_study: Study) -> Parted:
    raise Refused(Reason.NOT_APPROVED)


def _refusing(reason: Reason) -> Callable[[str], None]:
    def refuse(_study: str) -> None:
        raise Refused(reason)

    return refuse


def serve(home: SiteHome, tell: Tell, stop: threading.Event) -> None:
    """Answer on the socket of a site's home until `stop`. Raises InvalidInput, Tampered: cause and cure."""
    address = target(home.socket)
    read_policy(read_text(home.policy, "put the site's policy back; an empty one allows nothing"), str(home.policy))
    _check_source(read_site(home.config).source)
    home.run.mkdir(exist_ok=True)
    with alone(home.run / "agent.lock", "agent"):
        # Never closed: a thread that `stop` has overtaken may be in it, and nothing is lost (A5).
        agent = Agent(home, Ledger(home.ledger), _existing_key(home), tell)
        import_module("torch")  # seconds, now rather than in the first round
        server = grpc.server(ThreadPoolExecutor(_CALLS), maximum_concurrent_rpcs=_CALLS, options=options())
        server.add_generic_rpc_handlers((_handlers(agent),))
        home.socket.unlink(missing_ok=True)  # a dead process's (A5)
        server.add_insecure_port(address)
        home.socket.chmod(_MODE)
        server.start()
        tell(Told(Event.READY))
        stop.wait()
        server.stop(_GRACE_S).wait(_GRACE_S)
        agent.close()
        home.socket.unlink(missing_ok=True)


def _handlers(agent: Agent) -> grpc.GenericRpcHandler:
    answers: dict[str, Callable[[bytes], bytes]] = {
        "Name": lambda _frame: agent.name.encode("ascii"),
        "Answer": agent.answer_frame,
        "Session": agent.session_frame,
    }
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        method: grpc.unary_unary_rpc_method_handler(_guarded(answers[method])) for method in METHODS
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _guarded(answer: Callable[[bytes], bytes]) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """A handler out of which no exception comes: gRPC would send its text (A3)."""

    def handler(frame: bytes, _context: grpc.ServicerContext) -> bytes:
        try:
            return answer(frame)
        except Exception:
            log.exception("no answer")
            return b""

    return handler


def _check_source(source: Source) -> None:
    """Raise InvalidInput where rows cannot be read at all, now rather than in the first round."""
    files = [source.path] if isinstance(source, FileSource) else [source.query_file, source.url_file]
    for path in files:
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be read ({error.strerror}); see [data] in site.toml") from None
    if isinstance(source, SqlSource) and source.url_env is not None and source.url_env not in os.environ:
        raise InvalidInput(f"the environment variable {source.url_env}, named in site.toml, is not set; set it")


def _existing_key(home: SiteHome) -> Ed25519PrivateKey:
    if not home.agent_key.exists():
        raise InvalidInput(f"{home.agent_key}: there is no such file; run `silosynth site init`, or put the key back")
    return agent_key(home.agent)


if __name__ == "__main__":
    main("agent", serve)
