"""A site's rows from PostgreSQL: a server of its own, a user who may only select, and a query that tries to do more."""

import gc
import logging
import time

import pytest
from postgresql import OWNER, PASSWORDS, READER, running

from silosynth.client.sources import open_source
from silosynth.client.sources.sql import open_sql
from silosynth.client.where import SqlSource
from silosynth.common.errors import InvalidData
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Study

TABLES = """
CREATE TABLE ward (id text, age int, sex char(3), weight numeric(6, 2), born date, seen timestamptz, left_at timestamp,
                   smokes bool, stay interval, score float8, note jsonb, who uuid);
INSERT INTO ward VALUES
  ('a', 41, 'M', 71.50, '2001-02-03', '2001-02-03 04:05:06+02', '2001-02-03 04:05:06.5', true, '1 day 2 hours', 0.1,
   '{}', '00000000-0000-0000-0000-000000000001'),
  ('b', NULL, NULL, 'NaN', NULL, NULL, NULL, false, '-2 hours', 'NaN', NULL, NULL);
CREATE TABLE words (word text);
INSERT INTO words VALUES ('SECRET');
CREATE TABLE closed (x int);
REVOKE ALL ON closed FROM reader;
CREATE FUNCTION write_one() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO closed VALUES (1) RETURNING x';
"""
COLUMNS = "id, age, sex, weight, born, seen, left_at, smokes, stay, score, who"


@pytest.fixture(scope="module")
def server():
    with running() as server:
        with server.connect() as session:
            session.execute(TABLES)
        yield server


@pytest.fixture
def source(server, tmp_path):
    def of(query, url=None, **about):
        (tmp_path / "ward.sql").write_text(query)
        (tmp_path / "url").write_text(url or server.url())
        (tmp_path / "url").chmod(0o600)
        return SqlSource(tmp_path / "ward.sql", url_file=tmp_path / "url", **about)

    return of


def read_all(source):
    table = open_sql(source)
    return list(table.chunks(table.names, 100))


def refusal(source):
    with pytest.raises(InvalidData) as caught:
        read_all(source)
    assert "SECRET" not in str(caught.value)
    for password in PASSWORDS.values():
        assert password not in str(caught.value)
    return str(caught.value)


def test_cells_are_rendered_in_one_way_whatever_the_server_s_habits(source):
    chunk = next(
        open_sql(source(f"SELECT {COLUMNS} FROM ward WHERE id LIKE '%s' OR id LIKE '%' ORDER BY id")).chunks(
            COLUMNS.split(", ")
        )
    )
    assert chunk.text.to_numpy().tolist() == [
        ["a", "41", "M  ", "71.50", "2001-02-03", "2001-02-03 02:05:06+00:00", "2001-02-03 04:05:06.500000", "true",
         "1 days 02:00:00", "0.1", "00000000-0000-0000-0000-000000000001"],
        ["b", None, None, None, None, None, None, "false", "-1 days +22:00:00", None, None],
    ]  # fmt: skip


def test_a_site_s_rows_come_typed(source):
    schema = Schema((
        Column("AGE", Kind.INTEGER, low=0, high=100), Column("sex", Kind.CATEGORICAL, codes=("M", "F")),
        Column("stay", Kind.DURATION, low=-5, high=9, unit="hours"), Column("smokes", Kind.BOOLEAN),
    ))  # fmt: skip
    study = Study("s", schema, Budget(1, 1e-5, 1), unit="id")
    table = open_source(source('SELECT age AS "AGE", sex, stay, smokes, id, born FROM ward ORDER BY id'), study)
    frame = table.frame.astype(object).where(table.frame.notna(), None)
    assert frame.to_numpy().tolist() == [[41, "M", 9, "true"], [None, None, -2, "false"]]
    assert table.unit_ids.tolist() == ["a", "b"]
    assert table.ignored == ("born",)


