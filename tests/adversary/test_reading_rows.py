"""What one row holds changes nothing about another, from the file on: no clipping helps where reading couples rows.

Every test adds one row to a table and compares what the mechanism would be given of all the others.
"""

from collections import Counter

import numpy as np
import pytest

from silosynth.client.sources.keyed import split_holdout
from silosynth.client.sources.table import read_table, units_of
from silosynth.common.schema import Column, Kind, Schema

SCHEMA = Schema(
    (
        Column("town", Kind.CATEGORICAL, codes=("Bonn", "Köln")),
        Column("age", Kind.INTEGER, low=0, high=99),
    )
)
KEY = bytes(range(32))


@pytest.fixture
def cells(tmp_path):
    """Rows of a file as a multiset of cells, those that are held out left out."""

    def read(rows, *, holdout=0.0, chunk_rows=1 << 16):
        path = tmp_path / "ward.csv"
        path.write_bytes(b"\n".join([b"town,age", *rows, b""]))
        table = read_table(path, SCHEMA, None, chunk_rows=chunk_rows)
        kept = ~split_holdout(table.unit_ids, KEY, holdout)
        units = units_of(SCHEMA, table.frame[kept], table.unit_ids[kept], key=KEY, most=1)
        assert np.unique(units.owner).size == units.owner.size
        return Counter(map(tuple, units.codes.tolist()))

    return read


SEEN = Schema(
    (
        Column("seen", Kind.DATETIME, low=0, high=2e9),
        Column("day", Kind.DATE, low=0, high=20000),
        Column("stay", Kind.DURATION, low=0, high=99),
    )
)


def codes_of(tmp_path, schema, lines, chunk_rows=400):
    path = tmp_path / "ward.csv"
    path.write_text("\n".join([",".join(schema.names), *lines, ""]), encoding="utf-8")
    return schema.encode(read_table(path, schema, None, chunk_rows=chunk_rows).frame)


def difference(before, after):
    return sum(((before - after) + (after - before)).values())


@pytest.mark.parametrize(
    "extra", [b"Bonn,7", b"Bonn,50", b"nowhere,99", b",", b"K\xf6ln,4", b"\xff\xfe,4", b"\xc3,4", b"Bonn\x00,7"]
)
@pytest.mark.parametrize("at", [0, 1, 700, 1500])
def test_a_row_more_moves_at_most_itself(cells, extra, at):
    rng = np.random.default_rng(3)
    made = rng.choice(["Bonn", "Köln"], 1500), rng.integers(0, 60, 1500)
    rows = [f"{town},{age}".encode() for town, age in zip(*made, strict=True)]
    before = cells(rows, holdout=0.3, chunk_rows=400)
    after = cells([*rows[:at], extra, *rows[at:]], holdout=0.3, chunk_rows=400)
    assert difference(before, after) <= 1


@pytest.mark.parametrize("time", ["2001-01-05 10:00:00+12:00", "2001-01-05T10:00:00-03:30", "2001-01-05T10:00:00Z", ""])
@pytest.mark.parametrize("at", [0, 1, 700])
def test_an_offset_of_time_is_one_row_s_own(tmp_path, time, at):
    rng = np.random.default_rng(5)
    moments = np.datetime64("2000-01-01T00:00:00") + rng.integers(0, 10**8, 1500)
    rows = [f"{moment},{moment},{stay} days" for moment, stay in zip(moments, rng.integers(0, 50, 1500), strict=True)]
    before = codes_of(tmp_path, SEEN, rows)
    after = codes_of(tmp_path, SEEN, [*rows[:at], f"{time},{time},P1DT1H", *rows[at:]])
    assert np.array_equal(np.delete(after, at, axis=0), before)


def test_a_share_of_equal_rows_is_held_out_too(cells):
    kept = sum(cells([b"Bonn,7"] * 2000, holdout=0.3).values())
    assert abs(kept - 1400) < 6 * (2000 * 0.3 * 0.7) ** 0.5  # six standard deviations


def test_a_file_that_is_all_latin_1_is_read_as_such(cells):
    assert cells(["Köln,3".encode("latin-1")] * 5) == {(1, 3): 5}
