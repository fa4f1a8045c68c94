"""What a lab has seen of a study, held against what must be: each is a Check, which holds or does not, with numbers."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.accounts import Account, Answer, account, torn, unlisted, unsent
from lab.canaries import search
from lab.hosts import INTERFACE, Host
from lab.streams import Spoken, conversations, opened, requests, secrets_in
from lab.wire import Seen
from silosynth.client.books import Books
from silosynth.client.entries import Committed, Entry, Planned, Reserved, Sessioned
from silosynth.client.ledger import listing
from silosynth.common.privacy import View

_LOOKS: Final = 100
LONGEST_FRAMING: Final = 4096
"""Bytes of a body beside our frames, at most: no row of a table could hide in the framing of a request for long."""


@dataclass(frozen=True)
class Check:
    """Something that must hold, whether it does, and what was seen."""

    what: str
    holds: bool
    seen: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.holds else 'FAIL'} {self.what}: {self.seen}"


@dataclass(frozen=True)
class Heard:
    """All that a site said, out of its TLS, in the order of its connections; and in how many bytes of TCP."""

    streams: tuple[bytes, ...]
    on_the_wire: int

    @property
    def spoken(self) -> Iterator[Spoken]:
        """Every request."""
        for stream in self.streams:
            yield from requests(stream)


def heard(tape: Path, address: str, secrets: Path) -> Heard:
    """What a tape holds of a site. Raises Unreadable where it cannot be told: then nothing is proved."""
    keys, talks = secrets_in(secrets), conversations(tape, address)
    return Heard(tuple(opened(talk, keys) for talk in talks), sum(len(talk.said()) for talk in talks))


def way_out(site: str, host: Host, seen: Seen) -> Iterator[Check]:
    """Every packet went to the coordinator's port, and none passed unseen."""
    links = host.interfaces()
    yield Check(f"{site} has one way out", links == {"lo", INTERFACE}, ", ".join(sorted(links)))
    strays = ", ".join(f"{count} {what}" for what, count in seen.strays.items())
    yield Check(
        f"every packet of {site} goes to the coordinator's port",
        seen.stray == 0 and seen.service == seen.all > 0,
        f"{seen.service} of {seen.all}{', strays: ' if strays else ''}{strays}",
    )
    before, kernel = seen.all, host.traffic()
    for _ in range(_LOOKS):
        if before == kernel.sent == seen.all:
            break
        before, kernel = seen.all, host.traffic()  # one went by between the two looks
    yield Check(
        f"the kernel counts the packets of {site} alike",
        before == kernel.sent > 0,
        f"{kernel.sent} of {before}, and {kernel.dropped} that never left",
    )


def accounted(site: str, said: Heard, outbox: Sequence[Answer], *, killed: bool = False) -> Iterator[Check]:
    """Every byte is an answer that the outbox lists, a step of a session, or framing, which is stated."""
    found = account(said.spoken)
    extra, missing = unlisted(found, outbox), unsent(found, outbox)
    answers = sum(found.answers.values())
    yield Check(
        f"what left {site} is what its outbox lists",
        not extra and (killed or not missing) and answers > 0,
        f"{answers} answers, {found.payload_octets} bytes; not listed {len(extra)}; listed and not sent {len(missing)}",
    )
    yield Check(
        f"what left {site} in part is of what its outbox lists",
        not torn(found, outbox) and (killed or not found.cut),
        f"{len(found.cut)} frames cut by a blow, {found.cut_octets} bytes",
    )
    whole = sum(map(len, said.streams))
    yield Check(
        f"every byte of {site} is accounted for",
        found.octets == whole,
        f"{whole} bytes under TLS = {found.payload_octets} answers + {found.frame_octets} their headers and receipts + "
        f"{found.session_octets} sessions + {found.cut_octets} cut + {found.framing_octets} HTTP and Flower; "
        f"{said.on_the_wire} on the wire",
    )
    longest = max(one.longest for one in found.framing.values())
    yield Check(f"no request of {site} has room to hide rows", longest <= LONGEST_FRAMING, f"at most {longest} bytes")


def no_code(site: str, said: Heard) -> Check:
    """No code was asked for, so none that a coordinator ships can run."""
    paths = sorted({one.path for one in said.spoken})
    return Check(
        f"{site} never asks for code", bool(paths) and not any("fab" in path for path in paths), ", ".join(paths)
    )


def framing(found: Account) -> Iterator[str]:
    """The framing by path, for people."""
    for path, one in sorted(found.framing.items()):
        yield f"{path}: {one.requests} requests, {one.heads} bytes of headers, {one.bodies} of bodies beside answers"


def no_canary(site: str, said: Heard, canaries: Sequence[float]) -> Check:
    """No raw value left as it is."""
    found = search(said.streams, canaries)
    shown = ", ".join(f"{one.value} as {one.form}" for one in found[:3])
    return Check(
        f"no raw value of {site} left", not found and len(canaries) > 0, shown or f"{len(canaries)} looked for"
    )


def books_right(site: str, ledger: Path, study: str, journal: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """A ledger's chain holds; nothing was charged or answered twice; the coordinator absorbed what was answered."""
    entries = [entry for entry in listing(ledger) if getattr(entry.record, "study", "") == study]  # verifies the chain
    reserved = Counter((e.record.release, e.record.attempt) for e in entries if isinstance(e.record, Reserved))
    answers = {(e.record.release, e.record.attempt): e.hash for e in entries if isinstance(e.record, Committed)}
    twice = [place for place, count in reserved.items() if count > 1]
    yield Check(
        f"the ledger of {site} charged and answered nothing twice",
        not twice and set(answers) <= set(reserved) and len(answers) == _count(entries, Committed) > 0,
        f"{len(reserved)} charged, {len(answers)} answered, {_count(entries, Sessioned)} sessions",
    )
    receipts = {hashed for place, hashed in answers.items()}
    lost = [line["release"] for line in journal if line["receipts"][site] not in receipts]
    yield Check(
        f"what was absorbed stands in the ledger of {site}", bool(journal) and not lost, f"{len(journal)} releases"
    )
    yield Check(f"the study of {site} was paid for once", _count(entries, Planned) == 1, _spent(ledger))


def _count(entries: Sequence[Entry], kind: type) -> int:
    return sum(isinstance(entry.record, kind) for entry in entries)


def _spent(ledger: Path) -> str:
    books = Books()
    for entry in listing(ledger):
        books.fold(entry)
    return ", ".join(f"{view} mu^2 {float(books.lifetime.within(view)):.4g}" for view in View)


def same_certificate(lab: Mapping[str, Any], simulation: Mapping[str, Any]) -> Check:
    """The certificates are one but for the study's digest, which has the sites' keys, and for what is signed or named.

    Receipts and artefacts are a run's own, and so is the name of a session, which is the hash of what was signed in it.
    """
    own = {"study", "receipts", "artefacts"}
    one, other = ({**paper, "rounds": _unnamed(paper.get("rounds", ()))} for paper in (lab, simulation))
    different = sorted(key for key in {*one, *other} - own if one.get(key) != other.get(key))
    digest = hashlib.sha256(repr(sorted((key, one[key]) for key in one.keys() - own)).encode()).hexdigest()
    return Check(
        "the certificate is the simulation's but for signatures",
        not different and set(lab) == set(simulation),
        f"differs in {', '.join(different)}" if different else f"all other content alike, sha256 {digest[:12]}",
    )


def _unnamed(rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rounds without the names of their sessions."""
    return [{key: value for key, value in one.items() if key != "session"} for one in rounds]
