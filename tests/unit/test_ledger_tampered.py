"""What is on disk of a ledger cannot be changed unseen."""

import sqlite3

import pytest
from ledger_made import OTHER, STUDY, answered, anything, planned, reserved

from silosynth.client import entries
from silosynth.client.entries import Committed, Opened, Voided
from silosynth.client.ledger import Ledger, listing
from silosynth.client.refusal import Reason
from silosynth.common.errors import InvalidInput, Tampered
from silosynth.common.privacy import View


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    opened = Ledger(path)
    yield opened
    opened.close()


@pytest.fixture
def running(ledger):
    ledger.plan(planned(), anything)
    return ledger


@pytest.fixture
def full(running, path):
    answered(running, 0)
    answered(running, 1)
    running.refuse(STUDY, Reason.BAD_TASK)
    running.close()
    return path


def force(path, *statements):
    """What somebody can do who owns the file: also drop the triggers."""
    db = sqlite3.connect(path)
    with db:
        for name in ("no_update", "no_delete", "no_replace"):
            db.execute(f"DROP TRIGGER {name}")
        db.execute("DROP INDEX once")
        for statement, values in statements:
            db.execute(statement, values)
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = body WHERE seq = 2",
        "DELETE FROM entries WHERE seq = 7",
        "INSERT OR REPLACE INTO entries SELECT seq, before, body, x'00' FROM entries WHERE seq = 3",
    ],
)
def test_the_database_itself_forbids_changes(full, statement):
    db = sqlite3.connect(full)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(statement)
    db.close()


@pytest.mark.parametrize("kind", ["plan", "reserve", "commit"])
def test_the_database_itself_forbids_a_second_entry_of_once_only_kinds(full, kind):
    db = sqlite3.connect(full)
    copy = (
        "INSERT INTO entries SELECT 99, before, body, x'01' FROM entries WHERE json_extract(body, '$.kind') = ? LIMIT 1"
    )
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        db.execute(copy, (kind,))
    db.close()


