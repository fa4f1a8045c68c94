"""A site's receipt: what its ledger charged for one study, said when the study is over there, and signed.

Rules, each named where it is checked:
  R1  a receipt is one line of canonical JSON without floats, and one that is read writes itself again: so what is
      signed is the value, and equal ledgers give equal bytes;
  R2  it is signed under the agent key that the study's roster pins, for this purpose only; without a key on the roster
      there is no signature, and anybody can have written it;
  R3  whatever the bytes, reading raises MalformedFrame and nothing else, and lengths are compared with limits first.

A site signs only after its ledger has closed the study (client/ledger.py), so a receipt is the last word: what it does
not list was not answered, and will not be. It holds nothing that depends on rows. What it says is the site's word.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from silosynth.common.errors import MalformedFrame
from silosynth.common.event_json import event_from_json, event_to_json
from silosynth.common.privacy import Event
from silosynth.common.secagg.messages import Head

FORMAT: Final = 1
RECEIPT_BYTES: Final = 1 << 20
"""The most that a receipt may hold."""

_PURPOSE: Final = f"silosynth/receipt/{FORMAT}".encode()
_SIGNATURE_BYTES: Final = 64
_RATIO: Final = re.compile(r"(0|[1-9][0-9]{0,2000})/([1-9][0-9]{0,2000})")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Cost:
    """Exact mu^2 in both views."""

    aggregate: Fraction = Fraction(0)
    local: Fraction = Fraction(0)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.aggregate + other.aggregate, self.local + other.local)


@dataclass(frozen=True)
class Run:
    """`count` releases from number `release` on, reserved in this order, each as attempt number `attempt`."""

    release: int
    count: int
    attempt: int
    event: Event


@dataclass(frozen=True)
class Charges:
    """What a ledger charged for a study, up to the end of it there.

    `private`: whether the site's noise is such that nobody can predict it. `planned`: the price of the whole plan, paid
    before the first release. `reserved`: every release that an answer was computed for, in order; each attempt but the
    first costs its event's price again. `sessions`: what each session of secure sums cost beside the plan, when it
    began and where it was lost. `charged`: all of it.
    """

    study: str
    private: bool
    planned: Cost
    reserved: tuple[Run, ...]
    sessions: tuple[Cost, ...]
    charged: Cost

    @property
    def digest(self) -> str:
        """SHA-256 of it, in hex: what the ledger's last entry about the study binds."""
        return hashlib.sha256(b"silosynth/charges/1\n" + _canonical(_charges_row(self))).hexdigest()


@dataclass(frozen=True)
class Receipt:
    """Charges, by whom, and the head of the ledger that says them: that of the entry that closed the study."""

    site: str
    head: Head
    charges: Charges


@dataclass(frozen=True)
class Signed:
    """A receipt's bytes, and the signature over them: 64 bytes, or none where the site has no key on the roster."""

    body: bytes
    signature: bytes = b""


class ForgedReceipt(MalformedFrame):
    """A receipt that is not signed under the key it must be."""


def sign(receipt: Receipt, signer: Ed25519PrivateKey | None) -> Signed:
    """The receipt, signed where there is a key (R2). Raises MalformedFrame for one that could not be read back."""
    body = _canonical(_row(receipt))
    if len(body) > RECEIPT_BYTES or read(body) != receipt:
        raise MalformedFrame("a receipt that cannot be read back is not signed")
    return Signed(body, signer.sign(_message(body)) if signer else b"")


def verified(signed: Signed, key: str) -> Receipt:
    """The receipt, if it is signed under a public key in hex; "" where the roster has none.

    Raises MalformedFrame, ForgedReceipt.
    """
    receipt = read(signed.body)
    if not key:
        if signed.signature:
            raise ForgedReceipt("is signed, but the roster has no key for this site")
        return receipt
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signed.signature, _message(signed.body))  # R2
    except (InvalidSignature, ValueError) as error:
        raise ForgedReceipt("is not signed under the site's key on the roster") from error
    return receipt


def pack(signed: Signed) -> bytes:
    """As it travels: the signature's length in 1 byte, the signature, the receipt."""
    return bytes([len(signed.signature)]) + signed.signature + signed.body


