"""Study: one meaning, one digest; steps by release number."""

from dataclasses import replace
from fractions import Fraction

import pytest

from silosynth.common.errors import InvalidStudy
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study, Trust

SCHEMA = Schema((Column("a", Kind.BOOLEAN), Column("b", Kind.INTEGER, low=0, high=9)))
STUDY = Study(
    "s",
    SCHEMA,
    Budget(1, 1e-5, 1),
    roster=tuple(Member(name, 10) for name in "abc"),
    plan=(Step("one", 1, Fraction(5, 2)), Step("two", 3, None)),
)


def test_the_same_agreement_written_differently_has_one_digest():
    again = replace(STUDY, budget=Budget(1.0, 1e-5, 1), holdout=0.2, settings=())
    assert again.digest == STUDY.digest
    ordered = replace(STUDY, settings=(("b", 1), ("a", 2.0)))
    assert ordered.digest == replace(STUDY, settings=(("a", 2), ("b", 1.0))).digest


@pytest.mark.parametrize(
    "change",
    [
        {"name": "t"},
        {"schema": Schema(tuple(reversed(SCHEMA.columns)))},
        {"schema": Schema((SCHEMA.columns[0], replace(SCHEMA.columns[1], high=10)))},
        {"schema": Schema((SCHEMA.columns[0], replace(SCHEMA.columns[1], unreviewed=("min",))))},
        {"budget": Budget(1.5, 1e-5, 1)},
        {"budget": Budget(1, 1e-6, 1)},
        {"budget": Budget(1, 1e-5, 2)},
        {"target": "a"},
        {"unit": "id"},
        {"holdout": 0.3},
        {"trust": Trust.LOCAL},
        {"rows": 5},
        {"max_rows_per_unit": 8},
        {"settings": (("steps", 5),)},
        {"roster": STUDY.roster[:2]},
        {"roster": (Member("a", 11), *STUDY.roster[1:])},
        {"plan": STUDY.plan[:1]},
        {"plan": (Step("one", 1, Fraction(5, 3)), STUDY.plan[1])},
        {"purpose": "to learn"},
        {"threshold": 3},
        {"attempts": 2},
        {"roster": (Member("a", 10, "ab" * 32), *STUDY.roster[1:])},
        {"roster": (Member("a", 10, officer="ab" * 32), *STUDY.roster[1:])},
        {"code": "ab" * 32},
    ],
)
def test_whatever_matters_changes_the_digest(change):
    assert replace(STUDY, **change).digest != STUDY.digest


def test_release_numbers_run_through_the_plan():
    assert [STUDY.step_of(release).kind for release in range(STUDY.releases)] == ["one", "two", "two", "two"]
    for outside in (-1, 4):
        with pytest.raises(IndexError):
            STUDY.step_of(outside)


def test_shares():
    assert STUDY.shares == 2
    assert replace(STUDY, trust=Trust.LOCAL).shares == 1


@pytest.mark.parametrize(
    ("epsilon", "delta", "colluders", "key"),
    [
        (0, 1e-5, 1, "epsilon"),
        (-1, 1e-5, 1, "epsilon"),
        (float("nan"), 1e-5, 1, "epsilon"),
        (1, 0, 1, "delta"),
        (1, 1, 1, "delta"),
        (1, 1e-13, 1, "delta"),
        (1, float("nan"), 1, "delta"),
        (1, 1e-5, -1, "colluders"),
    ],
)
def test_impossible_budgets_are_refused(epsilon, delta, colluders, key):
    with pytest.raises(InvalidStudy, match=key):
        Budget(epsilon, delta, colluders)


def test_the_canonical_bytes_begin_with_their_format():
    assert STUDY.canonical().startswith(b"silosynth/study/1\n{")
