"""What a ledger says, as values: records, their one JSON form, and the hash that chains them. Pure.

An entry is `body`, one line of canonical JSON with the format number in it, bound to its place and to all before it:
hash = SHA-256(domain, a text with format number | seq, 8 bytes big-endian | hash of the entry before, 32 bytes | body).
Numbers in a body are integers or decimal strings, never floats. A record is decoded by a closed match: what is not
known is Tampered, not skipped, because its price would be missing from the sum.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from silosynth.client.refusal import Reason
from silosynth.common.errors import Tampered
from silosynth.common.event_json import event_from_json, event_to_json, from_ratio, ratio
from silosynth.common.privacy import Certified, Composed, Event, Gaussian, Parallel, Part, Repeated

if TYPE_CHECKING:
    from silosynth.common.study import Study  # a ledger is shown without what a schema needs

FORMAT: Final = 3
ROOT: Final = bytes(32)
"""The hash before the first entry."""

_DOMAIN: Final = f"silosynth/ledger/{FORMAT}\n".encode()


@dataclass(frozen=True)
class Opened:
    """The first entry. `ledger`: 32 random hex digits, so that no two ledgers share a hash."""

    ledger: str


@dataclass(frozen=True)
class PlannedStep:
    """`repeats` releases of one kind, each an `event`. `certified`: mu^2 of all together (privacy.Certified).

    `part`: which units answer it; each unit pays for one part.
    """

    kind: str
    repeats: int
    event: Event
    certified: Fraction | None = None
    part: Part = Part.TRAIN

    @property
    def history(self) -> Event:
        """All of its releases, as they are paid for."""
        whole = Repeated(self.repeats, self.event)
        return whole if self.certified is None else Certified(whole, self.certified)

    def rest(self, first: int) -> Event | None:
        """What is paid for after its first releases; nothing of a certified step, which is paid for at once."""
        left = self.repeats - max(0, first)
        if left == self.repeats > 0:
            return self.history
        return Repeated(left, self.event) if left > 0 and self.certified is None else None

    def begun(self, first: int) -> Event | None:
        """What is paid for with its first releases: all of a certified step, which is paid for at once."""
        if first <= 0:
            return None
        return self.history if first >= self.repeats or self.certified else Repeated(first, self.event)


@dataclass(frozen=True)
class Planned:
    """A study was approved; all of its releases are paid for.

    `delta` is a decimal string; `private` is false where the noise is a simulation's, which somebody can predict.
    `attempts`: most attempts at a release. `floor`: fewest honest sites in a masked sum; None where sums are plain.
    """

    study: str
    name: str
    delta: str
    private: bool
    steps: tuple[PlannedStep, ...]
    attempts: int = 3
    floor: int | None = None

    @classmethod
    def of(cls, study: "Study", *, private: bool) -> "Planned":
        """The plan that a study states. Raises ValueError where its numbers are not those of an event."""
        return cls(
            study.digest,
            study.name,
            repr(study.budget.delta),
            private,
            tuple(
                PlannedStep(step.kind, step.repeats, step.event(study.shares), step.certified, step.part)
                for step in study.plan
            ),
            study.attempts,
            study.floor if study.masked else None,
        )

    @property
    def retries(self) -> int:
        """Most retries in one session of masked sums, n - t + 1: see secagg.roster.Roster.retries."""
        if self.floor is None:
            return 0
        honest = [step.event.shares for step in self.steps if isinstance(step.event, Gaussian)]
        return max(0, max(honest, default=0) - self.floor) + 1

    @property
    def certified(self) -> int:
        """Certified histories in it."""
        return sum(step.certified is not None for step in self.steps)

    def event(self, first: int = 0) -> Parallel:
        """Everything planned, from release number `first` on, as it is paid for."""
        return self._in_parts(PlannedStep.rest, first)

    def begun(self, first: int) -> Parallel:
        """Everything planned before release number `first`, as it is paid for."""
        return self._in_parts(PlannedStep.begun, first)

    def _in_parts(self, of: Callable[[PlannedStep, int], Event | None], first: int) -> Parallel:
        parts: dict[Part, list[Event]] = {part: [] for part in Part}
        for step in self.steps:
            if (event := of(step, first)) is not None:
                parts[step.part].append(event)
            first -= step.repeats
        return Parallel(tuple(Composed(tuple(events)) for events in parts.values()))

    def kinds(self, first: int) -> Iterator[Event]:
        """What single releases are, from release number `first` on: one of each step that is not over."""
        for step in self.steps:
            first -= step.repeats
            if first < 0:
                yield step.event

    def step_of(self, release: int) -> PlannedStep | None:
        """The step that a release belongs to, None outside the plan."""
        for step in self.steps:
            if 0 <= release < step.repeats:
                return step
            release -= step.repeats
        return None

    def allows(self, release: int, event: Event) -> bool:
        """Whether a release may be this event: the planned one, or, masked, the same noise shared by fewer sites.

        Those are dearer neither against totals nor, as each adds more noise, against all others.
        """
        step = self.step_of(release)
        if step is None or self.floor is None:
            return step is not None and step.event == event
        match step.event, event:
            case Gaussian(planned, most), Gaussian(multiplier, shares):
                return multiplier == planned and self.floor <= shares <= most
            case planned_event, _:
                return planned_event == event


@dataclass(frozen=True)
class Reserved:
    """A release is about to be computed. `context`: the request's hash in hex. Attempt 0 is in the plan's price.

    `session`: what the round is called in its session of secure sums, in hex; empty where sums are plain. `number`: of
    that session.
    """

    study: str
    release: int
    attempt: int
    context: str
    event: Event
    session: str = ""
    number: int = 0


@dataclass(frozen=True)
class Committed:
    """A release was computed and may be sent. `payload`: SHA-256 of its bytes, in hex; `size`: its integers."""

    study: str
    release: int
    attempt: int
    payload: str
    octets: int
    size: int


@dataclass(frozen=True)
class Declined:
    """A request was refused. `study` is empty where the site does not know it."""

    study: str
    reason: Reason


@dataclass(frozen=True)
class Voided:
    """A study was closed before its end: planned releases that were never reserved are credited back."""

    study: str


@dataclass(frozen=True)
class Receipted:
    """What the site was shown at the end of a study, by its SHA-256 in hex."""

    study: str
    shown: str


@dataclass(frozen=True)
class Settled:
    """A study is over here: its receipt is signed, and nothing more of it is paid for or answered.

    `charges`: SHA-256 of what was charged for it, in hex (receipt.Charges): with the head that this entry becomes, a
    receipt says what the chain says.
    """

    study: str
    charges: str


@dataclass(frozen=True)
class Sessioned:
    """A session of secure sums is about to be opened. `number` rises over the whole ledger, from 1.

    `nonce`: 64 random hex digits, those of its opening. So no two sessions have the same entry, hence the same head,
    not even where the second one forgot the first and began in the same second.
    """

    study: str
    number: int
    nonce: str


@dataclass(frozen=True)
class Ended:
    """A session is over: nothing is answered in it after this entry. `lost`: nobody saw its end, see B9 of books.py."""

    study: str
    number: int
    lost: bool


@dataclass(frozen=True)
class Barred:
    """Others have seen entries that are not in this ledger, which was restored or copied: nothing is answered.

    `seen`: for each witness its agent key, in hex, and the entry it has seen, by number and hash, in hex.
    """

    study: str
    seen: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True)
class Freed:
    """A person has looked at why the ledger was barred, and answers for it."""

    study: str


Record: TypeAlias = (
    Opened
    | Planned
    | Reserved
    | Committed
    | Declined
    | Voided
    | Receipted
    | Settled
    | Sessioned
    | Ended
    | Barred
    | Freed
)


@dataclass(frozen=True)
class Entry:
    """One record in its place. `at`: UTC time in ISO 8601, for people; nothing is decided by it."""

    seq: int
    at: str
    record: Record
    hash: str


def chained(seq: int, before: bytes, body: str) -> bytes:
    """The hash of an entry, 32 bytes."""
    return hashlib.sha256(_DOMAIN + seq.to_bytes(8, "big") + before + body.encode()).digest()


def write(at: str, record: Record) -> str:
    """The body of an entry."""
    return json.dumps({"format": FORMAT, "at": at} | _raw(record), sort_keys=True, separators=(",", ":"))


def read(seq: int, body: str, digest: bytes) -> Entry:
    """The entry that `write` wrote. Raises Tampered for anything else, also for another spelling of the same."""
    try:
        raw = json.loads(body)
        at = raw.pop("at")
        if raw.pop("format") != FORMAT:
            raise Tampered(f"ledger entry {seq} is of another format than {FORMAT}")
        record = _record(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Tampered(f"ledger entry {seq} cannot be read") from error
    if write(at, record) != body:
        raise Tampered(f"ledger entry {seq} is not in canonical form")
    return Entry(seq, at, record, digest.hex())


def _raw(record: Record) -> dict[str, Any]:  # noqa: C901, PLR0911  # one return a kind
    match record:
        case Opened(ledger):
            return {"kind": "open", "ledger": ledger}
        case Planned(study, name, delta, private, steps, attempts, floor):
            rows = [_step_row(step) for step in steps]
            about = {"study": study, "name": name, "delta": delta, "private": private}
            return about | {"kind": "plan", "steps": rows, "attempts": attempts, "floor": floor}
        case Reserved(study, release, attempt, context, event, session, number):
            place = {"study": study, "release": release, "attempt": attempt, "session": session, "within": number}
            return place | {"kind": "reserve", "context": context, "event": event_to_json(event)}
        case Committed(study, release, attempt, payload, octets, size):
            place = {"study": study, "release": release, "attempt": attempt}
            return place | {"kind": "commit", "payload": payload, "bytes": octets, "size": size}
        case Declined(study, reason):
            return {"kind": "refuse", "study": study, "reason": reason.value}
        case Voided(study):
            return {"kind": "void", "study": study}
        case Receipted(study, shown):
            return {"kind": "receipt", "study": study, "shown": shown}
        case Settled(study, charges):
            return {"kind": "settle", "study": study, "charges": charges}
        case Sessioned(study, number, nonce):
            return {"kind": "session", "study": study, "number": number, "nonce": nonce}
        case Ended(study, number, lost):
            return {"kind": "session-end", "study": study, "number": number, "lost": lost}
        case Barred(study, seen):
            return {"kind": "lock", "study": study, "seen": [list(one) for one in seen]}
        case Freed(study):
            return {"kind": "unlock", "study": study}


def _record(raw: object) -> Record:  # noqa: C901, PLR0911, PLR0912  # one return a kind
    match raw:
        case {"kind": "open", "ledger": str(ledger)}:
            return Opened(ledger)
        case {
            "kind": "plan",
            "study": str(study),
            "name": str(name),
            "delta": str(delta),
            "private": bool(private),
            "steps": list(rows),
            "attempts": int(attempts),
            "floor": int() | None as floor,
        }:
            return Planned(study, name, delta, private, tuple(_step(row) for row in rows), attempts, floor)
        case {
            "kind": "reserve",
            "study": str(study),
            "release": int(release),
            "attempt": int(attempt),
            "context": str(context),
            "event": event,
            "session": str(session),
            "within": int(number),
        }:
            return Reserved(study, release, attempt, context, event_from_json(event), session, number)
        case {
            "kind": "commit",
            "study": str(study),
            "release": int(release),
            "attempt": int(attempt),
            "payload": str(payload),
            "bytes": int(octets),
            "size": int(size),
        }:
            return Committed(study, release, attempt, payload, octets, size)
        case {"kind": "refuse", "study": str(study), "reason": str(reason)}:
            return Declined(study, Reason(reason))
        case {"kind": "void", "study": str(study)}:
            return Voided(study)
        case {"kind": "receipt", "study": str(study), "shown": str(shown)}:
            return Receipted(study, shown)
        case {"kind": "settle", "study": str(study), "charges": str(charges)}:
            return Settled(study, charges)
        case {"kind": "session", "study": str(study), "number": int(number), "nonce": str(nonce)}:
            return Sessioned(study, number, nonce)
        case {"kind": "session-end", "study": str(study), "number": int(number), "lost": bool(lost)}:
            return Ended(study, number, lost)
        case {"kind": "lock", "study": str(study), "seen": list(rows)}:
            return Barred(study, tuple(_head_row(row) for row in rows))
        case {"kind": "unlock", "study": str(study)}:
            return Freed(study)
        case _:
            raise ValueError("not a record")


def _head_row(row: object) -> tuple[str, int, str]:
    match row:
        case [str(member), int(count), str(digest)]:
            return member, count, digest
        case _:
            raise ValueError("not what a witness has seen")


def _step_row(step: PlannedStep) -> list[Any]:
    certified = None if step.certified is None else ratio(step.certified)
    return [step.kind, step.repeats, event_to_json(step.event), certified, str(step.part)]


def _step(row: object) -> PlannedStep:
    match row:
        case [str(kind), int(repeats), event, str() | None as certified, str(part)] if repeats > 0:
            price = None if certified is None else from_ratio(certified)
            return PlannedStep(kind, repeats, event_from_json(event), price, Part(part))
        case _:
            raise ValueError("not a planned step")
