"""A coordinator and colluding sites that lie, against honest sites as they are: an attack is a scenario of a few lines.

Honest sites are whole `Site`s with the real engine, gate, ledger and session, asked through their frames. They run
without noise, so that only masks stand between the enemy and what a site knows. The enemy holds its colluders' keys,
takes off every mask that they share, and then looks whether any small combination of what is left is the same
combination of what sites truly answered: `Enemy.exposed`. Totals over all honest members of one set are not counted:
they are what a secure sum opens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from silosynth.client.gate import Gate
from silosynth.client.keys import public_key
from silosynth.client.ledger import Ledger
from silosynth.client.policy import just_this
from silosynth.client.session import Sessions
from silosynth.client.site import Site
from silosynth.common import wire
from silosynth.common.arrays import Vector
from silosynth.common.engine import Parted, Parts, Units
from silosynth.common.engines import CODECS
from silosynth.common.secagg import masks
from silosynth.common.secagg.faults import SumRefused
from silosynth.common.secagg.messages import (
    NOTHING,
    Acknowledgement,
    Head,
    Kind,
    Opening,
    read_bundle,
    read_opening,
    transcript_hash,
    write_acknowledgement,
    write_bundle,
    write_opening,
)
from silosynth.common.secagg.ring import RingVector
from silosynth.common.secagg.rounds import Round
from silosynth.common.secagg_study import agreement, round_of
from silosynth.common.study import Study
from silosynth.common.wire import Phase
from silosynth.server.engines import ENGINES
from silosynth.simulations.noiseless import ZeroNoise

RELEASES: Final = 3
"""Releases that the enemy knows the honest tasks of: the first ones of the plan."""

_NONCE: Final = bytes(wire.NONCE_BYTES)


def _as_they_are(_site: int, frames: list[bytes]) -> list[bytes]:
    return frames


Alter = Callable[[int, list[bytes]], list[bytes]]
"""What a victim, by its place, is shown instead of these frames of all members."""


@dataclass(frozen=True)
class Answer:
    """What a victim sent for a round, but for the masks that the enemy can take off; and what it truly answered."""

    site: int
    asked: Round
    session: bytes
    bare: RingVector = field(repr=False)
    truth: Vector = field(repr=False)


class Victims:
    """The honest sites of a study, in ledgers of their own; what each would answer to what, if nothing hid it."""

    def __init__(self, folder: Path, study: Study, units: Mapping[int, Units]) -> None:
        """`units`: rows of the honest sites, by place on the roster; all other members are the enemy's."""
        self.study, self.tasks, self._plain = study, list[Parts](), _unmasked(study)
        self._ledgers: list[Ledger] = []
        self.sites = {at: self._site(folder / f"{at}", study, at, own) for at, own in units.items()}
        self._twins = {at: self._site(folder / f"{at}.twin", self._plain, at, own) for at, own in units.items()}
        self._truths: dict[tuple[int, bytes], dict[int, Vector]] = {}
        half, codec = ENGINES[study.engine](self._plain, 0), CODECS[study.engine]
        state = half.start()
        for release in range(RELEASES):
            task = half.next(state)
            self.tasks.append(codec.take_apart(task))
            state = half.absorb(state, task, np.sum(list(self.truths(release, self.tasks[-1]).values()), axis=0))

    def truths(self, release: int, parts: Parts) -> Mapping[int, Vector]:
        """What each of them answers to a task. Of the last release that is known, a few tasks may differ."""
        asked = wire.Request(self._plain.digest, release, 0, _NONCE, parts)
        if (release, asked.task) not in self._truths:
            asked = replace(asked, attempt=sum(known == release for known, _ in self._truths))
            answers = {place: twin.answer(asked).vector for place, twin in self._twins.items()}
            self._truths[release, asked.task] = {at: one for at, one in answers.items() if one is not None}
        return self._truths[release, asked.task]

    def close(self) -> None:
        """Let go of the ledgers."""
        for ledger in self._ledgers:
            ledger.close()

    def _site(self, folder: Path, study: Study, place: int, units: Units) -> Site:
        folder.mkdir(parents=True)
        name, ledger = study.roster[place].name, Ledger(folder / "ledger.sqlite")
        self._ledgers.append(ledger)
        policy = just_this(study, restarts=len(study.roster), allow_no_privacy=True)
        rows = Parted.none_held_out(units)
        site = Site(name, Gate(policy, ledger, ZeroNoise(), Sessions(ledger, _key(name))), lambda _study: rows)
        site.approve(study)
        return site


