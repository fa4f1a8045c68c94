"""Whole sites that answer masked sums, each with its ledger, gate and key, and a coordinator that sends real frames."""

from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silosynth.client.gate import Gate
from silosynth.client.keys import public_key
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import just_this
from silosynth.client.refusal import Reason
from silosynth.client.session import Sessions
from silosynth.client.site import Site
from silosynth.common import secagg_study, wire
from silosynth.common.engine import Claim, Parted, Parts, Units
from silosynth.common.engines import TaskCodec
from silosynth.common.engines.layouts import OneWays
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.secagg.coordinator import CoordinatorSession
from silosynth.common.study import Budget, Member, Step, Study

SIZE = 6
RELEASES = 4
SCHEMA = Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")),))
NAMES = ("a", "b", "c", "d", "e")
NONCE = bytes(range(16))


def key_of(name):
    return Ed25519PrivateKey.from_private_bytes(sha256(f"agent {name}".encode()).digest())


def member(name):
    return Member(name, 100, public_key(key_of(name)))


def masked_study(n=5, *, colluders=1, threshold=3, multiplier=Fraction(20), **changes):
    """`RELEASES` counts over `n` sites."""
    plan = (Step("one-ways", RELEASES, multiplier),)
    about = {"name": "t", "engine": "fake", "threshold": threshold, "attempts": 3, "plan": plan} | changes
    roster = tuple(map(member, NAMES[:n]))
    return Study(schema=SCHEMA, budget=Budget(5.0, 1e-5, colluders), roster=roster, **about)


class Fake:
    """A site half that counts, or fails in the way it is told to."""

    fault = None

    def __init__(self, study):
        self._study = study

    def claim(self, task):
        return Claim(self._study.plan[0].event(self._study.shares), SIZE)

    def answer(self, task, units, mechanism):
        if self.fault:
            raise self.fault
        return mechanism.histogram(units, OneWays((SIZE,)), multiplier=self._study.plan[0].multiplier)


def fake_engine(monkeypatch):
    """Have sites know the engine "fake", whose tasks are their parts."""
    monkeypatch.setattr("silosynth.client.engines.ENGINES", {"fake": Fake})
    codec = TaskCodec(lambda task: task, lambda _study, parts: parts, lambda _study, _task: SIZE)
    monkeypatch.setattr("silosynth.common.engines.CODECS", {"fake": codec})


def rows(k):
    """Rows of site number k: k + 1 of them, each of another person, in cells 0, 1, ..."""
    return Units((np.arange(k + 1, dtype=np.int32) % SIZE)[:, None], np.arange(k + 1))


def counts(members):
    """What the sites count together, in grid units."""
    return sum(np.bincount(rows(k).codes[:, 0], minlength=SIZE) for k in members) * 5040


@dataclass
class Federation:
    """All sites of a study, in folders of their own, and what a coordinator knows."""

    root: Path
    study: Study = field(default_factory=masked_study)
    noise: type = SystemNoise
    restarts: int = 0
    ledgers: dict = field(default_factory=dict)
    sites: dict = field(default_factory=dict)
    coordinator: CoordinatorSession | None = None

    def __enter__(self):
        for k in range(len(self.study.roster)):
            self.start(k)
        return self

    def __exit__(self, *_):
        for ledger in self.ledgers.values():
            ledger.close()

    def path(self, k):
        return self.root / f"{NAMES[k]}.sqlite"

    def start(self, k, *, policy=None, sessions=Sessions):
        """Site k, in a new process: nothing of its memory is left."""
        if k in self.ledgers:
            self.ledgers[k].close()
        ledger = self.ledgers[k] = Ledger(self.path(k))
        predictable = self.noise is not SystemNoise
        policy = policy or just_this(self.study, restarts=self.restarts, allow_no_privacy=predictable)
        gate = Gate(policy, ledger, self.noise(), sessions(ledger, key_of(NAMES[k])))
        self.sites[k] = Site(NAMES[k], gate, lambda _study: Parted.none_held_out(rows(k)))
        self.sites[k].approve(self.study)
        return self.sites[k]

    def step(self, k, phase, frame=b""):
        """What site k says to a step of a session: a wire.SessionReply."""
        request = wire.SessionRequest(self.study.digest, phase, NONCE, frame)
        reply = wire.decode_session_reply(self.sites[k].session_frame(wire.encode_session_request(request)))
        assert (reply.study, reply.phase, reply.nonce) == (self.study.digest, phase, NONCE)
        return reply

    def session(self):
        """Open a session with all, again where one asks for it, as a coordinator does; the last refusal, or None."""
        for _ in range(3):
            if (said := self._session()) != Reason.NO_SESSION.value:
                break
        return said

    def _session(self):
        self.coordinator = CoordinatorSession(secagg_study.agreement(self.study))
        for phase, take in ((wire.Phase.OPEN, "open"), (wire.Phase.JOIN, "acknowledge"), (wire.Phase.CONFIRM, None)):
            sent = {wire.Phase.OPEN: lambda: b"", wire.Phase.JOIN: lambda: self.coordinator.transcript}.get(
                phase, lambda: self.coordinator.confirmation
            )()
            replies = [self.step(k, phase, sent) for k in range(len(self.study.roster))]
            if refusal := next((reply.refusal for reply in replies if reply.refusal), None):
                return refusal
            for reply in replies:
                if take:
                    getattr(self.coordinator, take)(reply.frame)
        return None

    def half_session(self):
        """Have all sites open and join a session, and confirm it to none."""
        self.coordinator = CoordinatorSession(secagg_study.agreement(self.study))
        for k in range(len(self.study.roster)):
            self.coordinator.open(self.step(k, wire.Phase.OPEN).frame)
        for k in range(len(self.study.roster)):
            assert self.step(k, wire.Phase.JOIN, self.coordinator.transcript).refusal is None

    def request(self, release=0, attempt=0, members=None, *, kind="one-ways", lists=()):
        members = tuple(range(len(self.study.roster))) if members is None else tuple(members)
        return wire.Request(self.study.digest, release, attempt, NONCE, Parts(kind, lists), members)

    def ask(self, k, release=0, attempt=0, members=None, **parts):
        """Site k's reply to one request, as bytes made it."""
        frame = wire.encode_request(self.request(release, attempt, members, **parts))
        return wire.decode_reply(self.sites[k].answer_frame(frame))

    def total(self, release=0, attempt=0, members=None):
        """The sum over `members`, which all answer."""
        request = self.request(release, attempt, members)
        tally = self.coordinator.tally(secagg_study.round_of(self.study, request, SIZE))
        for k in request.members:
            tally.accept(self.ask(k, release, attempt, members).masked)
        return tally.total()

    def records(self, k, kind=object):
        return [entry.record for entry in self.ledgers[k].entries() if isinstance(entry.record, kind)]
