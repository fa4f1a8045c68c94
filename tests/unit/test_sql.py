"""SQL sources: a query's rows as text, a session that only reads, and errors that tell neither a cell nor a URL."""

import logging
import os
import sqlite3
import sys

import pytest

from silosynth.client.sources import open_source, read_table
from silosynth.client.where import FileSource, SqlSource
from silosynth.common.errors import InvalidData, InvalidInput
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Study

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'silosynth[sql]'")
from silosynth.client.sources.sql import open_sql
from silosynth.client.sources.sql_errors import cause_of

AGE = Column("AGE", Kind.INTEGER, low=0, high=100)
SEX = Column("SEX", Kind.CATEGORICAL, codes=("M", "F"))
STUDY = Study("s", Schema((AGE, SEX)), Budget(1, 1e-5, 1), unit="id")
QUERY = 'SELECT age AS "AGE", sex AS "SEX", id FROM ward'


@pytest.fixture
def source(tmp_path):
    """A query over an SQLite file of 300 rows: `source(query)`."""
    with sqlite3.connect(tmp_path / "ward.db") as database:
        database.execute("CREATE TABLE ward (age, sex, id)")
        rows = [(row % 90, "MF"[row % 2], f"p{row // 3}") for row in range(300)]
        database.executemany("INSERT INTO ward VALUES (?, ?, ?)", rows)
        database.execute("CREATE TABLE odd (age, sex, id)")
    database.close()

    def of(query=QUERY, url="sqlite:///ward.db", **about):
        (tmp_path / "ward.sql").write_text(query)
        (tmp_path / "url").write_text(url + "\n")
        (tmp_path / "url").chmod(0o600)
        return SqlSource(tmp_path / "ward.sql", **({"url_file": tmp_path / "url"} | about))

    return of


def read_all(source, columns):
    table = open_sql(source)
    return list(table.chunks(columns or table.names))


def refusal(source, columns=None):
    """What is said where a source is refused; the driver's own error may not hang on it for a log to print."""
    with pytest.raises(InvalidInput) as caught:
        read_all(source, columns)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_are_typed_as_those_of_a_file(source, tmp_path):
    (tmp_path / "ward.csv").write_text(
        "AGE,SEX,id\n" + "".join(f"{row % 90},{'MF'[row % 2]},p{row // 3}\n" for row in range(300))
    )
    of_query, of_file = open_source(source(), STUDY), open_source(FileSource(tmp_path / "ward.csv"), STUDY)
    assert of_query.frame.equals(of_file.frame)
    assert of_query.unit_ids.equals(of_file.unit_ids)
    assert of_query.counts == of_file.counts
    assert read_table(tmp_path / "ward.csv", STUDY.schema, "id").frame.equals(of_file.frame)


def test_a_row_that_has_no_meaning_is_refused_by_number_and_not_by_value(source, tmp_path):
    with sqlite3.connect(tmp_path / "ward.db") as database:
        database.execute("INSERT INTO ward VALUES ('SECRET', 'M', 'p')")
    database.close()
    with pytest.raises(InvalidData, match=r"ward\.sql: column 'AGE', row 301 .*whole number") as caught:
        open_source(source(), STUDY)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("NULL", None), ("7", "7"), ("1.0", "1.0"), ("0.1", "0.1"), ("'  x '", "  x "), ("''", ""),
        ("9e999 - 9e999", None), ("'%s %(a)s :b'", "%s %(a)s :b"),
    ],
)  # fmt: skip
def test_cells_as_text(source, value, text):
    chunk = next(open_sql(source(f"SELECT {value} AS x;\n")).chunks(["x"]))
    assert chunk.text["x"].tolist() == [text]


def test_chunks_are_numbered_and_a_column_keeps_its_own_name(source):
    table = open_sql(source('SELECT age, sex AS "ward.sex", id FROM ward'))
    assert table.names == ("age", "ward.sex", "id")
    chunks = list(table.chunks(["id", "age"], 128))
    assert [(chunk.first_row, len(chunk.text)) for chunk in chunks] == [(1, 128), (129, 128), (257, 44)]
    assert list(chunks[0].text.columns) == ["id", "age"]


WRITES = [
    "DELETE FROM ward",
    "INSERT INTO odd SELECT * FROM ward RETURNING *",
    "CREATE TABLE new (x)",
    "DROP TABLE ward",
]


@pytest.mark.parametrize("query", WRITES)
def test_a_query_that_writes_is_refused_by_the_database(source, tmp_path, query):
    before = (tmp_path / "ward.db").read_bytes()
    assert "may only read" in refusal(source(query))
    assert (tmp_path / "ward.db").read_bytes() == before


def test_one_statement_cannot_open_the_way_for_another(source, tmp_path):
    before = (tmp_path / "ward.db").read_bytes()
    for query in ("PRAGMA query_only = OFF; DROP TABLE ward", "SELECT 1; DROP TABLE ward"):
        assert "one statement" in refusal(source(query))
    assert "gives no rows" in refusal(source("PRAGMA query_only = OFF"))
    assert (tmp_path / "ward.db").read_bytes() == before


