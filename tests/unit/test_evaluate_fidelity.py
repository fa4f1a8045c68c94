"""Likeness of columns, pairs and marginals: against SDMetrics, against counting by hand, and at the edges."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

from silosynth.common.arrays import Real
from silosynth.common.evaluate.columns import measure
from silosynth.common.evaluate.fidelity import (
    Sides,
    cramers_v,
    distances,
    marginal_cells,
    pair_trends,
    trend_tables,
)
from silosynth.common.evaluate.tables import panel, read
from silosynth.common.schema import Column, Kind, Schema

SCHEMA = Schema(
    (
        Column("age", Kind.INTEGER, low=0, high=99),
        Column("income", Kind.NUMBER, low=-1e6, high=1e6),
        Column("seen", Kind.DATE, low=0, high=30_000),
        Column("area", Kind.CATEGORICAL, codes=("n", "e", "s", "w")),
        Column("ill", Kind.BOOLEAN, codes=("no", "yes")),
        Column("grade", Kind.CATEGORICAL, codes=tuple("abcdefghij")),
    )
)


def people(rows: int, seed: int, *, drift: float = 0.0, missing: float = 0.1) -> pd.DataFrame:
    """Correlated columns of every kind, `missing` of each absent."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=rows)
    numbers = {
        "age": np.clip(np.round(50 + 12 * latent + 6 * rng.normal(size=rows) + drift * 10), 0, 99),
        "income": np.exp(latent + rng.normal(size=rows) * (0.6 + drift)),
        "seen": np.round(10_000 + 500 * latent + 300 * rng.normal(size=rows)),
    }
    area = np.digitize(latent + rng.normal(size=rows) * (0.5 + drift), [-1, 0, 1])
    ill = (latent + rng.normal(size=rows) > 0.8).astype(int)
    grade = np.clip(np.round(area * 2 + rng.normal(size=rows)), 0, 9).astype(int)
    frame = pd.DataFrame(numbers)
    for column, codes in zip(SCHEMA.columns[3:], (area, ill, grade), strict=True):
        frame[column.name] = pd.Categorical.from_codes(codes, categories=list(column.labels))
    for name in frame:
        frame.loc[rng.random(rows) < missing, name] = np.nan
    return frame


def sides_of(schema: Schema, train: pd.DataFrame, made: pd.DataFrame, held: pd.DataFrame | None = None) -> Sides:
    rng = np.random.default_rng(0)
    frames = [train, made, *([] if held is None else [held])]
    (real, synthetic, *rest), labels = read(schema, frames)
    return Sides(real, panel(synthetic, real.shuffled(rng), rest[0] if rest else None, rng), labels)


def shapes(sides: Sides, schema: Schema = SCHEMA) -> Real:
    return np.stack([measure(sides, at, column).shape for at, column in enumerate(schema.columns)])


def pairs_of(schema: Schema) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(len(schema.columns)), 2))


