"""Receipts: golden vectors, one encoding a value, and signatures that are good for nothing else."""

import json
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silosynth.client.keys import public_key
from silosynth.common.errors import MalformedFrame
from silosynth.common.privacy import Certified, Composed, Gaussian, NoPrivacy, Repeated, Sampled
from silosynth.common.receipt import (
    RECEIPT_BYTES,
    Charges,
    Cost,
    ForgedReceipt,
    Receipt,
    Run,
    Signed,
    pack,
    read,
    runs_of,
    sign,
    unpack,
    verified,
)
from silosynth.common.secagg.encoding import prefixed
from silosynth.common.secagg.messages import Head

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "receipt.json").read_text())
KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"agent").digest())
OTHER = Ed25519PrivateKey.from_private_bytes(sha256(b"other").digest())
EVENT = Gaussian(Fraction(7, 2), 4)
LEARNT = Certified(Composed((Repeated(20, Sampled(Fraction(1, 20), Gaussian(Fraction(2), 1))),)), Fraction(3, 7))
COST = Cost(Fraction(4, 49), Fraction(16, 49))
CHARGES = Charges(
    "ab" * 32,
    private=True,
    planned=COST,
    reserved=(Run(0, 3, 0, EVENT), Run(2, 1, 1, LEARNT), Run(3, 1, 0, NoPrivacy())),
    sessions=(Cost(), COST),
    charged=COST + COST,
)
RECEIPT = Receipt("Spital Süd", Head(17, bytes(range(32))), CHARGES)


def changed(**fields):
    """The body of the receipt with other values, in canonical JSON."""
    raw = json.loads(sign(RECEIPT, None).body) | fields
    return json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()


def test_golden_vectors():
    """Format 1 never changes: what was signed once must verify for ever."""
    signed = sign(RECEIPT, KEY)
    assert signed.body.decode() == VECTORS["body"]
    assert signed.signature.hex() == VECTORS["signature"]
    assert pack(signed).hex() == VECTORS["frame"]
    assert CHARGES.digest == VECTORS["charges"]
    assert verified(unpack(bytes.fromhex(VECTORS["frame"])), public_key(KEY)) == RECEIPT


def test_the_same_receipt_is_signed_in_the_same_bytes():
    assert sign(RECEIPT, KEY) == sign(RECEIPT, KEY)
    assert read(sign(RECEIPT, KEY).body) == RECEIPT


def test_without_a_key_there_is_no_signature_and_with_one_there_must_be():
    bare = sign(RECEIPT, None)
    assert (verified(bare, ""), unpack(pack(bare))) == (RECEIPT, bare)
    for signed, key in ((bare, public_key(KEY)), (sign(RECEIPT, KEY), ""), (sign(RECEIPT, OTHER), public_key(KEY))):
        with pytest.raises(ForgedReceipt):
            verified(signed, key)


def test_every_flipped_bit_is_refused():
    frame = pack(sign(RECEIPT, KEY))
    for bit in range(0, 8 * len(frame), 3):
        spoilt = bytearray(frame)
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedFrame):
            verified(unpack(bytes(spoilt)), public_key(KEY))


def test_a_signature_of_another_purpose_is_none():
    body = sign(RECEIPT, None).body
    for message in (body, sha256(body).digest(), prefixed(b"REPLY", body), prefixed(b"OPENING", body)):
        with pytest.raises(ForgedReceipt):
            verified(Signed(body, KEY.sign(message)), public_key(KEY))


def test_what_a_receipt_signs_is_no_message_of_a_secure_sum():
    """Those are signed over bytes that begin with the length and name of their own protocol."""
    asked = []

    class Spy:
        def sign(self, message):
            asked.append(message)
            return bytes(64)

    sign(RECEIPT, Spy())
    assert asked[0].startswith(len(b"silosynth/receipt/1").to_bytes(8, "big") + b"silosynth/receipt/1")
    assert not asked[0].startswith(prefixed())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b"[" * 50_000, b" " * (RECEIPT_BYTES + 1),
        changed(format=2), changed(more=1), changed(study="ab" * 31), changed(study="AB" * 32), changed(site=1),
        changed(private=1), changed(head={"number": 0, "hash": "00" * 32}),
        changed(head={"number": True, "hash": "00" * 32}),
        changed(head={"number": 1, "hash": "0"}), changed(charged={"aggregate": "0.5", "local": "1/2"}),
        changed(charged={"aggregate": "2/4", "local": "1/2"}), changed(charged={"aggregate": "-1/2", "local": "1/2"}),
        changed(charged={"aggregate": "1/0", "local": "1/2"}), changed(charged={"aggregate": "1/2"}),
        changed(reserved=[{"release": -1, "count": 1, "attempt": 0, "event": {"event": "no-privacy"}}]),
        changed(reserved=[{"release": 0, "count": 0, "attempt": 0, "event": {"event": "no-privacy"}}]),
        changed(reserved=[{"release": 0, "count": True, "attempt": 0, "event": {"event": "no-privacy"}}]),
        changed(reserved=[{"release": 0, "count": 1, "attempt": 0, "event": {"event": "magic"}}]),
        changed(reserved={}), changed(sessions=[1]), json.dumps(json.loads(changed())).encode(),
    ],
)  # fmt: skip
def test_what_is_no_receipt_is_not_read(body):
    with pytest.raises(MalformedFrame):
        read(body)


@pytest.mark.parametrize("frame", [b"", b"\x01" + bytes(2), b"\x40" + bytes(10), bytes(RECEIPT_BYTES + 66)])
def test_what_is_no_frame_is_not_read(frame):
    with pytest.raises(MalformedFrame):
        read(unpack(frame).body)


def test_one_that_could_not_be_read_back_is_not_signed():
    long = replace(CHARGES, reserved=tuple(Run(2 * at, 1, 0, LEARNT) for at in range(8_000)))
    for wrong in (replace(RECEIPT, charges=long), replace(RECEIPT, head=Head(0, bytes(32)))):
        with pytest.raises(MalformedFrame):
            sign(wrong, KEY)


def test_reservations_have_one_way_to_be_written():
    other = Gaussian(Fraction(3), 4)
    listed = [(0, 0, EVENT), (1, 0, EVENT), (1, 1, EVENT), (2, 0, EVENT), (4, 0, EVENT), (5, 0, other), (6, 0, other)]
    assert runs_of(listed) == (
        Run(0, 2, 0, EVENT), Run(1, 1, 1, EVENT), Run(2, 1, 0, EVENT), Run(4, 1, 0, EVENT), Run(5, 2, 0, other),
    )  # fmt: skip
    assert runs_of([]) == ()
