"""Pairwise secrets and masks: equal on both sides, bound to everything, forgotten behind."""

import copy

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from secagg_made import agreement_of, derived

from silosynth.common.csprng import Csprng
from silosynth.common.secagg import masks
from silosynth.common.secagg.faults import Fault, SumRefused

AGREEMENT = agreement_of(4)
T = derived("transcript")
ONE, OTHER = (X25519PrivateKey.from_private_bytes(derived(i)) for i in range(2))

LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]
LOW_ORDER += [bytes([*point[:31], point[31] | 0x80]) for point in LOW_ORDER]


def public(key):
    return key.public_key().public_bytes_raw()


def info(transcript=T, low=0, high=2, agreement=AGREEMENT, keys=(ONE, OTHER)):
    return masks.pair_info(agreement, transcript, (low, public(keys[0])), (high, public(keys[1])))


def test_both_sides_derive_one_secret():
    turned = masks.pair_info(AGREEMENT, T, (2, public(OTHER)), (0, public(ONE)))
    assert turned == info()
    assert masks.pair_secret(ONE, public(OTHER), info()) == masks.pair_secret(OTHER, public(ONE), turned)


def test_a_secret_is_bound_to_everything():
    others = [
        info(),
        info(transcript=derived("another")),
        info(low=1),
        info(high=3),
        info(agreement=agreement_of(4, study=derived("another"))),
        info(agreement=agreement_of(5)),
        info(agreement=agreement_of(4, 2, 4)),
        info(keys=(OTHER, ONE)),
        info(keys=(ONE, ONE)),
    ]
    assert len({masks.pair_secret(ONE, public(OTHER), one) for one in others}) == len(others)


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[-8:])
def test_points_of_low_order_give_no_secret(point):
    with pytest.raises(SumRefused) as refused:
        masks.pair_secret(ONE, point, b"")
    assert refused.value.fault is Fault.WEAK_KEY


def test_a_zero_secret_is_refused_even_if_the_library_lets_it_pass():
    class Lenient:
        def exchange(self, _peer):
            return bytes(32)

    with pytest.raises(SumRefused, match="no secret"):
        masks.pair_secret(Lenient(), public(OTHER), b"")


def test_a_ratchet_goes_forward_only_and_within_the_plan():
    ratchet, slow = masks.Ratchet(derived("key"), 5), masks.Ratchet(derived("key"), 5)
    seen = [ratchet.derive(b"mask", b"context")]
    for release in range(1, 5):
        ratchet.forward(release)
        ratchet.forward(release)
        seen.append(ratchet.derive(b"mask", b"context"))
    assert len(set(seen)) == 5
    slow.forward(4)
    assert slow.derive(b"mask", b"context") == seen[4]
    for release, fault in (
        (3, Fault.OUT_OF_ORDER),
        (5, Fault.OUT_OF_PLAN),
        (-1, Fault.OUT_OF_PLAN),
        (2**40, Fault.OUT_OF_PLAN),
    ):
        with pytest.raises(SumRefused) as refused:
            ratchet.forward(release)
        assert refused.value.fault is fault
    assert ratchet.derive(b"mask", b"context") == seen[4]


def test_keys_differ_by_purpose_and_context():
    ratchet = masks.Ratchet(derived("key"), 5)
    made = {ratchet.derive(*asked) for asked in ((b"mask", b"a"), (b"mask", b"b"), (b"noise", b"a"), (b"mas", b"ka"))}
    assert len(made) == 4


def test_what_is_behind_is_not_in_the_ratchet():
    """K4: a later state does not contain an earlier key, and the step cannot be undone by stepping."""
    ratchet = masks.Ratchet(derived("key"), 5)
    first = ratchet.derive(b"mask", b"a")
    ratchet.forward(1)
    assert bytes(ratchet._key) != derived("key")
    again = masks.Ratchet(bytes(ratchet._key), 5)
    for release in range(5):
        again.forward(release)
        assert again.derive(b"mask", b"a") != first


def test_an_erased_secret_is_gone():
    ratchet = masks.Ratchet(derived("key"), 5)
    ratchet.erase()
    assert not any(ratchet._key)
    with pytest.raises(SumRefused):
        ratchet.derive(b"mask", b"a")
    with pytest.raises(SumRefused):
        ratchet.forward(0)


def test_secrets_are_neither_copied_nor_stored():
    for take in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither copied nor stored"):
            take(masks.Ratchet(derived("key"), 1))
    with pytest.raises(ValueError, match="32 bytes"):
        masks.Ratchet(b"short", 1)


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
@pytest.mark.parametrize("size", [1, 3, 5000, 32768, 32769, 100_000])
def test_a_mask_is_the_key_stream_and_cancels(dtype, size):
    stream = np.frombuffer(Csprng(derived("mask")).bytes(size * np.dtype(dtype).itemsize), dtype=dtype)
    start = np.arange(size).astype(dtype)
    vector = start.copy()
    masks.add_mask(vector, derived("mask"), negative=False)
    assert (vector == start + stream).all()
    masks.add_mask(vector, derived("mask"), negative=True)
    assert (vector == start).all()
    masks.add_mask(vector, derived("mask"), negative=True)
    assert (vector == start - stream).all()
