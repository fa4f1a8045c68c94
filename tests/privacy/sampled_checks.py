"""What must be true of sampled sums and of learning, as functions that raise AssertionError where it is not.

As in mechanism_checks.py: test_sampled_mutants.py runs each of them on mechanisms that are broken on purpose. Random
checks fail on a mechanism that is right with probability below mechanism_checks.ALARM.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import mechanism_checks as checks
import numpy as np
import torch
from mechanism_checks import ALARM, MULTIPLIER, SUM_GRID
from scipy import stats
from torch.nn import functional

from silosynth.client import local_gradients, mechanism
from silosynth.common.privacy import Composed, Gaussian, Repeated, Sampled
from silosynth.common.study import Step

RATE = Fraction(1, 8)


@dataclass
class Given:
    """The plainest honest engine.RowGradients: row r's gradient is `vectors[codes[r, 0]]`."""

    vectors: np.ndarray
    public: np.ndarray | None = None
    public_weight: float = 1.0
    seen: list = field(default_factory=list)

    def __post_init__(self):
        self.size = self.vectors.shape[1]
        self.vectors = self.vectors.astype(np.float32)
        self.public = np.zeros((0, self.size), np.float32) if self.public is None else self.public.astype(np.float32)

    def __call__(self, block, codes):
        self.seen.append(codes.copy())
        return self.vectors[codes[:, 0]], self.public


class Zeros:
    """Gradients of zeros, of any size, in no memory."""

    public_weight = 1.0

    def __init__(self, size):
        self.size = size

    def __call__(self, block, codes):
        return np.broadcast_to(np.float32(0), (len(codes), self.size)), np.zeros((0, self.size), np.float32)


def sampled_sum(noise, rows, gradients, *, rate=RATE, multiplier=MULTIPLIER, **use):
    used = checks.metered(noise, **use)
    noised = used.sampled_sum(rows, gradients, rate=rate, multiplier=multiplier)
    return mechanism.open_noised(noised, used, gradients.size), used.events


# What a unit adds ------------------------------------------------------------------------------------------------


def hostile_gradients() -> np.ndarray:
    """Gradients that clipping has to survive, in float32. The first, on which empty slots fall, is poison."""
    with np.errstate(all="ignore"):
        edge = np.array([3.4028235e38, -3.4028235e38, 1e-45, -1e-45, 1, 0])
        return np.vstack([checks.hostile_vectors(), edge, edge[::-1], 1e-40 * edge]).astype(np.float32)


def check_sampled_sum_is_bounded() -> None:
    """Exact search over neighbours with coupled coins and slots: at most the grid in L2, and nearly as much.

    Everybody's coin shows heads, and the person's rows are the last, so that the others keep their slots (rule 5).
    """
    vectors = hostile_gradients()
    everything = np.arange(1, len(vectors))
    public = vectors[np.random.default_rng(0).permutation(len(vectors))]
    gradients = Given(vectors, public, 0.7)
    rng = np.random.default_rng(1)
    backgrounds = [(np.array([], dtype=int), 1), (everything, 1), (np.repeat(everything, 4), 4)]
    people = [[i] for i in everything] + [[i] * 5 for i in everything[::3]] + [[8] * 70, [8, 9, 8], [1, 8], [8, 3, 8]]
    people += [rng.choice(everything, k).tolist() for k in (2, 3, 64, 100)]
    worst = 0
    for rows, rows_each in backgrounds:
        owner = 10 + np.arange(len(rows)) // rows_each
        before = _all_of(rows, owner, gradients)
        for at, person in enumerate(people):
            number = 0 if at % 2 else 10_000
            after = _all_of(np.append(rows, person), np.append(owner, [number] * len(person)), gradients)
            worst = max(worst, checks._squared_distance(before, after))
    assert worst <= SUM_GRID**2
    assert worst >= 0.81 * SUM_GRID**2


def _all_of(rows, owner, gradients):
    held = checks.units(rows, owner)
    return checks._released(lambda: sampled_sum(checks.Silent(), held, gradients, rate=Fraction(1), capacity=320)[0])


WIDTHS = (12, 16, 8, 1)


def little_network(weights, public_weight=0.5, widths=WIDTHS):
    """A discriminator of two columns of six codes, with three fakes in every block."""

    def encode(codes):
        return torch.cat([functional.one_hot(torch.from_numpy(codes[:, c]).long(), 6) for c in (0, 1)], 1).float()

    def losses(outputs, rows):
        real = (torch.arange(len(outputs)) < rows).float()
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], real, reduction="none")

    fakes = np.array([[0, 5], [3, 3], [2, 1]], dtype=np.int32)
    module = local_gradients.perceptron(widths, 0.2, weights)
    return local_gradients.OpacusGradients(module, encode, lambda block: encode(fakes), losses, public_weight)


def little_weights(seed=0, size=3.0):
    parameters = sum((a + 1) * b for a, b in pairwise(WIDTHS))
    return (size * np.random.default_rng(seed).standard_normal(parameters) / 3).astype(np.float32)


