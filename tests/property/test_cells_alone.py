"""What a cell reads as is a function of its own text and its column: never of the cells it stands among.

The privacy of everything rests on it: noise covers what one person's rows change, not what they make of others'. Texts
are such as parsers of whole columns have stumbled over (a NUL, an offset of time, integers beyond 64 bits, the words
for this moment), and any others.
"""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.common.errors import InvalidData
from silosynth.common.schema import Column, Kind, Schema

COLUMNS = {
    "codes": Column("x", Kind.CATEGORICAL, codes=("A", "B", "1"), missing=("NA",)),
    "truth": Column("x", Kind.BOOLEAN),
    "own truth": Column("x", Kind.BOOLEAN, codes=("0", "1")),
    "integer": Column("x", Kind.INTEGER, low=-5, high=5000, missing=("NA", "-", "99999999999999999999")),
    "number": Column("x", Kind.NUMBER, low=-10, high=1e6, missing=("NA", "999", "inf")),
    "decimals": Column("x", Kind.NUMBER, low=0, high=10, decimals=9),
    "date": Column("x", Kind.DATE, low=0, high=20000, missing=("9999-12-31", "1990-01-06")),
    "time": Column("x", Kind.DATETIME, low=0, high=2e9, missing=("9999-12-31", "1990-01-06")),
    "span": Column("x", Kind.DURATION, low=-10, high=100),
    "seconds": Column("x", Kind.DURATION, low=-10, high=1e9, unit="seconds"),
}

HARD = (
    "", "-", "NA", "999", "inf", "-inf", "nan", "NaT", "None", "1e400", "1E5", "1", "1.0", "01", "+1", "-0", "0.1",
    "0.30000000000000004", "123456789.123456789", "18446744073709551616", "9223372036854775808", "9007199254740993",
    "99999999999999999999", "True", "false", "yes", "1_000", "1,000", "0x10", " 1 ", "1\x00", "1\x002", "A\x00", "A",
    "\x00", "a", " A", "1d", "1 day", "3 days 04:00:00", "P3DT4H", "-1 days", "00:00:01", "99999999 days", "1.5s",
    "1970-01-02", "1970-1-2", "19700102", "1970-01", "1970", "1970-01-02T03", "1990-01-05 10:00", "1990-01-05T10:00:00",
    "1990-01-05 10:00:00.999999999", "1990-01-05T10:00:00Z", "1990-01-05 10:00:00+12:00", "1990-01-05 10:00:00-0330",
    "1990-01-05 10:00:00 +02", "1990-01-05 10:00:00+02", "1990-01-06", "1990-01-06 00:00:00",
    "1970-01-02T24:00:00", "2016-12-31T23:59:60", "9999-12-31", "2300-01-01", "1677-09-21",
    "1990-01-05\x00", "today", "now", "01/02/1970", None,
)  # fmt: skip

texts = st.sampled_from(HARD) | st.text(max_size=4)


def cells(column, words):
    """Fine cells of these texts; None where they are refused."""
    schema, frame = Schema((column,)), pd.DataFrame({"x": pd.Series(words, dtype=object)})
    try:
        return schema.encode(schema.conform(frame, source="x").frame)[:, 0].tolist()
    except InvalidData:
        return None


@pytest.mark.parametrize("name", COLUMNS)
@settings(deadline=None, max_examples=300)
@given(words=st.lists(texts, min_size=2, max_size=12))
def test_a_cell_is_read_as_if_it_stood_alone(name, words):
    alone = [cells(COLUMNS[name], [word]) for word in words]
    readable = [word for word, cell in zip(words, alone, strict=True) if cell is not None]
    if readable:
        assert cells(COLUMNS[name], readable) == [cell[0] for cell in alone if cell is not None]


@pytest.mark.parametrize("name", COLUMNS)
def test_no_hard_text_changes_its_neighbours(name):
    """What was found before is found again, whatever is drawn: each before some of the others, and before all."""
    column = COLUMNS[name]
    alone = {word: found[0] for word in HARD if word is not None and (found := cells(column, [word])) is not None}
    for first in alone:
        for among in ([first, *alone], *([first, other, first] for other in list(alone)[::3])):
            assert cells(column, among) == [alone[word] for word in among], repr(among[:2])


@pytest.mark.parametrize("word", ["now", "today"])
@pytest.mark.parametrize("name", ["date", "time"])
def test_no_text_means_another_time_tomorrow(name, word):
    assert cells(COLUMNS[name], [word]) is None


@pytest.mark.parametrize(
    ("code", "spelt"),
    [
        ("10000000001", "1.0000000001e+10"),
        ("10000000001", "10000000001.0"),
        ("1.5", "1.50"),
        ("1.50", "1.5"),
        ("7", "7.0"),
    ],
)
def test_a_number_that_is_a_code_is_found_however_it_is_spelt(code, spelt):
    """Whoever writes a file spells all numbers of a column alike, so that one row can change how all are spelt."""
    column = Column("x", Kind.CATEGORICAL, codes=("0", code), missing=("99999999999",))
    assert cells(column, [spelt, code, "0.0", "0", "9.9999999999e+10", "8"]) == [1, 1, 0, 0, 3, 2]


@pytest.mark.parametrize("word", ["1990-01-06", "1990-01-06 00:00:00", "1990-01-06T02:00:00+02"])
@pytest.mark.parametrize("name", ["date", "time"])
def test_a_declared_date_is_missing_however_it_is_spelt(name, word):
    column = COLUMNS[name]
    assert cells(column, [word, "1990-01-05"])[0] == column.missing_cell != cells(column, ["1990-01-05"])[0]


def test_truth_is_a_number_however_it_is_spelt():
    assert cells(COLUMNS["truth"], ["1e+00", "0e+00", "1.0", "0", "2"]) == [1, 0, 1, 0, 2]


def test_zeros_before_a_code_are_part_of_it():
    column = Column("x", Kind.CATEGORICAL, codes=("01", "1"))
    assert cells(column, ["01", "1", "1.0", "001"]) == [0, 1, 1, 2]


def test_a_very_long_cell_is_refused_at_once():
    began = time.process_time()
    for name in ("number", "integer", "span", "date"):
        assert cells(COLUMNS[name], ["1" * 100_000 + "x"]) is None
    assert cells(COLUMNS["codes"], ["1" * 100_000 + "x", "1e999999999"]) == [3, 3]
    assert time.process_time() - began < 10  # a pattern that tried each way to split the digits took hours


def test_texts_that_differ_after_a_nul_are_two():
    read = cells(COLUMNS["codes"], ["A\x00", "A", "A\x00B", "B"])
    assert np.array_equal(read, [3, 0, 3, 1])
