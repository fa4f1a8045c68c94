"""`coordinator run`: the SuperLink behind its two doors, until it is told to stop. It starts no other process.

It can be killed at any point: nodes are in its database, and studies begin another run by themselves (line.py).
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from fastapi import FastAPI

from silosynth.common.errors import InvalidInput
from silosynth.server import superlink
from silosynth.server.ca import ends
from silosynth.server.direct import Direct
from silosynth.server.enrol import node_keys
from silosynth.server.home import CoordinatorHome, Settings, enrolled, held, read_secret
from silosynth.server.listeners import Doors, LoopbackDoor, PublicDoor, bound

log = logging.getLogger(__name__)


def serve(home: CoordinatorHome, settings: Settings, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once both doors are open.

    Raises InvalidInput: another one runs here, a port is taken, a certificate has ended, or a file is not what it must.
    """
    os.umask(0o077)
    with held(home.run / "service.lock", wait=False) as alone:
        if not alone:
            raise InvalidInput(f"{home.path}: a coordinator runs here already")
        if ends(home.server) <= datetime.now(UTC):
            raise InvalidInput(f"{home.server}: this certificate has ended; run `silosynth coordinator renew`")
        secret = read_secret(home)
        _tidy(home)
        app = superlink.application(home.database, secret)
        superlink.reconcile(app, node_keys(enrolled(home)))
        with (
            _metrics(home, settings, app),
            closing(bound(settings.listen, settings.port)) as public,
            closing(bound("127.0.0.1", settings.loopback_port)) as loopback,
        ):
            doors = Doors(public, loopback, home.server_key, home.server)
            rounds = Direct(app)
            inner = LoopbackDoor(rounds, superlink.BADGE, superlink.badge(secret))
            doors.serve(PublicDoor(rounds), inner, ready)


@contextmanager
def _metrics(home: CoordinatorHome, settings: Settings, app: FastAPI) -> Iterator[None]:
    """Figures for a monitoring system, where it is set up."""
    if settings.metrics_port is None:
        yield
        return
    from silosynth.server import metrics  # noqa: PLC0415  # reads studies, which takes NumPy and more

    end = metrics.serve(home, settings.metrics_port, lambda: superlink.online(app))
    try:
        yield
    finally:
        end()


def _tidy(home: CoordinatorHome) -> None:
    """Give back the space of what was deleted: SQLite keeps it, and what stood in it."""
    if home.database.exists():
        with closing(sqlite3.connect(home.database)) as database:
            database.execute("VACUUM")
