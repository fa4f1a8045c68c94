"""Sources: files as text, whose rows they are, what is refused and in which words, and what the local check counts."""

import gzip
import hmac
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from rich.console import Console

from silosynth.client.sources import (
    as_lines,
    as_table,
    keep_at_most,
    local_check,
    open_table,
    read_table,
    split_holdout,
    units_of,
)
from silosynth.client.sources.suspect import names_a_key, suspicion_of_words
from silosynth.client.sources.table import _unit_ids
from silosynth.client.sources.text import Chunk
from silosynth.common.errors import InvalidData
from silosynth.common.schema import Column, ColumnCounts, Kind, Schema
from silosynth.common.study import Budget, Study

AGE = Column("AGE", Kind.INTEGER, low=0, high=100)
SEX = Column("SEX", Kind.CATEGORICAL, codes=("M", "F"))
SCHEMA = Schema((AGE, SEX))
ROWS = "AGE,SEX,id\n" + "".join(f"{row % 90},{'MF'[row % 2]},p{row // 3}\n" for row in range(300))


@pytest.fixture
def file(tmp_path):
    def write(content, name="ward.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


SAME = [
    ("plain", ROWS.encode()),
    ("zipped", gzip.compress(ROWS.encode())),
    ("mark", b"\xef\xbb\xbf" + ROWS.encode()),
    ("semicolon", ROWS.replace(",", ";").encode()),
    ("tab", ROWS.replace(",", "\t").encode()),
    ("windows", ROWS.replace("\n", "\r\n").encode()),
    ("utf-16", ROWS.encode("utf-16")),
    ("spaces", ROWS.replace(",", ", ").encode()),
    ("quotes", ROWS.replace("AGE,SEX", '"AGE","SEX"').replace("M,", '"M",').encode()),
    ("blank lines", (ROWS + "\n\n").encode()),
    ("no last newline", ROWS.rstrip("\n").encode()),
]


@pytest.mark.parametrize("content", [content for _, content in SAME], ids=[name for name, _ in SAME])
def test_one_table_in_many_dialects(file, content):
    table = read_table(file(content), SCHEMA, "id", also=("id",), chunk_rows=7)
    assert table.frame["AGE"].tolist() == [row % 90 for row in range(300)]
    assert table.frame["SEX"].tolist() == ["MF"[row % 2] for row in range(300)]
    assert table.unit_ids.tolist() == [f"p{row // 3}" for row in range(300)]
    assert table.also["id"].tolist() == table.unit_ids.tolist()
    assert table.notes == ()
    assert table.ignored == ()


def test_latin_1_is_read_and_announced(file):
    table = read_table(file("AGE,SEX,Größe\n1,M,ü\n".encode("latin-1")), SCHEMA, None)
    assert "Latin-1" in table.notes[0]
    assert table.ignored == ("Größe",)


def test_na_is_text_unless_declared(file):
    chunk = next(open_table(file("AGE,SEX\nNA,null\n,\n")).chunks(["AGE", "SEX"]))
    assert chunk.text.to_numpy().tolist() == [["NA", "null"], ["", ""]]


def test_without_a_unit_every_row_is_a_person(file):
    table = read_table(file(ROWS), SCHEMA, None, chunk_rows=100)
    assert table.unit_ids.is_unique


def test_parquet_is_read_as_its_csv_would_be(tmp_path):
    path = tmp_path / "ward.parquet"
    times = pa.array([0, None, 90_000_000], pa.timestamp("ms"))
    columns = {
        "AGE": pa.array([1.0, None, 3.0]),
        "SEX": pa.array(["M", None, "F"]).dictionary_encode(),
        "WHOLE": pa.array([1, 2, None], pa.int32()),
        "NAN": pa.array([1.5, float("nan"), None]),
        "YES": pa.array([True, None, False]),
        "DAY": pa.array([0, 1, None], pa.date32()),
        "TIME": times,
        "STAY": pa.array([86_400, None, 43_200], pa.duration("s")),
    }
    parquet.write_table(pa.table(columns), path)
    schema = Schema((
        AGE, SEX, Column("WHOLE", Kind.INTEGER, low=0, high=9), Column("NAN", Kind.NUMBER, low=0, high=9),
        Column("YES", Kind.BOOLEAN), Column("DAY", Kind.DATE, low=0, high=9),
        Column("TIME", Kind.DATETIME, low=0, high=1e6), Column("STAY", Kind.DURATION, low=0, high=9),
    ))  # fmt: skip
    table = read_table(path, schema, None, chunk_rows=2)
    frame = table.frame.astype(object).where(table.frame.notna(), None)
    assert frame.to_numpy().T.tolist() == [
        [1, None, 3], ["M", None, "F"], [1, 2, None], [1.5, None, None], ["true", None, "false"], [0, 1, None],
        [0, None, 90_000], [1, None, 0.5],
    ]  # fmt: skip


WRONG = [
    ("", ["empty"]),
    ("\n", ["empty"]),
    ("AGE,SEX\n", ["no rows"]),
    ("AGE,SEX,AGE\n1,M,2\n", ["columns 1 and 3", "same name"]),
    ("age,SEX\n1,M\n", ["'AGE'", "did you mean 'age'"]),
    ("AGE,X\n1,M\n", ["'SEX'", "not in the header"]),
    ("AGE,SEX\n1,M\n2\n", ["row 2", "1 cells", "header has 2"]),
    ("AGE,SEX\n1,M\n2,F,SECRET\n", ["row 2", "3 cells"]),
    ("AGE,SEX\n" + "1,M\n" * 16 + "SECRET,M\n", ["'AGE'", "row 17", "whole number"]),
    ("AGE,SEX\ninf,M\n", ["'AGE'", "row 1 "]),
    ('AGE,SEX\n1,M\n2,"SECRET\n3,F\n', ["row 2", "quote"]),
    ("AGE,SEX\n1,M\n".encode("utf-16") + b"\n", ["UTF-16 throughout", "UTF-8"]),
    (gzip.compress(("AGE,SEX\n" + "1,M\n" * 900).encode("utf-16"))[:40], ["truncated", "again"]),
    (gzip.compress(ROWS.encode())[:80], ["truncated", "again"]),
    (gzip.compress(ROWS.encode())[:-4], ["truncated", "again"]),
    (b"PK\x03\x04 a workbook", ["save the sheet as CSV"]),
    (b"PAR1 no parquet", ["Parquet", "again"]),
]


@pytest.mark.parametrize(("content", "words"), WRONG, ids=[" ".join(words) for _, words in WRONG])
def test_what_is_wrong_is_said_with_file_row_and_cure_and_no_value(file, content, words):
    with pytest.raises(InvalidData) as caught:
        read_table(file(content), SCHEMA, None, chunk_rows=5)
    said = str(caught.value)
    assert said.startswith("ward.csv: ")
    assert "SECRET" not in said
    for word in words:
        assert word in said


def test_a_parquet_file_without_rows_or_cut_short_is_refused(tmp_path):
    path = tmp_path / "ward.parquet"
    parquet.write_table(pa.table({"AGE": pa.array([], pa.int64()), "SEX": pa.array([], pa.string())}), path)
    with pytest.raises(InvalidData, match="no rows"):
        read_table(path, SCHEMA, None)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidData, match="truncated"):
        read_table(path, SCHEMA, None)
    parquet.write_table(pa.table({"AGE": pa.array([[1]]), "SEX": pa.array(["M"])}), path)
    with pytest.raises(InvalidData, match="lists or bytes"):
        read_table(path, SCHEMA, None)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidData, match="cannot be opened"):
        read_table(tmp_path / "none.csv", SCHEMA, None)


