"""All sites behind Flower's Grid: one request to each of them, one sum back, or nothing at all.

Rules:
  S1  all or nothing: one refusal or one missing answer, and no total is formed;
  S2  the sum is exact: integers of 64 bits, and an overflow is an error, never a wrap;
  S3  a receipt that is not of this study and site, or not signed under the roster's key, is as none.
What is masked is summed in server/session.py; how a request gets to a site and back is server/carrier.py.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import numpy as np
from flwr.serverapp import Grid

from silosynth.common import wire
from silosynth.common.arrays import Vector
from silosynth.common.engine import Parts
from silosynth.common.errors import MalformedFrame, QuorumLost, StudyRefused
from silosynth.common.progress import Progress
from silosynth.common.receipt import Signed, unpack, verified
from silosynth.common.study import Study, Trust
from silosynth.server.carrier import Carrier, Patience
from silosynth.server.coordinator import Answers, Attempts, Total
from silosynth.server.nodes import Register
from silosynth.server.session import SecureSums, telling

SETTLE: Final = "settle"
"""The phase that progress is told while the sites' receipts come in."""


class GridSites:
    """Implements coordinator.Sites."""

    def __init__(
        self,
        grid: Grid,
        progress: Progress,
        patience: Patience | None = None,
        stop: threading.Event | None = None,
        register: Register | None = None,
    ) -> None:
        self._carrier = Carrier(grid, patience or Patience(), stop or threading.Event(), register)
        self._progress = progress
        self._sums: dict[str, SecureSums] = {}

    def total(self, study: Study, release: int, parts: Parts, attempts: Attempts) -> Total:
        """The sum over the roster, shape as answered, and every site's receipt. Raises StudyRefused, QuorumLost."""
        if not study.masked:
            return _sum(self._ask(study, release, {member.name: parts for member in study.roster}))
        if study.digest not in self._sums:
            self._sums[study.digest] = SecureSums(study, self._carrier, self._progress)
        return self._sums[study.digest].total(release, parts, attempts)

    def each(self, study: Study, release: int, parts: Mapping[str, Parts]) -> Answers:
        """Every site's own answer to its own task. Raises StudyRefused, QuorumLost."""
        if study.trust is not Trust.LOCAL or set(parts) != {member.name for member in study.roster}:
            raise ValueError('each site is asked by itself only with trust = "local", and all of them are')
        heard = self._ask(study, release, parts)
        return Answers(
            {name: reply.vector for name, reply in heard.items() if reply.vector is not None}, _receipts(heard)
        )

    def settle(self, study: Study) -> Mapping[str, Signed]:
        """The receipts of those that answer. It costs nothing; a site says the same however often it is asked."""
        keys = {member.name: member.key for member in study.roster}
        said = self._settled(study, list(keys))
        receipts = {}
        for name, reply in said.items():
            with suppress(MalformedFrame):
                signed = unpack(reply.frame or b"")
                receipt = verified(signed, keys[name])
                if (receipt.charges.study, receipt.site) == (study.digest, name):  # S3
                    receipts[name] = signed
        return receipts

    def _settled(self, study: Study, names: Sequence[str]) -> Mapping[str, wire.SessionReply]:
        """What each of `names` says to the last question; where not all were ever connected, each is asked alone."""

        def heard(count: int) -> None:
            self._progress(SETTLE, 0, 0, f"{count} of {len(names)} sites have signed")

        asked = wire.SessionRequest(study.digest, wire.Phase.SETTLE, bytes(wire.NONCE_BYTES))
        try:
            return self._carrier.agree(dict.fromkeys(names, asked), heard)
        except QuorumLost:
            if len(names) == 1:
                return {}
            return {name: reply for one in names for name, reply in self._settled(study, [one]).items()}

    def _ask(self, study: Study, release: int, parts: Mapping[str, Parts]) -> Mapping[str, wire.Reply]:
        """One request to each site of `parts`, always the same attempt: another one would cost each a second event."""
        nonce = bytes(wire.NONCE_BYTES)  # the carrier's business
        asked = {name: wire.Request(study.digest, release, 0, nonce, own) for name, own in parts.items()}
        return _complete(parts, self._carrier.ask(asked, telling(self._progress, study, release, len(asked))))


def _complete(asked: Mapping[str, Parts], heard: Mapping[str, wire.Reply]) -> Mapping[str, wire.Reply]:
    """All replies, if each is an answer (S1). Raises StudyRefused, QuorumLost."""
    refusals = [(name, reply.refusal) for name, reply in heard.items() if reply.refusal is not None]
    if refusals:
        raise StudyRefused(refusals)
    if missing := sorted(name for name in asked if name not in heard or heard[name].vector is None):
        raise QuorumLost(
            f"no valid answer from {', '.join(missing)}: nothing was summed; resume the study when they are back"
        )
    return heard


def _receipts(heard: Mapping[str, wire.Reply]) -> tuple[tuple[str, str], ...]:
    return tuple((name, reply.receipt) for name, reply in sorted(heard.items()))


def _sum(heard: Mapping[str, wire.Reply]) -> Total:
    vectors = [reply.vector for reply in heard.values() if reply.vector is not None]
    if len({vector.shape for vector in vectors}) != 1:
        raise QuorumLost("sites answered with vectors of unequal length: nothing was summed")
    return Total(exact_sum(vectors), _receipts(heard))


def exact_sum(vectors: list[Vector]) -> Vector:
    """The sum of int64 vectors of one shape. Raises OverflowError where 64 bits could not hold it (S2)."""
    bound = sum(max(-int(vector.min(initial=0)), int(vector.max(initial=0))) for vector in vectors)
    if bound > np.iinfo(np.int64).max:
        raise OverflowError("the sum of the sites' answers does not fit 64 bits")
    total: Vector = np.sum(vectors, axis=0, dtype=np.int64)
    return total
