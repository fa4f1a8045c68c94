"""The gate: nothing leaves but what was approved, paid for, performed and kept."""

from dataclasses import FrozenInstanceError, replace
from fractions import Fraction

import numpy as np
import pytest

from silosynth.client.entries import Committed, Declined, Planned, Reserved
from silosynth.client.gate import Gate, Sealed
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import just_this
from silosynth.client.refusal import Reason, Refused
from silosynth.common.engine import Claim, Parts, Units
from silosynth.common.engines.layouts import OneWays
from silosynth.common.privacy import Gaussian, NoPrivacy, View
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study
from silosynth.common.wire import LIMITS, Request

STUDY = Study(
    name="t",
    schema=Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")),)),
    budget=Budget(1.0, 1e-5, 1),
    roster=tuple(Member(name, 100) for name in "abcde"),
    plan=(Step("count", 1, Fraction(20)), Step("sum", 3, Fraction(30))),
)
ME = STUDY.roster[0]
SIZE = 4
LAYOUT = OneWays((SIZE,))
UNITS = Units(np.array([[0], [1], [1], [3]], dtype=np.int32), np.arange(4))
COUNT = Claim(Gaussian(Fraction(20), 4), SIZE)
SUM = Claim(Gaussian(Fraction(30), 4), SIZE)


def request(release=0, attempt=0, *, kind=None, lists=(), study=STUDY):
    kind = kind or ("count" if release == 0 else "sum")
    return Request(study.digest, release, attempt, bytes(16), Parts(kind, lists))


def refused_with(reason):
    return pytest.raises(Refused, match=f"^{reason.value}$")


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def gate(ledger):
    return Gate(just_this(STUDY), ledger, SystemNoise())


@pytest.fixture
def open_gate(gate):
    gate.approve(STUDY, ME)
    return gate


def answer(gate, asked, claim=None):
    claim = claim or (COUNT if asked.release == 0 else SUM)
    permit = gate.permit(STUDY, asked, claim)
    return gate.seal(permit, permit.mechanism.histogram(UNITS, LAYOUT, multiplier=claim.event.multiplier))


def test_only_the_gate_makes_a_sealed(open_gate):
    with pytest.raises(TypeError, match="only the gate seals"):
        Sealed(object())
    sealed = answer(open_gate, request())
    with pytest.raises(ValueError, match="key"):
        replace(sealed, vector=np.zeros(SIZE, dtype=np.int64))
    with pytest.raises(FrozenInstanceError):
        sealed.vector = None
    with pytest.raises(ValueError, match="read-only"):
        sealed.vector[0] = 0


def test_approval_pays_for_the_whole_plan_once(open_gate, ledger):
    open_gate.approve(STUDY, ME)
    assert ledger.spent(View.AGGREGATE) == Fraction(1, 400) + Fraction(3, 900)
    assert [type(entry.record) for entry in ledger.entries()][1:] == [Planned]


def test_approval_asks_the_policy_first(ledger):
    gate = Gate(just_this(replace(STUDY, name="another")), ledger, SystemNoise())
    with refused_with(Reason.NOT_APPROVED):
        gate.approve(STUDY, ME)
    assert ledger.verify() == 1


def test_a_second_study_over_the_lifetime_cap_is_refused_in_words(open_gate, ledger):
    second = replace(STUDY, purpose="the same again")
    policy = replace(just_this(STUDY), studies=frozenset({second.digest}))
    with refused_with(Reason.LIFETIME_CAP):
        Gate(policy, ledger, SystemNoise()).approve(second, ME)


@pytest.mark.parametrize(
    "study", [replace(STUDY, max_rows_per_unit=0), replace(STUDY, roster=(Member("a", 0), *STUDY.roster[1:]))]
)
def test_a_study_that_no_mechanism_can_serve_is_refused_before_it_is_paid_for(ledger, study):
    gate = Gate(just_this(study), ledger, SystemNoise())
    with refused_with(Reason.BAD_PLAN):
        gate.approve(study, study.roster[0])
    assert ledger.verify() == 1


def test_predictable_noise_needs_a_simulations_policy(ledger):
    noise = SystemNoise()
    seeded = type("Seeded", (), {"private": False, "add": noise.add, "slots": noise.slots})()
    with refused_with(Reason.NO_NOISE):
        Gate(just_this(STUDY), ledger, seeded).approve(STUDY, ME)
    Gate(just_this(STUDY, allow_no_privacy=True), ledger, seeded).approve(STUDY, ME)
    with refused_with(Reason.OUT_OF_PLAN):  # what was paid for without privacy cannot go on as if it had some
        Gate(just_this(STUDY, allow_no_privacy=True), ledger, SystemNoise()).approve(STUDY, ME)


def test_a_round_is_reserved_before_the_mechanism_exists_and_committed_before_the_answer_does(open_gate, ledger):
    permit = open_gate.permit(STUDY, request(), COUNT)
    assert isinstance(list(ledger.entries())[-1].record, Reserved)
    sealed = open_gate.seal(permit, permit.mechanism.histogram(UNITS, LAYOUT, multiplier=Fraction(20)))
    committed = list(ledger.entries())[-1]
    assert isinstance(committed.record, Committed)
    assert sealed.receipt == committed.hash
    assert sealed.vector.shape == (SIZE,)


def test_a_whole_plan_is_answered_at_the_price_of_the_plan(open_gate, ledger):
    before = ledger.spent(View.LOCAL)
    for release in range(4):
        assert answer(open_gate, request(release)).refusal is None
    assert ledger.spent(View.LOCAL) == before
    with refused_with(Reason.OUT_OF_PLAN):
        open_gate.permit(STUDY, request(4), SUM)


