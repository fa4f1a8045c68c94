"""A site's durable memory of what it spent: one file for its whole patient base, read by `site ledger`.

Entries are chained by hashes and only ever appended: client/entries.py says how, client/books.py what may follow what.
Every charge is on disk before rows are read; a payload and its commit are on disk, in one transaction, before anything
is sent. Check and append happen under one lock of the database, so neither two studies nor two processes can race over
a cap. What this process knows, it knows from disk: before anything else it reads what was appended since, its own
entries included. A process that dies anywhere loses no charge, doubles none, and has sent nothing uncommitted.

The chain shows edits. It cannot show that the whole file was replaced by an older one: only what others have seen of it
can. So each session of secure sums publishes its head, and beside the chain is kept what others have shown (heads.py).

For the command line: `listing(path)` gives the verified entries of a ledger that may be in use.
"""

import hashlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Final

from silosynth.client.books import Books, Spending
from silosynth.client.entries import (
    ROOT,
    Barred,
    Committed,
    Declined,
    Ended,
    Entry,
    Freed,
    Opened,
    Planned,
    Receipted,
    Record,
    Reserved,
    Settled,
    Voided,
    chained,
    read,
    write,
)
from silosynth.client.heads import TABLES, Of, store, stored
from silosynth.client.patience import BUSY_S, intact, patiently
from silosynth.client.receipts import charges_of
from silosynth.client.refusal import Reason, Refused
from silosynth.common.errors import InvalidInput, Tampered
from silosynth.common.privacy import View
from silosynth.common.receipt import Charges
from silosynth.common.secagg.messages import Head

# AUTOINCREMENT makes SQLite itself remember the highest seq, so a cut tail shows. The outbox is not part of the chain:
# it holds the bytes of each study's newest commit, whose hash is.
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, before BLOB NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS outbox (
    study TEXT PRIMARY KEY, release INTEGER NOT NULL, attempt INTEGER NOT NULL, payload BLOB NOT NULL
);
"""
_GUARDS: Final = """
CREATE UNIQUE INDEX IF NOT EXISTS once ON entries (
    json_extract(body, '$.kind'), json_extract(body, '$.study'),
    coalesce(json_extract(body, '$.release'), 0), coalesce(json_extract(body, '$.attempt'), 0),
    coalesce(json_extract(body, '$.number'), 0)
) WHERE json_extract(body, '$.kind') IN
    ('open', 'plan', 'reserve', 'commit', 'void', 'session', 'session-end', 'settle');
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_replace BEFORE INSERT ON entries
    WHEN NEW.seq <= (SELECT max(seq) FROM entries) BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""

Check = Callable[[Spending], None]
"""Raises Refused where a policy does not cover what would have been spent."""


