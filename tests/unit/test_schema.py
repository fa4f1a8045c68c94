"""Schema: text to typed values to cells and back; what is clipped, what is OTHER, what is refused and how."""

import numpy as np
import pandas as pd
import pytest

from silosynth.common.errors import InvalidData, InvalidStudy
from silosynth.common.schema import Column, ColumnCounts, Kind, Schema

AGE = Column("AGE", Kind.INTEGER, low=16, high=100, missing=("", "999"))
SEX = Column("SEX", Kind.CATEGORICAL, codes=("1", "2"))
ICD = Column("ICD", Kind.CATEGORICAL, codes=("A00", "B 1"), missing=("?",))
DEAD = Column("DEAD", Kind.BOOLEAN)
COST = Column("COST", Kind.NUMBER, low=0, high=50_000, decimals=2)
SCORE = Column("SCORE", Kind.NUMBER, low=-3, high=8.5, special=(1.5,))
BORN = Column("BORN", Kind.DATE, low=-36_525, high=18_262, missing=("9999-12-31",))
SEEN = Column("SEEN", Kind.DATETIME, low=0, high=1.6e9)
STAY = Column("STAY", Kind.DURATION, low=0, high=400)
ALL = Schema((AGE, SEX, ICD, DEAD, COST, SCORE, BORN, SEEN, STAY))


def conform(column, *cells):
    schema = Schema((column,))
    done = schema.conform(pd.DataFrame({column.name: pd.Series(cells, dtype=object)}), source="t.csv")
    return done.frame[column.name], done.counts[0]


@pytest.mark.parametrize(
    ("column", "cells", "values"),
    [
        (AGE, ("17", " 18 ", "19.0", "1e2"), [17, 18, 19, 100]),
        (COST, ("3.14", "+1", "12."), [3.14, 1, 12]),
        (BORN, ("1970-01-02", "1969/12/31", "1970-01-03T10:00:00"), [1, -1, 2]),
        (SEEN, ("1970-01-01 00:01:00", "1970-01-01T01:00:00+01:00", "1970-01-02"), [60, 0, 86_400]),
        (STAY, ("2", "1 days 12:00:00", "P2DT12H"), [2, 1.5, 2.5]),
        (Column("S", Kind.DURATION, low=0, high=9e9, unit="hours"), ("2", "1 days"), [2, 24]),
    ],
)
def test_numbers_dates_and_durations_are_read(column, cells, values):
    assert conform(column, *cells)[0].tolist() == values


def test_a_span_in_nanoseconds_of_a_date_beyond_is_missing_when_declared():
    assert conform(BORN, "9999-12-31", "1970-01-01")[1] == ColumnCounts(missing=1)


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "1.0", "yes", "Y", "t"])
def test_a_boolean_reads_the_usual_words(word):
    assert conform(DEAD, word, "no")[0].tolist() == ["true", "false"]


def test_a_boolean_with_codes_of_its_own_reads_only_those():
    own = Column("B", Kind.BOOLEAN, codes=("alive", "dead"))
    typed, counts = conform(own, "dead", "yes", "alive")
    assert typed.tolist() == ["dead", "OTHER", "alive"]
    assert counts.unknown == 1


def test_codes_match_as_written_then_without_space_then_as_whole_numbers():
    assert conform(SEX, "1", " 2 ", "2.0", "3", "01")[0].tolist() == ["1", "2", "2", "OTHER", "OTHER"]
    assert conform(ICD, "B 1", "A00 ", "a00", "?")[0].astype(object).tolist()[:3] == ["B 1", "A00", "OTHER"]


def test_other_has_a_name_of_its_own_where_it_is_a_code():
    column = Column("C", Kind.CATEGORICAL, codes=("OTHER", "X"))
    assert conform(column, "OTHER", "Y")[0].tolist() == ["OTHER", "_OTHER"]


def test_missing_is_blank_absent_or_declared_however_the_number_is_written():
    typed, counts = conform(AGE, "", "  ", None, np.nan, "999", "999.0", " 999", "20")
    assert counts == ColumnCounts(missing=7)
    assert typed.isna().sum() == 7
    assert conform(ICD, "", None, "?", " ?", "A00")[1] == ColumnCounts(missing=4)
    assert conform(AGE, None, None)[1].missing == 2


