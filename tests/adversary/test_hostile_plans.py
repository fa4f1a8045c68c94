"""Studies made to hurt: whatever a coordinator proposes, a site declines it in a word and its ledger stays readable."""

from dataclasses import replace
from fractions import Fraction

import pytest

from silosynth.client.entries import Planned, PlannedStep, Receipted
from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import Cap, Caps, Policy, read_policy, write_policy
from silosynth.client.refusal import Reason, Refused
from silosynth.common.privacy import Gaussian
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study

STUDY = Study(
    name="t",
    schema=Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")),)),
    budget=Budget(1.0, 1e-5, 1),
    roster=tuple(Member(name, 100) for name in "abcde"),
    plan=(Step("count", 1, Fraction(20)),),
)
MUCH = Cap(100.0, 1e-5)


def generous(study):
    """A site that would pay for almost anything."""
    caps = Caps(MUCH, MUCH)
    studies, engines = frozenset({study.digest}), frozenset({study.engine})
    return Policy(studies, engines, study_caps=caps, lifetime_caps=caps, allow_plain_sums=True)


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "plan",
    [
        (*STUDY.plan, Step("never", 0, Fraction(30))),
        (Step("owed", -1, Fraction(30)),),
        (Step("negative", 1, Fraction(-20)),),
        (Step("zero", 1, Fraction(0)),),
    ],
    ids=lambda plan: plan[-1].kind,
)
def test_a_plan_that_is_none_is_refused_and_not_written(ledger, plan):
    study = replace(STUDY, plan=plan)
    with pytest.raises(Refused, match=f"^{Reason.BAD_PLAN.value}$"):
        Gate(generous(study), ledger, SystemNoise()).approve(study, study.roster[0])
    assert ledger.verify() == 1


@pytest.mark.parametrize(
    "record",
    [
        Planned("a" * 64, "t", "1e-05", True, (PlannedStep("count", 0, Gaussian(Fraction(20), 4)),)),
        Planned("a" * 64, "t", "1e-05", True, (PlannedStep("count", 1.5, Gaussian(Fraction(20), 4)),)),
        Planned("a" * 64, None, "1e-05", True, (PlannedStep("count", 1, Gaussian(Fraction(20), 4)),)),
    ],
)
def test_what_could_not_be_read_back_is_not_written(ledger, tmp_path, record):
    with pytest.raises(ValueError, match="read back"):
        ledger.plan(record, lambda after: None)
    ledger.receipt("a" * 64, "b" * 64)
    reopened = Ledger(tmp_path / "ledger.sqlite")
    assert [type(entry.record) for entry in reopened.entries()][1:] == [Receipted]
    reopened.close()


def test_bounds_from_data_are_refused_and_no_policy_file_lets_them_in(ledger):
    drafted = replace(STUDY, schema=Schema((Column("AGE", Kind.INTEGER, low=0, high=93, unreviewed=("max",)),)))
    policy = replace(generous(drafted), allow_unreviewed=True)
    written = replace(read_policy(write_policy(policy), "policy.toml"), allow_plain_sums=True)
    for strict in (generous(drafted), written):
        with pytest.raises(Refused, match=f"^{Reason.UNREVIEWED.value}$"):
            Gate(strict, ledger, SystemNoise()).approve(drafted, drafted.roster[0])
    Gate(policy, ledger, SystemNoise()).approve(drafted, drafted.roster[0])


def test_an_entry_is_on_disk_before_the_call_returns(ledger):
    assert ledger._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: every commit of the WAL is fsynced
    assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
