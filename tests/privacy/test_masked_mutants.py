"""Masked rounds with the noise taken out or wrong: nothing leaves; and what an opened total carries is what was paid.

Each cheat is a site half that is given what a site half is given. An honest one is among them, so the test can tell.
"""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from masked_made import SIZE, Fake, Federation, counts, fake_engine, masked_study

from silosynth.client.entries import Committed
from silosynth.client.mechanism import Metered, Noised, SystemNoise
from silosynth.client.refusal import Reason
from silosynth.common import scale
from silosynth.common.engine import Claim
from silosynth.common.engines.layouts import OneWays
from silosynth.common.privacy import Gaussian
from silosynth.common.study import Budget
from silosynth.simulations.noiseless import ZeroNoise

FEW = (0, 1, 2)
"""Two of them honest: each adds half of a total's variance. Of all five, four: a quarter."""


@pytest.fixture
def ready(tmp_path, monkeypatch):
    fake_engine(monkeypatch)
    with Federation(tmp_path, restarts=3) as federation:
        assert federation.session() is None
        yield federation


ROUNDS = tuple((release, range(3)) for release in range(4))


class NoNoise(Fake):
    """Gives exact counts for the answer."""

    def answer(self, task, units, mechanism):
        super().answer(task, units, mechanism)
        return np.bincount(units.codes[:, 0], minlength=SIZE).astype(np.int64)


class OwnMechanism(Fake):
    """Has another mechanism make the answer, with no noise."""

    def answer(self, task, units, mechanism):
        super().answer(task, units, mechanism)
        other = Metered(ZeroNoise(), b"", shares=self._study.shares, capacity=100, max_rows_per_unit=64)
        return other.histogram(units, OneWays((SIZE,)), multiplier=None)


class Invented(Fake):
    """Gives something that looks like an answer."""

    def answer(self, task, units, mechanism):
        super().answer(task, units, mechanism)
        return Noised()


class SharesOfAll(Fake):
    """Adds what would do if all five answered."""

    def claim(self, task):
        return Claim(Gaussian(Fraction(20), 4), SIZE)


class Twice(Fake):
    """Has two sums made for the price of one."""

    def answer(self, task, units, mechanism):
        super().answer(task, units, mechanism)
        return super().answer(task, units, mechanism)


class Shorter(Fake):
    """Claims another size than it answers."""

    def claim(self, task):
        return Claim(super().claim(task).event, SIZE - 1)


CHEATS = {
    NoNoise: Reason.INTERNAL,
    OwnMechanism: Reason.INTERNAL,
    Invented: Reason.INTERNAL,
    SharesOfAll: Reason.OUT_OF_PLAN,
    Twice: Reason.INTERNAL,
    Shorter: Reason.INTERNAL,
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_no_cheat_leaves_a_site(ready, monkeypatch, cheat):
    monkeypatch.setattr("silosynth.client.engines.ENGINES", {"fake": cheat})
    reply = ready.ask(0, members=FEW)
    assert (reply.refusal, reply.masked, reply.vector) == (CHEATS[cheat].value, None, None)
    assert ready.records(0, Committed) == []


def test_an_honest_one_does(ready):
    assert ready.ask(0, members=FEW).masked is not None


def deviations(federation, members, rounds):
    """What opened totals carry beside the counts, over the standard deviation that is paid for, shape (values,)."""
    totals = []
    for release, attempts in rounds:
        assert federation.session() is None  # as often as in one they are not asked again
        totals += [federation.total(release, attempt, members) - counts(members) for attempt in attempts]
    shares = len(members) - 1
    return np.concatenate(totals) / (20 * 5040 * math.sqrt(len(members) / shares))


@pytest.mark.parametrize("members", [FEW, (0, 1, 2, 3, 4)])
def test_a_total_carries_the_noise_of_those_who_answered(ready, members):
    """Sum of squares of 72 standard normal values: within [22, 160] but for 1e-7 on either side."""
    found = deviations(ready, members, ROUNDS)
    assert found.size == 72
    assert 22 < (found**2).sum() < 160


def test_it_would_not_if_sites_added_less(ready, monkeypatch):
    honest = scale.site_variance
    monkeypatch.setattr(scale, "site_variance", lambda *a: honest(*a) // 16)
    found = deviations(ready, FEW, ROUNDS)
    assert (found**2).sum() < 22


def test_a_retry_has_noise_of_its_own(ready):
    first, second = ready.total(0, 0), ready.total(0, 1)
    assert (first != second).all()  # a tie in one of 6 values: chance below 6e-5 / 5040


def test_it_would_not_under_one_key_for_all_rounds(ready, monkeypatch):
    """The noise's key without its round, and contexts without their attempt: a difference of S and S' is then exact."""
    one_key = SystemNoise()
    monkeypatch.setattr(SystemNoise, "under", lambda _self, _key: one_key)
    honest = Metered.__init__
    monkeypatch.setattr(Metered, "__init__", lambda self, noise, _context, **k: honest(self, noise, b"", **k))
    assert (ready.total(0, 0) == ready.total(0, 1)).all()


def test_a_simulation_without_noise_is_masked_all_the_same(tmp_path, monkeypatch):
    fake_engine(monkeypatch)
    study = replace(masked_study(multiplier=None), budget=Budget(math.inf, 1e-5, 1))
    with Federation(tmp_path, study, ZeroNoise) as made:
        assert made.session() is None
        assert (made.total(0) == counts(range(5))).all()
        alone = np.frombuffer(made.ask(0, 1).masked.payload, dtype="<i4")
        assert np.abs(alone.astype(np.int64)).max() > 1 << 24  # fails by chance below 1e-12
