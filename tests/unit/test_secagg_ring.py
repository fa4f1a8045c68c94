"""Rings: exact both ways, as wide as public facts need."""

import numpy as np
import pytest

from silosynth.common.errors import NotPossible
from silosynth.common.secagg.ring import Ring, ring_for


@pytest.mark.parametrize("bits", [32, 64])
def test_signed_values_come_back(bits):
    ring = Ring(bits)
    edge = ring.largest
    values = np.array([0, 1, -1, edge, -edge, -edge - 1], dtype=np.int64)
    residues = ring.encode(values)
    assert residues.dtype == np.dtype(f"<u{bits // 8}")
    assert ring.decode(residues).tolist() == values.tolist()
    assert ring.decode(residues).dtype == np.int64


@pytest.mark.parametrize("bits", [32, 64])
def test_a_sum_is_exact_up_to_the_largest_value_and_wraps_beyond(bits):
    ring = Ring(bits)
    half = ring.largest // 2
    total = ring.encode(np.array([half, -half])) + ring.encode(np.array([half, -half])) + ring.encode(np.array([1, -1]))
    assert ring.decode(total).tolist() == [ring.largest, -ring.largest]
    over = total + ring.encode(np.array([1, -2]))
    assert ring.decode(over).tolist() == [-ring.largest - 1, ring.largest]


def test_encoding_reduces_and_never_refuses():
    """A refusal that depends on a value would tell about rows."""
    assert Ring(32).encode(np.array([2**32 + 5, -(2**63), 2**63 - 1])).tolist() == [5, 0, 2**32 - 1]


def test_encoding_leaves_the_answer_alone():
    values = np.array([3, 4])
    Ring(64).encode(values)[:] = 0
    assert values.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("sites", "bound", "bits"), [(3, 1000, 32), (2, 2**30 - 1, 32), (2, 2**30, 64), (100, 2**53, 64)]
)
def test_the_ring_follows_from_the_bound_on_the_sum(sites, bound, bits):
    assert ring_for(sites=sites, site_bound=bound, variance=0) == Ring(bits)


def test_the_tail_of_the_noise_counts():
    # sqrt(12^2 * 4 * 2^52) = 24 * 2^26 = 1.6e9 fits into 31 bits; with three times the deviation it does not.
    assert ring_for(sites=4, site_bound=0, variance=2**52).bits == 32
    assert ring_for(sites=4, site_bound=0, variance=9 * 2**52).bits == 64


def test_a_sum_that_could_wrap_in_64_bits_is_refused():
    assert ring_for(sites=2, site_bound=2**62 - 1, variance=0).bits == 64
    for facts in ({"site_bound": 2**62, "variance": 0}, {"site_bound": 2**61, "variance": 2**117}):
        with pytest.raises(NotPossible, match="fewer sites"):
            ring_for(sites=2, **facts)


@pytest.mark.parametrize("facts", [{"sites": 0}, {"site_bound": -1}, {"variance": -1}])
def test_impossible_facts(facts):
    with pytest.raises(ValueError, match="must not be negative"):
        ring_for(**{"sites": 3, "site_bound": 1, "variance": 1} | facts)


@pytest.mark.parametrize("bits", [0, 16, 33, 128])
def test_other_rings(bits):
    with pytest.raises(ValueError, match="32 or 64"):
        Ring(bits)
