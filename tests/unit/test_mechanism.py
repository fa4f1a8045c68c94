"""The metered mechanism: what it bounds, records and refuses. tests/privacy holds what is statistical."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silosynth.client.mechanism import Metered, SystemNoise, open_noised
from silosynth.common.csprng import Csprng
from silosynth.common.engine import Units
from silosynth.common.privacy import Composed, Gaussian, NoPrivacy, Repeated, Sampled
from silosynth.common.scale import MAX_CAPACITY, MICRO_BATCH, SUM_GRID

GRID = 5040


class Silent:
    """No noise, and rows put into slots by a fixed key."""

    private = False

    def add(self, value, variance, context):
        return value

    def slots(self, context):
        return Csprng(bytes([1]) * 32)

    def coins(self, context):
        return Csprng(bytes([2]) * 32)


@dataclass
class Tables:
    """One table per column, `cells` of each."""

    cells_each: int
    columns: int = 2
    shift: int = 0

    @property
    def offsets(self):
        return np.arange(self.columns + 1) * self.cells_each

    def cells(self, codes):
        return codes.astype(np.int64) + self.offsets[:-1] + self.shift


@dataclass
class Vectors:
    """Row r's vector is (code / 4, 3 * code / 4) of its first column: norms 0, .79, 1.58, ..."""

    size: int = 2
    shapes: list = field(default_factory=list)
    broken: str = ""

    def __call__(self, codes):
        self.shapes.append(codes.shape)
        self.vectors = codes[:, :1] * np.array([0.25, 0.75])
        return self

    def squared_norms(self):
        return (self.vectors**2).sum(axis=1)

    def weighted_sum(self, weights):
        total = np.trunc(weights[:, None] * self.vectors * SUM_GRID).sum(axis=0)
        match self.broken:
            case "off the grid":
                return total + 0.5
            case "not finite":
                return total * np.nan
            case "too long":
                return total + 2.0**41
            case "wrong size":
                return np.append(total, 0.0)
        return total


def units(codes, owner=None):
    codes = np.asarray(codes, dtype=np.int32)
    return Units(codes, np.arange(len(codes)) if owner is None else np.asarray(owner))


def metered(noise=None, context=b"context", shares=3, capacity=100, max_rows_per_unit=4):
    return Metered(noise or Silent(), context, shares=shares, capacity=capacity, max_rows_per_unit=max_rows_per_unit)


def counted(codes, owner=None, layout=None, **kwargs):
    mechanism, layout = metered(**kwargs), layout or Tables(3)
    return open_noised(mechanism.histogram(units(codes, owner), layout, multiplier=None), mechanism, layout.offsets[-1])


def summed(codes, owner=None, terms=None, **kwargs):
    mechanism = metered(**kwargs)
    return open_noised(mechanism.clipped_sum(units(codes, owner), terms or Vectors(), multiplier=None), mechanism, 2)


