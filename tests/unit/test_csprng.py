"""AES-256-CTR streams and random injections."""

import copy
from collections import Counter

import numpy as np
import pytest

from silosynth.common.csprng import Csprng, random_injection

KEY = bytes(range(32))


def test_the_stream_is_aes_256_of_a_counter():
    # AES-256 of an all-zero block under an all-zero key: NIST's known answer.
    assert Csprng(bytes(32)).bytes(16).hex() == "dc95c078a2408989ad48a21492842087"


def test_words_are_the_bytes_in_order_however_they_are_asked_for():
    whole = Csprng(KEY).bytes(80)
    stream = Csprng(KEY)
    words = [stream.words(3), stream.words(0), stream.words(7)]
    assert np.concatenate(words).astype("<u8").tobytes() == whole
    assert words[0].dtype == np.uint64


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_has_32_bytes(size):
    with pytest.raises(ValueError, match="32 bytes"):
        Csprng(bytes(size))


def test_a_stream_is_not_copied():
    with pytest.raises(TypeError, match="neither copied nor stored"):
        copy.copy(Csprng(KEY))


def test_an_injection_has_no_place_twice_and_is_decided_by_the_stream():
    places = random_injection(1000, 700, Csprng(KEY))
    assert places.shape == (700,)
    assert places.dtype == np.int64
    assert np.unique(places).size == 700
    assert places.min() >= 0
    assert places.max() < 1000
    assert (places == random_injection(1000, 700, Csprng(KEY))).all()
    assert (places != random_injection(1000, 700, Csprng(bytes(32)))).any()


def test_rows_that_both_worlds_have_keep_their_places():
    # The coupling of client/mechanism.py, rule 4: under one key, a row more moves no other.
    assert (random_injection(64, 40, Csprng(KEY)) == random_injection(64, 41, Csprng(KEY))[:40]).all()


def test_every_injection_is_equally_likely():
    stream = Csprng(KEY)
    draws = 24_000
    seen = Counter(tuple(random_injection(4, 3, stream).tolist()) for _ in range(draws))
    expected = draws / 24
    assert len(seen) == 24
    # chi-square with 23 degrees of freedom exceeds 70 with probability 1e-6 (the key is fixed: it does or does not).
    assert sum((count - expected) ** 2 / expected for count in seen.values()) < 70


def test_equal_keys_are_drawn_again():
    class Tied:
        def __init__(self):
            self.draws = [np.array([5, 9, 5], dtype=np.uint64), np.array([8, 2, 5], dtype=np.uint64)]

        def words(self, n):
            assert n == 3
            return self.draws.pop(0)

    stream = Tied()
    assert random_injection(3, 2, stream).tolist() == [1, 2]
    assert stream.draws == []


@pytest.mark.parametrize(("slots", "n"), [(3, 4), (3, -1)])
def test_rows_must_fit(slots, n):
    with pytest.raises(ValueError, match="do not fit"):
        random_injection(slots, n, Csprng(KEY))


def test_nothing_into_nothing():
    assert random_injection(0, 0, Csprng(KEY)).size == 0