@pytest.mark.parametrize("key", ["", "  "])
def test_a_missing_person_key_is_refused_by_row(file, key):
    with pytest.raises(InvalidData, match=r"'id', row 2 .*person key"):
        read_table(file(f"AGE,SEX,id\n1,M,a\n2,F,{key}\n3,M,c\n"), SCHEMA, "id")


def test_a_declared_identifier_is_refused_with_advice(file):
    schema = Schema((AGE, Column("patient_id", Kind.INTEGER, low=0, high=10**6)))
    rows = "AGE,patient_id\n" + "".join(f"{row},{row * 37}\n" for row in range(50))
    with pytest.raises(InvalidData, match=r"'patient_id' looks like an identifier.*`unit`"):
        read_table(file(rows), schema, None)


def test_the_local_check_counts_and_advises(file):
    rows = "AGE,SEX,id,extra\n" + "200,Q,a,x\n" * 5 + ",M,b,x\n" + "50,F,c,x\n" * 4
    study = Study("s", SCHEMA, Budget(1, 1e-5, 1), unit="id", max_rows_per_unit=4)
    check = local_check(file(rows), study)
    assert (check.rows, check.units, check.largest_unit, check.ignored) == (10, 3, 5, ("extra",))
    assert [column.counts for column in check.columns] == [ColumnCounts(5, 0, 1), ColumnCounts(0, 5, 0)]
    assert "clipped" in check.warnings[0]
    assert "OTHER" in check.warnings[1]
    lines = "\n".join(as_lines(check))
    for said in (
        "10 rows of 3 units",
        "AGE: missing 1, out of bounds 5",
        "not in codes 5",
        "extra",
        "1 units have more than 4",
    ):
        assert said in lines
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(as_table(check))
    assert "AGE" in console.export_text()


def test_a_column_all_missing_is_allowed_and_said(file):
    check = local_check(file("AGE,SEX\n,M\n,F\n"), Study("s", SCHEMA, Budget(1, 1e-5, 1)))
    assert check.warnings == ("AGE: all missing here; allowed, but check the column's name and missing codes",)


IDS = pd.Series(np.repeat([f"p{person}" for person in range(4000)], 5))