def test_numeric_missing_codes_do_not_touch_dates():
    column = Column("D", Kind.DATE, low=-10, high=10, missing=("0",))
    assert conform(column, "1970-01-01", "0")[0].tolist()[0] == 0


def test_values_beyond_the_bounds_are_clipped_and_counted():
    typed, counts = conform(AGE, "5", "300", "50")
    assert typed.tolist() == [16, 100, 50]
    assert counts == ColumnCounts(out_of_bounds=2)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (AGE, "17.5"), (AGE, "abc"), (AGE, "inf"), (AGE, "NA"), (AGE, "0x1F"), (AGE, "1_0"), (COST, "-Infinity"),
        (COST, "3,5"), (COST, "nan"), (BORN, "31.12.1999"), (BORN, "12/31/1999"), (BORN, "0001-01-01"),
        (SEEN, "10:30"), (STAY, "long"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_by_row_without_its_value(column, cell):
    text = pd.DataFrame({column.name: pd.Series([*[""] * 16, cell], dtype=object)})
    with pytest.raises(InvalidData) as caught:
        Schema((column,)).conform(text, source="ward.csv", first_row=101)
    said = str(caught.value)
    assert said.startswith(f"ward.csv: column '{column.name}', row 117 ")
    assert "expected" in said
    assert "missing" in said
    assert cell not in said


def test_counts_of_chunks_add_up():
    assert ColumnCounts(1, 2, 3) + ColumnCounts(10, 20, 30) == ColumnCounts(11, 22, 33)


def test_sizes_and_special_cells():
    assert (AGE.size, SEX.size, DEAD.size) == (86, 4, 4)
    assert (SEX.other_cell, SEX.missing_cell, AGE.other_cell, AGE.missing_cell) == (2, 3, None, 85)
    assert AGE.ordered
    assert not SEX.ordered
    assert ALL.sizes == tuple(column.size for column in ALL.columns)
    assert ALL.index("BORN") == 6
    with pytest.raises(KeyError):
        ALL.index("nobody")


@pytest.mark.parametrize(
    ("low", "high", "asinh"),
    [(0, 2001, True), (0, 2000, False), (-10, 5000, True), (-5000, -1, False), (50, 9000, True)],
)
def test_heavy_ranges_get_an_asinh_grid(low, high, asinh):
    grid = Column("x", Kind.NUMBER, low=low, high=high).grid
    widths = (grid.last - grid.first)[grid.last > grid.first]
    assert (widths.max() / np.median(widths) > 1.5) == asinh


def test_a_date_in_1970_has_no_cell_of_its_own():
    assert Column("d", Kind.DATE, low=-9000, high=9000).size == 256 + 2 + 1  # first day, last day, missing


def cells_of(schema, rows, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, rows) for size in schema.sizes], axis=1).astype(np.int32)


def test_cells_survive_decoding_presenting_and_reading_back():
    # OTHER under integer codes is presented as missing: no such cells here
    codes = cells_of(ALL, 3000, 5)
    codes[codes[:, 1] == SEX.other_cell, 1] = 0
    typed = ALL.decode(codes, np.random.default_rng(6))
    assert np.array_equal(ALL.encode(typed), codes)
    shown = ALL.present(typed)
    text = shown.astype(object).where(shown.notna(), None).map(lambda cell: None if cell is None else str(cell))
    back = ALL.conform(text, source="back")
    assert np.array_equal(ALL.encode(back.frame), codes)
    assert sum(counts.out_of_bounds for counts in back.counts) == 0


def test_presented_types_follow_from_the_schema_not_from_the_rows():
    full = ALL.present(ALL.decode(cells_of(ALL, 200, 7), np.random.default_rng(8)))
    nothing = ALL.present(ALL.decode(np.array([[size - 1 for size in ALL.sizes]], np.int32), np.random.default_rng(9)))
    assert full.dtypes.equals(nothing.dtypes)
    assert nothing.isna().all().all()
    assert full.dtypes.astype(str).to_dict() == {
        "AGE": "Int64", "SEX": "Int64", "ICD": "string", "DEAD": "string", "COST": "float64", "SCORE": "float64",
        "BORN": "string", "SEEN": "string", "STAY": "float64",
    }  # fmt: skip