WRONG = [
    ("SELECT age FROM wardd", ["table that is not there", "'wardd'"]),
    ("SELECT agee FROM ward", ["column that is not there", "'agee'"]),
    ("SELECT * FORM ward", ["not one statement"]),
    ("SELECT age, age FROM ward", ["two columns", "one name", "AS"]),
    ("SELECT age FROM ward WHERE age < 0", ["no rows"]),
    ("SELECT x'00' AS age", ["column 'age'", "cast it"]),
    ("  ;\n", ["empty", "SELECT"]),
    ("-- nothing", ["no rows"]),
    ("SELECT json('{SECRET') FROM ward", ["try URL and query"]),
]


@pytest.mark.parametrize(("query", "words"), WRONG, ids=[query for query, _ in WRONG])
def test_what_is_wrong_with_a_query_is_said_with_its_cure(source, query, words):
    said = refusal(source(query))
    assert said.startswith("ward.sql: ")
    for word in words:
        assert word in said


def test_a_column_that_is_missing_is_named_with_the_way_to_name_it(source):
    said = refusal(source("SELECT age FROM ward"), ["AGE"])
    assert "did you mean 'age'" in said
    assert 'SELECT age AS "AGE"' in said
    assert 'SELECT age AS "AGE"' in refusal(source("SELECT 1 AS x FROM ward"), ["SEX"])


def test_a_query_that_takes_too_long_is_stopped(source):
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    assert "timeout_s" in refusal(source(endless, timeout_s=1))


URLS = [
    ("", ["empty"]),
    ("hunter2", ["not a database's URL", "%40"]),
    ("postgresql://me:hunter2@host:port/ward", ["not a database's URL"]),
    ("oracle://me:hunter2@host/ward", ["neither PostgreSQL nor an SQLite"]),
    ("mysql+pymysql://me:hunter2@host/ward", ["export", "CSV"]),
    ("sqlite://", ["neither"]),
    ("sqlite:///none.db", ["cannot be opened"]),
    ("sqlite:///ward.sql", ["not an SQLite database"]),
    ("postgresql://me:hunter2@127.0.0.1:1/ward", ["nobody answers"]),
    ("postgres+psycopg2://me:hunter2@/ward?host=/nowhere", ["nobody answers", "socket"]),
]


@pytest.mark.parametrize(("url", "words"), URLS, ids=[url for url, _ in URLS])
def test_a_wrong_url_is_never_shown(source, caplog, capfd, url, words):
    if url.startswith("postgres") and "port" not in url:
        pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed")
    with caplog.at_level(logging.DEBUG):
        said = refusal(source(url=url))
    for word in words:
        assert word in said
    assert "hunter2" not in said + caplog.text + "".join(capfd.readouterr())
    assert "hunter2" not in repr(source(url=url))


def test_the_url_may_be_in_the_environment(source, monkeypatch):
    in_environment = source(url_file=None, url_env="WARD_URL")
    assert "WARD_URL" in refusal(in_environment)
    monkeypatch.setenv("WARD_URL", "sqlite:///ward.db")
    assert len(open_source(in_environment, STUDY).frame) == 300


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_url_that_others_can_read_is_refused(source, tmp_path, mode):
    asked = source()
    (tmp_path / "url").chmod(mode)
    assert refusal(asked).startswith("url: others on this machine")
    (tmp_path / "url").chmod(0o400)
    assert open_sql(asked).names == ("AGE", "SEX", "id")


def test_files_that_cannot_be_read_are_named(source, tmp_path):
    assert "query_file" in refusal(SqlSource(tmp_path / "none.sql", url_env="X"))
    assert "url_file" in refusal(SqlSource(source().query_file, url_file=tmp_path / "none"))
    for name in ("ward.sql", "url"):
        asked = source()
        (tmp_path / name).write_bytes(b"\xff\xfe")
        assert refusal(asked).startswith(f"{name}: is not text in UTF-8")


@pytest.mark.parametrize(
    ("module", "url", "said"),
    [("sqlalchemy", "sqlite:///ward.db", "SQLAlchemy"), ("psycopg", "postgresql:///ward", "psycopg")],
)
def test_what_is_not_installed_is_named_with_its_extra(source, monkeypatch, module, url, said):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidInput, match=rf"{said}.*silosynth\[sql\]"):
        open_source(source(url=url), STUDY)


def test_a_table_that_changes_its_columns_between_two_looks_is_refused(source, tmp_path):
    table = open_sql(source("SELECT * FROM ward"))
    with sqlite3.connect(tmp_path / "ward.db") as database:
        database.execute("ALTER TABLE ward ADD COLUMN weight")
    database.close()
    with pytest.raises(InvalidData, match="other columns a moment ago"):
        list(table.chunks(["age"]))


def test_the_query_runs_from_where_the_site_lies(source, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert open_sql(source()).names == ("AGE", "SEX", "id")
    assert not os.path.exists("/ward.db")  # noqa: PTH110 - the point is the bare name
    assert open_sql(source(url=f"sqlite:///{tmp_path}/ward.db")).names == ("AGE", "SEX", "id")


def test_what_a_driver_says_is_not_passed_on():
    def error(text, **about):
        return type("Error", (Exception,), about)(text)

    said = cause_of(error('invalid input syntax for type integer: "SECRET"', sqlstate="22P02"), "SELECT w::int FROM t")
    assert "SECRET" not in said
    assert "22P02" in said
    assert "try URL and query" in cause_of(error("Fehler: SECRET"), "SELECT 1")
    assert "'wardd'" in cause_of(error('relation "wardd" does not exist', sqlstate="42P01"), "SELECT * FROM wardd")