@dataclass(frozen=True)
class Kept:
    """A committed payload, and the hash of the entry that committed it. `masked`: whether it is one of a session."""

    payload: bytes = field(repr=False)
    receipt: str
    masked: bool = False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Ledger:
    """The ledger at a path, created where there is none. Every method raises Tampered on a broken chain."""

    def __init__(self, path: Path, *, clock: Callable[[], str] = _now) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._clock = clock
        self._lock = threading.Lock()
        self._books = Books()
        self._head = ROOT
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._script(
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; BEGIN IMMEDIATE; {_TABLES} {TABLES} COMMIT;"
            )
            with self._transaction(writing=True):
                if self._books.seq == 0:
                    self._append(Opened(secrets.token_hex(16)))
            self._script(f"BEGIN IMMEDIATE; {_GUARDS} COMMIT;")
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file. Nothing is lost without it."""
        self._db.close()

    def plan(self, planned: Planned, check: Check) -> None:
        """Pay for a whole study, once: the same plan again costs nothing.

        Raises Refused, by `check` over a cap, or where the study is planned otherwise or closed.
        """
        with self._transaction(writing=True):
            if not self._books.is_planned(planned):
                check(self._books.after(planned))
                self._append(planned)

    def reserve(self, wanted: Reserved, check: Check) -> None:
        """Have a release paid for on disk. A reservation that was not committed stands, and costs nothing again.

        Raises Refused where it is not the planned event, out of order, reserved for another request or, if it is a
        retry, by `check`.
        """
        with self._transaction(writing=True):
            if not self._books.is_reserved(wanted):
                check(self._books.after(wanted))
                self._append(wanted)

    def commit(self, study: str, release: int, attempt: int, payload: bytes, size: int) -> Kept:
        """Keep the payload of the newest reservation, for ever by its hash and until the next commit by its bytes.

        Returns what may be sent: what is on disk. If another process was first, that is its payload, not this one.
        """
        with self._transaction(writing=True):
            reserved = self._books.reserved(study, release, attempt)
            if self._books.account(study).is_answered:
                return self._kept(study)
            digest = hashlib.sha256(payload).hexdigest()
            receipt = self._append(Committed(study, release, attempt, digest, len(payload), size))
            row = (study, release, attempt, payload)
            self._db.execute("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?)", row)
        return Kept(payload, receipt, masked=bool(reserved.session))

    def recall(self, study: str, release: int, attempt: int, context: str) -> Kept | None:
        """The newest committed payload of a study, if it answered exactly this request. Raises Refused where barred."""
        with self._transaction(writing=False):
            self._books.check_not_barred()
            account = self._books.accounts.get(study)
            if account is None or account.answer is None:
                return None
            asked = account.answer.reserved
            if (asked.release, asked.attempt, asked.context) != (release, attempt, context):
                return None
            return self._kept(study)

    def refuse(self, study: str, reason: Reason) -> str:
        """Write down a refusal; the hash of its entry."""
        with self._transaction(writing=True):
            return self._append(Declined(study, reason))

    def void(self, study: str) -> None:
        """Close a study for ever; planned releases that were never reserved are credited back.

        Formal guarantee: what was reserved stays charged, whether it was sent or not, so the sum of what can have left
        never exceeds what was charged; a sum of mu^2 may stop adaptively (Smith, Thakurta 2022).
        """
        with self._transaction(writing=True):
            self._books.account(study)
            self._append(Voided(study))

    def receipt(self, study: str, shown: str) -> None:
        """Write down the SHA-256, in hex, of what the site was shown at the end of a study."""
        with self._transaction(writing=True):
            self._append(Receipted(study, shown))

    def settle(self, study: str) -> tuple[Head, Charges]:
        """Close a study here with its receipt (B11): what was charged for it, and the head that says so.

        Asked again it says the same, for ever. Raises Refused where there is no such study, it was voided, or a session
        of it is open.
        """
        with self._transaction(writing=True):
            page = self._books.page(study)
            settled = page.settled
            if page.live:
                raise Refused(Reason.NO_SESSION)
            charges = charges_of(_walk(self._db, 0, ROOT), study)
            if settled is None:
                number = self._books.seq + 1
                return Head(number, bytes.fromhex(self._append(Settled(study, charges.digest)))), charges
            if settled.charges != charges.digest:
                raise Tampered("the charges of a study are not those that its receipt was signed over")
            return Head(settled.number, bytes.fromhex(settled.hash)), charges

    def open_session(self, study: str, nonce: bytes, check: Check) -> tuple[int, Head]:
        """The number of a new session, and the head to publish in it, with all paid for that it may spend.

        `nonce`: of its opening, 32 fresh random bytes. Raises Refused, by `check` over a cap, or while one is open.
        """
        with self._transaction(writing=True):
            record = self._books.next_session(study, nonce.hex())
            check(self._books.after(record))
            return record.number, Head(self._books.seq + 1, bytes.fromhex(self._append(record)))

    def end_session(self, study: str, number: int) -> None:
        """Nothing is answered in a session any more, says the process that holds it. One that was lost stays so."""
        with self._transaction(writing=True):
            if (study, number) in self._books.live:
                self._append(Ended(study, number, lost=False))

    def lose_sessions(self, held: Collection[tuple[str, int]]) -> None:
        """Write down as lost all sessions that are open but are not `held`, by study and number. See B9 of books.py.

        It is charged, whatever the caps: it may have been spent.
        """
        while self._lose_one(held):
            pass

    def _lose_one(self, held: Collection[tuple[str, int]]) -> bool:
        with self._transaction(writing=False):
            lost = [one for one in self._books.live if one not in held]
        if lost:
            with self._transaction(writing=True):
                if lost[0] in self._books.live:
                    self._append(Ended(*lost[0], lost=True))
        return bool(lost)

    @property
    def newest_session(self) -> int:
        """The number of the session opened last, in any study; 0 before the first."""
        with self._transaction(writing=False):
            return self._books.sessions

    def bar(self, study: str, seen: Mapping[bytes, Head]) -> None:
        """Go on with no study any more: other members of this one, by their agent keys, have seen what is not here."""
        with self._transaction(writing=True):
            heads = [(member.hex(), head.count, head.hash.hex()) for member, head in seen.items()]
            self._append(Barred(study, tuple(heads)))

    def free(self, study: str) -> None:
        """Go on after `bar`. For a person who knows that this is the newest copy and that the witnesses are wrong.

        Where it is not, put the newest copy back instead: it is not barred. What they have seen is excused from then
        on, and everything that may have been forgotten is paid for.
        """
        with self._transaction(writing=True):
            barred = next((e.record for e in reversed(_audited(self._db)) if isinstance(e.record, Barred)), None)
            for member, count, digest in barred.seen if barred else ():
                store(self._db, Of.OWN, {bytes.fromhex(member): Head(count, bytes.fromhex(digest))})
            self._append(Freed(study))

    def is_ancestor(self, head: Head) -> bool:
        """Whether a head is that of an entry in this chain."""
        with self._transaction(writing=False):
            row = self._db.execute("SELECT hash FROM entries WHERE seq = ?", (head.count,)).fetchone()
            return row is not None and row[0] == head.hash

    def heads(self, of: Of, members: Collection[bytes]) -> Mapping[bytes, Head]:
        """The head that is kept for each member, by its agent key; NOTHING for a stranger."""
        with self._transaction(writing=False):
            return stored(self._db, of, members)

    def keep_heads(self, of: Of, heads: Mapping[bytes, Head]) -> None:
        """Keep heads by agent key; of others' ledgers only newer ones."""
        with self._transaction(writing=True):
            store(self._db, of, heads)

    def spent(self, view: View) -> Fraction:
        """Exact mu^2 of everything paid for so far, by all studies."""
        with self._transaction(writing=False):
            return self._books.lifetime.within(view)

    def refusals(self, study: str) -> int:
        """Requests of a study refused so far; of studies that are not known, under the empty name."""
        with self._transaction(writing=False):
            return self._books.refusals.get(study, 0)

    @property
    def head(self) -> str:
        """The hash of the newest entry, in hex."""
        with self._transaction(writing=False):
            return self._head.hex()

    def verify(self) -> int:
        """Walk the whole chain again; the number of entries. Opening a ledger does the same."""
        with self._transaction(writing=False):
            entries = _audited(self._db)
            if entries[-1].hash != self._head.hex():
                raise Tampered("the ledger is not the one that was opened")
        return len(entries)

    def entries(self) -> Iterator[Entry]:
        """All entries, verified, in order."""
        with self._transaction(writing=False):
            return iter(_audited(self._db))

    def _script(self, statements: str) -> None:
        def run() -> None:
            try:
                self._db.executescript(statements)
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

        with intact():
            patiently(run)

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[None]:
        with self._lock, intact():
            patiently(self._begin_writing if writing else self._begin_reading)
            try:
                self._catch_up()
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _begin_writing(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def _begin_reading(self) -> None:
        self._db.execute("BEGIN")
        try:
            self._db.execute("SELECT max(seq) FROM entries").fetchone()  # takes the lock, which BEGIN alone does not
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _catch_up(self) -> None:
        for entry in _walk(self._db, self._books.seq, self._head):
            self._books.fold(entry)
            self._head = bytes.fromhex(entry.hash)

    def _append(self, record: Record) -> str:
        seq, body = self._books.seq + 1, write(self._clock(), record)
        digest = chained(seq, self._head, body)
        if not _reads_back(body, record):  # once written, it would lock the ledger for ever
            raise ValueError("a record that could not be read back is not written")
        self._db.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (seq, self._head, body, digest))
        return digest.hex()

    def _kept(self, study: str) -> Kept:
        answer = self._books.accounts[study].answer
        row = self._db.execute("SELECT payload FROM outbox WHERE study = ?", (study,)).fetchone()
        if answer is None or row is None or hashlib.sha256(row[0]).hexdigest() != answer.committed.payload:
            raise Tampered("the outbox does not hold what the ledger committed")
        return Kept(row[0], answer.receipt, masked=bool(answer.reserved.session))


