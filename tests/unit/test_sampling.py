"""Sums over Poisson samples, piece by piece. tests/privacy/test_sampled_sum.py holds what is statistical."""

from fractions import Fraction

import numpy as np
import pytest

from silosynth.client import sampling
from silosynth.common.csprng import Csprng
from silosynth.common.scale import SAMPLED_BLOCK, SUM_GRID


class Words:
    def __init__(self, *words):
        self.given = words

    def words(self, n):
        assert n == len(self.given)
        return np.array(self.given, dtype=np.uint64)


class Rows:
    """Row r's gradient is `vectors[codes[r, 0]]`."""

    public_weight = 1.0

    def __init__(self, vectors, public=()):
        self.vectors = np.array(vectors, dtype=np.float32)
        self.public = np.array(public, dtype=np.float32).reshape(-1, self.vectors.shape[1])
        self.size = self.vectors.shape[1]

    def __call__(self, block, codes):
        return self.vectors[codes[:, 0]], self.public


def test_a_coin_is_a_word_below_the_rate():
    words = Words(0, 2**62 - 1, 2**62, 2**64 - 1)
    assert sampling.coins(Fraction(1, 4), 4, words).tolist() == [True, True, False, False]
    assert sampling.coins(Fraction(1), 4, words).all()
    assert sampling.coins(Fraction(1, 2**62), 4, words).tolist() == [True, False, False, False]
    assert not sampling.coins(Fraction(1, 2**65), 4, words).any()  # rounds down


def test_a_rate_that_is_no_multiple_of_2_to_the_minus_64_rounds_down():
    third = 2**64 // 3
    assert sampling.coins(Fraction(1, 3), 2, Words(third - 1, third)).tolist() == [True, False]


def test_a_unit_has_its_share_in_its_last_slot():
    batch = sampling.put(
        np.array([[1], [2], [3], [4]], dtype=np.int32), np.array([7, 5, 7, 7]), np.array([3, 1, 6, 0]), 8
    )
    assert batch.codes[:, 0].tolist() == [4, 2, 0, 1, 0, 0, 3, 0]
    assert batch.share.tolist() == [0, 1, 0, 0, 0, 0, 1 / 3, 0]
    assert (batch.unit >= 0).tolist() == [True, False, False, True, False, False, True, False]


def test_rows_of_a_unit_are_averaged_across_blocks_and_then_clipped():
    slots = 2 * SAMPLED_BLOCK
    gradients = Rows([[9, 9], [4, 0], [-4, 0], [0, 3], [0.5, 0]])
    codes = np.array([[1], [2], [3], [4]], dtype=np.int32)
    batch = sampling.put(codes, np.array([0, 0, 0, 1]), np.array([70, 3, 100, 5]), slots)
    # The unit of three: (4 - 4 + 0, 3) / 3 is (0, 1); clipped one by one the rows would cancel to (0, 1/3).
    assert np.abs(sampling.total(gradients, batch) - SUM_GRID * np.array([0.5, 1])).max() <= 2


def test_a_unit_with_a_row_that_is_not_finite_adds_nothing():
    gradients = Rows([[0, 0], [1, 0], [np.nan, 0], [np.inf, 0], [0, 1]])
    codes = np.array([[1], [2], [1], [3], [4]], dtype=np.int32)
    batch = sampling.put(codes, np.array([0, 0, 1, 1, 2]), np.arange(5), SAMPLED_BLOCK)
    with np.errstate(all="ignore"):
        assert sampling.total(gradients, batch).tolist() == [0, SUM_GRID - 1]


def test_public_rows_are_clipped_and_weighted_in_every_block():
    gradients = Rows([[0, 0]], public=[[3, 0], [0, -0.25], [np.nan, 1]])
    gradients.public_weight = 0.5
    none = sampling.put(np.zeros((0, 1), np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64), 3 * SAMPLED_BLOCK)
    with np.errstate(all="ignore"):
        total = sampling.total(gradients, none)
    assert np.abs(total - SUM_GRID * np.array([1.5, -0.375])).max() <= 3


def test_sums_do_not_depend_on_slots_where_units_have_one_row():
    rng = np.random.default_rng(0)
    gradients, codes = Rows(rng.normal(size=(90, 5))), np.arange(90, dtype=np.int32)[:, None]
    sums = [
        sampling.total(gradients, sampling.put(codes, np.arange(90), rng.permutation(192)[:90], 192)) for _ in range(3)
    ]
    assert (sums[0] == sums[1]).all()
    assert (sums[0] == sums[2]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        (np.zeros((SAMPLED_BLOCK - 1, 2), np.float32), np.zeros((0, 2), np.float32)),
        (np.zeros((SAMPLED_BLOCK, 3), np.float32), np.zeros((0, 2), np.float32)),
        (np.zeros((SAMPLED_BLOCK, 2), np.float32), np.zeros((1, 3), np.float32)),
        (np.zeros((SAMPLED_BLOCK, 2)), np.zeros((0, 2), np.float32)),  # squares of float64 overflow and vanish
    ],
)
def test_gradients_that_are_not_what_they_said_are_an_error(wrong):
    gradients = Rows([[0, 0]])
    gradients.__class__ = type("Wrong", (Rows,), {"__call__": lambda *_: wrong})
    empty = sampling.put(np.zeros((0, 1), np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64), SAMPLED_BLOCK)
    with pytest.raises(RuntimeError, match="as many as was said"):
        sampling.total(gradients, empty)


@pytest.mark.parametrize(("size", "weight"), [(0, 1.0), (2**20 + 1, 1.0), (5, -1.0), (5, np.nan), (5, 2000.0)])
def test_sums_that_cannot_be_exact_are_an_error(size, weight):
    gradients = Rows([[0, 0]])
    gradients.size, gradients.public_weight = size, weight
    with pytest.raises(RuntimeError, match=r"gradient has|public rows count"):
        sampling.check(gradients, 64, 1)


def test_more_than_memory_holds_is_an_error_where_rows_wait_for_each_other():
    gradients = Rows([[0, 0]])
    gradients.size = 2**20
    sampling.check(gradients, 1024, 1)
    with pytest.raises(RuntimeError, match="lower the rate"):
        sampling.check(gradients, 1024, 2)


def test_coins_are_of_the_stream():
    key = bytes(32)
    heads = sampling.coins(Fraction(1, 2), 1000, Csprng(key))
    assert (heads == (Csprng(key).words(1000) < 2**63)).all()