def test_the_same_request_gets_the_same_bytes_and_no_charge(open_gate, ledger, tmp_path):
    first = answer(open_gate, request())
    entries = ledger.verify()
    again = open_gate.recall(replace(request(), nonce=b"another nonce..."))
    reopened = Ledger(tmp_path / "ledger.sqlite")
    other_process = Gate(just_this(STUDY), reopened, SystemNoise()).recall(request())
    reopened.close()
    for sealed in (again, other_process):
        assert sealed.vector.tobytes() == first.vector.tobytes()
        assert sealed.receipt == first.receipt
    assert ledger.verify() == entries


def test_another_task_for_an_answered_release_is_refused(open_gate):
    answer(open_gate, request())
    other = request(lists=((1, 2),))
    assert open_gate.recall(other) is None
    with refused_with(Reason.ANSWERED_DIFFERENTLY):
        open_gate.permit(STUDY, other, COUNT)


def test_two_permits_for_one_release_give_one_answer(open_gate):
    first, second = (open_gate.permit(STUDY, request(), COUNT) for _ in range(2))
    answers = [
        open_gate.seal(permit, permit.mechanism.histogram(units, LAYOUT, multiplier=Fraction(20)))
        for permit, units in ((first, UNITS), (second, Units(UNITS.codes[:1], UNITS.owner[:1])))
    ]
    assert answers[0].vector.tobytes() == answers[1].vector.tobytes()


@pytest.mark.parametrize(
    ("asked", "claim", "reason"),
    [
        (request(1), SUM, Reason.OUT_OF_ORDER),
        (request(9), SUM, Reason.OUT_OF_PLAN),
        (request(0, kind="sum"), COUNT, Reason.OUT_OF_PLAN),
        (request(0), SUM, Reason.OUT_OF_PLAN),
        (request(0), Claim(Gaussian(Fraction(20), 3), SIZE), Reason.OUT_OF_PLAN),
        (request(0), Claim(NoPrivacy(), SIZE), Reason.OUT_OF_PLAN),
        (request(0), Claim(COUNT.event, 0), Reason.BAD_TASK),
        (request(0), Claim(COUNT.event, LIMITS.vector_values + 1), Reason.BAD_TASK),
        (request(0, 1), COUNT, Reason.STUDY_CAP),
    ],
)
def test_what_gets_no_permit(open_gate, ledger, asked, claim, reason):
    entries = ledger.verify()
    with refused_with(reason):
        open_gate.permit(STUDY, asked, claim)
    assert ledger.verify() == entries


def test_a_permit_is_for_the_study_that_was_approved(open_gate, gate):
    twin = replace(STUDY, plan=(Step("count", 1, Fraction(1)), *STUDY.plan[1:]))
    with refused_with(Reason.NOT_APPROVED):
        open_gate.permit(twin, request(study=twin), COUNT)
    with refused_with(Reason.NOT_APPROVED):
        open_gate.permit(twin, request(), COUNT)


def test_a_refusal_is_a_word_and_an_entry(open_gate, ledger):
    sealed = open_gate.refuse(STUDY.digest, Reason.BAD_TASK)
    assert (sealed.vector, sealed.refusal) == (None, Reason.BAD_TASK)
    assert sealed.receipt == ledger.head
    open_gate.refuse("f" * 64, Reason.UNKNOWN_STUDY)
    said = [entry.record for entry in ledger.entries() if isinstance(entry.record, Declined)]
    assert said == [Declined(STUDY.digest, Reason.BAD_TASK), Declined("", Reason.UNKNOWN_STUDY)]


def test_no_refusal_tells_that_there_are_too_many_rows(open_gate, ledger):
    assert open_gate.refuse(STUDY.digest, Reason.CAPACITY).refusal is Reason.INTERNAL
    assert list(ledger.entries())[-1].record == Declined(STUDY.digest, Reason.INTERNAL)


def test_a_study_is_locked_after_too_many_refusals_and_the_ledger_does_not_grow(ledger, caplog):
    gate = Gate(replace(just_this(STUDY), lock_out_after=2), ledger, SystemNoise())
    gate.approve(STUDY, ME)
    for _ in range(2):
        gate.refuse(STUDY.digest, Reason.BAD_TASK)
    with refused_with(Reason.LOCKED_OUT):
        gate.permit(STUDY, request(), COUNT)
    entries = ledger.verify()
    sealed = gate.refuse(STUDY.digest, Reason.LOCKED_OUT)
    assert (sealed.refusal, sealed.receipt) == (Reason.LOCKED_OUT, "")
    assert ledger.verify() == entries
    assert "not recorded" in caplog.text


def test_refusals_of_unknown_studies_lock_no_study(ledger):
    gate = Gate(replace(just_this(STUDY), lock_out_after=2), ledger, SystemNoise())
    gate.approve(STUDY, ME)
    for _ in range(5):
        gate.refuse("f" * 64, Reason.UNKNOWN_STUDY)
    assert answer(gate, request()).refusal is None


def test_a_refusal_is_said_even_if_it_cannot_be_written_down(open_gate, ledger, caplog):
    ledger.close()
    sealed = open_gate.refuse(STUDY.digest, Reason.INTERNAL)
    assert (sealed.refusal, sealed.receipt) == (Reason.INTERNAL, "")
    assert "could not be recorded" in caplog.text