class TestHistogram:
    def test_counts_a_unit_as_the_grid_in_every_table(self):
        assert counted([[0, 2], [1, 2]]).tolist() == [GRID, GRID, 0, 0, 0, 2 * GRID]

    def test_rows_of_a_unit_share_it(self):
        assert counted([[0, 0], [1, 1], [1, 1], [2, 2]], [9, 9, 9, 7]).tolist() == [1680, 3360, GRID] * 2

    def test_shares_that_do_not_divide_the_grid_round_down(self):
        assert counted([[0, 0]] * 11, [5] * 11, max_rows_per_unit=11)[0] == 11 * 458  # not 5040

    def test_keeps_the_first_rows_of_a_unit_with_too_many(self):
        assert counted([[0, 0], [2, 2], [0, 0], [1, 1], [1, 1]], [5, 3, 5, 5, 5], max_rows_per_unit=2).tolist() == [
            GRID, 0, GRID, GRID, 0, GRID,
        ]  # fmt: skip

    def test_is_the_same_in_one_piece_and_in_many(self, monkeypatch):
        rng = np.random.default_rng(0)
        codes, owner = rng.integers(0, 3, (500, 2)), rng.integers(0, 200, 500)
        whole = counted(codes, owner)
        monkeypatch.setattr("silosynth.client.mechanism._CELLS_AT_A_TIME", 14)
        assert (counted(codes, owner) == whole).all()

    def test_of_no_rows_is_zero(self):
        assert counted(np.zeros((0, 2))).tolist() == [0] * 6

    @pytest.mark.parametrize("shift", [-1, 1])
    def test_refuses_a_cell_outside_its_table(self, shift):
        with pytest.raises(RuntimeError, match="outside its table"):
            counted([[2 if shift > 0 else 0, 1]], layout=Tables(3, shift=shift))

    def test_refuses_one_cell_for_two_tables(self):
        layout = Tables(3)
        layout.cells = lambda codes: np.zeros((len(codes), 2), dtype=np.int64)
        with pytest.raises(RuntimeError, match="outside its table"):
            counted([[0, 0]], layout=layout)

    @pytest.mark.parametrize(
        "cells", [np.zeros((1, 1), dtype=np.int64), np.array([[0.0, 3.0]]), np.array([[0, 3], [0, 3]])]
    )
    def test_refuses_cells_that_are_not_one_a_row_and_table(self, cells):
        layout = Tables(3)
        layout.cells = lambda codes: cells
        with pytest.raises(RuntimeError, match="one cell a row and table"):
            counted([[0, 0]], layout=layout)

    @pytest.mark.parametrize("offsets", [[0], [1, 3], [0, 3, 3], [0, 3, 2], [[0, 3]]])
    def test_refuses_tables_that_overlap(self, offsets):
        class Layout:
            def __init__(self):
                self.offsets = np.array(offsets)

        with pytest.raises(RuntimeError, match="follow each other"):
            counted([[0, 0]], layout=Layout())


