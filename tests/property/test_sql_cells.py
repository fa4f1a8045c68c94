"""A row from SQL and the same row as a database itself writes it to CSV: the same cells, counts and refusals."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgresql import OWNER, running

from silosynth.client.sources import open_table
from silosynth.client.sources.sql import open_sql
from silosynth.client.where import SqlSource
from silosynth.common.errors import InvalidData
from silosynth.common.schema import Column, Kind, Schema

FIRST, LAST = datetime(1600, 1, 1), datetime(2300, 1, 1)  # noqa: DTZ001 - of the type without a zone; beyond what is read
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
CELLS = {
    "whole int8": (st.integers(-2000, 2000), Column("whole", Kind.INTEGER, low=-999, high=999, missing=("-7",))),
    "part numeric": (st.decimals(-99, 99, places=3), Column("part", Kind.NUMBER, low=-50, high=50, missing=("9",))),
    "real float8": (
        st.floats(-1e9, 1e9) | st.sampled_from([float("inf"), 1e-7, 1e22]),
        Column("real", Kind.NUMBER, low=0, high=1e6),
    ),
    "code int4": (st.integers(0, 9), Column("code", Kind.CATEGORICAL, codes=("1", "2", "3"), missing=("9",))),
    "level float8": (st.sampled_from([1.0, 2.0, 2.5]), Column("level", Kind.CATEGORICAL, codes=("1", "2"))),
    "grade numeric": (st.decimals(0, 3, places=1), Column("grade", Kind.CATEGORICAL, codes=("1.0", "2.5"))),
    "word text": (WORDS | st.sampled_from(["a", " b", "NA"]), Column("word", Kind.CATEGORICAL, codes=("a", "b", "NA"))),
    "yes bool": (st.booleans(), Column("yes", Kind.BOOLEAN)),
    "day date": (st.dates(FIRST.date(), LAST.date()), Column("day", Kind.DATE, low=-9999, high=30000)),
    "at timestamp": (st.datetimes(FIRST, LAST), Column("at", Kind.DATETIME, low=-1e9, high=2e9)),
    "zoned timestamptz": (
        st.datetimes(FIRST, LAST, timezones=st.just(UTC)), Column("zoned", Kind.DATE, low=-9999, high=30000),
    ),
    "stay interval": (
        st.timedeltas(timedelta(days=-400), timedelta(days=400)), Column("stay", Kind.DURATION, low=-90, high=90),
    ),
    "who uuid": (st.uuids(), Column("who", Kind.CATEGORICAL, codes=(str(UUID(int=0)),))),
}  # fmt: skip
NAMES = [key.split()[0] for key in CELLS]
COLUMNS = [column for _, column in CELLS.values()]
ROW = st.fixed_dictionaries({name: st.none() | cell for name, (cell, _) in zip(NAMES, CELLS.values(), strict=True)})


@pytest.fixture(scope="module")
def server():
    with running() as server:
        with server.connect() as session:
            session.execute(f"CREATE TABLE ward ({', '.join(CELLS)}, id serial)")
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cells")


def outcome(table, source):
    """Of each column by itself: its typed cells and counts, or what the refusal says after the name of the source."""
    chunks = list(table.chunks(NAMES, 2))
    return {column.name: [_outcome(Schema((column,)), chunk, source) for chunk in chunks] for column in COLUMNS}


def _outcome(schema, chunk, source):
    try:
        conformed = schema.conform(chunk.text, source=source, first_row=chunk.first_row)
    except InvalidData as refused:
        return str(refused).removeprefix(source)
    return conformed.frame.astype(object).where(conformed.frame.notna(), None).to_numpy().tolist(), conformed.counts


@given(st.lists(ROW, min_size=1, max_size=5))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_of_sql_is_the_row_of_the_database_s_own_csv(server, folder, rows):
    query = f"SELECT {', '.join(NAMES)}, id FROM ward ORDER BY id"
    with server.connect() as session:
        session.execute("TRUNCATE ward RESTART IDENTITY")
        session.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'")
        session.cursor().executemany(
            f"INSERT INTO ward ({', '.join(NAMES)}) VALUES ({', '.join(f'%({name})s' for name in NAMES)})", rows
        )
        with session.cursor().copy(f"COPY ({query}) TO STDOUT CSV HEADER") as copy:
            (folder / "ward.csv").write_bytes(b"".join(bytes(block) for block in copy))
    (folder / "ward.sql").write_text(query)
    (folder / "url").write_text(server.url(OWNER))
    (folder / "url").chmod(0o600)
    source = SqlSource(folder / "ward.sql", url_file=folder / "url")
    assert outcome(open_sql(source), "ward.sql") == outcome(open_table(folder / "ward.csv"), "ward.csv")
