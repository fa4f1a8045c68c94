"""How the ledger waits for its file, and what of SQLite's findings is damage."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from silosynth.common.errors import Tampered

# SQLite's own wait for a busy file ends in polling every 100 ms: a process that writes in a tight loop then starves one
# that opens the ledger. Polled every two milliseconds, it gets its turn after some of the other's transactions.
BUSY_S: Final = 60.0
_POLL_S: Final = 0.002


def patiently(begin: Callable[[], object]) -> None:
    """Begin what needs a lock, again and again while another process has it. Raises sqlite3's error after a minute."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            begin()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_POLL_S)
        else:
            return


@contextmanager
def intact() -> Iterator[None]:
    """SQLite's own findings of damage, as Tampered; a full disk or a lock that never opens stays what it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) in (sqlite3.DatabaseError, sqlite3.IntegrityError):
            raise Tampered("the ledger file is damaged") from error
        raise
