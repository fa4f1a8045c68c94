"""Why a site or the coordinator does not go on with a secure sum: a word of a closed list, and whose message it was.

No word depends on rows: whatever is refused is refused for what messages and public facts say.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from silosynth.common.errors import SilosynthError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from silosynth.common.secagg.messages import Head

NO_SESSION: Final = "no session of secure sums"
"""What a site says that holds no confirmed session of the study: it was restarted, or has none yet."""


class Fault(StrEnum):
    """What rule a message breaks."""

    OTHER_STUDY = "message of another study"
    OTHER_ROSTER = "message under another roster"
    NOT_A_MEMBER = "sender not on the roster"
    BAD_SIGNATURE = "signature does not verify"
    INCOMPLETE = "not exactly one message of every member"
    NOT_OWN_OPENING = "own opening missing, old or altered"
    WEAK_KEY = "key agreement gives no secret"
    OTHER_TRANSCRIPT = "made for another transcript"
    OUT_OF_PHASE = "message of another phase"
    ROLLED_BACK = "own record is older than what members have seen, or another one"
    NOT_IN_SET = "site not in the answering set"
    SET_TOO_SMALL = "answering set below the threshold"
    OUT_OF_ORDER = "release or attempt not above the last"
    OUT_OF_PLAN = "release beyond the plan"
    TOO_MANY_RETRIES = "more retries than a session allows"
    OTHER_CONTEXT = "made for another round"
    NOT_AS_SIGNED = "vector is not the one that was signed"
    ANSWERED_TWICE = "two different answers to one round"


class SumRefused(SilosynthError):
    """A rule is broken. `site`: index of the member whose message breaks it, where that is known."""

    def __init__(self, fault: Fault, site: int | None = None) -> None:
        super().__init__(fault.value if site is None else f"{fault.value} (site {site})")
        self.fault = fault
        self.site = site


class Locked(SumRefused):
    """Peers saw more of this site's ledger than the site has: it was restored from an old copy, or cloned.

    Nothing may be answered in any study until a person has looked; whoever catches this makes that durable. `seen`:
    what each witness, by index, has seen; `site`: the first of them. They may lie, and then their signed
    acknowledgements prove it: no entry of this site's ledger has that hash.
    """

    def __init__(self, seen: "Mapping[int, Head]") -> None:
        super().__init__(Fault.ROLLED_BACK, min(seen))
        self.seen = seen
