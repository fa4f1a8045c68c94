"""The ledger: what may follow what, what is charged, and that nothing on disk can be changed unseen."""

import hashlib
import sqlite3
import stat
import threading
from fractions import Fraction

import pytest

from silosynth.client import entries
from silosynth.client.books import Price, price
from silosynth.client.entries import Committed, Entry, Opened, Planned, PlannedStep, Receipted, Reserved, Voided
from silosynth.client.ledger import Ledger, listing
from silosynth.client.refusal import Reason, Refused
from silosynth.common.errors import InvalidInput, Tampered
from silosynth.common.privacy import Composed, Gaussian, NoPrivacy, Repeated, Sampled, View
from silosynth.common.sampled import MOST_CERTIFIED

EVENT = Gaussian(Fraction(7, 2), 4)
COST = Fraction(4, 49)
STUDY = "a" * 64
OTHER = "b" * 64


def planned(study=STUDY, repeats=3, *, event=EVENT, private=True):
    return Planned(
        study, "a study", "1e-05", private, (PlannedStep("first", 1, event), PlannedStep("sum", repeats, event))
    )


def reserved(release, attempt=0, *, study=STUDY, context="c", event=EVENT):
    return Reserved(study, release, attempt, context, event)


def anything(_):
    return None


def cap_of(limit):
    def check(after):
        if after.lifetime.aggregate > limit:
            raise Refused(Reason.LIFETIME_CAP)

    return check


def answered(ledger, release, attempt=0, *, study=STUDY, context="c", payload=b"x" * 16):
    ledger.reserve(reserved(release, attempt, study=study, context=context), anything)
    return ledger.commit(study, release, attempt, payload, 2)


def refused_with(reason):
    return pytest.raises(Refused, match=f"^{reason.value}$")


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


