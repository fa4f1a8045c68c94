"""Whether this site's policy lets a study in, and what it leaves: for the person who approves, before anybody signs.

It asks the rules and the caps that the gate and the ledger will ask, and changes nothing. Each finding names the line
of policy.toml that says no, because only its owner may change that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from silosynth.client.approval import listing
from silosynth.client.books import FREE, Account, Books, Price, price
from silosynth.client.entries import Planned
from silosynth.client.policy import Cap, Caps, Policy
from silosynth.client.refusal import Reason, Refused
from silosynth.common.accounting import epsilon
from silosynth.common.privacy import View
from silosynth.common.study import Study

_MANY: Final = 1000


@dataclass(frozen=True)
class Finding:
    """A reason why this site would refuse, what stands in policy.toml, and what to do. One line each."""

    reason: Reason
    where: str
    cure: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.where}; {self.cure}"


@dataclass(frozen=True)
class Room:
    """One cap: epsilon at `delta` before the study, after it, and at most. `most` is None where there is no cap.

    `restarts`: how often the agent may be restarted in the middle of the study before the cap refuses to go on.
    """

    table: str
    delta: float
    before: float
    after: float
    most: float | None
    fits: bool
    restarts: int


@dataclass(frozen=True)
class Appraisal:
    """All findings, none where the study may come in; and the room under each cap."""

    findings: tuple[Finding, ...]
    rooms: tuple[Room, ...]
    paid: bool
    """Whether the ledger has paid for this study already."""


def appraise(study: Study, policy: Policy, text: str, books: Books) -> Appraisal:
    """The appraisal of a resolved study. `text` is that of policy.toml, `books` those of the ledger as it is."""
    found = list(_rules(study, listing(policy, study), text))
    try:
        planned = Planned.of(study, private=True)
        paid = books.is_planned(planned)
    except ValueError:
        return Appraisal((*found, Finding(Reason.BAD_PLAN, "a number of its plan is none", _ASK)), (), paid=False)
    except Refused as refused:
        ledger = Finding(refused.reason, "the ledger says so", "see `silosynth site ledger`")
        return Appraisal((*found, ledger), (), paid=False)
    rooms = tuple(_rooms(planned, policy, books, paid=paid))
    if price(planned.event()).noiseless:
        found.append(Finding(Reason.NO_NOISE, "no cap covers sums without noise", _ASK))
    else:
        found += [_over(room, text) for room in rooms if not room.fits]
    return Appraisal(tuple(found), rooms, paid)


def line_of(text: str, table: str, key: str) -> str:
    """Where a key stands in policy.toml, such as "policy.toml line 7"; that it is not there, if so."""
    here = ""
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.split("#")[0].strip()
        if bare.startswith("["):
            here = bare.strip("[] ")
        elif here == table and bare.split("=")[0].strip() == key:
            return f"policy.toml line {number} says `{bare}`"
    return f"policy.toml has no `{key}` under [{table}]" if table else f"policy.toml has no `{key}`"


_ASK: Final = "ask the coordinator for a study that keeps this rule"
_RAISE: Final = "its owner may change that line, and then approve again"


def _rules(study: Study, policy: Policy, text: str) -> Iterator[Finding]:
    for rule in policy.rules:
        try:
            rule.check(study)
        except Refused as refused:
            yield _broken(refused.reason, study, text)
            if refused.reason is Reason.BAD_PLAN:
                return  # the rules behind it read a plan that is none


def _broken(reason: Reason, study: Study, text: str) -> Finding:
    match reason:
        case Reason.ENGINE_NOT_ALLOWED:
            return Finding(reason, f"{line_of(text, '', 'engines')}, the study's is {study.engine!r}", _RAISE)
        case Reason.TOO_FEW_SITES:
            said = f"{line_of(text, '', 'least_sites')}, the study has {len(study.roster)}"
            return Finding(reason, said, _RAISE)
        case Reason.FLOOR_TOO_LOW:
            return Finding(reason, f"{line_of(text, '', 'least_floor')}, the study's is {study.floor}", _RAISE)
        case Reason.UNREVIEWED:
            columns = ", ".join(map(repr, study.schema.unreviewed))
            return Finding(reason, f"bounds or codes of {columns} were taken from data", _ASK)
        case Reason.NOT_MASKED:
            return Finding(reason, "not every member of the roster has a key", _ASK)
        case _:
            return Finding(reason, "this holds at every site", _ASK)


def _rooms(planned: Planned, policy: Policy, books: Books, *, paid: bool) -> Iterator[Room]:
    account = books.accounts.get(planned.study)
    cost = FREE if paid else books.charge(planned)
    before = account.spent if account else Price()
    page = account or Account(planned, Price())
    again = page.retried + page.unreserved if planned.floor is not None else Price()
    for kind, spent, caps in (("study", before, policy.study_caps), ("lifetime", books.lifetime, policy.lifetime_caps)):
        for view in View:
            yield _room(f"caps.{kind}.{view}", view, _Step(spent, cost, again), _cap(caps, view), float(planned.delta))


@dataclass(frozen=True)
class _Step:
    """What was spent, what the study adds, and what each kill of the agent adds."""

    before: Price
    cost: Price
    again: Price


def _room(table: str, view: View, step: _Step, cap: Cap | None, delta: float) -> Room:
    delta = cap.delta if cap else delta
    before, after = step.before.within(view), (step.before + step.cost).within(view)
    left = (cap.mu_squared if cap else 0) - after
    again = step.again.within(view)
    restarts = min(_MANY, int(left / again)) if again else _MANY
    most = cap.epsilon if cap else None
    return Room(table, delta, epsilon(before, delta), epsilon(after, delta), most, left >= 0, max(0, restarts))


def _cap(caps: Caps, view: View) -> Cap | None:
    return caps.aggregate if view is View.AGGREGATE else caps.local


def _over(room: Room, text: str) -> Finding:
    reason = Reason.STUDY_CAP if room.table.startswith("caps.study") else Reason.LIFETIME_CAP
    line = line_of(text, room.table, "epsilon")
    return Finding(reason, f"{line}, and with the study it would be {room.after:.3f} at delta {room.delta:g}", _RAISE)
