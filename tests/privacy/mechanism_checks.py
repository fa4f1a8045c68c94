"""What must be true of the metered mechanism, as functions that raise AssertionError where it is not.

The tests run them on the mechanism as it is; test_mutants.py runs each on mechanisms that are broken on purpose, where
it has to fail. Claims are computed here from the definitions and in exact rationals, never by the code under test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from scipy import stats

from silosynth.client import mechanism
from silosynth.common.csprng import Csprng
from silosynth.common.engine import Units
from silosynth.common.privacy import Gaussian
from silosynth.common.schema import Schema
from silosynth.common.study import Budget, Member, Study

ALARM = 1e-6
"""Probability that a statistical check fails on a mechanism that is right."""

HISTOGRAM_GRID, SUM_GRID = 5040, 2**30
MULTIPLIER = Fraction(7, 2)
SITES, COLLUDERS = 5, 2
STUDY = Study(
    name="check",
    schema=Schema(()),
    budget=Budget(epsilon=1.0, delta=1e-5, colluders=COLLUDERS),
    roster=tuple(Member(f"site-{i}", 100) for i in range(SITES)),
)


class Silent:
    """No noise; remembers the variance it was asked for."""

    private = False

    def __init__(self, key: int = 0) -> None:
        self._key = key
        self.variance = 0

    def add(self, value, variance, context):
        self.variance = variance
        return value

    def slots(self, context):
        return Csprng(bytes([self._key]) * 32)

    def coins(self, context):
        return Csprng(bytes([self._key, 1]) * 16)


@dataclass(frozen=True)
class Tables:
    """`groups` tables of `cells_each` cells; every code of a row is its cell in that column's table."""

    groups: int
    cells_each: int

    @property
    def offsets(self):
        return np.arange(self.groups + 1) * self.cells_each

    def cells(self, codes):
        return codes.astype(np.int64) + self.offsets[:-1]


class Nothing:
    """Terms of `size` zeros, to look at the noise of a clipped sum."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, codes):
        self._slots = len(codes)
        return self

    def squared_norms(self):
        return np.zeros(self._slots)

    def weighted_sum(self, weights):
        return np.zeros(self.size)


@dataclass
class Dense:
    """The plainest honest engine.Terms: row r's vector is `vectors[codes[r, 0]]`, made integer by truncation."""

    vectors: np.ndarray
    chosen: np.ndarray = field(init=False)

    @property
    def size(self):
        return self.vectors.shape[1]

    def __call__(self, codes):
        self.chosen = self.vectors[codes[:, 0]]
        return self

    def squared_norms(self):
        with np.errstate(over="ignore", invalid="ignore"):
            return (self.chosen**2).sum(axis=1)

    def weighted_sum(self, weights):
        used = weights > 0
        with np.errstate(under="ignore"):
            return np.trunc(weights[used, None] * self.chosen[used] * SUM_GRID).sum(axis=0)


def units(codes, owner=None, columns=1) -> Units:
    codes = np.asarray(codes, dtype=np.int32).reshape(-1, columns)
    return Units(codes, np.arange(len(codes)) if owner is None else np.asarray(owner, dtype=np.int64))


def metered(noise, *, context=b"context", shares=1, capacity=1024, rows_each=64):
    return mechanism.Metered(noise, context, shares=shares, capacity=capacity, max_rows_per_unit=rows_each)


def histogram(noise, rows: Units, layout, *, multiplier=MULTIPLIER, **use):
    used = metered(noise, **use)
    answer = mechanism.open_noised(used.histogram(rows, layout, multiplier=multiplier), used, layout.offsets[-1])
    return answer, used.events


def clipped_sum(noise, rows: Units, terms, *, multiplier=MULTIPLIER, **use):
    used = metered(noise, **use)
    answer = mechanism.open_noised(used.clipped_sum(rows, terms, multiplier=multiplier), used, terms.size)
    return answer, used.events


# Noise -----------------------------------------------------------------------------------------------------------


