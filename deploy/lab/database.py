"""A hospital's PostgreSQL, on its own host: in a private folder, on a Unix socket, without a port, gone afterwards."""

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pandas as pd

from lab.hosts import Host

if TYPE_CHECKING:
    import psycopg

_TABLE: Final = "visits"
QUERY: Final = f'SELECT * FROM "{_TABLE}"'  # noqa: S608  # a name of our own
_START_S: Final = 60.0
_AS_NOBODY: Final = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")  # it refuses root


def why_no_database() -> str:
    """The reason why no server can be had on this machine, or nothing."""
    if None in map(_program, ("initdb", "postgres")):
        return "no PostgreSQL server is installed (initdb, postgres)"
    if find_spec("psycopg") is None:
        return "its driver is not installed: pip install 'silosynth[sql]'"
    return ""


@contextmanager
def database(host: Host, table: pd.DataFrame, log: Path) -> Iterator[str]:
    """The URL, for a user who may only read, of a database on `host` that holds `table`, every column as text."""
    with tempfile.TemporaryDirectory(prefix="silolab-pg-") as name:  # a socket's path must be short
        folder, password = Path(name), secrets.token_urlsafe(12)
        (folder / "secret").write_text(password, encoding="ascii")
        for path in (folder, folder / "secret"):
            shutil.chown(path, "nobody")
        _made(folder, log)
        command = [_program("postgres"), "-D", folder / "data", "-clisten_addresses="]
        command += [f"-cunix_socket_directories={folder}"]
        server = host.start([*_AS_NOBODY, *map(str, command)], log, cwd=folder)
        try:
            _fill(folder, password, table)
            yield f"postgresql://reader:{quote(password)}@/postgres?host={quote(str(folder))}"
        finally:
            host.stop(server)


def _program(name: str) -> str | None:
    return shutil.which(name) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)


def _made(folder: Path, log: Path) -> None:
    command = [str(_program("initdb")), "-D", str(folder / "data"), "-U", "owner", "-A", "scram-sha-256"]
    command += ["--pwfile", str(folder / "secret"), "-E", "UTF8", "--locale", "C", "--no-sync"]
    with log.open("ab") as out:
        subprocess.run([*_AS_NOBODY, *command], check=True, stdout=out, stderr=out, cwd=folder)


def _fill(folder: Path, password: str, table: pd.DataFrame) -> None:
    from psycopg import sql  # noqa: PLC0415  # an extra of its own

    with _connected(folder, password) as session:
        columns = sql.SQL(", ").join([sql.SQL("{} text").format(sql.Identifier(str(name))) for name in table])
        session.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(_TABLE), columns))
        with session.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(_TABLE))) as copy:
            for row in table.itertuples(index=False):
                copy.write_row(row)
        session.execute(sql.SQL("CREATE ROLE reader LOGIN PASSWORD {}").format(sql.Literal(password)))
        session.execute(sql.SQL("GRANT SELECT ON {} TO reader").format(sql.Identifier(_TABLE)))


def _connected(folder: Path, password: str) -> "psycopg.Connection":
    import psycopg  # noqa: PLC0415

    until = time.monotonic() + _START_S
    while True:
        try:
            return psycopg.connect(
                host=str(folder), user="owner", password=password, dbname="postgres", autocommit=True
            )
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