def unpack(frame: bytes) -> Signed:
    """What `pack` made; nothing of it is verified. Raises MalformedFrame (R3)."""
    if not 1 <= len(frame) <= 1 + _SIGNATURE_BYTES + RECEIPT_BYTES or frame[0] not in (0, _SIGNATURE_BYTES):
        raise MalformedFrame("not a receipt, or longer than one may be")
    return Signed(frame[1 + frame[0] :], frame[1 : 1 + frame[0]])


def read(body: bytes) -> Receipt:
    """The receipt in canonical JSON. Raises MalformedFrame."""
    if len(body) > RECEIPT_BYTES:
        raise MalformedFrame("a receipt is longer than one may be")  # R3
    try:
        receipt = _receipt(json.loads(body))
    except (ValueError, TypeError, RecursionError) as error:
        raise MalformedFrame("a receipt that cannot be read") from error
    if _canonical(_row(receipt)) != body:
        raise MalformedFrame("a receipt that is not in canonical form")  # R1
    return receipt


def rewritten(content: object) -> bytes:
    """Canonical bytes of a receipt that stands as JSON values in a certificate; nothing of it is verified."""
    return _canonical(content)


def runs_of(releases: Sequence[tuple[int, int, Event]]) -> tuple[Run, ...]:
    """Reservations (release, attempt, event), in order, as runs of equal ones: one way to write them."""
    runs: list[Run] = []
    for release, attempt, event in releases:
        last = runs[-1] if runs else None
        if last and (last.release + last.count, last.attempt, last.event) == (release, attempt, event):
            runs[-1] = Run(last.release, last.count + 1, attempt, event)
        else:
            runs.append(Run(release, 1, attempt, event))
    return tuple(runs)


def _message(body: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in (_PURPOSE, body))


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _row(receipt: Receipt) -> dict[str, Any]:
    head = {"number": receipt.head.count, "hash": receipt.head.hash.hex()}
    return {"format": FORMAT, "site": receipt.site, "head": head} | _charges_row(receipt.charges)


def _charges_row(charges: Charges) -> dict[str, Any]:
    return {
        "study": charges.study,
        "private": charges.private,
        "planned": _cost_row(charges.planned),
        "reserved": [_run_row(run) for run in charges.reserved],
        "sessions": [_cost_row(cost) for cost in charges.sessions],
        "charged": _cost_row(charges.charged),
    }


def _run_row(run: Run) -> dict[str, Any]:
    place = {"release": run.release, "count": run.count, "attempt": run.attempt}
    return place | {"event": event_to_json(run.event)}


def _cost_row(cost: Cost) -> dict[str, str]:
    return {"aggregate": _ratio(cost.aggregate), "local": _ratio(cost.local)}


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def _receipt(raw: object) -> Receipt:
    match raw:
        case {
            "format": 1,
            "study": str(study),
            "site": str(site),
            "head": {"number": int(number), "hash": str(digest)},
            "private": bool(private),
            "planned": planned,
            "reserved": list(reserved),
            "sessions": list(sessions),
            "charged": charged,
        } if _DIGEST.fullmatch(study) and _DIGEST.fullmatch(digest) and number > 0 and number is not True:
            runs, costs = tuple(map(_run, reserved)), tuple(map(_cost, sessions))
            charges = Charges(study, private, _cost(planned), runs, costs, _cost(charged))
            return Receipt(site, Head(number, bytes.fromhex(digest)), charges)
        case _:
            raise ValueError("not a receipt")


def _run(raw: object) -> Run:
    match raw:
        case {"release": int(release), "count": int(count), "attempt": int(attempt), "event": event} if (
            release >= 0 and count > 0 and attempt >= 0 and bool not in map(type, (release, count, attempt))
        ):
            return Run(release, count, attempt, event_from_json(event))
        case _:
            raise ValueError("not a run of releases")


def _cost(raw: object) -> Cost:
    match raw:
        case {"aggregate": str(aggregate), "local": str(local)}:
            return Cost(_fraction(aggregate), _fraction(local))
        case _:
            raise ValueError("not a cost")


def _fraction(text: str) -> Fraction:
    found = _RATIO.fullmatch(text)
    if not found:
        raise ValueError("not a ratio")
    return Fraction(int(found[1]), int(found[2]))