def check_noise_has_the_claimed_size(verb: str, size: int = 200_000) -> None:
    """Honest sites' total noise against (multiplier * Delta)^2 + 4 a site: two-sided chi-square, 1.5 % of variance."""
    honest, no_rows = SITES - COLLUDERS, units([])
    total = np.zeros(size)
    for _ in range(honest):
        use = {"shares": STUDY.shares, "context": b"release"}
        if verb == "histogram":
            answer, events = histogram(mechanism.SystemNoise(), no_rows, Tables(1, size), **use)
        else:
            answer, events = clipped_sum(mechanism.SystemNoise(), no_rows, Nothing(size), **use)
        assert events == (Gaussian(MULTIPLIER, honest),)
        total += answer
    grid = HISTOGRAM_GRID if verb == "histogram" else SUM_GRID
    claimed = (float(MULTIPLIER) * grid) ** 2 + 4 * honest
    assert ALARM / 2 < stats.chi2.sf((total**2).sum() / claimed, size) < 1 - ALARM / 2


def check_variance_covers_both_views() -> None:
    """The variance asked of the source, exactly, against privacy.Gaussian: one site's answer and the honest sum."""
    for multiplier in (Fraction(1, 7919), Fraction(1, 3), Fraction(22, 7), Fraction(3001, 10)):
        for shares in (1, 3, 7):
            for groups in (1, 2, 91):
                spy = Silent()
                histogram(spy, units([], columns=groups), Tables(groups, 2), multiplier=multiplier, shares=shares)
                _covers(spy.variance, groups * HISTOGRAM_GRID**2, multiplier, shares)
            clipped_sum(spy, units([]), Nothing(3), multiplier=multiplier, shares=shares)
            _covers(spy.variance, SUM_GRID**2, multiplier, shares)


def _covers(variance, squared_sensitivity, multiplier, shares):
    assert variance > 4
    assert Fraction(squared_sensitivity, variance - 4) <= shares / multiplier**2
    assert Fraction(squared_sensitivity, shares * variance - 4) <= 1 / multiplier**2


def check_noise_is_fresh(size: int = 100_000) -> None:
    """The same for the same question; uncorrelated for another site, another release, and a neighbour's rows."""
    site, other = mechanism.SystemNoise(), mechanism.SystemNoise()
    layout, some, more = Tables(1, size), units([3, 5]), units([3, 5, 5])

    def noise(source, rows, context):
        answer, _ = histogram(source, rows, layout, context=context)
        silent, _ = histogram(Silent(), rows, layout, context=context)
        return answer - silent

    first = noise(site, some, b"a")
    assert (noise(site, some, b"a") == first).all()
    for fresh in (noise(other, some, b"a"), noise(site, some, b"b"), noise(site, more, b"a")):
        assert abs(np.corrcoef(first, fresh)[0, 1]) < stats.norm.isf(ALARM / 6) / size**0.5


def check_two_worlds(trials: int = 100, cells: int = 200) -> None:
    """mu as an adversary sees it in the honest sum, with and without a person: within 3 %, five standard errors.

    Each cell is an experiment of its own, since its person moves no other: 20,000 of them in each world.
    """
    mu = 2
    sources = [mechanism.SystemNoise() for _ in range(SITES - COLLUDERS)]
    others, one_each = units(np.arange(cells)), units(np.repeat(np.arange(cells), 2))
    seen = np.zeros((2, trials, cells))
    for world, rows in enumerate((others, one_each)):
        for trial in range(trials):
            asked = {"context": bytes([world]) + trial.to_bytes(4), "shares": STUDY.shares}
            for source, held in zip(sources, (rows, others, units([])), strict=True):
                seen[world, trial] += histogram(source, held, Tables(1, cells), multiplier=Fraction(1, mu), **asked)[0]
    measured = (seen[1].mean() - seen[0].mean()) / np.sqrt(seen.var(axis=(1, 2)).mean())
    assert abs(measured / mu - 1) < 0.03


