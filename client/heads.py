"""Heads of ledgers that sites show each other, beside the chain and in the same file: newest of others, and one's own.

A head that another member showed is evidence against it, should its ledger be put back: see S3 and S4 of
common/secagg/site.py. What others know of this ledger is kept, too, because only who can name it may change it.
"""

import sqlite3
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from silosynth.common.secagg.messages import NOTHING, Head

TABLES: Final = """
CREATE TABLE IF NOT EXISTS heads (member BLOB PRIMARY KEY, count INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS believed (member BLOB PRIMARY KEY, count INTEGER NOT NULL, hash BLOB NOT NULL);
"""


class Of(StrEnum):
    """Whose ledger a head is of."""

    OTHERS = "the member's, the newest it has shown"
    OWN = "this site's, what the member is believed to know of it"


_READ: Final[Mapping[Of, str]] = {
    Of.OTHERS: "SELECT member, count, hash FROM heads",
    Of.OWN: "SELECT member, count, hash FROM believed",
}
_WRITE: Final[Mapping[Of, str]] = {
    Of.OTHERS: (
        "INSERT INTO heads VALUES (?, ?, ?) ON CONFLICT (member) DO UPDATE"
        " SET count = excluded.count, hash = excluded.hash WHERE excluded.count > count"
    ),
    Of.OWN: (
        "INSERT INTO believed VALUES (?, ?, ?) ON CONFLICT (member) DO UPDATE"
        " SET count = excluded.count, hash = excluded.hash"
    ),
}


def stored(db: sqlite3.Connection, of: Of, members: Collection[bytes]) -> Mapping[bytes, Head]:
    """The head for each member, by its agent key; NOTHING for a stranger."""
    found = {member: Head(count, digest) for member, count, digest in db.execute(_READ[of])}
    return {member: found.get(member, NOTHING) for member in members}


def store(db: sqlite3.Connection, of: Of, heads: Mapping[bytes, Head]) -> None:
    """Keep heads, by agent key; of others only newer ones."""
    db.executemany(_WRITE[of], [(member, head.count, head.hash) for member, head in heads.items()])
