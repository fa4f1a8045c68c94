"""Learning at a site: every sum noised, every sum paid for, and nothing out but the answer."""

from dataclasses import replace

import mechanism_checks as checks
import numpy as np
import pytest
import sampled_checks
from sampled_checks import COUNTS, GRADIENT, RATE, WITHIN, Recorder, Zeros

from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import just_this
from silosynth.client.refusal import Reason, Refused
from silosynth.common.engine import Claim, Parts
from silosynth.common.privacy import Repeated
from silosynth.common.sampled import certify
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Study, Trust
from silosynth.common.wire import Request

STUDY = Study(
    name="t",
    schema=Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")),)),
    budget=Budget(10.0, 1e-5, 0),
    roster=(Member("a", 100), Member("b", 100)),
    plan=(replace(WITHIN, certified=certify(Repeated(1, WITHIN.event(1)))),),
    trust=Trust.LOCAL,
)
UNITS = checks.units([0, 1, 1, 3])


def test_every_sum_is_noised_and_counted():
    sampled_checks.check_every_sum_of_a_learner_is_noised_and_counted()


def test_it_needs_all_noise_here():
    sampled_checks.check_learning_needs_all_noise_here()


def test_no_sum_of_it_can_be_sealed():
    sampled_checks.check_no_sum_of_a_learner_can_be_sealed()


@pytest.fixture
def gate(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    opened = Gate(just_this(STUDY), ledger, SystemNoise())
    opened.approve(STUDY, STUDY.roster[0])
    yield opened
    ledger.close()


def sealed(gate, asks, *, counts=COUNTS, gradient=GRADIENT, rate=RATE, answer=None):
    permit = gate.permit(
        STUDY, Request(STUDY.digest, 0, 0, bytes(16), Parts("learn")), Claim(STUDY.plan[0].event(1), 3)
    )
    used, learner = permit.mechanism, Recorder(asks)
    if answer is not None:
        learner.answer = lambda: answer

    def perform(ask):
        if ask == "pairs":
            return used.histogram(UNITS, checks.Tables(1, 4), multiplier=counts)
        return used.sampled_sum(UNITS, Zeros(4), rate=rate, multiplier=gradient)

    return gate.seal(permit, used.learn(learner, perform))


ALL = ["pairs"] + ["gradient"] * 12


def test_the_gate_lets_out_what_was_learnt_as_planned(gate):
    assert sealed(gate, ALL).vector.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "cheat",
    [
        {"asks": ALL[:-1]},
        {"asks": [*ALL, "gradient"]},
        {"asks": [*ALL, "pairs"]},
        {"asks": ALL[::-1]},
        {"asks": ALL, "counts": COUNTS / 2},
        {"asks": ALL, "gradient": GRADIENT * 99 / 100},
        {"asks": ALL, "rate": RATE * 2},
        {"asks": ALL, "answer": np.zeros(4, dtype=np.int64)},
        {"asks": ALL, "answer": np.zeros((3, 1), dtype=np.int64)},
        {"asks": ALL, "answer": np.zeros(3)},
        {"asks": ALL, "answer": "abc"},
    ],
)
def test_the_gate_refuses_anything_else(gate, cheat):
    with pytest.raises(Refused, match=f"^{Reason.INTERNAL.value}$"):
        sealed(gate, **cheat)
