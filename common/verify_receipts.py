"""What sites say they were charged, held against what a certificate says was asked: the second half of verify.py.

Rules, each named where it is checked:
  C1  every member of the roster has one receipt, of this study, in its own name, signed under its key where it has one;
  C2  every site says of its noise what the certificate says of all;
  C3  every site paid for this plan, at the price that follows from it;
  C4  whatever a site answered, the certificate tells, with the same event; so it tells no less than was released;
  C5  whoever was asked for a total that opened has answered, so its noise was shared by as many as it says;
  C6  what a ledger charged is the plan, each further attempt, and what sessions cost beside it: nothing is left out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from silosynth.common.certificate import Asked, Noise
from silosynth.common.errors import MalformedFrame, NotCertified
from silosynth.common.privacy import Event, Unpriced, View, mu_squared
from silosynth.common.receipt import Charges, Cost, ForgedReceipt, Receipt, Signed, rewritten, runs_of, verified
from silosynth.common.study import Member, Study


class Check(StrEnum):
    """What can fail, in the order in which it is checked."""

    BUNDLE = "bundle"
    CERTIFICATE = "certificate"
    STUDY = "study"
    ARTEFACT = "artefact"
    NOISE = "noise"
    ROUNDS = "rounds"
    RECEIPT = "receipt"
    SIGNATURE = "signature"
    CHARGES = "charges"
    CLAIM = "claim"


_HEX: Final = re.compile(r"([0-9a-f]{2}){1,64}")
_ROW: Final = {"receipt", "signature"}


def receipts_of(study: Study, content: object) -> tuple[Receipt, ...]:
    """The receipts in a certificate, in the order of the roster, each checked by itself (C1). Raises NotCertified."""
    if not isinstance(content, dict):
        raise NotCertified(Check.CERTIFICATE, "'receipts' is not an object")
    strangers = sorted(set(content) - {member.name for member in study.roster})
    if strangers:
        raise NotCertified(Check.RECEIPT, f"{strangers[0]!r} has a receipt and is not on the roster")
    receipts = tuple(_receipt(study, member, content) for member in study.roster)
    heads = [receipt.head.hash for receipt in receipts]
    for place, head in enumerate(heads):
        if head in heads[:place]:
            raise NotCertified(Check.RECEIPT, f"{_site(study.roster[place])}: has the ledger's head of another site")
    return receipts


def check_charges(study: Study, noise: Noise, asked: Sequence[Asked], receipts: Sequence[Receipt]) -> None:
    """Hold each site's receipt against what was asked. Raises NotCertified."""
    told = _Told({(one.release, one.attempt): one for one in asked}, {one.release: one for one in asked})
    for place, (member, receipt) in enumerate(zip(study.roster, receipts, strict=True)):
        charges, site = receipt.charges, _site(member)
        if charges.private != (noise is Noise.SYSTEM):  # C2
            known = "cannot be predicted" if charges.private else "can be predicted"
            raise NotCertified(Check.NOISE, f"{site}: says that its noise {known}, and the certificate {str(noise)!r}")
        if charges.planned != _cost(study.history):
            raise NotCertified(Check.CHARGES, f"{site}: paid another price for the plan than follows from it")  # C3
        answered = _answered(study, site, charges)
        _check_told(study, place, told, answered)
        if bool(charges.sessions) < study.masked or (charges.sessions and not study.masked):
            raise NotCertified(Check.CHARGES, f"{site}: had sessions where sums are plain, or none where they are not")
        again = (_cost(event) for (_, attempt), event in answered.items() if attempt)
        if charges.charged != sum((*again, *charges.sessions), charges.planned):  # C6
            raise NotCertified(Check.CHARGES, f"{site}: its charges do not add up to what it says was charged")


def everybody(study: Study) -> tuple[Asked, ...]:
    """What is asked where sums are plain or nobody is trusted: each release once, of all."""
    members = tuple(range(len(study.roster)))
    return tuple(Asked(release, 0, members, "") for release in range(study.releases))


