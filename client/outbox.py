"""What left a site, and what its ledger says, for a human: `site outbox` and `site ledger`.

For the command line: `listing(path)` gives what left as lines, `table(lines)` and `ledger_table(entries)` draw for a
terminal, `as_json(lines)` and `ledger_as_json(entries)` write for programs, with `entries` of `ledger.listing(path)`.
A ledger may be in use; it is verified first, and nothing is changed.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from silosynth.client import ledger
from silosynth.client.books import FREE, Books, Price, dearest, price
from silosynth.client.entries import (
    Barred,
    Committed,
    Declined,
    Ended,
    Entry,
    Freed,
    Opened,
    Planned,
    Receipted,
    Record,
    Reserved,
    Sessioned,
    Settled,
    Voided,
    write,
)
from silosynth.common.accounting import epsilon
from silosynth.common.privacy import (
    Certified,
    Composed,
    Event,
    Gaussian,
    NoPrivacy,
    Parallel,
    Part,
    Repeated,
    Sampled,
    View,
)

if TYPE_CHECKING:
    from rich.table import Table

FORMAT: Final = 1

_WHY: Final = {
    "one-ways": "how often each value of each column occurs",
    "pairs": "how often values of two columns occur together",
    "gradient": "how to improve the network: the sum of clipped gradients",
    "learn": "a model that the site trained by itself, on noisy sums",
    "holdout-one-ways": "how often each value occurs among held-out persons",
    "holdout-pairs": "how often values of two columns occur together among held-out persons",
    "holdout-scores": "how models trained on synthetic rows score held-out persons",
    "holdout-groups": "how such a model scores held-out persons of each subgroup",
    "discriminator": "a discriminator that the site trained by itself, on noisy sums",
}
"""Task kinds of the engines in words. A kind that is not here speaks for itself."""


@dataclass(frozen=True)
class OutboxLine:
    """One answer that left.

    `size` integers in `octets` bytes of SHA-256 `payload`. `aggregate` and `local`: what everything this site has sent
    up to this line, by all studies, costs a person, as epsilon at `delta`; inf where somebody can predict the noise.
    """

    seq: int
    at: str
    study: str
    name: str
    release: int
    attempt: int
    kind: str
    why: str
    size: int
    octets: int
    noise: str
    delta: float
    aggregate: float
    local: float
    payload: str
    receipt: str


def listing(path: Path) -> tuple[OutboxLine, ...]:
    """Everything that left, oldest first. Raises InvalidInput where there is no ledger, Tampered."""
    plans: dict[str, Planned] = {}
    reserved: dict[tuple[str, int, int], Reserved] = {}
    sent: dict[str, dict[Part, Price]] = {}
    begun: set[tuple[str, str]] = set()
    lines: list[OutboxLine] = []
    for entry in ledger.listing(path):
        match entry.record:
            case Planned() as plan:
                plans[plan.study] = plan
            case Reserved(study, release, attempt) as reservation:
                reserved[study, release, attempt] = reservation
            case Committed(study, release, attempt) as committed:
                plan, reservation = plans[study], reserved.pop((study, release, attempt))
                parts, step = sent.setdefault(study, {}), plan.step_of(release)
                part = step.part if step else Part.TRAIN
                cost = _cost(plan, committed, reservation.event, begun) + Price(noiseless=not plan.private)
                parts[part] = parts.get(part, Price()) + cost
                total = sum((dearest(one.values()) for one in sent.values()), Price())
                lines.append(_line(entry, committed, plan, reservation, total))
            case _:
                pass
    return tuple(lines)


def _cost(plan: Planned, sent: Committed, event: Event, begun: set[tuple[str, str]]) -> Price:
    """What one answer adds. The first of a certified step costs as much as all of it, a retry as much as by itself."""
    step = plan.step_of(sent.release)
    if step is None or step.certified is None:
        return price(event)
    again = price(event) if sent.attempt else FREE
    if (plan.study, step.kind) in begun:
        return again
    begun.add((plan.study, step.kind))
    return again + price(step.history)


def _line(entry: Entry, sent: Committed, plan: Planned, reserved: Reserved, total: Price) -> OutboxLine:
    step = plan.step_of(sent.release)
    kind = step.kind if step else ""
    delta = float(plan.delta)
    noise = noise_in_words(reserved.event) + (", masked" if reserved.session else "")
    return OutboxLine(
        seq=entry.seq,
        at=entry.at,
        study=sent.study,
        name=plan.name,
        release=sent.release,
        attempt=sent.attempt,
        kind=kind,
        why=_WHY.get(kind, kind),
        size=sent.size,
        octets=sent.octets,
        noise=noise if plan.private else f"{noise}, predictable: NO PRIVACY",
        delta=delta,
        aggregate=_epsilon(total, View.AGGREGATE, delta),
        local=_epsilon(total, View.LOCAL, delta),
        payload=sent.payload,
        receipt=entry.hash,
    )


def _epsilon(total: Price, view: View, delta: float) -> float:
    return math.inf if total.noiseless else epsilon(total.within(view), delta)


def noise_in_words(event: Event) -> str:
    """The noise of an event. The multiplier is relative to the most that one person can move the sum."""
    match event:
        case Gaussian(multiplier, shares):
            among = f" shared by {shares} sites" if shares > 1 else ""
            return f"Gaussian, {_decimal(multiplier)} x one person{among}"
        case NoPrivacy():
            return "none: NO PRIVACY"
        case Repeated(count, inner):
            return f"{count} times {noise_in_words(inner)}"
        case Composed(events) | Parallel(events):
            return "; ".join(noise_in_words(inner) for inner in events)
        case Sampled(rate, inner):
            return f"{noise_in_words(inner)}, over a secret random {100 * float(rate):.3g} % of the persons"
        case Certified(inner, _):
            return noise_in_words(inner)


def _decimal(value: Fraction) -> str:
    return f"{float(value):.4g}"


def in_words(record: Record) -> str:  # noqa: C901, PLR0911  # one return a kind
    """What a ledger's entry says."""
    match record:
        case Opened(which):
            return f"ledger {which} opened"
        case Planned():
            steps = ", ".join(f"{step.repeats} {step.kind}" for step in record.steps)
            return f"study {record.name!r} approved and paid for: {steps}{_price(record)}"
        case Reserved(_, release, attempt, _, event):
            extra = f", attempt {attempt} and paid for again" if attempt else ""
            return f"release {release}{extra}: {noise_in_words(event)}"
        case Committed(_, release, attempt, payload, octets, size):
            extra = f", attempt {attempt}" if attempt else ""
            return f"release {release}{extra} kept to be sent: {size} integers, {octets} bytes, sha256 {payload[:12]}"
        case Declined(_, reason):
            return f"refused: {reason}"
        case Voided():
            return "study closed; what was not begun is credited back"
        case Receipted(_, shown):
            return f"shown at the end of the study: sha256 {shown[:12]}"
        case Settled(_, charges):
            return f"study over, its receipt signed: charges of sha256 {charges[:12]}"
        case Sessioned(_, number):
            return f"session {number} of secure sums"
        case Ended(_, number, lost):
            again = "was lost: what it may have answered is paid for, and what is left costs again" if lost else "ended"
            return f"session {number} of secure sums {again}"
        case Barred(_, seen):
            newest = max((count for _, count, _ in seen), default=0)
            return f"BARRED: others have seen entry {newest}, which is not here; put the newest copy of this file back"
        case Freed():
            return "freed by a person; what may have been forgotten is paid for"


