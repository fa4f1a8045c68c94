"""Sessions of secure sums at a site: at most one a study, in memory only. The ledger says which there were.

What common/secagg/site.py asks of its caller is done here and in the gate:
  N1  a session's number, and what it may spend, are on disk before its opening leaves;
  N2  newer heads of the others are on disk before the acknowledgement leaves; what they know of this ledger, before
      anything is answered, and it stands in the next opening;
  N3  that this ledger is older than others have seen it is on disk before anything else is said, and bars every study;
  N4  secrets come from the operating system, and are nowhere but in the session;
  N5  this site's place on a roster is that of its own name, and must hold its own key;
  N6  sessions of an earlier process are lost: nobody can tell what they spent since the newest copy of the ledger. That
      is on disk, and paid for, before this one promises anything in any study (books.py, B9);
  N7  a receipt is signed after the ledger has closed the study, and its session was ended before.
A session whose end this process sees costs nothing: that of one before the next, and those that `close` or a
receipt ends. So a
site that is stopped in order pays nothing for it, and one that is killed pays for what is left of its studies again.
"""

import logging
import os
import threading
from collections.abc import Callable, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from silosynth.client import keys
from silosynth.client.heads import Of
from silosynth.client.ledger import Check, Ledger
from silosynth.client.refusal import Reason, Refused, reason_of
from silosynth.common import secagg_study
from silosynth.common.errors import MalformedFrame
from silosynth.common.receipt import Receipt, Signed, sign
from silosynth.common.secagg.faults import Locked, SumRefused
from silosynth.common.secagg.messages import Head
from silosynth.common.secagg.rounds import Round
from silosynth.common.secagg.site import Pad, Seat, Secrets, SiteSession
from silosynth.common.study import Member, Study
from silosynth.common.wire import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = logging.getLogger(__name__)

_SECRET_BYTES: Final = 32

Make: TypeAlias = Callable[[Seat, Secrets, int, Head, tuple[Head, ...]], SiteSession]


class Sessions:
    """All sessions of one site. Every method raises Refused, and then nothing was promised to anybody."""

    def __init__(
        self,
        ledger: Ledger,
        signer: "Ed25519PrivateKey",
        *,
        live: MutableMapping[str, SiteSession] | None = None,
        make: Make = SiteSession,
    ) -> None:
        """`live` and `make`: where sessions are, by study, and what makes one; for simulations without a memory.

        Raises Tampered. See N6.
        """
        self._ledger = ledger
        self._signer = signer
        self._live: MutableMapping[str, SiteSession] = {} if live is None else live
        self._make = make
        self._lock = threading.Lock()
        self._lose()

    def check_own(self, member: Member) -> None:
        """Raise Refused where a roster has another key under this site's name (N5)."""
        if member.key != keys.public_key(self._signer):
            raise Refused(Reason.OTHER_KEY)

    def seat(self, study: Study, member: Member) -> Seat:
        """This site's place in a study (N5)."""
        self.check_own(member)
        return Seat(secagg_study.agreement(study), study.roster.index(member), self._signer)

    def open(self, seat: Seat, check: Check) -> bytes:
        """The opening of a session: the same again until it was joined, then that of a new one. See N1.

        One that others would find old is replaced, too: a session of another study has shown a newer head since.
        """
        study = seat.agreement.study.hex()
        with self._lock:
            held = self._live.get(study)
            if held is not None and not held.has_joined and held.number == self._ledger.newest_session:
                return held.opening
            if held is not None:
                held.close()
                self._ledger.end_session(study, held.number)
            self._lose(study)
            others = [one.key for one in seat.agreement.roster.members]
            secrets, known = _fresh(), self._ledger.heads(Of.OWN, others)
            number, head = self._ledger.open_session(study, secrets.nonce, check)
            session = self._make(seat, secrets, number, head, tuple(known[other] for other in others))
            self._live[study] = session
            return session.opening

    def close(self) -> None:
        """End all sessions, in memory and then in the ledger: no later process has to pay for them."""
        with self._lock:
            for study, session in self._live.items():
                session.close()
                self._ledger.end_session(study, session.number)
            self._live.clear()

    def join(self, seat: Seat, transcript: bytes) -> bytes:
        """The acknowledgement of a transcript. See N2."""
        members = seat.agreement.roster.members
        with self._held(seat) as session:
            known = self._ledger.heads(Of.OTHERS, [one.key for one in members])
            joined = session.join(transcript, {site: known[one.key] for site, one in enumerate(members)})
            self._ledger.keep_heads(Of.OTHERS, {members[site].key: head for site, head in joined.heads.items()})
            return joined.acknowledgement

    def confirm(self, seat: Seat, confirmation: bytes) -> None:
        """Check that all others have joined too; Refused(NO_SESSION) where it must be opened again. See N2, N3."""
        members = seat.agreement.roster.members
        with self._held(seat) as session:
            known = session.confirm(confirmation, self._ledger.is_ancestor)
            self._ledger.keep_heads(Of.OWN, {members[site].key: head for site, head in known.items()})
            if not session.is_confirmed:
                raise Refused(Reason.NO_SESSION)

    def settle(self, study: str, site: str) -> Signed:
        """The signed receipt of a study, by its digest, which ends here (N7)."""
        with self._lock:
            held = self._live.pop(study, None)
            if held is not None:
                held.close()
                self._ledger.end_session(study, held.number)
            self._lose(study)
            head, charges = self._ledger.settle(study)
            return sign(Receipt(site, head, charges), self._signer)

    def begin(self, seat: Seat, asked: Round) -> Pad:
        """Leave to mask one answer, once."""
        with self._held(seat) as session:
            return session.begin(asked)

    def _lose(self, besides: str = "") -> None:
        """Give up all sessions that are not held here, and that of one study. See N6."""
        self._ledger.lose_sessions([(study, one.number) for study, one in self._live.items() if study != besides])

    @contextmanager
    def _held(self, seat: Seat) -> "Iterator[SiteSession]":
        study = seat.agreement.study.hex()
        with self._lock:
            session = self._live.get(study)
            if session is None:
                raise Refused(Reason.NO_SESSION)
            try:
                yield session
            except Locked as locked:
                log.critical(
                    "members %s have seen entries that are not in this ledger: it is barred", list(locked.seen)
                )
                members = seat.agreement.roster.members
                self._ledger.bar(study, {members[site].key: head for site, head in locked.seen.items()})
                raise Refused(Reason.ROLLED_BACK) from locked
            except SumRefused as broken:
                log.warning("secure sum: %s", broken)
                raise Refused(reason_of(broken.fault)) from broken
            except MalformedFrame as broken:
                log.warning("secure sum: %s", broken)
                raise Refused(Reason.BAD_SESSION) from broken


def among(study: Study, request: Request) -> Study:
    """The study as those see it who are asked for a sum and share its noise. Raises Refused for a set that may not."""
    try:
        return secagg_study.among(study, request.members)
    except SumRefused as broken:
        raise Refused(reason_of(broken.fault)) from broken


def _fresh() -> Secrets:
    return Secrets(*(os.urandom(_SECRET_BYTES) for _ in range(3)))