OWN = ["closed", "ward"]
WRITES = [
    ("DELETE FROM ward RETURNING *", "not one statement"),
    ("WITH gone AS (DELETE FROM ward RETURNING *) SELECT * FROM gone", "may only read"),
    ("SELECT write_one()", "may only read"),
    ("SELECT set_config('transaction_read_only', 'off', true), write_one()", "may only read"),
    ("SELECT set_config('default_transaction_read_only', 'off', false), write_one()", "may only read"),
    ("SELECT nextval('numbers')", "may only read"),
    ("SELECT * FROM ward FOR UPDATE", "may only read"),
    ("SELECT 1; DELETE FROM ward", "not one statement"),
    ("COMMIT; DELETE FROM ward", "not one statement"),
    ("SELECT 1 INTO copied", "not one statement"),
]


@pytest.mark.parametrize(("query", "words"), WRITES, ids=[query for query, _ in WRITES])
def test_the_database_itself_refuses_whatever_writes(server, source, query, words):
    with server.connect() as session:
        session.execute("CREATE SEQUENCE IF NOT EXISTS numbers")
    assert words in refusal(source(query, server.url(OWNER)))  # even of one who may write
    with server.connect() as session:
        counts = [session.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in OWN]
        assert counts == [0, 2]
        assert session.execute("SELECT to_regclass('copied')").fetchone() == (None,)


def test_what_the_session_can_only_read_could_be_written_without_it(server):
    with server.connect() as session, session.transaction(force_rollback=True):  # the control of the test above
        assert session.execute("SELECT write_one()").fetchone() == (1,)


WRONG = [
    ("SELECT * FROM warrd", "'warrd'"),
    ("SELECT agee FROM ward", "'agee'"),
    ("SELECT * FORM ward", "not one statement"),
    ("SELECT * FROM closed", "GRANT SELECT"),
    ("SELECT word::int FROM words", "on a row that it reads"),
    ("SELECT 'infinity'::date", "NULLIF"),
    ("SELECT note FROM ward", "column 'note'"),
    ("SELECT ARRAY[age] AS ages FROM ward", "column 'ages'"),
    ("SELECT age, age FROM ward", "one name"),
    ("SELECT age FROM ward WHERE false", "no rows"),
    ("SELECT pg_terminate_backend(pg_backend_pid())", "connection broke"),
]


@pytest.mark.filterwarnings(
    "ignore:.*ServerCursor.*:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize(("query", "words"), WRONG, ids=[query for query, _ in WRONG])
def test_what_is_wrong_is_said_without_a_value(server, source, caplog, capfd, query, words):
    with caplog.at_level(logging.DEBUG):
        assert words in refusal(source(query, server.url(READER)))
    gc.collect()  # a cursor whose connection is gone warns when it goes, too
    assert "SECRET" not in caplog.text + "".join(capfd.readouterr())
    assert not [record for record in caplog.records if record.name.startswith(("sqlalchemy", "psycopg"))]


def test_credentials_that_are_not_accepted_are_not_shown(server, source, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        for url in (server.url(password="hunter2"), server.url().replace("reader", "stranger")):
            said = refusal(source("SELECT 1", url))
            assert "user or the password" in said
            assert "hunter2" not in said
            assert "stranger" not in said
    assert "not on this server" in refusal(source("SELECT 1", server.url(database="none")))
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr())


def test_a_statement_that_takes_too_long_is_stopped(source):
    began = time.monotonic()
    assert "timeout_s" in refusal(source("SELECT pg_sleep(20)", timeout_s=1))
    assert time.monotonic() - began < 10


def test_rows_stream_and_nobody_stays_connected(server, source):
    table = open_sql(source("SELECT x, repeat('x', 1000) AS wide FROM generate_series(1, 100000) AS x"))
    chunks = table.chunks(["x", "wide"], 100)
    began = time.monotonic()
    assert [next(chunks).first_row for _ in range(3)] == [1, 101, 201]
    assert time.monotonic() - began < 5
    with server.connect() as session:
        mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'silosynth'"
        assert session.execute(mine).fetchone() == (1,)
        chunks.close()
        until = time.monotonic() + 10
        while session.execute(mine).fetchone() != (0,):
            assert time.monotonic() < until
            time.sleep(0.02)
