"""The only way out. Whatever leaves a site is a Sealed, and only this module makes one.

Rules, each named where it is checked:
  G1  an answer that was committed is given again, byte for byte, to the same request and to no other;
  G2  a task is answered only in a study that this site approved, as the step that the study plans for its release;
  G3  policy first, then the ledger: the price is on disk before the mechanism, hence the engine, can see a row. Of a
      masked round the session comes before the ledger, and answers no (release, attempt) twice or out of order;
  G4  what leaves was made by the permit's own mechanism, which performed the claimed event and no other, and has the
      claimed size. Where sums are masked it leaves masked, with noise for those who answer, and under a key of the
      round: a copy of this process gives the same bytes;
  G5  a permit seals once;
  G6  payload and commit are on disk before the answer is handed out; what is handed out is what is on disk;
  G7  a refusal is a word of a closed list, and does not tell about rows;
  G8  a receipt is said when the ledger has closed the study, and says what stands there; nobody chooses a word of it.

Formal guarantee: with an honest mechanism, everything sealed from the units of one ledger is mu-GDP for adding or
removing one unit, mu^2 = `ledger.spent(view)` in both views of privacy.View, whatever engines and coordinators do.
"""

import logging
from dataclasses import InitVar, dataclass, field
from typing import Final, NamedTuple, assert_never, final
from weakref import WeakSet

import numpy as np

from silosynth.client.entries import Planned, Reserved
from silosynth.client.ledger import Kept, Ledger
from silosynth.client.mechanism import Metered, NoiseSource, open_noised
from silosynth.client.policy import Policy
from silosynth.client.refusal import Reason, Refused
from silosynth.client.session import Sessions, among
from silosynth.common import secagg_study
from silosynth.common.arrays import Vector
from silosynth.common.engine import Claim, Noised
from silosynth.common.errors import NotPossible
from silosynth.common.receipt import Receipt, pack, sign
from silosynth.common.secagg.messages import REPLY_BYTES, Masked
from silosynth.common.secagg.site import Pad, Seat
from silosynth.common.study import Member, Study
from silosynth.common.wire import LIMITS, Phase, Request, SessionRequest

log = logging.getLogger(__name__)

_KEY: Final = object()
_STORED: Final = np.dtype("<i8")


@final
@dataclass(frozen=True)
class Sealed:
    """What a site sends: an answer, or a refusal. `receipt`: the hash of the ledger's entry about it.

    An answer is `vector`, shape (size,), where sums are plain; where they are masked it is `masked` and nothing else.
    """

    key: InitVar[object]
    vector: Vector | None = field(default=None, repr=False)
    masked: Masked | None = field(default=None, repr=False)
    refusal: Reason | None = None
    receipt: str = ""

    def __post_init__(self, key: object) -> None:
        if key is not _KEY:
            raise TypeError("only the gate seals")


@final
@dataclass(frozen=True, eq=False)
class Permit:
    """Leave to answer one task once. An engine is given `mechanism` and nothing else of it."""

    request: Request
    claim: Claim
    mechanism: Metered
    pad: Pad | None = field(default=None, repr=False)


class _Approved(NamedTuple):
    study: Study
    member: Member
    planned: Planned
    seat: Seat | None