@pytest.mark.parametrize("threshold", [True, False])
def test_shapes_and_trends_are_those_of_sdmetrics(threshold: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reports = pytest.importorskip("sdmetrics.reports.single_table")
        train, made = people(1500, 1), people(1100, 2, drift=0.3)
        kinds = {column.name: {"sdtype": "categorical" if column.coded else "numerical"} for column in SCHEMA.columns}
        report = reports.QualityReport()
        if not threshold:
            report.real_correlation_threshold = report.real_association_threshold = 0
        plain = [frame.astype(dict.fromkeys(SCHEMA.names[3:], object)) for frame in (train, made)]
        report.generate(*plain, {"columns": kinds}, verbose=False)
        theirs = report.get_properties().set_index("Property")["Score"]
        each = report.get_details("Column Pair Trends").set_index(["Column 1", "Column 2"])["Score"]

    sides = sides_of(SCHEMA, train, made)
    trends = pair_trends(sides, trend_tables(sides), pairs_of(SCHEMA))
    counted = trends.strong if threshold else np.ones_like(trends.strong)

    assert 0 < trends.strong.sum() < len(trends.strong)  # else the thresholds would not be tested
    assert shapes(sides)[:, 0].mean() == pytest.approx(theirs["Column Shapes"], abs=1e-9)
    assert trends.similarity[counted, 0].mean() == pytest.approx(theirs["Column Pair Trends"], abs=1e-9)
    named = [(SCHEMA.names[a], SCHEMA.names[b]) for a, b in pairs_of(SCHEMA)]
    np.testing.assert_allclose(
        trends.similarity[counted, 0], [each[pair] for pair, yes in zip(named, counted, strict=True) if yes], atol=1e-9
    )


def test_distances_are_those_of_counting_by_hand() -> None:
    train, made, held = people(700, 3), people(400, 4, drift=0.5), people(150, 5)
    sides = sides_of(SCHEMA, train, made, held)
    cells = marginal_cells(sides)
    subsets = [(0,), (3,), (1, 4), (0, 2), (0, 3, 5)]
    measured = distances(sides, cells, subsets)

    def binned(frame: pd.DataFrame, name: str) -> "pd.Series[str]":
        if name in SCHEMA.names[3:]:
            return frame[name].astype(object).fillna("missing")
        edges = np.unique(np.quantile(train[name].dropna(), np.linspace(0, 1, 21)[1:-1]))
        return pd.Series(np.searchsorted(edges, frame[name], side="left")).where(frame[name].notna(), -1)

    for row, subset in zip(measured, subsets, strict=True):
        names = [SCHEMA.names[at] for at in subset]
        tables = [
            pd.concat([binned(frame, name) for name in names], axis=1).value_counts(normalize=True)
            for frame in (train, made, held)
        ]
        for other, view in ((1, "value"), (2, "ceiling")):
            by_hand = tables[0].sub(tables[other], fill_value=0).abs().sum() / 2
            assert row[sides.panel.named[view]][0] == pytest.approx(by_hand, abs=1e-12)


def test_a_leave_one_out_view_is_the_measure_without_that_group() -> None:
    train, made = people(300, 6), people(200, 7, drift=0.4)
    sides = sides_of(SCHEMA, train, made)
    view = int(sides.panel.named["left_out_value"][0, 4])
    kept = np.flatnonzero((sides.panel.part != 4) & (sides.panel.part < 20))
    rest = sides.panel.table.take(kept)
    alone = Sides(sides.train, panel(rest, sides.train, None, np.random.default_rng(0)), sides.labels)

    every = [(0,), (1, 4)]
    np.testing.assert_allclose(
        distances(sides, marginal_cells(sides), every)[:, view], distances(alone, marginal_cells(alone), every)[:, 0]
    )
    np.testing.assert_allclose(shapes(sides)[:, view], shapes(alone)[:, 0])


def test_many_cells_are_counted_without_a_counter_each() -> None:
    codes = tuple(f"c{at:04}" for at in range(600))
    schema = Schema(tuple(Column(name, Kind.CATEGORICAL, codes=codes) for name in "xyz"))
    rng = np.random.default_rng(8)
    frames = [
        pd.DataFrame(
            {
                name: pd.Categorical.from_codes(rng.integers(0, 600, 900), list(schema.columns[0].labels))
                for name in "xyz"
            }
        )
        for _ in range(2)
    ]
    sides = sides_of(schema, *frames)
    cells = marginal_cells(sides)
    assert max(cells.sizes) == 257  # 255 codes, the rest together, missing
    measured = distances(sides, cells, [(0, 1, 2)])[0, 0]
    own, other = (
        pd.Series(list(zip(*(side[at][-900:] if len(side[at]) > 900 else side[at] for at in range(3)), strict=True)))
        for side in (cells.own, [column[sides.panel.blocks[0]] for column in cells.other])
    )
    by_hand = own.value_counts(normalize=True).sub(other.value_counts(normalize=True), fill_value=0).abs().sum() / 2
    assert measured == pytest.approx(by_hand)


def test_the_measures_hold_at_the_edges() -> None:
    rows = 60
    schema = Schema(
        (
            Column("constant", Kind.INTEGER, low=0, high=9),
            Column("empty", Kind.NUMBER, low=0, high=1),
            Column("one", Kind.CATEGORICAL, codes=("a", "b")),
            Column("gone", Kind.CATEGORICAL, codes=("a", "b")),
            Column("fine", Kind.NUMBER, low=-9, high=9),
        )
    )
    rng = np.random.default_rng(9)
    labels = ["a", "b", "OTHER"]
    train = pd.DataFrame(
        {
            "constant": np.full(rows, 4.0),
            "empty": np.full(rows, np.nan),
            "one": pd.Categorical(["a"] * rows, labels),
            "gone": pd.Categorical([None] * rows, labels),
            "fine": rng.normal(size=rows),
        }
    )
    made = train.assign(constant=np.arange(rows) % 3.0, one=pd.Categorical(["unheard of"] * rows))
    sides = sides_of(schema, train, made)
    alike = shapes(sides, schema)[:, 0]
    one = distances(sides, marginal_cells(sides), [(at,) for at in range(5)])[:, 0]
    trends = pair_trends(sides, trend_tables(sides), pairs_of(schema))

    np.testing.assert_allclose(alike, [0, np.nan, 0, np.nan, 1])
    np.testing.assert_allclose(one, [0, 0, 1, 0, 0])  # a constant has one bin: its values are one cell
    assert not trends.strong.any()
    assert np.isnan(trends.similarity[pairs_of(schema).index((0, 4)), 0])  # no correlation with a constant
    assert trends.similarity[pairs_of(schema).index((2, 3)), 0] == 0


def test_cramers_v_of_known_tables() -> None:
    assert cramers_v(np.diag([10, 10, 0])) == pytest.approx(1)
    assert cramers_v(np.array([[10, 20], [30, 60]])) == pytest.approx(0, abs=1e-12)
    assert np.isnan(cramers_v(np.array([[3, 0], [4, 0]])))