def _receipt(study: Study, member: Member, content: Mapping[str, Any]) -> Receipt:
    """One site's receipt, of this study and in its own name, signed (C1)."""
    site = _site(member)
    if member.name not in content:
        raise NotCertified(Check.RECEIPT, f"{site}: has given no receipt; without it nobody knows what it was charged")
    row = content[member.name]
    if not isinstance(row, dict) or set(row) != _ROW:
        raise NotCertified(Check.RECEIPT, f"{site}: its receipt is not one, or holds more than one")
    try:
        receipt = verified(Signed(rewritten(row["receipt"]), _signature(row["signature"])), member.key)
    except ForgedReceipt as forged:
        raise NotCertified(Check.SIGNATURE, f"{site}: its receipt {forged}") from forged
    except (MalformedFrame, ValueError, RecursionError) as error:
        raise NotCertified(Check.RECEIPT, f"{site}: its receipt cannot be read") from error
    if receipt.charges.study != study.digest:
        raise NotCertified(Check.RECEIPT, f"{site}: its receipt is of another study")
    if receipt.site != member.name:
        raise NotCertified(Check.RECEIPT, f"{site}: its receipt is that of site {receipt.site!r}")
    return receipt


def _signature(written: object) -> bytes:
    """The bytes of a signature, or none; there is one way to write it. Raises ValueError."""
    match written:
        case None:
            return b""
        case str() if _HEX.fullmatch(written):
            return bytes.fromhex(written)
        case _:
            raise ValueError("not a signature")


def _answered(study: Study, site: str, charges: Charges) -> Mapping[tuple[int, int], Event]:
    """The event of each (release, attempt) that a site answered."""
    if any(run.count > study.releases for run in charges.reserved):
        raise NotCertified(Check.CHARGES, f"{site}: answered more releases than were planned")
    listed = [(run.release + at, run.attempt, run.event) for run in charges.reserved for at in range(run.count)]
    places = [(release, attempt) for release, attempt, _ in listed]
    if places != sorted(set(places)) or runs_of(listed) != charges.reserved:
        raise NotCertified(Check.CHARGES, f"{site}: lists what it answered out of order, or twice")
    return {(release, attempt): event for release, attempt, event in listed}


@dataclass(frozen=True)
class _Told:
    """What a certificate says was asked: every attempt, and the last at each release, which opened."""

    attempts: Mapping[tuple[int, int], Asked]
    opened: Mapping[int, Asked]


def _check_told(study: Study, place: int, told: _Told, answered: Mapping[tuple[int, int], Event]) -> None:
    """See C4 and C5."""
    site = _site(study.roster[place])
    for (release, attempt), event in answered.items():
        one = told.attempts.get((release, attempt))
        which = f"release {release}, attempt {attempt}"
        if one is None or place not in one.members:
            raise NotCertified(Check.CHARGES, f"{site}: answered {which}, of which the certificate does not tell")  # C4
        if event != study.step_of(release).event(shares(study, one)):
            raise NotCertified(Check.CHARGES, f"{site}: was charged another event for {which} than the certificate")
    for release, one in told.opened.items():
        if place in one.members and (release, one.attempt) not in answered:
            raise NotCertified(  # C5
                Check.CHARGES,
                f"{site}: has not answered release {release}, attempt {one.attempt}, whose total cannot open so",
            )


def shares(study: Study, one: Asked) -> int:
    """Among how many honest sites the noise of an attempt was shared."""
    return len(one.members) - study.budget.colluders if study.masked else study.shares


def _cost(event: Event) -> Cost:
    """The price of an event; of one without noise there is none, and ledgers write 0."""
    try:
        return Cost(mu_squared(event, View.AGGREGATE), mu_squared(event, View.LOCAL))
    except Unpriced:
        return Cost(Fraction(0), Fraction(0))


def _site(member: Member) -> str:
    return f"site {member.name!r}"
