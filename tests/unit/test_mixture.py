"""Mixtures: shares that are exact, rows in no telling order, arrays that come back or are refused."""

from dataclasses import dataclass

import numpy as np
import pytest

from silosynth.common.engines import mixture
from silosynth.common.engines.mixture import Mixture, of_sizes, systematic
from silosynth.common.errors import MalformedFrame


@dataclass(frozen=True)
class Constant:
    """A generator of one value, two columns wide; it fails where it is asked for no row at all."""

    value: int

    def sample(self, rows, rng):
        assert rows or self.value == 0
        return np.full((rows, 2), self.value, dtype=np.int32)


def freeze_one(component):
    return {"value": np.array([component.value])}


def thaw_one(arrays):
    if arrays.keys() != {"value"}:
        raise MalformedFrame("not a constant")
    return Constant(int(arrays["value"][0]))


def mixed(*sizes):
    return of_sizes(sizes, [Constant(at) for at in range(len(sizes))])


def test_a_component_makes_its_share_of_the_rows_to_within_one():
    made = mixed(1, 2, 7).sample(1000, np.random.default_rng(0))
    assert made.shape == (1000, 2)
    assert made.dtype == np.int32
    assert np.bincount(made[:, 0]).tolist() == [100, 200, 700]
    for seed in range(20):
        counts = np.bincount(mixed(1.0, 1e-9, np.pi, 5.0).sample(777, np.random.default_rng(seed))[:, 0], minlength=4)
        expected = 777 * np.array([1.0, 1e-9, np.pi, 5.0]) / (6 + np.pi)
        assert counts.sum() == 777
        assert (np.abs(counts - expected) < 1).all()


def test_rounding_is_exact_in_the_mean():
    shares, rng = np.array([0.05, 0.15, 0.8]), np.random.default_rng(1)
    counts = np.mean([systematic(shares, 3, rng) for _ in range(20_000)], axis=0)
    # A count varies by less than 1/2 about its mean: five deviations of the average are below .018.
    assert np.abs(counts - 3 * shares).max() < 0.018


@pytest.mark.parametrize("rows", [0, 1, 2, 16_384])
@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.5], [1e-12, 1 - 1e-12], [1 / 3] * 3, [1.0, 0.0]])
def test_counts_add_up_whatever_the_shares(rows, shares):
    for seed in range(50):
        counts = systematic(np.array(shares), rows, np.random.default_rng(seed))
        assert counts.sum() == rows
        assert (counts >= 0).all()


def test_the_order_of_rows_does_not_tell_their_site():
    """Were each place the same as the one before with the chance of unordered rows, 4,999 comparisons vary by 35."""
    value = mixed(1, 1).sample(5000, np.random.default_rng(3))[:, 0]
    assert abs(int((value[1:] == value[:-1]).sum()) - 2500) < 5 * 36


def test_no_rows_are_asked_for_and_given():
    assert mixed(3, 4).sample(0, np.random.default_rng(0)).shape == (0, 2)


def test_a_mixture_comes_back_from_its_arrays():
    arrays = mixture.freeze(mixed(1, 3, 4), freeze_one)
    assert set(arrays) == {"shares", "0.value", "1.value", "2.value"}
    again = mixture.thaw({name: array.copy() for name, array in arrays.items()}, 3, thaw_one)
    assert again.components == (Constant(0), Constant(1), Constant(2))
    assert again.shares.tobytes() == np.array([1, 3, 4]).astype(float).__truediv__(8).tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"shares": np.array([0.5, 0.5])},
        {"shares": np.array([0.5, 0.5, 0.5])},
        {"shares": np.array([0.5, np.nan, 0.5])},
        {"shares": np.array([1.5, -0.5, 0.0])},
        {"shares": np.array([1, 0, 0])},
        {"shares": np.array([[0.5, 0.25, 0.25]])},
        {"3.value": np.array([1])},
        {"0.other": np.array([1])},
        {"00.value": np.array([1])},
        {"value": np.array([1])},
    ],
)
def test_what_is_no_mixture_is_refused(change):
    arrays = dict(mixture.freeze(mixed(1, 3, 4), freeze_one)) | change
    with pytest.raises(MalformedFrame):
        mixture.thaw(arrays, 3, thaw_one)


def test_a_mixture_without_a_component_or_without_shares_is_refused():
    arrays = dict(mixture.freeze(mixed(1, 3), freeze_one))
    with pytest.raises(MalformedFrame):
        mixture.thaw({name: array for name, array in arrays.items() if name != "1.value"}, 2, thaw_one)
    with pytest.raises(MalformedFrame):
        mixture.thaw({name: array for name, array in arrays.items() if name != "shares"}, 2, thaw_one)


def test_a_mixture_of_one_is_that_one():
    made = Mixture(np.ones(1), (Constant(4),)).sample(5, np.random.default_rng(0))
    assert made.tolist() == [[4, 4]] * 5
