"""Engines that cheat: whatever they hand to the gate, nothing leaves that was not paid for.

Each cheat is an engine's `answer`, given what an engine is given. An honest one is among them, so the test can tell.
"""

import copy
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from silosynth.client.entries import Committed
from silosynth.client.gate import Gate, Permit
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import Metered, Noised, SystemNoise
from silosynth.client.policy import just_this
from silosynth.client.refusal import Reason, Refused
from silosynth.common.engine import Claim, Parts, Units
from silosynth.common.engines.layouts import OneWays
from silosynth.common.privacy import Gaussian
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study
from silosynth.common.wire import Request

PAID = Fraction(20)
STUDY = Study(
    name="t",
    schema=Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")),)),
    budget=Budget(1.0, 1e-5, 1),
    roster=tuple(Member(name, 100) for name in "abcde"),
    plan=(Step("count", 2, PAID),),
)
LAYOUT = OneWays((4,))
UNITS = Units(np.array([[0], [1], [1], [3]], dtype=np.int32), np.arange(4))
CLAIM = Claim(Gaussian(PAID, 4), 4)


def metered(noise=None, shares=4):
    return Metered(noise or SystemNoise(), b"", shares=shares, capacity=100, max_rows_per_unit=64)


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def gate(ledger):
    opened = Gate(just_this(STUDY), ledger, SystemNoise())
    opened.approve(STUDY, STUDY.roster[0])
    return opened


@pytest.fixture
def permit(gate):
    return gate.permit(STUDY, Request(STUDY.digest, 0, 0, bytes(16), Parts("count")), CLAIM)


def honest(mechanism, units):
    return mechanism.histogram(units, LAYOUT, multiplier=PAID)


def no_noise(mechanism, units):
    mechanism.histogram(units, LAYOUT, multiplier=PAID)
    return np.bincount(units.codes[:, 0], minlength=4).astype(np.int64)


def nothing_performed(mechanism, units):
    return np.bincount(units.codes[:, 0], minlength=4).astype(np.int64)


def less_noise(mechanism, units):
    return mechanism.histogram(units, LAYOUT, multiplier=PAID - Fraction(1, 10**6))


def more_noise(mechanism, units):
    return mechanism.histogram(units, LAYOUT, multiplier=PAID + 1)  # harmless, but not what the ledger says


def twice(mechanism, units):
    mechanism.histogram(units, LAYOUT, multiplier=PAID)
    return mechanism.histogram(units, LAYOUT, multiplier=PAID)


def once_more_with_less_noise(mechanism, units):
    loud = mechanism.histogram(units, LAYOUT, multiplier=PAID)
    mechanism.histogram(units, LAYOUT, multiplier=Fraction(1, 1000))
    return loud


def too_long(mechanism, units):
    return mechanism.histogram(units, OneWays((5,)), multiplier=PAID)


def too_short(mechanism, units):
    few = Units(units.codes[:2], units.owner[:2])
    return mechanism.histogram(few, OneWays((3,)), multiplier=PAID)


def handle_of_another_mechanism(mechanism, units):
    mechanism.histogram(units, LAYOUT, multiplier=PAID)
    return metered().histogram(units, LAYOUT, multiplier=PAID)


def handle_made_by_hand(mechanism, units):
    mechanism.histogram(units, LAYOUT, multiplier=PAID)
    return Noised()


def duck(mechanism, units):
    mechanism.histogram(units, LAYOUT, multiplier=PAID)
    return type("Noised", (), {"_vector": np.zeros(4, dtype=np.int64), "_maker": mechanism})()


def events_emptied(mechanism, units):
    noised = twice(mechanism, units)
    with pytest.raises(AttributeError):
        mechanism.events.clear()
    with pytest.raises(AttributeError):
        mechanism.events = (CLAIM.event,)
    return noised


def no_answer(mechanism, units):
    return None


CHEATS = [
    no_noise,
    nothing_performed,
    less_noise,
    more_noise,
    twice,
    once_more_with_less_noise,
    too_long,
    too_short,
    handle_of_another_mechanism,
    handle_made_by_hand,
    duck,
    events_emptied,
    no_answer,
]


def sealed_nothing(gate, ledger, permit, noised):
    with pytest.raises(Refused, match=f"^{Reason.INTERNAL.value}$"):
        gate.seal(permit, noised)
    return not any(isinstance(entry.record, Committed) for entry in ledger.entries())


def test_an_honest_engine_is_sealed(gate, permit):
    sealed = gate.seal(permit, honest(permit.mechanism, UNITS))
    assert sealed.refusal is None
    assert sealed.vector.shape == (4,)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.__name__)
def test_a_cheating_engine_is_not_sealed(gate, ledger, permit, cheat):
    assert sealed_nothing(gate, ledger, permit, cheat(permit.mechanism, UNITS))


def test_a_permit_is_used_up_by_a_cheat(gate, ledger, permit):
    noised = honest(permit.mechanism, UNITS)
    assert sealed_nothing(gate, ledger, permit, np.zeros(4, dtype=np.int64))
    assert sealed_nothing(gate, ledger, permit, noised)


def test_a_permit_seals_once(gate, permit):
    noised = honest(permit.mechanism, UNITS)
    gate.seal(permit, noised)
    with pytest.raises(Refused, match=f"^{Reason.INTERNAL.value}$"):
        gate.seal(permit, noised)


def test_a_handle_is_sealed_under_its_own_permit_only(gate, ledger, permit):
    second = gate.permit(STUDY, permit.request, CLAIM)  # the same release, asked twice at once
    honest(second.mechanism, UNITS)
    assert sealed_nothing(gate, ledger, second, honest(permit.mechanism, UNITS))


def test_a_permit_made_by_hand_or_by_another_gate_is_none(gate, ledger, permit, tmp_path):
    forged = [replace(permit), replace(permit, claim=replace(CLAIM, size=5)), Permit(permit.request, CLAIM, metered())]
    for paper in forged:
        noised = honest(paper.mechanism, UNITS) if not paper.mechanism.events else None
        assert sealed_nothing(gate, ledger, paper, noised)
    elsewhere = Ledger(tmp_path / "other.sqlite")
    other = Gate(just_this(STUDY), elsewhere, SystemNoise())
    other.approve(STUDY, STUDY.roster[0])
    foreign = other.permit(STUDY, permit.request, CLAIM)
    assert sealed_nothing(gate, ledger, foreign, honest(foreign.mechanism, UNITS))
    elsewhere.close()


def test_a_copied_handle_is_worth_nothing_and_a_mechanism_is_not_copied(gate, ledger, permit):
    noised = honest(permit.mechanism, UNITS)
    with pytest.raises(TypeError, match="neither copied nor stored"):
        copy.deepcopy(permit.mechanism)
    assert sealed_nothing(gate, ledger, permit, copy.copy(noised))


def test_answers_of_two_sites_and_of_two_attempts_carry_different_noise(tmp_path):
    vectors = []
    for name in "abc":
        ledger = Ledger(tmp_path / name)
        gate = Gate(just_this(STUDY), ledger, SystemNoise())
        gate.approve(STUDY, STUDY.roster[0])
        for release in range(2):
            permit = gate.permit(STUDY, Request(STUDY.digest, release, 0, bytes(16), Parts("count")), CLAIM)
            vectors.append(tuple(gate.seal(permit, honest(permit.mechanism, UNITS)).vector.tolist()))
        ledger.close()
    # sigma is 20 * 5040 / 2 in each of 4 coordinates: two equal vectors have probability < 1e-18
    assert len(set(vectors)) == len(vectors)