def check_places_are_uniform(trials: int = 200) -> None:
    """Where sixteen rows lie among the slots, over releases of one site: chi-square over sixteen stretches."""
    source, places = mechanism.SystemNoise(), []

    class Where(Nothing):
        def __call__(self, codes):
            places.extend(np.flatnonzero(codes[:, 0]))
            return super().__call__(codes)

    for trial in range(trials):
        clipped_sum(source, units([1] * 16), Where(1), context=trial.to_bytes(4))
    observed = np.bincount(np.array(places) // 64, minlength=16)
    assert observed.sum() == 16 * trials
    assert stats.chi2.sf(((observed - trials) ** 2 / trials).sum(), 15) > ALARM


def check_noise_cannot_be_left_out() -> None:
    """A site's own source refuses a release without noise."""
    try:
        histogram(mechanism.SystemNoise(), units([0]), Tables(1, 2), multiplier=None)
    except ValueError:
        return
    raise AssertionError("released without noise")


# Sensitivity -----------------------------------------------------------------------------------------------------


def hostile_vectors() -> np.ndarray:
    """Rows that clipping has to survive. The first, on which empty slots fall, is poison."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(12, 6))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    axis = np.eye(6)[0]
    lengths = (
        "1 -1 1.0000000000000002 0.9999999999999999 -10 1e3 1e150 1e154 -1.3e154 1e155 1e300 1e-155 1e-162 5e-324 -0."
    )
    edges = [float(length) for length in lengths.split()]
    special = [
        np.full(6, np.nan),
        np.array([np.nan, 1, 0, 0, 0, 0]),
        np.array([np.inf, 1, 0, 0, 0, 0]),
        np.array([-np.inf, np.inf, 0, 0, 0, 0]),
        np.array([1e200, 1e-200, 0, 0, 0, 0]),
        np.array([1e150, 1e-150, 5e-324, 1, -1, 0]),
        np.array([2**-0.5, -(2**-0.5), 0, 0, 0, 0]),
    ]
    return np.vstack([np.full(6, np.inf), *special, *(edge * axis for edge in edges), directions, 50 * directions])


def check_clipped_sum_is_bounded() -> None:
    """Exact search over neighbours: |f(D + u) - f(D)| <= Delta in integers, and some u comes within 10 % of it."""
    vectors = hostile_vectors()
    everything = np.arange(1, len(vectors))
    rng = np.random.default_rng(2)
    backgrounds = [
        np.array([], dtype=int),
        np.array([8]),
        everything,
        np.repeat(everything, 20),
        np.repeat(8, 300),
        rng.choice(everything, 900),
    ]
    people = (
        [[i] for i in everything] + [[i] * 64 for i in everything[::3]] + [[8] * 70, [8, 9, 8], [1, 8], [8, 3, 8, 8]]
    )
    people += [rng.choice(everything, k).tolist() for k in (2, 3, 5, 8, 13, 64, 100)]
    terms = Dense(vectors)
    worst = 0
    for rows in backgrounds:
        before = _released(lambda rows=rows: clipped_sum(Silent(), units(rows), terms)[0])
        for person in people:
            for at in (0, len(rows)):
                codes = np.insert(rows, at, person)
                owner = np.insert(np.arange(len(rows)), at, [10_000] * len(person))
                after = _released(lambda codes=codes, owner=owner: clipped_sum(Silent(), units(codes, owner), terms)[0])
                worst = max(worst, _squared_distance(before, after))
    assert worst <= SUM_GRID**2
    assert worst >= 0.81 * SUM_GRID**2


def check_histogram_is_bounded() -> None:
    """Exact search over neighbours of a histogram of three tables."""
    rng = np.random.default_rng(3)
    layout, worst = Tables(3, 4), 0
    for background in (0, 1, 40):
        rows, owner = rng.integers(0, 4, (background, 3)), rng.integers(0, 1 + background // 3, background)
        before = _released(lambda rows=rows, owner=owner: histogram(Silent(), units(rows, owner, 3), layout)[0])
        for k in (1, 1, 1, 2, 3, 7, 11, 64, 65, 200):
            for spread in (1, 4):
                more = rng.integers(0, spread, (k, 3))
                both, owners = np.vstack([more, rows]), np.concatenate([[10**12] * k, owner])
                after = _released(
                    lambda both=both, owners=owners: histogram(Silent(), units(both, owners, 3), layout)[0]
                )
                worst = max(worst, _squared_distance(before, after))
    assert worst <= 3 * HISTOGRAM_GRID**2
    assert worst >= 0.81 * 3 * HISTOGRAM_GRID**2


def check_tables_cannot_be_escaped() -> None:
    """A layout that drops every table's count into one cell would triple the bound: it must not be released."""

    class OneCell(Tables):
        def cells(self, codes):
            return np.zeros((len(codes), self.groups), dtype=np.int64)

    try:
        histogram(Silent(), units([[0, 0, 0]], columns=3), OneCell(3, 4))
    except RuntimeError:
        return
    raise AssertionError("a row was counted outside its table")


def _released(release) -> np.ndarray:
    try:
        return release()
    except Exception as stopped:
        raise AssertionError("what a person's row holds stopped a release") from stopped


def _squared_distance(before: Sequence[int], after: Sequence[int]) -> int:
    return sum((int(a) - int(b)) ** 2 for a, b in zip(before, after, strict=True))
