"""Pairs of columns: against pandas and by hand; samples of the training rows; rules that rows keep or break."""

import numpy as np
import pandas as pd
import pytest

from silosynth.common.evaluate.associations import (
    EXPECTED,
    corrected_v,
    correlation_differences,
    equivalence,
    pair_measures,
)
from silosynth.common.evaluate.fidelity import Sides, cramers_v, distances, marginal_cells, trend_tables
from silosynth.common.evaluate.rules import order_rules
from silosynth.common.evaluate.tables import panel, read
from silosynth.common.schema import Column, Kind, Schema

SCHEMA = Schema(
    (
        Column("sex", Kind.CATEGORICAL, codes=("m", "f")),
        Column("births", Kind.CATEGORICAL, codes=("none", "one", "more")),
        Column("into", Kind.DATE, low=0, high=30_000),
        Column("out", Kind.DATE, low=0, high=30_000),
        Column("age", Kind.INTEGER, low=0, high=99),
    )
)


def patients(rows: int, seed: int, *, independent: bool = False) -> pd.DataFrame:
    """Men never gave birth; nobody leaves before they came; the old stay long."""
    rng = np.random.default_rng(seed)
    sex = rng.integers(0, 2, rows)
    births = np.where(sex == 0, 0, rng.integers(0, 3, rows))
    age = np.round(rng.uniform(20, 90, rows))
    into = np.round(rng.uniform(10_000, 10_100, rows))
    frame = pd.DataFrame(
        {
            "sex": pd.Categorical.from_codes(sex, list(SCHEMA.columns[0].labels)),
            "births": pd.Categorical.from_codes(births, list(SCHEMA.columns[1].labels)),
            "into": into,
            "out": into + np.round(rng.exponential(age / 10)),
            "age": age,
        }
    )
    if independent:
        frame = frame.apply(lambda values: values.sample(frac=1, random_state=int(rng.integers(99))).to_numpy())
    return frame.astype({"sex": "category", "births": "category"})


def sides_of(train: pd.DataFrame, made: pd.DataFrame) -> Sides:
    rng = np.random.default_rng(0)
    (real, other), labels = read(SCHEMA, [train, made])
    return Sides(real, panel(other, real.shuffled(rng), None, rng), labels)


@pytest.fixture(scope="module")
def sides() -> Sides:
    return sides_of(patients(2000, 1), patients(1500, 2))


@pytest.fixture(scope="module")
def broken() -> Sides:
    return sides_of(patients(2000, 1), patients(1500, 2, independent=True))


def test_bias_corrected_v_is_nought_for_independent_samples_and_one_for_equal_columns() -> None:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(500, np.full(60, 1 / 60), size=200).reshape(200, 6, 10)
    corrected = corrected_v(counts / 500, np.full(200, 500.0))
    plain = np.array([cramers_v(table) for table in counts])
    assert plain.mean() > 0.1  # what sampling noise alone puts there
    assert (corrected**2).mean() < (plain**2).mean() / 10
    same = np.diag([200, 100, 100, 0]) / 400
    assert corrected_v(same[None], np.array([400.0]))[0] == pytest.approx(1)
    assert corrected_v(np.array([[[0.4, 0.6], [0, 0]]]), np.array([9.0]))[0] == 0


def test_distances_are_those_of_the_plain_function_and_independence_shows(sides: Sides, broken: Sides) -> None:
    pairs = [(0, 1), (2, 3), (1, 4)]
    for some in (sides, broken):
        cells = marginal_cells(some)
        measured = pair_measures(some, cells, pairs)
        np.testing.assert_allclose(measured.distance, distances(some, cells, pairs))
    good, bad = (pair_measures(some, marginal_cells(some), pairs).association[:, 0] for some in (sides, broken))
    assert (good < 0.05).all()
    assert (bad[:2] > 0.4).all()
    assert bad[2] < 0.1


def test_structural_zeros_are_cells_that_independence_would_fill(broken: Sides, sides: Sides) -> None:
    counted = pair_measures(broken, marginal_cells(broken), [(0, 1)]).impossible[broken.panel.blocks[0]]
    men = broken.panel.table.columns[0][broken.panel.blocks[0]] == 0
    mothers = broken.panel.table.columns[1][broken.panel.blocks[0]] > 0
    np.testing.assert_array_equal(counted, men & mothers)
    assert counted.mean() > 0.1
    few = sides_of(patients(int(EXPECTED), 1), patients(500, 2, independent=True))
    assert not pair_measures(few, marginal_cells(few), [(0, 1)]).impossible.any()  # too few rows to be sure of anything
    assert not pair_measures(sides, marginal_cells(sides), [(0, 1)]).impossible[sides.panel.blocks[0]].any()


def test_correlations_are_those_of_pandas_and_a_constant_correlates_with_nothing() -> None:
    train, made = patients(800, 1), patients(600, 2)
    gaps = correlation_differences(trend_tables(sides_of(train, made)))[:, 0]
    names = ["into", "out", "age"]
    expected = (train[names].corr() - made[names].corr()).abs().to_numpy()[np.triu_indices(3, 1)]
    np.testing.assert_allclose(gaps, expected, atol=1e-9)
    flat = correlation_differences(trend_tables(sides_of(train, made.assign(out=10_050.0))))[:, 0]
    assert flat[0] == pytest.approx(train["into"].corr(train["out"]), abs=1e-9)


def test_a_sample_of_the_training_rows_is_as_good_as_itself() -> None:
    """A tenth of 20,000 rows: the distance of a sample of known size gives that size back, to a fifth of it."""
    train = patients(20_000, 1)
    pairs = [(0, 4), (1, 2), (2, 4), (3, 4)]
    for share in (0.03, 0.1, 0.5):
        made = train.sample(frac=share, random_state=3)
        some = sides_of(train, made)
        curve = equivalence(some.train, some.labels, pairs, np.random.default_rng(1))
        assert curve is not None
        assert curve(distances(some, marginal_cells(some), pairs).mean(axis=0))[0] == pytest.approx(share, rel=0.2)
        assert curve(np.array([0.0]))[0] == 1
        assert curve(np.array([0.9]))[0] < 0.001
        assert np.isnan(curve(np.array([np.nan]))[0])


def test_an_order_kept_by_all_training_rows_is_a_rule(sides: Sides, broken: Sides) -> None:
    rules = order_rules(SCHEMA, broken)
    assert rules.pairs == ((2, 3),)  # not the age: it is of another kind
    rows = broken.panel.table.columns[2] > broken.panel.table.columns[3]
    np.testing.assert_array_equal(rules.broken[0], rows)
    assert rules.broken[0][broken.panel.blocks[0]].mean() > 0.2
    assert not order_rules(SCHEMA, sides).broken[0][sides.panel.blocks[0]].any()


def test_ranges_that_lie_apart_and_orders_with_exceptions_are_no_rules() -> None:
    train = patients(500, 1)
    assert not order_rules(SCHEMA, sides_of(train.assign(out=train["into"] + 5000), train)).pairs
    wrong = train.copy()
    wrong.loc[7, "out"] = wrong.loc[7, "into"] - 1
    assert not order_rules(SCHEMA, sides_of(wrong, train)).pairs
    assert not order_rules(SCHEMA, sides_of(train.assign(out=np.nan), train)).pairs
