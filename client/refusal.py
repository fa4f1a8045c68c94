"""Why a site says no: a word from a closed list. Free text could carry a row out."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from silosynth.common.secagg.faults import NO_SESSION, Fault


class Reason(StrEnum):
    """What a coordinator may learn about a refusal. A reason never depends on rows, but for CAPACITY (see there)."""

    UNKNOWN_STUDY = "unknown study"
    NOT_APPROVED = "study not approved"
    NOT_A_MEMBER = "site not on the roster"
    ENGINE_NOT_ALLOWED = "engine not allowed"
    TOO_FEW_SITES = "too few sites"
    FLOOR_TOO_LOW = "honest floor too low"
    BAD_PLAN = "plan missing or dearer than the study says"
    UNREVIEWED = "bounds or codes taken from data, not reviewed"
    NO_NOISE = "release without noise"
    STUDY_CAP = "cap per study exhausted"
    LIFETIME_CAP = "lifetime cap exhausted"
    STUDY_CLOSED = "study closed"
    OUT_OF_PLAN = "task is not the planned one"
    OUT_OF_ORDER = "release out of order"
    ANSWERED_DIFFERENTLY = "release already answered differently"
    BAD_TASK = "bad task"
    LOCKED_OUT = "locked after too many refusals"
    NOT_MASKED = "answers would not be masked"
    OTHER_KEY = "agent key is not the one on the roster"
    OTHER_CODE = "software is not the one of the study"
    NO_SESSION = NO_SESSION
    BAD_SESSION = "session message breaks a rule"
    BAD_SET = "answering set not allowed"
    TOO_MANY_ATTEMPTS = "too many attempts at a release"
    ROLLED_BACK = "local record older than others have seen"
    RECORD_BROKEN = "local record broken"
    INTERNAL = "internal error"

    CAPACITY = "more rows than the declared capacity"
    """Said to the person who approves a study, at the site. `gate.refuse` never lets it out: it tells about rows."""


class Refused(Exception):
    """Raised wherever a site declines; carries a reason and nothing else."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


_REASONS: Final[Mapping[Fault, Reason]] = {
    Fault.OUT_OF_PHASE: Reason.NO_SESSION,
    Fault.OUT_OF_ORDER: Reason.OUT_OF_ORDER,
    Fault.OUT_OF_PLAN: Reason.OUT_OF_PLAN,
    Fault.TOO_MANY_RETRIES: Reason.TOO_MANY_ATTEMPTS,
    Fault.NOT_A_MEMBER: Reason.BAD_SET,
    Fault.NOT_IN_SET: Reason.BAD_SET,
    Fault.SET_TOO_SMALL: Reason.BAD_SET,
    Fault.ROLLED_BACK: Reason.ROLLED_BACK,
}


def reason_of(fault: Fault) -> Reason:
    """What a site says of a broken rule of secure sums. Which message broke it, its own log says."""
    return _REASONS.get(fault, Reason.BAD_SESSION)
