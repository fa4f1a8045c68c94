"""Persons with several rows: what a good table keeps, what dealing rows to persons loses, and each measure by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from silosynth.common.evaluate import Budget, Scores, evaluate
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.longitudinal import compare, histories, order_column, profile
from silosynth.common.evaluate.tables import Table
from silosynth.common.evaluate.utility import Limits
from silosynth.common.schema import Column, Kind, Schema

pytest.importorskip("sklearn")

SCHEMA = Schema(
    (
        Column("day", Kind.DATE, low=0, high=30_000),
        Column("pressure", Kind.NUMBER, low=-99, high=99),
        Column("sex", Kind.CATEGORICAL, codes=("m", "f")),
    )
)
BUDGET = Budget(triples=1, detection=60, neighbours=60, models=Limits(100, 100, 100))
NAMES = {"visit_counts", "visit_gaps", "lag1_difference", "person_summaries"}


def visits(persons: int, seed: int) -> tuple[pd.DataFrame, list[int]]:
    """One visit or four to eight, thirty days apart; a person's pressure is their own, and sex does not change."""
    rng = np.random.default_rng(seed)
    many = np.where(rng.random(persons) < 0.5, 1, rng.integers(4, 9, persons))
    whose = np.repeat(np.arange(persons), many)
    gap = np.round(rng.normal(30, 3, len(whose)))
    day = 10_000 + gap.cumsum() - np.repeat(gap.cumsum()[np.cumsum(many) - many], many)
    pressure = rng.normal(size=persons)[whose] * 3 + rng.normal(size=len(whose))
    sex = rng.integers(0, 2, persons)[whose]
    frame = pd.DataFrame(
        {"day": day, "pressure": pressure, "sex": pd.Categorical.from_codes(sex, list(SCHEMA.columns[2].labels))}
    )
    mixed = rng.permutation(len(frame))  # rows come in any order
    return frame.iloc[mixed].reset_index(drop=True), list(whose[mixed])


def scored(made: tuple[pd.DataFrame, list[int]] | pd.DataFrame) -> Scores:
    (train, whose), (held, theirs) = visits(300, 1), visits(150, 2)
    if isinstance(made, pd.DataFrame):
        return evaluate(SCHEMA, train, held, made, None, seed=0, budget=BUDGET, persons=(whose, theirs))
    persons = (whose, theirs, made[1])
    return evaluate(SCHEMA, train, held, made[0], None, seed=0, budget=BUDGET, persons=persons)


def test_fresh_persons_reach_the_ceiling_and_dealt_rows_the_floor() -> None:
    good = scored(visits(250, 3))
    frame, whose = visits(250, 3)
    bad = scored((frame, list(np.random.default_rng(0).permutation(whose))))
    assert set(good.scores) >= NAMES
    assert good.rows["persons"] == 150
    for name in NAMES:
        near, far = good.scores[name], bad.scores[name]
        assert near.rescaled is not None, name
        assert near.rescaled > 75, name
        assert near.between is not None
        assert near.between[0] < 100, name
        if name != "visit_counts":  # dealing keeps those
            assert far.rescaled is not None, name
            assert far.rescaled < 50, name


def test_rows_without_persons_are_said_not_to_be_measured() -> None:
    scores = scored(visits(100, 3)[0])
    assert not NAMES & set(scores.scores)
    assert any("belong to no person" in note for note in scores.notes)


def test_a_table_of_one_row_a_person_is_silent() -> None:
    frames = [visits(80, seed)[0] for seed in (1, 2, 3)]
    persons = tuple(list(range(len(frame))) for frame in frames)
    scores = evaluate(SCHEMA, *frames, None, seed=0, budget=BUDGET, persons=(persons[0], persons[1], persons[2]))
    assert not NAMES & set(scores.scores)
    assert not any("person" in note for note in scores.notes)


def made_by_hand() -> Grouped:
    day = np.array([3.0, 1.0, 2.0, 9.0, np.nan, 5.0])
    x = np.array([30.0, 10.0, 20.0, 1.0, 3.0, 2.0])
    sex = np.array([0, 0, 1, 1, -1, 1], dtype=np.int32)
    return Grouped(Table((day, x, sex), 6), np.array([0, 0, 0, 4, 4, 7]))


def test_a_profile_is_what_counting_says() -> None:
    sorted_rows = histories(made_by_hand(), order=0)
    assert sorted_rows.person.tolist() == [0, 0, 0, 1, 1, 2]
    assert sorted_rows.table.columns[1].tolist() == [10, 20, 30, 1, 3, 2]  # by day; missing days last
    found = profile(sorted_rows, np.array([False, False, True]), 0)
    assert found.visits.tolist() == [3, 2, 1]
    assert found.gaps.tolist() == [1, 1]
    assert found.lags[0] == pytest.approx(np.corrcoef([10, 20, 1], [20, 30, 3])[0, 1])
    assert found.lags[1] == 0  # 0 to 1, 1 to 0, and one pair with a missing code
    assert found.summaries[0].tolist() == [20, 2, 2]
    assert found.summaries[1].tolist() == [2, 1, 1]


def test_distances_are_those_of_scipy_and_a_table_without_gaps_is_far() -> None:
    stats = pytest.importorskip("scipy.stats")
    coded = np.array([False, False, True])
    frames = [visits(60, seed) for seed in (1, 2)]
    rows = [
        histories(
            Grouped(
                Table((f["day"].to_numpy(), f["pressure"].to_numpy(), f["sex"].cat.codes.to_numpy(np.int32)), len(f)),
                np.array(whose),
            ),
            0,
        )
        for f, whose in frames
    ]
    real, other = (profile(one, coded, 0) for one in rows)
    found = compare(real, other)
    assert found[0] == pytest.approx(stats.ks_2samp(real.visits, other.visits).statistic)
    assert found[1] == pytest.approx(stats.ks_2samp(real.gaps, other.gaps).statistic)
    assert found[2] == pytest.approx((abs(real.lags[0] - other.lags[0]) + abs(real.lags[1] - other.lags[1])) / 2)
    alone = profile(histories(Grouped(made_by_hand().table, np.arange(6)), 0), coded, 0)
    assert compare(real, alone)[1] == 1
    assert math.isnan(compare(alone, real)[1])


def test_the_column_of_time_is_a_date_or_a_number_that_rises() -> None:
    frame, whose = visits(60, 1)
    columns = frame["day"].to_numpy(), frame["pressure"].to_numpy(), frame["sex"].cat.codes.to_numpy(np.int32)
    rows = Grouped(Table(columns, len(frame)), np.array(whose))
    assert order_column(SCHEMA, rows) == 0
    rounds = Schema((Column("pressure", Kind.NUMBER, low=-99, high=99), Column("round", Kind.INTEGER, low=0, high=9)))
    numbers = np.random.default_rng(0).normal(size=6), np.array([1.0, 2, 3, 1, 2, 1])
    assert order_column(rounds, Grouped(Table(numbers, 6), np.array([0, 0, 0, 1, 1, 2]))) == 1
    assert order_column(rounds, Grouped(Table(numbers, 6), np.array([0, 1, 0, 1, 0, 1]))) is None