def check_sampled_sum_is_that_of_brute_force(size: float = 3.0) -> None:
    """One backward pass for each unit's mean loss, then clipping, against the mechanism with Opacus: within 1e-5."""
    rng, weights = np.random.default_rng(3), little_weights(size=size)
    codes, owner = rng.integers(0, 6, (150, 2)).astype(np.int32), rng.integers(0, 50, 150)
    gradients = little_network(weights)
    ours, _ = sampled_sum(checks.Silent(), checks.units(codes, owner, 2), gradients, rate=Fraction(1), multiplier=None)

    module = local_gradients.perceptron(WIDTHS, 0.2, weights).double()
    parameters = list(module.parameters())

    def clipped(inputs, real):
        loss = functional.softplus(-module(inputs.double()) if real else module(inputs.double())).mean()
        gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])
        return gradient / max(1, gradient.norm())

    brute = sum(clipped(gradients._encode(codes[owner == unit]), real=True) for unit in np.unique(owner))
    slots = 1024  # of the capacity, at rate 1
    fakes = sum(clipped(fake[None], real=False) for fake in gradients._public(0))
    brute = (brute + slots // 64 * gradients.public_weight * fakes).numpy()
    assert np.linalg.norm(ours / SUM_GRID - brute) < 1e-5 * np.linalg.norm(brute)


# Who takes part, and the noise -----------------------------------------------------------------------------------


def check_coins_are_of_poisson(units: int = 400, sums: int = 200) -> None:
    """Number, spread, evenness and independence of who takes part, seen by a spy on the blocks of one task's sums."""
    numbered = checks.units(1 + np.arange(units))
    spy = Given(np.zeros((units + 1, 1)))
    used = checks.metered(mechanism.SystemNoise(), capacity=units, rows_each=1)
    for _ in range(sums):
        used.sampled_sum(numbered, spy, rate=RATE, multiplier=MULTIPLIER)
    blocks = len(spy.seen) // sums
    seen = np.concatenate(spy.seen).reshape(sums, blocks * 64)
    taken = np.stack([np.bincount(one, minlength=units + 1)[1:] for one in seen])
    assert taken.max() == 1
    q, alarm = float(RATE), ALARM / 6
    for count, n, p in (
        (taken.sum(), taken.size, q),
        ((taken[1:] * taken[:-1]).sum(), taken[1:].size, q**2),  # the same unit in two sums that follow each other
        ((taken[:, 1:] * taken[:, :-1]).sum(), taken[:, 1:].size, q**2),  # neighbours in one sum
    ):
        # Products of neighbours overlap: their variance is at most 3 times the binomial one.
        spread = (3 * n * p * (1 - p)) ** 0.5 if p != q else (n * p * (1 - p)) ** 0.5
        assert abs(count - n * p) < stats.norm.isf(alarm / 2) * spread
    for sizes, n in ((taken.sum(axis=1), units), (taken.sum(axis=0), sums)):  # of samples; of how often each
        spread = (((sizes - n * q) ** 2) / (n * q * (1 - q))).sum()
        assert stats.chi2.ppf(alarm, sizes.size) * 0.9 < spread < stats.chi2.isf(alarm, sizes.size) * 1.1


def check_coins_are_secret(units: int = 2000) -> None:
    """Two sites with one context, and a site's two contexts, throw different coins; no other stream is like them."""
    numbered = checks.units(1 + np.arange(units))
    site, other = mechanism.SystemNoise(), mechanism.SystemNoise()

    def taken(source, context):
        spy = Given(np.zeros((units + 1, 1)))
        sampled_sum(source, numbered, spy, capacity=units, context=context, rows_each=1)
        return np.bincount(np.concatenate(spy.seen)[:, 0], minlength=units + 1)[1:]

    first = taken(site, b"a")
    assert (taken(site, b"a") == first).all()
    for independent in (taken(other, b"a"), taken(site, b"b")):
        assert abs(np.corrcoef(first, independent)[0, 1]) < stats.norm.isf(ALARM / 4) / units**0.5
    assert site.coins(b"a").bytes(32) != site.slots(b"a").bytes(32)


def check_noise_of_samples_has_the_claimed_size(size: int = 100_000) -> None:
    """The noise of one sampled sum against (multiplier * Delta)^2 + 4: two-sided chi-square, 2 % of variance."""
    answer, events = sampled_sum(mechanism.SystemNoise(), checks.units([]), Zeros(size), capacity=8)
    assert events == (Sampled(RATE, Gaussian(MULTIPLIER, 1)),)
    claimed = (float(MULTIPLIER) * SUM_GRID) ** 2 + 4
    assert ALARM / 2 < stats.chi2.sf((answer.astype(float) ** 2).sum() / claimed, size) < 1 - ALARM / 2


def check_an_answer_has_the_law_of_its_price(people: int = 800, sums: int = 25) -> None:
    """What an adversary sees with and without a person, against the pair that privacy.Sampled prices.

    A person moves one number by all of the grid: N(0, m^2) without and (1 - q) N(0, m^2) + q N(1, m^2) with, by
    Kolmogorov and Smirnov; 20,000 numbers each. Fakes of half a person stand beside them.
    """
    m, q, fake = 0.5, float(RATE), 0.03
    for held, heads in ((checks.units(1 + np.arange(people)), q), (checks.units([]), 0.0)):
        gradients = Given(np.vstack([np.zeros(people), np.eye(people)]), np.full((1, people), fake / people**0.5))
        used, seen = checks.metered(mechanism.SystemNoise(), capacity=people, rows_each=1), []
        for _ in range(sums):
            noised = used.sampled_sum(held, gradients, rate=RATE, multiplier=Fraction(1, 2))
            seen.append(mechanism.open_noised(noised, used, people) / SUM_GRID)
        of_fakes = len(gradients.seen) / sums * fake / people**0.5
        numbers = np.concatenate(seen) - of_fakes
        law = stats.kstest(numbers, lambda x, p=heads: (1 - p) * _normal(x, m) + p * _normal(x - 1, m))
        assert law.pvalue > ALARM / 2


def _normal(x, m):
    return stats.norm.cdf(x / m)


# Learning --------------------------------------------------------------------------------------------------------

COUNTS, GRADIENT = Fraction(5, 2), Fraction(7, 3)
WITHIN = Step("learn", 1, within=(Step("pairs", 1, COUNTS), Step("gradient", 12, GRADIENT, RATE)))


class Recorder:
    """A learner of as many sums as it is told, which remembers what it is told."""

    def __init__(self, asks):
        self.asks, self.told = list(asks), []

    def next(self):
        return self.asks[len(self.told)] if len(self.told) < len(self.asks) else None

    def absorb(self, ask, total):
        self.told.append(total)

    def answer(self):
        return np.arange(3)


def learn(source, held, learner, size, **use):
    """The `learn` step of WITHIN. Returns the answer and the events."""
    used = checks.metered(source, **use)

    def perform(ask):
        if ask == "pairs":
            return used.histogram(held, checks.Tables(1, size), multiplier=COUNTS)
        return used.sampled_sum(held, Zeros(size), rate=RATE, multiplier=GRADIENT)

    return mechanism.open_noised(used.learn(learner, perform), used, 3), used.events


def check_every_sum_of_a_learner_is_noised_and_counted(size: int = 20_000) -> None:
    """Each sum's noise by chi-square, independent of all others'; the events are those of the plan."""
    learner = Recorder(["pairs"] + ["gradient"] * 12)
    answer, events = learn(mechanism.SystemNoise(), checks.units([]), learner, size, capacity=8)
    assert answer.tolist() == [0, 1, 2]
    assert events == (Composed((Repeated(1, Gaussian(COUNTS, 1)), Repeated(12, Sampled(RATE, Gaussian(GRADIENT, 1))))),)
    assert events == (WITHIN.event(1),)
    alarm = ALARM / 100
    for ask, told in zip(learner.asks, learner.told, strict=True):
        m, grid = (COUNTS, checks.HISTOGRAM_GRID) if ask == "pairs" else (GRADIENT, SUM_GRID)
        claimed = (float(m) * grid) ** 2 + 4
        assert alarm / 2 < stats.chi2.sf((told.astype(float) ** 2).sum() / claimed, size) < 1 - alarm / 2
    between = np.corrcoef(np.stack(learner.told))[np.triu_indices(13, 1)]
    assert np.abs(between).max() < stats.norm.isf(alarm / 2) / size**0.5


def check_learning_needs_all_noise_here() -> None:
    """With noise shared among sites, neither a sampled sum nor learning is possible."""
    for verb in (
        lambda: sampled_sum(mechanism.SystemNoise(), checks.units([]), Zeros(2), shares=3),
        lambda: learn(mechanism.SystemNoise(), checks.units([]), Recorder([]), 2, shares=3),
    ):
        try:
            verb()
        except ValueError:
            continue
        raise AssertionError("a site answered by itself with a part of the noise")


def check_no_sum_of_a_learner_can_be_sealed() -> None:
    """Neither while it learns nor afterwards, whatever an engine keeps; nor when the learner breaks off."""
    for breaks in (False, True):
        used, kept = checks.metered(mechanism.SystemNoise()), []
        learner = Recorder(["pairs", "pairs"])
        if breaks:
            learner.answer = lambda: 1 // 0

        def perform(ask, used=used, kept=kept):
            kept.append(used.histogram(checks.units([0]), checks.Tables(1, 3), multiplier=COUNTS))
            return kept[-1]

        with suppress(ZeroDivisionError):
            used.learn(learner, perform)
        for handle in kept:
            try:
                mechanism.open_noised(handle, used, 3)
            except ValueError:
                continue
            raise AssertionError("a sum that only the learner may see was let out")
        assert used.events == (Composed((Repeated(2, Gaussian(COUNTS, 1)),)),)