@final
class Gate:
    """Policy and ledger, in front of everything. Without `sessions` it takes part in no masked sum."""

    def __init__(self, policy: Policy, ledger: Ledger, noise: NoiseSource, sessions: Sessions | None = None) -> None:
        self._policy = policy
        self._ledger = ledger
        self._noise = noise
        self._sessions = sessions
        self._approved: dict[str, _Approved] = {}
        self._permits: WeakSet[Permit] = WeakSet()

    def approve(self, study: Study, member: Member) -> None:
        """Pay for the whole plan of a study in which this site is `member`; again costs nothing. Raises Refused."""
        self._policy.check(study)
        try:
            self._mechanism(study, member, b"", self._noise)
        except ValueError as error:
            raise Refused(Reason.BAD_PLAN) from error
        seat = self._keyed().seat(study, member) if study.masked else None
        if member.key and seat is None:
            self._keyed().check_own(member)
        planned = Planned.of(study, private=self._noise.private)
        self._ledger.plan(planned, self._policy.check_price)
        self._approved[planned.study] = _Approved(study, member, planned, seat)

    def session(self, request: SessionRequest) -> bytes:
        """This site's part in a session of secure sums, or its receipt at the end of a study; or raise Refused.

        It tells nothing that depends on rows.
        """
        approved = self._approved.get(request.study)
        if approved is None:
            raise Refused(Reason.UNKNOWN_STUDY)
        if request.phase is Phase.SETTLE:
            return self._receipt(approved)
        if approved.seat is None:
            raise Refused(Reason.BAD_SESSION)
        self._policy.check_refusals(self._ledger.refusals(request.study))
        match request.phase:
            case Phase.OPEN:
                return self._keyed().open(approved.seat, self._policy.check_price)
            case Phase.JOIN:
                return self._keyed().join(approved.seat, request.frame)
            case Phase.CONFIRM:
                self._keyed().confirm(approved.seat, request.frame)
                return b""
            case _ as unknown:
                assert_never(unknown)

    def _receipt(self, approved: _Approved) -> bytes:
        """The study is over here (G8). Also for one that is locked out: it is the last that it hears."""
        study, site = approved.planned.study, approved.member.name
        if approved.member.key:
            return pack(self._keyed().settle(study, site))
        return pack(sign(Receipt(site, *self._ledger.settle(study)), None))

    def recall(self, request: Request) -> Sealed | None:
        """The answer that was committed to exactly this request, if it is the newest of its study (G1)."""
        kept = self._ledger.recall(request.study, request.release, request.attempt, request.context.hex())
        return _sealed(kept) if kept else None

    def permit(self, study: Study, request: Request, claim: Claim) -> Permit:
        """Pay for a claim, or raise Refused. No row has been read yet."""
        approved = self._approved.get(request.study)
        if approved is None or approved.study is not study:
            raise Refused(Reason.NOT_APPROVED)  # G2
        self._policy.check_refusals(self._ledger.refusals(request.study))
        step = approved.planned.step_of(request.release)
        if step is None or step.kind != request.parts.kind:
            raise Refused(Reason.OUT_OF_PLAN)  # G2
        asked = among(study, request)
        if claim.event != asked.step_of(request.release).event(asked.shares):
            raise Refused(Reason.OUT_OF_PLAN)  # G2
        if not 0 < claim.size <= LIMITS.vector_values:
            raise Refused(Reason.BAD_TASK)
        pad = self._pad(approved, request, claim.size)
        context, session = request.context, (pad.context.hex(), pad.session) if pad else ("", 0)
        wanted = Reserved(request.study, request.release, request.attempt, context.hex(), claim.event, *session)
        self._ledger.reserve(wanted, self._policy.check_price)  # G3
        noise = self._noise.under(pad.noise_key) if pad else self._noise
        permit = Permit(request, claim, self._mechanism(asked, approved.member, context, noise), pad)
        self._permits.add(permit)
        return permit

    def seal(self, permit: Permit, noised: Noised) -> Sealed:
        """Let an answer out if it is what was paid for, once. Raises Refused; the permit is used up either way."""
        if permit not in self._permits:
            log.error("a permit is used that is not open")
            raise Refused(Reason.INTERNAL)  # G5
        self._permits.remove(permit)
        if permit.mechanism.events != (permit.claim.event,):
            log.error("what was performed is not what was paid for")
            raise Refused(Reason.INTERNAL)  # G4
        try:
            vector = open_noised(noised, permit.mechanism, permit.claim.size)
        except ValueError as error:
            log.exception("not the answer that was paid for")
            raise Refused(Reason.INTERNAL) from error  # G4
        request, payload = permit.request, vector.astype(_STORED).tobytes()
        if permit.pad:
            payload = b"".join(permit.pad.mask(vector))  # G4
        return _sealed(self._ledger.commit(request.study, request.release, request.attempt, payload, vector.size))  # G6

    def refuse(self, study: str, reason: Reason) -> Sealed:
        """Say no, and no more (G7). Never raises: a refusal that cannot be written down is said all the same.

        A study that is locked out is refused without an entry, so that nobody can fill the disk with refusals.
        """
        known = study if study in self._approved else ""
        said = Reason.INTERNAL if reason is Reason.CAPACITY else reason
        receipt = ""
        try:
            self._policy.check_refusals(self._ledger.refusals(known))
            receipt = self._ledger.refuse(known, said)
        except Refused:
            log.warning("a refusal is not recorded: too many were")
        except Exception:
            log.exception("a refusal could not be recorded")
        return Sealed(_KEY, refusal=said, receipt=receipt)

    def close(self) -> None:
        """End all sessions of secure sums, because this process ends: nobody has to pay for them as lost."""
        if self._sessions is not None:
            self._sessions.close()

    def _keyed(self) -> Sessions:
        if self._sessions is None:
            raise Refused(Reason.NOT_MASKED)
        return self._sessions

    def _pad(self, approved: _Approved, request: Request, size: int) -> Pad | None:
        """The masks of a round; None where sums are plain."""
        if approved.seat is None:
            return None
        try:
            asked = secagg_study.round_of(approved.study, request, size)
        except NotPossible as error:
            raise Refused(Reason.BAD_PLAN) from error
        return self._keyed().begin(approved.seat, asked)

    def _mechanism(self, study: Study, member: Member, context: bytes, noise: NoiseSource) -> Metered:
        limits = {"capacity": member.capacity, "max_rows_per_unit": study.most_rows_of_a_unit}
        return Metered(noise, context, shares=study.shares, **limits)


def _sealed(kept: Kept) -> Sealed:
    if kept.masked:
        return Sealed(_KEY, masked=Masked(kept.payload[:REPLY_BYTES], kept.payload[REPLY_BYTES:]), receipt=kept.receipt)
    vector = np.frombuffer(kept.payload, dtype=_STORED).astype(np.int64, copy=False)
    return Sealed(_KEY, vector=vector, receipt=kept.receipt)