class TestClippedSum:
    def test_leaves_short_vectors_and_shortens_long_ones(self):
        exact = SUM_GRID * np.array([0.25, 0.75]) * (1 + 1 / np.sqrt(0.625))
        assert np.abs(summed([[1, 0], [4, 0]]) - exact).max() <= 4
        assert (summed([[1, 0], [4, 0]]) <= exact).all()

    def test_rows_of_a_unit_share_it(self):
        alone, shared = summed([[4, 0]]), summed([[4, 0], [4, 0], [4, 0]], [2, 2, 2])
        assert np.abs(alone - shared).max() <= 3
        assert (shared <= alone).all()

    def test_keeps_the_first_rows_of_a_unit_with_too_many(self):
        rows, owner = [[1, 0], [3, 0], [4, 0], [2, 0]], [8, 8, 8, 1]
        assert (
            summed(rows, owner, max_rows_per_unit=2)
            == summed([rows[0], rows[1], rows[3]], [8, 8, 1], max_rows_per_unit=2)
        ).all()

    @pytest.mark.parametrize("capacity", [1, MICRO_BATCH, MICRO_BATCH + 1])
    @pytest.mark.parametrize("rows", [0, 1])
    def test_computes_every_block_whatever_the_rows(self, capacity, rows):
        terms = Vectors()
        summed(np.ones((rows, 2)), terms=terms, capacity=capacity)
        assert terms.shapes == [(MICRO_BATCH, 2)] * -(-capacity // MICRO_BATCH)

    @given(st.data())
    def test_sites_add_up_to_one_pooled_site_exactly(self, data):
        n = data.draw(st.integers(1, 60))
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        codes, owner = rng.integers(0, 9, (n, 2)), rng.integers(0, 30, n)
        site = owner % data.draw(st.integers(1, 5))
        pooled = summed(codes, owner, max_rows_per_unit=60)
        parts = [summed(codes[site == s], owner[site == s], max_rows_per_unit=60) for s in np.unique(site)]
        assert (sum(parts) == pooled).all()

    def test_more_rows_than_declared_are_an_error(self):
        with pytest.raises(RuntimeError, match="declared capacity"):
            summed(np.ones((3, 2)), capacity=2)
        summed(np.ones((3, 2)), [0, 0, 0], capacity=2, max_rows_per_unit=2)  # after those that are dropped

    @pytest.mark.parametrize("broken", ["off the grid", "not finite", "too long", "wrong size"])
    def test_terms_that_break_their_contract_are_an_error(self, broken):
        with pytest.raises(RuntimeError, match="broke their contract"):
            summed([[1, 0]], terms=Vectors(broken=broken))

    @pytest.mark.parametrize("norm", [-1.0, np.nan, np.inf, -np.inf])
    def test_a_row_whose_norm_is_none_adds_nothing_and_stops_nothing(self, norm):
        terms = Vectors()
        terms.squared_norms = lambda: np.where(terms.vectors[:, 0] == 1, norm, (terms.vectors**2).sum(axis=1))
        assert (summed([[4, 0], [1, 0]], terms=terms) == summed([[1, 0]])).all()


class TestEvents:
    def test_say_what_was_performed(self):
        mechanism = metered(SystemNoise())
        assert mechanism.events == ()
        mechanism.histogram(units([[0, 0]]), Tables(3), multiplier=Fraction(7, 2))
        mechanism.clipped_sum(units([[0, 0]]), Vectors(), multiplier=Fraction(2))
        assert mechanism.events == (Gaussian(Fraction(7, 2), 3), Gaussian(Fraction(2), 3))

    def test_a_release_without_noise_is_recorded_as_one(self):
        mechanism = metered(Silent())
        mechanism.histogram(units([[0, 0]]), Tables(3), multiplier=None)
        assert mechanism.events == (NoPrivacy(),)

    @pytest.mark.parametrize(
        "verb",
        [
            lambda m: m.histogram(units([[0, 0]]), Tables(3), multiplier=None),
            lambda m: m.clipped_sum(units([[0, 0]]), Vectors(), multiplier=None),
        ],
    )
    def test_system_noise_is_never_left_out(self, verb):
        mechanism = metered(SystemNoise())
        with pytest.raises(ValueError, match="without noise"):
            verb(mechanism)
        assert mechanism.events == ()
        with pytest.raises(ValueError, match="variance"):
            SystemNoise().add(np.zeros(2, dtype=np.int64), 0, b"context")

    @pytest.mark.parametrize("wrong", [{"shares": 0}, {"capacity": 0}, {"capacity": MAX_CAPACITY + 1},
                                       {"max_rows_per_unit": 0}, {"max_rows_per_unit": GRID + 1}])  # fmt: skip
    def test_impossible_terms_of_use_are_refused(self, wrong):
        with pytest.raises(ValueError, match="out of range"):
            metered(**wrong)

    def test_every_row_needs_an_owner(self):
        with pytest.raises(RuntimeError, match="owner"):
            counted([[0, 0], [1, 1]], [0])


class Rows:
    """Row r's gradient is (code / 4, 0) of its first column."""

    size, public_weight = 2, 1.0

    def __call__(self, block, codes):
        return (codes[:, :1] * np.array([0.25, 0])).astype(np.float32), np.zeros((0, 2), np.float32)


def sampled(mechanism, codes=((1, 0),), rate=Fraction(1), multiplier=Fraction(2), gradients=None):
    return mechanism.sampled_sum(units(codes), gradients or Rows(), rate=rate, multiplier=multiplier)


class TestSampledSum:
    def test_says_what_was_performed(self):
        mechanism = metered(SystemNoise(), shares=1)
        sampled(mechanism, rate=Fraction(1, 3))
        assert mechanism.events == (Sampled(Fraction(1, 3), Gaussian(Fraction(2), 1)),)

    def test_adds_up_units(self):
        mechanism = metered(shares=1)
        total = open_noised(sampled(mechanism, [[1, 0], [2, 0], [8, 0]], multiplier=None), mechanism, 2)
        assert np.abs(total - SUM_GRID * np.array([1.75, 0])).max() <= 3
        assert mechanism.events == (NoPrivacy(),)

    def test_keeps_the_first_rows_of_a_unit_with_too_many(self):
        mechanism = metered(shares=1, max_rows_per_unit=2)
        held = units([[1, 0], [3, 0], [4, 0]], [8, 8, 8])
        noised = mechanism.sampled_sum(held, Rows(), rate=Fraction(1), multiplier=None)
        assert np.abs(open_noised(noised, mechanism, 2) - SUM_GRID * np.array([0.5, 0])).max() <= 1

    def test_needs_all_of_the_noise_here(self):
        with pytest.raises(ValueError, match="all of the noise"):
            sampled(metered(SystemNoise(), shares=2))

    def test_more_rows_than_declared_are_an_error(self):
        with pytest.raises(RuntimeError, match="declared capacity"):
            sampled(metered(shares=1, capacity=2), np.ones((3, 2)))

    def test_a_sample_that_does_not_fit_is_an_error(self, monkeypatch):
        monkeypatch.setattr("silosynth.client.mechanism.scale.sampled_slots", lambda *_: 64)
        with pytest.raises(ValueError, match="do not fit"):
            sampled(metered(shares=1, capacity=100), np.ones((100, 2)))

    @pytest.mark.parametrize("rate", [Fraction(0), Fraction(3, 2)])
    def test_a_rate_is_a_probability(self, rate):
        with pytest.raises(ValueError, match="sampling rate"):
            sampled(metered(SystemNoise(), shares=1), rate=rate)

    def test_system_noise_is_never_left_out(self):
        with pytest.raises(ValueError, match="without noise"):
            sampled(metered(SystemNoise(), shares=1), multiplier=None)


def test_every_sum_of_a_task_has_fresh_noise():
    mechanism = metered(SystemNoise(), shares=1)
    first, second = (
        open_noised(mechanism.histogram(units([[0, 0]]), Tables(500), multiplier=Fraction(9)), mechanism, 1000)
        for _ in range(2)
    )
    assert (first == second).mean() < 0.05


class Sums:
    """A learner of so many sums."""

    def __init__(self, sums, answer=(7, 8)):
        self.left, self.told, self.final = sums, [], np.array(answer)

    def next(self):
        self.left -= 1
        return None if self.left < 0 else self.left

    def absorb(self, ask, total):
        self.told.append((ask, total))

    def answer(self):
        return self.final


class TestLearn:
    def test_tells_the_learner_what_it_asked_for(self):
        mechanism, learner = metered(shares=1), Sums(3)
        answer = mechanism.learn(learner, lambda ask: sampled(mechanism, [[ask, 0]], multiplier=None))
        assert [ask for ask, _ in learner.told] == [2, 1, 0]
        assert [round(total[0] / SUM_GRID * 4) for _, total in learner.told] == [2, 1, 0]
        assert open_noised(answer, mechanism, 2).tolist() == [7, 8]

    def test_is_one_event_of_all_sums_in_order(self):
        mechanism = metered(SystemNoise(), shares=1)
        mechanism.learn(Sums(5), lambda ask: sampled(mechanism, multiplier=Fraction(1 if ask > 2 else 2)))
        one, two = (Sampled(Fraction(1), Gaussian(Fraction(m), 1)) for m in (1, 2))
        assert mechanism.events == (Composed((Repeated(2, one), Repeated(3, two))),)

    def test_of_nothing_is_no_event_that_is_planned(self):
        mechanism = metered(SystemNoise(), shares=1)
        mechanism.learn(Sums(0), sampled)
        assert mechanism.events == (Composed(()),)

    def test_the_answer_is_a_copy(self):
        mechanism, learner = metered(shares=1), Sums(0)
        answer = mechanism.learn(learner, sampled)
        learner.final[0] = 99
        assert open_noised(answer, mechanism, 2).tolist() == [7, 8]

    @pytest.mark.parametrize("wrong", [[1.0, 2.0], [True, False], ["a", "b"], [[1, 2]], [1]])
    def test_an_answer_that_is_not_of_integers_does_not_open(self, wrong):
        mechanism = metered(shares=1)
        answer = mechanism.learn(Sums(0, wrong), sampled)
        with pytest.raises(ValueError, match="claimed"):
            open_noised(answer, mechanism, 2)

    def test_needs_all_of_the_noise_here(self):
        with pytest.raises(ValueError, match="all of the noise"):
            metered(SystemNoise(), shares=2).learn(Sums(0), sampled)

    def test_neither_nests_nor_begins_again(self):
        mechanism = metered(SystemNoise(), shares=1)
        with pytest.raises(RuntimeError, match="learns once"):
            mechanism.learn(Sums(1), lambda ask: mechanism.learn(Sums(0), sampled))
        with pytest.raises(RuntimeError, match="learns once"):
            mechanism.learn(Sums(0), sampled)

    def test_a_learner_that_raises_ends_it_and_its_sums_stay_counted(self):
        mechanism, kept = metered(SystemNoise(), shares=1), []
        learner = Sums(2)
        learner.answer = lambda: 1 // 0
        with pytest.raises(ZeroDivisionError):
            mechanism.learn(learner, lambda ask: kept.append(sampled(mechanism)) or kept[-1])
        assert mechanism.events == (Composed((Repeated(2, Sampled(Fraction(1), Gaussian(Fraction(2), 1))),)),)
        with pytest.raises(ValueError, match="not an answer of"):
            open_noised(kept[0], mechanism, 2)

    @pytest.mark.parametrize("sums", [0, 2])
    def test_one_sum_is_performed_for_one_ask(self, sums):
        mechanism, other = metered(SystemNoise(), shares=1), metered(SystemNoise(), shares=1)
        with pytest.raises(RuntimeError, match="the one sum"):
            mechanism.learn(Sums(1), lambda ask: ([sampled(mechanism) for _ in range(sums)] or [sampled(other)])[-1])

    def test_what_was_answered_before_cannot_be_sealed(self):
        mechanism = metered(SystemNoise(), shares=1)
        before = sampled(mechanism)
        mechanism.learn(Sums(1), lambda ask: sampled(mechanism))
        with pytest.raises(ValueError, match="not an answer of"):
            open_noised(before, mechanism, 2)
        assert len(mechanism.events) == 2


class TestHandle:
    def test_holds_and_tells_nothing(self):
        answer = metered(SystemNoise()).histogram(units([[0, 0]]), Tables(3), multiplier=Fraction(1))
        assert repr(answer) == "<noised answer>"
        assert [name for name in dir(answer) if not name.startswith("__")] == []
        with pytest.raises(AttributeError):
            answer.vector = 1

    def test_opens_for_its_own_mechanism_and_its_claimed_size_only(self):
        ours, other = metered(), metered()
        answer = ours.histogram(units([[0, 0]]), Tables(3), multiplier=None)
        assert open_noised(answer, ours, 6).dtype == np.int64
        for wrong in (lambda: open_noised(answer, other, 6), lambda: open_noised(np.zeros(6), ours, 6)):
            with pytest.raises(ValueError, match="not an answer of"):
                wrong()
        with pytest.raises(ValueError, match="size"):
            open_noised(answer, ours, 7)


@dataclass
class OneOfMany:
    """One table over the first column, whatever number of columns the rows have; `most`: cells that it was handed."""

    most: int = 0
    offsets: tuple[int, ...] = (0, 2)

    def cells(self, codes):
        self.most = max(self.most, codes.size)
        return codes[:, :1].astype(np.int64)


def test_memory_of_a_count_follows_from_the_columns_even_for_one_table():
    asked = OneOfMany()
    units = Units(np.zeros((60_000, 100), dtype=np.int32), np.arange(60_000))
    mechanism = Metered(Silent(), b"", shares=1, capacity=60_000, max_rows_per_unit=1)
    made = open_noised(mechanism.histogram(units, asked, multiplier=None), mechanism, 2)
    assert made.tolist() == [60_000 * GRID, 0]
    assert asked.most <= 1 << 21
