"""Measures of single columns: against SDMetrics, against numpy, and where a column has nothing to measure."""

import warnings

import numpy as np
import pandas as pd
import pytest

from silosynth.common.evaluate.columns import ColumnMeasures, measure
from silosynth.common.evaluate.fidelity import Sides
from silosynth.common.evaluate.tables import panel, read
from silosynth.common.schema import Column, Kind, Schema

NUMBER = Column("x", Kind.NUMBER, low=-50, high=50)
CODE = Column("c", Kind.CATEGORICAL, codes=tuple("abcdef"))


def measured(column: Column, train: list[object], made: list[object]) -> ColumnMeasures:
    def frame(values: list[object]) -> pd.DataFrame:
        return pd.DataFrame({column.name: pd.Categorical(values) if column.coded else np.array(values, dtype=float)})

    rng = np.random.default_rng(0)
    (real, other), labels = read(Schema((column,)), [frame(train), frame(made)])
    return measure(Sides(real, panel(other, real.shuffled(rng), None, rng), labels), 0, column)


def numbers(rows: int, seed: int, missing: float) -> list[object]:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(seed, 1 + seed / 5, rows), 2)
    return list(np.where(rng.random(rows) < missing, np.nan, values))


def codes(rows: int, seed: int, missing: float, many: int) -> list[object]:
    rng = np.random.default_rng(seed)
    return [None if rng.random() < missing else "abcdef"[at] for at in rng.integers(seed % 2, many, rows)]


@pytest.mark.parametrize("missing", [(0.0, 0.0), (0.0, 0.2), (0.3, 0.1), (0.2, 0.0)])
def test_measures_that_bear_sdmetrics_names_are_sdmetrics(missing: tuple[float, float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("sdmetrics.single_column")
    ordered = numbers(300, 1, missing[0]), numbers(170, 2, missing[1])
    coded = codes(300, 1, missing[0], 4), codes(60, 2, missing[1], 6)
    for column, sides, names in (
        (NUMBER, ordered, (("boundary_adherence", "BoundaryAdherence"), ("range_coverage", "RangeCoverage"))),
        (CODE, coded, (("category_adherence", "CategoryAdherence"), ("category_coverage", "CategoryCoverage"))),
    ):
        ours = measured(column, *sides)
        series = [pd.Series(side) for side in sides]
        for name, called in names:
            assert getattr(ours, name)[0] == pytest.approx(getattr(theirs, called).compute(*series), abs=1e-12), name
        if any(missing):
            expected = theirs.MissingValueSimilarity.compute(*series)
            assert ours.missing_similarity[0] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(ours.missing_similarity).all()


def test_errors_of_moments_and_quantiles_are_those_of_numpy_and_scipy() -> None:
    train, made = np.array(numbers(400, 1, 0.1), dtype=float), np.array(numbers(250, 3, 0.2), dtype=float)
    ours = measured(NUMBER, list(train), list(made))
    own, other = train[~np.isnan(train)], made[~np.isnan(made)]
    assert ours.mean_error[0] == pytest.approx(abs(own.mean() - other.mean()) / own.std())
    assert ours.sd_error[0] == pytest.approx(abs(own.std() - other.std()) / own.std())
    stats = pytest.importorskip("scipy.stats")
    assert ours.quantile_error[0] == pytest.approx(stats.wasserstein_distance(own, other) / own.std())
    assert ours.mean_error[1] != ours.mean_error[2]  # delete-a-group samples differ
    assert ours.mean_error[21] == pytest.approx(0, abs=1e-12)  # the floor's columns are the training rows' own


def test_values_that_the_schema_does_not_foresee_are_invalid() -> None:
    assert measured(NUMBER, [1, 2, 3], [1, 99, -99, np.nan]).validity[0] == 0.5
    assert measured(CODE, ["a", "b"], ["a", "z", "OTHER", None]).validity[0] == 0.75
    assert measured(CODE, ["a", "b"], ["a", "z", "c", None]).category_adherence[0] == 0.25


def test_constants_and_empty_columns_are_to_stay_so() -> None:
    flat = measured(NUMBER, [3, 3, 3], [3, 3, 4, np.nan])
    assert flat.constant_kept[0] == 0.5
    assert np.isnan(flat.mean_error).all()  # a constant has no standard deviation to measure by
    assert measured(NUMBER, [np.nan] * 3, [np.nan, np.nan, 1, 2]).constant_kept[0] == 0.5
    assert measured(CODE, [None, None], [None, "a"]).constant_kept[0] == 0.5
    assert np.isnan(measured(NUMBER, [3, 3, np.nan], [3, 3, 3]).constant_kept).all()
    gone = measured(NUMBER, [1, 2, 3], [np.nan] * 3)
    assert np.isnan(gone.shape[0])
    assert gone.missing_similarity[0] == 0