class Enemy:
    """Coordinator, network, and all members that are no victims. `refused`: what victims said no to, in order."""

    def __init__(self, victims: Victims) -> None:
        self.victims, self.study, self.agreement = victims, victims.study, agreement(victims.study)
        self.members = tuple(range(len(self.study.roster)))
        self.private = {at: X25519PrivateKey.generate() for at in self.members if at not in victims.sites}
        self.openings: list[bytes] = []
        self.opened = 0
        self.learnt: dict[tuple[int, int], Head] = {}
        self.named: dict[tuple[int, int], Head] = {}
        self.shown: dict[int, bytes] = {}
        self.answers: list[Answer] = []
        self.refused: list[str] = []

    def session(self, show: Alter = _as_they_are, confirm: Alter = _as_they_are) -> None:
        """Open a session with every victim, each shown the openings, then the acknowledgements, as altered for it."""
        self.open()
        given = {at: self.join(at, show(at, list(self.openings))) for at in self.victims.sites}
        for at in self.victims.sites:
            spare = self.acknowledgement(min(self.private), self.shown[at])  # where a victim said nothing
            frames = [
                self.acknowledgement(one, self.shown[at]) if one in self.private else given[one] or spare
                for one in self.members
            ]
            self.step(at, Phase.CONFIRM, write_bundle(Kind.CONFIRMATION, confirm(at, frames), self.agreement))

    def open(self) -> None:
        """Have the openings of all members. Those of colluders name what victims know of them, and show newer heads."""
        self.opened, self.named = self.opened + 1, dict(self.learnt)
        self.openings = [self.opening(at) if at in self.private else self.step(at, Phase.OPEN) for at in self.members]

    def join(self, place: int, openings: Sequence[bytes]) -> bytes:
        """A victim's acknowledgement of these openings."""
        self.shown[place] = write_bundle(Kind.TRANSCRIPT, openings, self.agreement)
        said = self.step(place, Phase.JOIN, self.shown[place])
        if said:
            self.learnt |= {(one, place): Head(self.opened, bytes(32)) for one in self.private}
        return said

    def step(self, place: int, phase: Phase, frame: bytes = b"") -> bytes:
        """What a victim says to a step of a session; nothing where it refuses."""
        request = wire.SessionRequest(self.study.digest, phase, _NONCE, frame)
        said = self.victims.sites[place].session_frame(wire.encode_session_request(request))
        reply = wire.decode_session_reply(said)
        self.refused += [] if reply.refusal is None else [reply.refusal]
        return reply.frame or b""

    def opening(self, place: int, key: bytes | None = None, signer: int | None = None) -> bytes:
        """A colluder's opening, with a key of its own or any other, in its own name and hand or in another's."""
        signer = place if signer is None else signer
        own = self.private[signer].public_key().public_bytes_raw()
        named = tuple(self.named.get((place, other), NOTHING) for other in self.members)
        head = Head(self.opened, bytes(32))
        opening = Opening(place, self.opened, head, own if key is None else key, bytes(32), named)
        return write_opening(opening, self.agreement, _key(self.study.roster[signer].name))

    def acknowledgement(self, place: int, transcript: bytes) -> bytes:
        """A colluder's, that knows what each member would have it know."""

        def known(frame: bytes) -> Head:
            try:
                return read_opening(frame, self.agreement).named[place]
            except SumRefused:  # an opening that was forged
                return NOTHING

        heads = tuple(map(known, read_bundle(Kind.TRANSCRIPT, transcript, self.agreement)))
        said = Acknowledgement(place, transcript_hash(transcript), heads)
        return write_acknowledgement(said, self.agreement, _key(self.study.roster[place].name))

    def public(self, place: int) -> bytes:
        """The X25519 key in a member's opening."""
        return read_opening(self.openings[place], self.agreement).key

    def ask(
        self, place: int, release: int = 0, attempt: int = 0, members: Sequence[int] | None = None,
        task: Parts | None = None,
    ) -> None:  # fmt: skip
        """Ask a victim, and keep what can be made of its answer."""
        parts = self.victims.tasks[release] if task is None else task
        who = self.members if members is None else tuple(members)
        request = wire.Request(self.study.digest, release, attempt, _NONCE, parts, who)
        reply = wire.decode_reply(self.victims.sites[place].answer_frame(wire.encode_request(request)))
        if reply.masked is None:
            self.refused.append(reply.refusal or "nothing")
            return
        truth = self.victims.truths(release, parts)[place]
        asked = round_of(self.study, request, truth.size)
        vector = np.frombuffer(reply.masked.payload, dtype=asked.ring.dtype).copy()
        self._strip(vector, place, asked)
        self.answers.append(Answer(place, asked, transcript_hash(self.shown[place]), vector, truth))

    def opens(self, answers: Sequence[Answer], signs: Sequence[int]) -> bool:
        """Whether these answers, added with these signs, are what is behind them."""
        ring, size = answers[0].asked.ring, answers[0].asked.size
        if any((one.asked.ring, one.asked.size) != (ring, size) for one in answers):
            return False
        found, truth = np.zeros(size, dtype=ring.dtype), np.zeros(size, dtype=np.int64)
        for one, sign in zip(answers, signs, strict=True):
            found = found + one.bare if sign > 0 else found - one.bare
            truth += sign * one.truth
        return bool((found == ring.encode(truth)).all())

    @property
    def exposed(self) -> bool:
        """Whether any sum or difference of what was sent opens, but for totals over all victims in one set."""
        return any(self.opens(*combination) for combination in self._combinations() if not self._is_total(*combination))

    def _combinations(self) -> Iterator[tuple[list[Answer], list[int]]]:
        distinct = list({one.bare.tobytes(): one for one in self.answers}.values())
        for signs in product((-1, 0, 1), repeat=len(distinct)):
            if any(signs):
                yield [one for one, sign in zip(distinct, signs, strict=True) if sign], [sign for sign in signs if sign]

    def _is_total(self, answers: Sequence[Answer], signs: Sequence[int]) -> bool:
        """Whether it is made of whole totals, each over all victims that are in its set, of whom there are two."""
        rounds: dict[tuple[bytes, Round], set[tuple[int, int]]] = {}
        for one, sign in zip(answers, signs, strict=True):
            rounds.setdefault((one.session, one.asked), set()).add((one.site, sign))
        return all(
            {site for site, _ in parts} == set(asked.members) & set(self.victims.sites)
            and len(parts) > 1
            and len({sign for _, sign in parts}) == 1
            for (_, asked), parts in rounds.items()
        )

    def _strip(self, vector: RingVector, place: int, asked: Round) -> None:
        """Take off every mask that a colluder shares, whose private key the enemy knows."""
        session = transcript_hash(self.shown[place])
        for one, frame in enumerate(read_bundle(Kind.TRANSCRIPT, self.shown[place], self.agreement)):
            if one not in asked.members or one not in self.private:
                continue
            own = self.private[one].public_key().public_bytes_raw()
            if read_opening(frame, self.agreement).key != own:
                continue
            ends = (one, own), (place, self.public(place))
            secret = masks.pair_secret(self.private[one], ends[1][1], masks.pair_info(self.agreement, session, *ends))
            ratchet = masks.Ratchet(secret, self.agreement.releases)
            ratchet.forward(asked.release)
            key = ratchet.derive(b"mask", asked.context(self.agreement, session))
            masks.add_mask(vector, key, negative=place > one)


def keyed(study: Study) -> Study:
    """The study, its members with keys whose private halves this world knows."""
    return replace(study, roster=tuple(replace(one, key=public_key(_key(one.name))) for one in study.roster))


def _unmasked(study: Study) -> Study:
    return replace(study, roster=tuple(replace(one, key="") for one in study.roster), threshold=None)


def _key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(f"agent {name}".encode()).digest())