def _price(plan: Planned) -> str:
    cost, delta = price(plan.event()), float(plan.delta)
    if cost.noiseless or not plan.private:
        return "; NO PRIVACY"
    both = (f"{_epsilon(cost, view, delta):.3g} ({view})" for view in View)
    return f"; epsilon {', '.join(both)} at delta {plan.delta}"


@dataclass(frozen=True)
class Paid:
    """What a whole ledger has paid for, as epsilon in both views at the smallest delta of its studies."""

    delta: float
    aggregate: float
    local: float


def paid(entries: tuple[Entry, ...]) -> Paid | None:
    """The total of a ledger, None while it paid for nothing."""
    books = Books()
    for entry in entries:
        books.fold(entry)
    if not books.accounts:
        return None
    delta = min(float(account.plan.delta) for account in books.accounts.values())
    return Paid(delta, *(_epsilon(books.lifetime, view, delta) for view in (View.AGGREGATE, View.LOCAL)))


def as_json(lines: tuple[OutboxLine, ...]) -> str:
    """What left, for programs: {"format": 1, "sent": [...]}; an epsilon that is not finite is the text "inf"."""
    sent = [{key: _finite(value) for key, value in asdict(line).items()} for line in lines]
    return json.dumps({"format": FORMAT, "sent": sent}, indent=2)


def ledger_as_json(entries: tuple[Entry, ...]) -> str:
    """A ledger, for programs: {"format": 1, "paid": {...}, "entries": [...]}, each entry as it was hashed."""
    total = paid(entries)
    said = [{"seq": entry.seq, "hash": entry.hash} | json.loads(write(entry.at, entry.record)) for entry in entries]
    summed = {key: _finite(value) for key, value in asdict(total).items()} if total else None
    return json.dumps({"format": FORMAT, "paid": summed, "entries": said}, indent=2)


def table(lines: tuple[OutboxLine, ...]) -> "Table":
    """What left, for a terminal."""
    rows = (
        (
            line.name,
            f"{line.release}.{line.attempt}" if line.attempt else str(line.release),
            line.why,
            str(line.size),
            line.noise,
            f"{line.aggregate:.3g}, local {line.local:.3g}",
            line.payload[:12],
        )
        for line in lines
    )
    heads = ("study", "no.", "what was sent", "integers", "noise", "epsilon after it", "sha256")
    return _drawn("What left", heads, rows)


def ledger_table(entries: tuple[Entry, ...]) -> "Table":
    """A ledger's entries, for a terminal."""
    rows = (
        (str(entry.seq), entry.at[:19], _study(entry.record)[:12], in_words(entry.record), entry.hash[:12])
        for entry in entries
    )
    drawn = _drawn("Ledger, its chain of hashes verified", ("entry", "time (UTC)", "study", "what", "hash"), rows)
    if total := paid(entries):
        both = f"epsilon {total.aggregate:.3g}, local {total.local:.3g}"
        drawn.caption = f"paid for in all, by every study: {both}, at delta {total.delta:g}"
    return drawn


def _drawn(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> "Table":
    from rich.table import Table  # noqa: PLC0415  # only where something is drawn
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(*heads, title=title)
    for row in rows:  # a study's name comes from outside: neither markup nor control characters reach the terminal
        drawn.add_row(*(Text("".join(c if c.isprintable() else "?" for c in cell)) for cell in row))
    return drawn


def _study(record: Record) -> str:
    return "" if isinstance(record, Opened) else record.study


def _finite(value: Any) -> Any:
    return "inf" if value == math.inf else value