def test_the_hold_out_keeps_units_whole_and_its_share():
    held = split_holdout(IDS, b"key of a site", 0.2)
    assert (held.reshape(4000, 5) == held[::5, None]).all()
    # 6 standard deviations of a binomial share: false alarms under 1e-8
    assert abs(held.mean() - 0.2) < 6 * (0.16 / 4000) ** 0.5
    assert not np.array_equal(held, split_holdout(IDS, b"key of another", 0.2))
    assert not split_holdout(IDS, b"key", 0.0).any()


def test_the_hold_out_of_a_unit_depends_on_no_other_unit():
    held = split_holdout(IDS, b"key", 0.3)
    some = IDS[IDS.isin({"p7", "p1234", "p3999"})]
    assert np.array_equal(split_holdout(some, b"key", 0.3), held[some.index])


CELLS = np.tile(np.arange(5, dtype=np.int32)[:, None], (4000, 3))


def test_long_units_lose_rows_at_random_and_short_ones_none():
    keep = keep_at_most(IDS, CELLS, b"key", 2)
    assert (keep.reshape(4000, 5).sum(axis=1) == 2).all()
    # each of the 5 rows stays with probability 2/5: 6 standard deviations
    assert (np.abs(keep.reshape(4000, 5).mean(axis=0) - 0.4) < 6 * (0.24 / 4000) ** 0.5).all()
    assert keep_at_most(IDS, CELLS, b"key", 5).all()
    few = IDS.isin({"p7", "p1234"}).to_numpy()
    some = IDS[few].reset_index(drop=True)
    assert np.array_equal(keep_at_most(some, CELLS[few], b"key", 2), keep[few])


def test_equal_rows_of_a_long_unit_have_lots_of_their_own():
    keep = keep_at_most(IDS, np.zeros_like(CELLS), b"key", 2)
    assert (keep.reshape(4000, 5).sum(axis=1) == 2).all()
    assert (np.abs(keep.reshape(4000, 5).mean(axis=0) - 0.4) < 6 * (0.24 / 4000) ** 0.5).all()


def test_every_row_of_everybody_draws_a_lot_of_its_own(monkeypatch):
    """Also where the tenth row of p and the first of p1 could be written alike."""
    words = []

    def spied(key, word, digest):
        words.append(word)
        return hmac.digest(key, word, digest)

    monkeypatch.setattr("silosynth.client.sources.keyed.hmac", SimpleNamespace(digest=spied))
    keep_at_most(pd.Series(np.repeat(["p", "p1", "p10"], 25)), np.zeros((75, 2), dtype=np.int32), b"key", 2)
    assert len(set(words)) == len(words) == 75


def test_units_are_cells_with_owners(file):
    table = read_table(file(ROWS), SCHEMA, "id")
    units = units_of(SCHEMA, table.frame, table.unit_ids, key=b"key", most=2)
    assert units.codes.shape == (200, 2)
    assert np.bincount(units.owner).tolist() == [2] * 100
    assert units.codes.dtype == np.int32
    assert units.owner.dtype == np.int64
    part = table.unit_ids != "p0"
    fewer = units_of(SCHEMA, table.frame[part], table.unit_ids[part], key=b"key", most=2)
    assert np.array_equal(fewer.codes, units.codes[2:])


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("id", True), ("patient_nbr", True), ("Patient", True), ("encounterId", True), ("case-no", True),
        ("ID_CODE", True), ("patient_age", False), ("account_balance", False), ("no_of_visits", False),
        ("paid", False), ("grid", False),
    ],
)  # fmt: skip
def test_names_of_keys(name, yes):
    assert names_a_key(name) == yes


def test_free_text_is_told_from_codes():
    notes = {f"fell from step {step} at home": 1 for step in range(30)}
    assert "free text" in str(suspicion_of_words(notes))
    assert "free text" in str(suspicion_of_words({f"cause {cause}": 1 for cause in range(9)} | {"UNKNOWN": 3}))
    assert "identifier" in str(suspicion_of_words({f"X{row}": 1 for row in range(30)}))
    assert suspicion_of_words({f"C{code}": 10 for code in range(700)}) is None
    assert suspicion_of_words({"Never married at all": 90, "Married with a spouse": 100}) is None


def test_a_declared_code_list_of_persons_is_refused(file):
    schema = Schema((AGE, Column("who", Kind.CATEGORICAL, codes=tuple(f"name {row}" for row in range(60)))))
    rows = "AGE,who\n" + "".join(f"{row},name {row}\n" for row in range(60))
    with pytest.raises(InvalidData, match="'who' looks like an identifier"):
        read_table(file(rows), schema, None)
    assert len(read_table(file("AGE,who\n1,name 1\n2,name 2\n"), schema, None).frame) == 2


@pytest.mark.parametrize("key", ["p\x00a", "p\ud800"])
def test_person_keys_that_could_be_one_for_two_persons_are_refused(key):
    """pandas compares texts up to a NUL: two persons would be one unit, and the first would say its part."""
    chunk = Chunk(1, pd.DataFrame({"person": ["p", key]}, dtype=object))
    with pytest.raises(InvalidData, match="not text"):
        _unit_ids(chunk, "person", "made")
    assert list(_unit_ids(Chunk(1, chunk.text[:1]), "person", "made")) == ["p"]