TAMPERING = {
    "edited text": ("UPDATE entries SET body = body || ' ' WHERE seq = 2", ()),
    "cheaper event": ("UPDATE entries SET body = replace(body, '7/2', '9/2') WHERE seq = 2", ()),
    "edited hash": ("UPDATE entries SET hash = zeroblob(32) WHERE seq = 4", ()),
    "edited link": ("UPDATE entries SET before = zeroblob(32) WHERE seq = 4", ()),
    "not text": ("UPDATE entries SET body = x'00' WHERE seq = 3", ()),
    "deleted within": ("DELETE FROM entries WHERE seq = 4", ()),
    "deleted at the end": ("DELETE FROM entries WHERE seq = 7", ()),
    "deleted at the start": ("DELETE FROM entries WHERE seq = 1", ()),
    "all deleted": ("DELETE FROM entries", ()),
    "renumbered": ("UPDATE entries SET seq = 70 WHERE seq = 7", ()),
    "appended": ("INSERT INTO entries VALUES (8, zeroblob(32), '{}', x'02')", ()),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_a_changed_entry_is_seen(full, how):
    force(full, TAMPERING[how])
    with pytest.raises(Tampered):
        Ledger(full)
    with pytest.raises(Tampered):
        listing(full)


def test_reordered_entries_are_seen(full):
    swap = [
        ("UPDATE entries SET seq = 70 WHERE seq = 3", ()),
        ("UPDATE entries SET seq = 3 WHERE seq = 4", ()),
        ("UPDATE entries SET seq = 4 WHERE seq = 70", ()),
    ]
    force(full, *swap)
    with pytest.raises(Tampered):
        Ledger(full)


def test_what_is_changed_under_an_open_ledger_is_seen(full):
    ledger = Ledger(full)
    force(full, ("UPDATE entries SET hash = zeroblob(32) WHERE seq = 7", ()))
    with pytest.raises(Tampered, match="entry 7"):
        ledger.spent(View.LOCAL)
    ledger.close()


def test_an_open_ledger_sees_another_history(full, tmp_path):
    ledger = Ledger(full)
    force(full, ("DELETE FROM entries WHERE seq = 7", ()), ("UPDATE sqlite_sequence SET seq = 6", ()))
    with pytest.raises(Tampered, match="entry 7"):
        ledger.refuse(STUDY, Reason.BAD_TASK)
    ledger.close()


def test_an_edit_far_behind_an_open_ledger_is_seen_by_verify(full):
    ledger = Ledger(full)
    force(full, ("UPDATE entries SET body = replace(body, '7/2', '9/2') WHERE seq = 2", ()))
    ledger.spent(View.LOCAL)  # reads only what is new
    with pytest.raises(Tampered, match="entry 2"):
        ledger.verify()
    ledger.close()


def test_a_whole_other_chain_under_an_open_ledger_is_seen_by_verify(full, monkeypatch):
    ledger = Ledger(full)
    ledger._head = bytes(32)
    monkeypatch.setattr(ledger, "_catch_up", lambda: None)
    with pytest.raises(Tampered, match="not the one that was opened"):
        ledger.verify()
    ledger.close()


@pytest.mark.parametrize("statement", ["UPDATE outbox SET payload = x'00'", "DELETE FROM outbox"])
def test_a_changed_payload_is_never_sent(full, statement):
    force(full, (statement, ()))
    ledger = Ledger(full)
    with pytest.raises(Tampered, match="outbox"):
        ledger.recall(STUDY, 1, 0, "c")
    ledger.close()


@pytest.mark.parametrize(
    "record",
    [
        Opened("00"),
        planned(),
        reserved(1),
        reserved(3),
        Committed(STUDY, 1, 0, "", 0, 0),
        Committed(STUDY, 2, 0, "", 0, 0),
        Voided(OTHER),
    ],
)
def test_an_entry_that_cannot_follow_is_tampering_even_with_the_right_hash(full, record):
    ledger = Ledger(full)
    ledger._db.execute("DROP INDEX once")
    with ledger._transaction(writing=True):
        ledger._append(record)
    with pytest.raises(Tampered, match="entry 8 cannot follow"):
        ledger.spent(View.LOCAL)
    ledger.close()


def test_a_chain_that_does_not_begin_with_its_opening_is_tampering(path):
    Ledger(path).close()
    body = entries.write("now", Voided(STUDY))
    digest = entries.chained(1, entries.ROOT, body)
    force(path, ("UPDATE entries SET body = ?, hash = ?", (body, digest)))
    with pytest.raises(Tampered, match="entry 1 cannot follow"):
        Ledger(path)


def test_a_file_that_is_no_ledger(path):
    path.write_bytes(b"these bytes are not a database, at all" * 100)
    with pytest.raises(Tampered, match="damaged"):
        Ledger(path)
    with pytest.raises(InvalidInput, match="there is no ledger"):
        listing(path.parent / "nothing.sqlite")


def test_a_lock_that_never_opens_is_not_tampering(full, monkeypatch):
    ledger = Ledger(full)
    monkeypatch.setattr("silosynth.client.patience.BUSY_S", 0.01)
    other = sqlite3.connect(full, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        ledger.refuse(STUDY, Reason.BAD_TASK)
    other.close()
    ledger.close()


def test_a_busy_ledger_is_asked_again_within_milliseconds_so_no_writer_starves_it(full, monkeypatch):
    other = sqlite3.connect(full, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 20:
            other.execute("COMMIT")
        assert len(waits) <= 20

    monkeypatch.setattr("silosynth.client.patience.time.sleep", sleep)
    ledger = Ledger(full)
    assert len(waits) == 20
    assert max(waits) <= 0.005
    other.execute("BEGIN EXCLUSIVE")
    assert ledger.refusals(STUDY) == 1  # who only reads does not wait for who writes
    other.close()
    ledger.close()


def test_an_open_ledger_can_be_listed(running, path):
    answered(running, 0)
    assert listing(path) == tuple(running.entries())