def _reads_back(body: str, record: Record) -> bool:
    try:
        return read(0, body, ROOT).record == record
    except Tampered:
        return False


def listing(path: Path) -> tuple[Entry, ...]:
    """The verified entries of a ledger, which may be in use. Raises InvalidInput where none can be read, Tampered."""
    if not _is_there(path):
        raise InvalidInput(
            f"{path}: there is no ledger. Give the ledger.sqlite of a site, e.g. sites/NAME/ledger.sqlite"
        )
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with intact(), closing(sqlite3.connect(uri, timeout=BUSY_S, uri=True)) as db:
            return tuple(_audited(db))
    except sqlite3.OperationalError as error:
        raise InvalidInput(f"{path}: cannot be read ({error}). Run this as the user of the site's agent") from error


def books_at(path: Path) -> Books:
    """What a ledger that may be in use adds up to; empty books where there is none yet. Raises as `listing` does."""
    books = Books()
    for entry in listing(path) if _is_there(path) else ():
        books.fold(entry)
    return books


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}). Run this as the user of the agent") from error


def _audited(db: sqlite3.Connection) -> list[Entry]:
    """All entries, checked from the first on: the chain, and that each may follow those before it."""
    books, entries = Books(), []
    for entry in _walk(db, 0, ROOT):
        books.fold(entry)
        entries.append(entry)
    return entries


def _walk(db: sqlite3.Connection, seq: int, head: bytes) -> Iterator[Entry]:
    """Entries after number `seq`, whose hash is `head`. Raises Tampered where the chain does not hold."""
    rows = db.execute("SELECT seq, before, body, hash FROM entries WHERE seq >= ? ORDER BY seq", (seq,))
    if seq:
        known = next(rows, None)
        if known is None or (known[0], known[3]) != (seq, head):
            raise Tampered(f"ledger entry {seq} is not the one that was read before")
    for found, before, body, digest in rows:
        if (found, before, digest) != (seq + 1, head, chained(seq + 1, head, str(body))):
            raise Tampered(f"ledger entry {seq + 1} does not continue the chain")
        yield read(found, body, digest)
        seq, head = found, digest
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    if last != seq:
        raise Tampered(f"the ledger ends at entry {seq}, but entry {last} was written")