def test_it_is_the_owners_file_alone(ledger, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (first,) = ledger.entries()
    assert isinstance(first.record, Opened)


def test_a_plan_pays_for_all_its_releases_in_both_views(running):
    assert running.spent(View.AGGREGATE) == 4 * COST
    assert running.spent(View.LOCAL) == 16 * COST


def test_the_same_plan_again_costs_nothing_and_asks_nobody(running):
    running.plan(planned(), cap_of(Fraction(0)))
    assert running.spent(View.AGGREGATE) == 4 * COST


def test_a_study_cannot_be_planned_otherwise(running):
    with refused_with(Reason.OUT_OF_PLAN):
        running.plan(planned(repeats=1), anything)


def test_a_plan_over_the_cap_leaves_no_trace(ledger):
    with refused_with(Reason.LIFETIME_CAP):
        ledger.plan(planned(), cap_of(4 * COST - Fraction(1, 10**30)))
    assert ledger.verify() == 1
    ledger.plan(planned(), cap_of(4 * COST))


def test_releases_of_the_plan_cost_nothing_more(running):
    for release in range(4):
        answered(running, release)
    assert running.spent(View.AGGREGATE) == 4 * COST


def test_a_retry_is_an_ordinary_charge_against_the_cap(running):
    answered(running, 0)
    running.reserve(reserved(0, 1), cap_of(5 * COST))
    assert running.spent(View.AGGREGATE) == 5 * COST
    assert running.spent(View.LOCAL) == 20 * COST
    with refused_with(Reason.LIFETIME_CAP):
        running.reserve(reserved(0, 2), cap_of(5 * COST))


def test_a_reservation_without_commit_stands_and_costs_nothing_again(running, path):
    running.reserve(reserved(0, 0), anything)
    running.reserve(reserved(0, 1), anything)
    before = running.spent(View.AGGREGATE)
    again = Ledger(path)
    again.reserve(reserved(0, 1), cap_of(Fraction(0)))
    assert again.spent(View.AGGREGATE) == before
    assert again.commit(STUDY, 0, 1, b"y", 1).payload == b"y"
    again.close()


@pytest.mark.parametrize(
    ("done", "wanted", "reason"),
    [
        ([], reserved(1), Reason.OUT_OF_ORDER),
        ([], reserved(4), Reason.OUT_OF_PLAN),
        ([], reserved(-1), Reason.OUT_OF_PLAN),
        ([], reserved(0, event=Gaussian(Fraction(3), 4)), Reason.OUT_OF_PLAN),
        ([], reserved(0, event=Gaussian(Fraction(7, 2), 5)), Reason.OUT_OF_PLAN),
        ([], reserved(0, event=Repeated(1, EVENT)), Reason.OUT_OF_PLAN),
        ([], reserved(0, study=OTHER), Reason.NOT_APPROVED),
        ([(0, 0)], reserved(0, context="d"), Reason.ANSWERED_DIFFERENTLY),
        ([(0, 0)], reserved(2), Reason.OUT_OF_ORDER),
        ([(0, 2)], reserved(0, 1), Reason.OUT_OF_ORDER),
        ([(0, 0), (1, 0)], reserved(0), Reason.OUT_OF_ORDER),
        ([(0, 0), (1, 0)], reserved(0, 1), Reason.OUT_OF_ORDER),
    ],
)
def test_what_cannot_be_reserved(running, done, wanted, reason):
    for release, attempt in done:
        answered(running, release, attempt)
    with refused_with(reason):
        running.reserve(wanted, anything)


def test_a_release_waits_for_the_one_before_to_be_committed(running):
    running.reserve(reserved(0), anything)
    with refused_with(Reason.OUT_OF_ORDER):
        running.reserve(reserved(1), anything)
    with refused_with(Reason.ANSWERED_DIFFERENTLY):
        running.reserve(reserved(0, context="d"), anything)


def test_a_release_follows_even_if_a_retry_of_the_one_before_was_never_computed(running):
    answered(running, 0)
    running.reserve(reserved(0, 1), anything)
    answered(running, 1)


def test_a_request_is_recalled_byte_for_byte_and_no_other(running):
    kept = answered(running, 0, payload=b"noised")
    assert running.recall(STUDY, 0, 0, "c") == kept
    assert kept.receipt == running.head
    assert running.recall(STUDY, 0, 0, "d") is None
    assert running.recall(STUDY, 0, 1, "c") is None
    assert running.recall(OTHER, 0, 0, "c") is None
    answered(running, 1)
    assert running.recall(STUDY, 0, 0, "c") is None


def test_nothing_is_recalled_before_a_commit(running):
    running.reserve(reserved(0), anything)
    assert running.recall(STUDY, 0, 0, "c") is None


def test_only_the_newest_payload_of_each_study_is_kept(running, path):
    running.plan(planned(OTHER), anything)
    answered(running, 0)
    answered(running, 0, study=OTHER)
    answered(running, 1, payload=b"z")
    with sqlite3.connect(path) as db:
        assert sorted(db.execute("SELECT study, release, payload FROM outbox")) == [
            (STUDY, 1, b"z"),
            (OTHER, 0, b"x" * 16),
        ]
    db.close()
    sizes = [entry.record.octets for entry in running.entries() if isinstance(entry.record, Committed)]
    assert sizes == [16, 16, 1]


def test_the_first_commit_wins_whoever_made_it(running, path):
    running.reserve(reserved(0), anything)
    other = Ledger(path)
    other.reserve(reserved(0), anything)
    first = other.commit(STUDY, 0, 0, b"first", 1)
    assert running.commit(STUDY, 0, 0, b"second", 1) == first
    assert running.recall(STUDY, 0, 0, "c") == first
    other.close()


def test_only_the_newest_reservation_can_be_committed(running):
    with refused_with(Reason.OUT_OF_ORDER):
        running.commit(STUDY, 0, 0, b"", 0)
    running.reserve(reserved(0), anything)
    running.reserve(reserved(0, 1), anything)
    with refused_with(Reason.OUT_OF_ORDER):
        running.commit(STUDY, 0, 0, b"", 0)


def test_closing_a_study_credits_back_what_was_never_begun_and_nothing_else(running):
    answered(running, 0)
    running.reserve(reserved(1), anything)  # perhaps computed, never committed: stays charged
    running.void(STUDY)
    assert running.spent(View.AGGREGATE) == 2 * COST
    assert running.spent(View.LOCAL) == 8 * COST
    for act in (
        lambda: running.plan(planned(), anything),
        lambda: running.reserve(reserved(1), anything),
        lambda: running.commit(STUDY, 1, 0, b"", 0),
        lambda: running.void(STUDY),
    ):
        with refused_with(Reason.STUDY_CLOSED):
            act()
    assert running.recall(STUDY, 0, 0, "c") is not None


def test_a_study_that_never_began_is_credited_back_whole(running):
    running.void(STUDY)
    assert running.spent(View.AGGREGATE) == 0


@pytest.mark.parametrize("plan", [planned(event=NoPrivacy()), planned(private=False)])
def test_what_has_no_noise_or_a_predictable_one_is_marked_for_ever(ledger, plan):
    found = []
    ledger.plan(plan, found.append)
    ledger.void(STUDY)
    ledger.plan(planned(OTHER), found.append)
    assert [after.lifetime.noiseless for after in found] == [True, True]
    assert [after.study.noiseless for after in found] == [True, False]


def test_refusals_and_receipts_are_written_down(running):
    receipt = running.refuse(STUDY, Reason.BAD_TASK)
    assert receipt == running.head
    assert (running.refusals(STUDY), running.refusals(OTHER)) == (1, 0)
    running.receipt(STUDY, "f" * 64)
    assert list(running.entries())[-1].record == Receipted(STUDY, "f" * 64)


def test_two_studies_cannot_race_over_the_cap(path):
    Ledger(path).close()
    limit, studies = 10 * 4 * COST, [hashlib.sha256(bytes([n])).hexdigest() for n in range(16)]
    outcomes = []
    start = threading.Barrier(4)

    def approve(mine):
        ledger = Ledger(path)
        start.wait()
        for study in mine:
            try:
                ledger.plan(planned(study), cap_of(limit))
                outcomes.append(True)
            except Refused:
                outcomes.append(False)
        ledger.close()

    threads = [threading.Thread(target=approve, args=(studies[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 6 + [True] * 10
    ledger = Ledger(path)
    assert ledger.spent(View.AGGREGATE) == limit
    ledger.close()


def test_one_ledger_serves_threads(running):
    threads = [threading.Thread(target=running.refuse, args=(STUDY, Reason.BAD_TASK)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert running.refusals(STUDY) == 8


def test_a_failed_append_leaves_nothing_behind(running):
    before = running.verify()

    def broken(_):
        raise RuntimeError("a bug in a policy")

    with pytest.raises(RuntimeError):
        running.reserve(reserved(0, 1), broken)
    assert running.verify() == before
    running.reserve(reserved(0, 1), anything)


# --- what is on disk cannot be changed unseen


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
    monkeypatch.setattr("silosynth.client.ledger._BUSY_S", 0.01)
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

    monkeypatch.setattr("silosynth.client.ledger.time.sleep", sleep)
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


# --- entries


@pytest.mark.parametrize(
    "event",
    [
        EVENT,
        NoPrivacy(),
        Repeated(3, Gaussian(Fraction(1, 3), 1)),
        Composed((EVENT, Repeated(2, NoPrivacy()), Composed(()))),
    ],
)
def test_events_come_back_from_json(event):
    assert entries.event_from_json(entries.event_to_json(event)) == event


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {"event": "laplace"},
        {"event": "gaussian", "multiplier": 3.5, "shares": 4},
        {"event": "gaussian", "multiplier": "3.5", "shares": 4},
        {"event": "gaussian", "multiplier": "7/0", "shares": 4},
        {"event": "gaussian", "multiplier": "-7/2", "shares": 4},
        {"event": "gaussian", "multiplier": "7/2", "shares": 0},
        {"event": "repeated", "count": 0, "of": {"event": "no-privacy"}},
    ],
)
def test_an_unknown_event_is_an_error_never_skipped(raw):
    with pytest.raises(ValueError, match=r"event|positive"):
        entries.event_from_json(raw)


GOOD = entries.write("now", reserved(0))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        GOOD.replace('"format":2', '"format":3'),
        GOOD.replace('"format":2,', ""),
        GOOD.replace("reserve", "borrow"),
        GOOD.replace("gaussian", "laplace"),
        GOOD.replace("7/2", "14/4"),
        GOOD.replace('"release":0', '"release":0.0'),
        GOOD.replace('"release":0', '"release":"0"'),
        GOOD.replace('"release":0', '"extra":0,"release":0'),
        GOOD.replace(",", ", "),
        entries.write("now", planned()).replace('["sum",3', '["sum",0'),
        '{"at":"now","format":2,"kind":"refuse","reason":"Jane Roe","study":""}',
    ],
)
def test_a_body_that_this_code_did_not_write_is_tampering(body):
    with pytest.raises(Tampered):
        entries.read(1, body, bytes(32))


def test_an_entry_of_another_format_is_named():
    with pytest.raises(Tampered, match="entry 1 is of another format than 2"):
        entries.read(1, GOOD.replace('"format":2', '"format":3'), bytes(32))


def test_bodies_hold_no_floats():
    assert (
        '{"at":"now","attempt":0,"context":"c","event":{"event":"gaussian","multiplier":"7/2","shares":4},'
        f'"format":2,"kind":"reserve","release":0,"session":"","study":"{STUDY}","within":0}}'
    ) == GOOD
    assert entries.read(5, GOOD, bytes(32)) == Entry(5, "now", reserved(0), "00" * 32)


def test_golden_hash():
    # Changes only with the format number.
    assert (
        entries.chained(2, entries.ROOT, "{}").hex()
        == hashlib.sha256(b"silosynth/ledger/2\n" + b"\0" * 7 + b"\2" + b"\0" * 32 + b"{}").hexdigest()
    )


def test_prices_are_exact():
    assert price(Composed((EVENT, Repeated(2, EVENT)))) == Price(3 * COST, 12 * COST)
    assert price(NoPrivacy()) == Price(noiseless=True)


# Certified steps

SAMPLED = Composed((Repeated(20, Sampled(Fraction(1, 10), Gaussian(Fraction(2), 1))),))


def certified(study=STUDY, steps=1):
    learn = tuple(PlannedStep(f"learn{number}", 3, SAMPLED, Fraction(1, 8)) for number in range(steps))
    return Planned(study, "a study", "1e-05", True, (PlannedStep("first", 1, EVENT), *learn))


def begun(ledger, releases):
    for release in range(releases):
        event = SAMPLED if release else EVENT
        ledger.reserve(reserved(release, event=event), anything)
        ledger.commit(STUDY, release, 0, b"x" * 16, 2)


def test_a_certified_step_is_one_purchase(path):
    ledger = Ledger(path)
    ledger.plan(certified(), anything)
    assert ledger.spent(View.LOCAL) == 4 * COST + Fraction(1, 8)
    begun(ledger, 3)
    assert ledger.spent(View.LOCAL) == 4 * COST + Fraction(1, 8)


@pytest.mark.parametrize(("releases", "credit"), [(0, 4 * COST + Fraction(1, 8)), (1, Fraction(1, 8)), (2, 0), (4, 0)])
def test_what_is_left_of_a_certified_step_is_not_credited(path, releases, credit):
    ledger = Ledger(path)
    ledger.plan(certified(), anything)
    begun(ledger, releases)
    ledger.void(STUDY)
    assert ledger.spent(View.LOCAL) == 4 * COST + Fraction(1, 8) - credit


def test_a_retry_of_a_sampled_release_is_paid_for_as_if_nothing_were_sampled(path):
    ledger = Ledger(path)
    ledger.plan(certified(), anything)
    begun(ledger, 2)
    before = ledger.spent(View.LOCAL)
    ledger.reserve(reserved(1, 1, event=SAMPLED), anything)
    assert ledger.spent(View.LOCAL) - before == Fraction(20, 4)


def test_a_ledger_has_room_for_so_many_certified_histories_and_no_more(path):
    ledger = Ledger(path)
    ledger.plan(certified("a" * 64, steps=MOST_CERTIFIED - 1), anything)
    ledger.plan(certified("b" * 64), anything)
    ledger.plan(certified("b" * 64), anything)  # again costs nothing
    ledger.plan(planned("c" * 64), anything)
    for study, steps in (("d" * 64, 1), ("e" * 64, MOST_CERTIFIED)):
        with refused_with(Reason.LIFETIME_CAP):
            ledger.plan(certified(study, steps=steps), anything)
    ledger.close()
    assert Ledger(path).spent(View.LOCAL) == 3 * 4 * COST + 3 * 4 * COST + Fraction(MOST_CERTIFIED, 8)


def test_certified_plans_come_back_from_disk(path):
    ledger = Ledger(path)
    ledger.plan(certified(), anything)
    begun(ledger, 2)
    ledger.close()
    plan, reservation = (entry.record for entry in listing(path)[1:6:3])
    assert plan == certified()
    assert reservation.event == SAMPLED


@pytest.mark.parametrize(
    "raw",
    [
        {"event": "sampled", "rate": "1/10", "of": {"event": "no-privacy"}},
        {"event": "sampled", "rate": "11/10", "of": entries.event_to_json(Gaussian(Fraction(2), 1))},
        {"event": "sampled", "rate": 0.1, "of": entries.event_to_json(Gaussian(Fraction(2), 1))},
        {"event": "sampled", "rate": "1/10", "of": entries.event_to_json(Gaussian(Fraction(2), 2))},
        {"event": "certified", "mu_squared": "0/1", "of": entries.event_to_json(SAMPLED)},
        {"event": "certified", "mu_squared": "1/8", "of": None},
    ],
)
def test_sampled_events_that_are_none_are_not_read(raw):
    with pytest.raises(ValueError, match=r"not an event|ratio|rate|noise"):
        entries.event_from_json(raw)
