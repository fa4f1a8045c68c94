"""A PostgreSQL server of a test's own: in a private folder, on a socket in it, without a port, gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

psycopg = pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed: pip install 'silosynth[sql]'")

OWNER, READER = "owner", "reader"
PASSWORDS = {OWNER: "p@ss/of:owner", READER: "r%ader s:cret"}  # what a URL has to escape


class Server:
    """A running server with a database `ward` and the users OWNER and READER, who may only select."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, user: str = READER, password: str | None = None, database: str = "ward") -> str:
        """An SQLAlchemy URL."""
        secret = quote(PASSWORDS[user] if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@/{database}?host={quote(str(self.folder))}"

    def connect(self, user: str = OWNER, database: str = "ward"):
        """A session of psycopg's own, each statement by itself."""
        return psycopg.connect(
            host=str(self.folder), user=user, password=PASSWORDS[user], dbname=database, autocommit=True
        )


@contextmanager
def running() -> Iterator[Server]:
    """A server, or a skipped test with the reason."""
    found = [shutil.which(name) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
             for name in ("initdb", "postgres")]  # fmt: skip
    if None in found:
        pytest.skip("no PostgreSQL server on this machine (initdb, postgres)")
    account = _account()
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:  # a socket's path is short
        folder = Path(name)
        (folder / "secret").write_text(PASSWORDS[OWNER])
        try:
            for path in (folder, folder / "secret") if account else ():
                shutil.chown(path, account)
        except OSError:
            pytest.skip("PostgreSQL refuses root, and this namespace knows no other user")
        quiet = {"stdout": subprocess.DEVNULL, "cwd": folder, "user": account, "env": {"PATH": os.environ["PATH"]}}
        log = (folder / "log").open("wb")
        subprocess.run(
            [found[0], "-D", folder / "data", "-U", OWNER, "-A", "scram-sha-256", "--pwfile", folder / "secret",
             "-E", "UTF8", "--locale", "C", "--no-sync"],
            check=True, stderr=log, **quiet,
        )  # fmt: skip
        options = [f"-c{key}={value}" for key, value in {
            "listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "max_connections": 20,
            "timezone": "Asia/Kathmandu", "datestyle": "German",  # a site's habits must not change a cell
        }.items()]  # fmt: skip
        process = subprocess.Popen([found[1], "-D", folder / "data", *options], stderr=log, **quiet)
        try:
            server = Server(folder)
            _prepare(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait(30)
            log.close()


def _account() -> str | None:
    """Whom the server runs as: it refuses root."""
    return None if os.geteuid() else "nobody"


def _prepare(server: Server, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while True:
        try:
            with server.connect(database="postgres") as session:
                session.execute("CREATE DATABASE ward")
            break
        except psycopg.OperationalError:
            assert process.poll() is None, (server.folder / "log").read_text()
            assert time.monotonic() < until, "PostgreSQL did not start within a minute"
            time.sleep(0.05)
    with server.connect() as session:
        session.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORDS[READER]}'")
        session.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {READER}")