def test_presented_values_read_as_people_write_them():
    text = {"AGE": "17", "SEX": "2.0", "ICD": "zzz", "DEAD": "y", "COST": "0", "SCORE": "1.5", "BORN": "1935-06-07",
            "SEEN": "1999-01-02 03:04:05", "STAY": "400"}  # fmt: skip
    typed = ALL.conform(pd.DataFrame([text], dtype=object), source="one").frame
    assert ALL.present(typed).iloc[0].tolist() == [
        17, 2, "OTHER", "true", 0.0, 1.5, "1935-06-07", "1999-01-02T03:04:05", 400.0,
    ]  # fmt: skip


def test_other_under_integer_codes_is_presented_as_missing():
    typed = Schema((SEX,)).decode(np.array([[2], [0]], np.int32), np.random.default_rng(0))
    assert Schema((SEX,)).present(typed)["SEX"].tolist() == [pd.NA, 1]


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(InvalidStudy, match="'AGE' is declared twice"):
        Schema((AGE, SEX, AGE))


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"kind": Kind.INTEGER, "low": 5, "high": 5}, "max"),
        ({"kind": Kind.INTEGER, "low": 5}, "max"),
        ({"kind": Kind.NUMBER, "low": float("nan"), "high": 5}, "min"),
        ({"kind": Kind.INTEGER, "low": 0.5, "high": 5}, "min"),
        ({"kind": Kind.NUMBER, "low": 0.25, "high": 5, "decimals": 1}, "min"),
        ({"kind": Kind.NUMBER, "low": 0, "high": 1e16, "decimals": 2}, "max"),
        ({"kind": Kind.NUMBER, "low": 0, "high": 5, "decimals": 10}, "decimals"),
        ({"kind": Kind.INTEGER, "low": 0, "high": 5, "decimals": 1}, "decimals"),
        ({"kind": Kind.NUMBER, "low": 0, "high": 5, "special": (6,)}, "special"),
        ({"kind": Kind.NUMBER, "low": 0, "high": 5, "special": (2, 2.0)}, "special"),
        ({"kind": Kind.NUMBER, "low": 0, "high": 5, "special": (2,), "missing": ("2.0",)}, "special"),
        ({"kind": Kind.NUMBER, "low": 0, "high": 5, "scale": "log"}, "scale"),
        ({"kind": Kind.DATE, "low": 0, "high": 5, "scale": "asinh"}, "scale"),
        ({"kind": Kind.DATE, "low": 0, "high": 3e6}, "max"),
        ({"kind": Kind.DURATION, "low": 0, "high": 5, "unit": "years"}, "unit"),
        ({"kind": Kind.NUMBER, "low": 0, "high": 5, "codes": ("a",)}, "codes"),
        ({"kind": Kind.CATEGORICAL}, "codes"),
        ({"kind": Kind.CATEGORICAL, "codes": ("a", "a")}, "codes"),
        ({"kind": Kind.CATEGORICAL, "codes": ("a", " ")}, "codes"),
        ({"kind": Kind.CATEGORICAL, "codes": tuple(str(code) for code in range(5000))}, "codes"),
        ({"kind": Kind.CATEGORICAL, "codes": ("a",), "missing": ("a",)}, "missing"),
        ({"kind": Kind.CATEGORICAL, "codes": ("a",), "low": 0}, "min"),
        ({"kind": Kind.BOOLEAN, "codes": ("a", "b", "c")}, "codes"),
        ({"kind": Kind.BOOLEAN, "unreviewed": ("everything",)}, "unreviewed"),
    ],
)
def test_what_is_no_column_is_refused_by_key(facts, key):
    with pytest.raises(InvalidStudy, match=f"column 'x', key '{key}'"):
        Column("x", **facts)


@pytest.mark.parametrize("name", ["", " x", "x\n"])
def test_column_names_are_printable(name):
    with pytest.raises(InvalidStudy):
        Column(name, Kind.BOOLEAN)


def test_columns_that_mean_the_same_are_equal():
    assert Column("x", Kind.NUMBER, low=-0.0, high=5, special=(3, 1)) == Column(
        "x", Kind.NUMBER, low=0, high=5.0, special=(1, 3)
    )
    assert Column("x", Kind.BOOLEAN, missing=("",)) == Column("x", Kind.BOOLEAN, codes=("false", "true"))
