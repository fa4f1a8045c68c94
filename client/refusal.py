"""Why a site says no: a word from a closed list. Free text could carry a row out."""

from enum import StrEnum


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
    RECORD_BROKEN = "local record broken"
    INTERNAL = "internal error"

    CAPACITY = "more rows than the declared capacity"
    """Said to the person who approves a study, at the site. `gate.refuse` never lets it out: it tells about rows."""


class Refused(Exception):
    """Raised wherever a site declines; carries a reason and nothing else."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
