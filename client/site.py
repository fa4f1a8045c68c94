"""A round, as a site sees it. Read `Site.answer` first: it is the whole flow, and it must stay this short.

One task in, one Sealed out: no other value leaves, and no exception. What went wrong stays in this site's own log; the
coordinator learns a word from a closed list.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import numpy as np

from silosynth.client import engines
from silosynth.client.gate import Gate, Sealed
from silosynth.client.installed import code_digest
from silosynth.client.refusal import Reason, Refused
from silosynth.client.session import among
from silosynth.common.engine import Parted, Parts, Units
from silosynth.common.engines import codec_of
from silosynth.common.errors import MalformedFrame, Tampered
from silosynth.common.privacy import Part
from silosynth.common.study import Member, Study
from silosynth.common.wire import (
    NONCE_BYTES,
    Phase,
    Reply,
    Request,
    SessionReply,
    SessionRequest,
    decode_request,
    decode_session_request,
    encode_reply,
    encode_session_reply,
)

log = logging.getLogger(__name__)

_UNREADABLE: Final = Request("0" * 64, 0, 0, bytes(NONCE_BYTES), Parts(""))
_NO_STEP: Final = SessionRequest("0" * 64, Phase.OPEN, bytes(NONCE_BYTES))


class Site:
    """One institution: its rows, behind its gate. `load` reads the rows that it answers a study with.

    `admit` is asked first, about every request, and raises Refused for a study that is not to be answered now.
    """

    def __init__(
        self,
        name: str,
        gate: Gate,
        load: Callable[[Study], Parted],
        admit: Callable[[str], None] = lambda _study: None,
    ) -> None:
        self.name = name
        self._gate = gate
        self._load = load
        self._admit = admit
        self._studies: dict[str, tuple[Study, Parted]] = {}
        self._turns: dict[str, threading.Lock] = {}

    def approve(self, study: Study) -> None:
        """Take part in a study: pay for its whole plan, freeze its rows. Raises Refused, to the person who asked."""
        member = next((member for member in study.roster if member.name == self.name), None)
        if member is None:
            raise Refused(Reason.NOT_A_MEMBER)
        if study.code and study.code != code_digest():
            raise Refused(Reason.OTHER_CODE)
        if study.engine not in engines.ENGINES:
            raise Refused(Reason.ENGINE_NOT_ALLOWED)
        units = self._load(study)
        if not _fits(units, member, study):
            log.error("more rows than the declared capacity of %d: declare more, or bring fewer", member.capacity)
            raise Refused(Reason.CAPACITY)
        self._gate.approve(study, member)
        self._studies[study.digest] = (study, units)
        self._turns.setdefault(study.digest, threading.Lock())

    def close(self) -> None:
        """Take part in nothing any more, in order: killed instead, a site pays again for what is left."""
        self._gate.close()

    def answer(self, request: Request) -> Sealed:
        """One task in, one Sealed out. Never raises."""
        try:
            self._admit(request.study)
            with self._turn(request.study):  # whoever asks twice at once waits for what is said first
                if sealed := self._gate.recall(request):  # asked before: the same bytes
                    return sealed
                study, units = self._approved(request.study)
                part = _part(study, request)
                half = engines.half_of(among(study, request), part)  # closed registry
                task = codec_of(study, part).put_together(study, request.parts)
                claim = half.claim(task)  # the price, before any row is read
                permit = self._gate.permit(study, request, claim)  # policy, then ledger: on disk, or not at all
                noised = half.answer(task, units.of(part), permit.mechanism)
                return self._gate.seal(permit, noised)  # performed == paid for, on disk, once
        except Refused as refused:
            return self._refuse(request, refused.reason)
        except MalformedFrame:
            return self._refuse(request, Reason.BAD_TASK)
        except Tampered:
            log.exception("the ledger is broken: nothing is spent until a person has looked")
            return self._refuse(request, Reason.RECORD_BROKEN)
        except Exception:
            log.exception("task failed")  # stays here
            return self._refuse(request, Reason.INTERNAL)

    def answer_frame(self, frame: bytes) -> bytes:
        """The same, in bytes. A frame that cannot be read is answered to nobody."""
        try:
            request = decode_request(frame)
        except Exception:
            log.exception("a frame cannot be read")
            request, sealed = _UNREADABLE, self._gate.refuse("", Reason.BAD_TASK)
        else:
            sealed = self.answer(request)
        about = (request.study, request.release, request.attempt, request.nonce)
        said = sealed.refusal and str(sealed.refusal)
        return encode_reply(Reply(*about, sealed.vector, said, sealed.receipt, sealed.masked))

    def session_frame(self, frame: bytes) -> bytes:
        """One step of a session of secure sums, or the receipt, in bytes.

        Never raises; tells nothing that depends on rows.
        """
        request, said, reason = _NO_STEP, None, Reason.INTERNAL
        try:
            request = decode_session_request(frame)
            self._admit(request.study)
            with self._turn(request.study):
                said = self._gate.session(request)
        except Refused as refused:
            reason = refused.reason
        except MalformedFrame:
            reason = Reason.BAD_SESSION
        except Tampered:
            log.exception("the ledger is broken: nothing is spent until a person has looked")
            reason = Reason.RECORD_BROKEN
        except Exception:
            log.exception("a session failed")  # stays here
        about = (request.study, request.phase, request.nonce)
        if said is not None:
            return encode_session_reply(SessionReply(*about, said, None))
        log.warning("refused a session: %s", reason)
        sealed = self._gate.refuse(request.study, reason)  # which has the last word (G7)
        return encode_session_reply(SessionReply(*about, None, str(sealed.refusal)))

    def _turn(self, digest: str) -> AbstractContextManager[object]:
        return self._turns.get(digest, nullcontext())

    def _approved(self, digest: str) -> tuple[Study, Parted]:
        if digest not in self._studies:
            raise Refused(Reason.UNKNOWN_STUDY)
        return self._studies[digest]

    def _refuse(self, request: Request, reason: Reason) -> Sealed:
        log.warning("refused release %d, attempt %d: %s", request.release, request.attempt, reason)
        return self._gate.refuse(request.study, reason)


def _part(study: Study, request: Request) -> Part:
    """Whose step a release is: the approved plan says it, not the task, and no engine chooses its units."""
    try:
        return study.step_of(request.release).part
    except IndexError as error:
        raise Refused(Reason.OUT_OF_PLAN) from error


def _fits(units: Parted, member: Member, study: Study) -> bool:
    """Whether the rows that count of each part, at most `max_rows_per_unit` of each unit, have a slot each."""
    return all(_rows(units.of(part), study) <= member.capacity for part in Part)


def _rows(units: Units, study: Study) -> int:
    _, rows = np.unique(units.owner, return_counts=True)
    return int(np.minimum(rows, study.max_rows_per_unit).sum())
