"""A site's database is put back to an older copy, or its process is copied with its memory: at whole sites.

Each attack is also run with its defence taken out, and then it gets through.
"""

import shutil
import sqlite3
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partialmethod

import numpy as np
import pytest
from masked_made import RELEASES, Federation, fake_engine, key_of, masked_study

from silosynth.client import session as session_module
from silosynth.client.books import FREE, Books
from silosynth.client.entries import Barred, Planned, Reserved, Sessioned
from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import Cap, Caps, just_this
from silosynth.client.refusal import Reason, Refused
from silosynth.client.session import Sessions
from silosynth.client.site import Site
from silosynth.common import secagg_study, wire
from silosynth.common.privacy import View
from silosynth.common.secagg import site as site_module
from silosynth.common.secagg.messages import NOTHING, Head
from silosynth.common.secagg.roster import Roster
from silosynth.common.secagg.site import Seat, SiteSession

COST = Fraction(1, 400)
VICTIM = 0


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch):
    fake_engine(monkeypatch)


@pytest.fixture
def made(tmp_path):
    with Federation(tmp_path, restarts=3) as federation:
        yield federation


def copy_of(made, name="copy"):
    """A copy of the victim's database as it is now."""
    copy = made.root / name
    with sqlite3.connect(made.path(VICTIM)) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    return copy


def restore(made, copy):
    """The victim, started from an old copy."""
    made.ledgers[VICTIM].close()
    for tail in ("-wal", "-shm"):
        made.path(VICTIM).with_name(made.path(VICTIM).name + tail).unlink(missing_ok=True)
    shutil.copy(copy, made.path(VICTIM))
    made.start(VICTIM)


def rolled_back_between_sessions(made):
    """What the coordinator hears when it opens a second session with a victim that has forgotten the first."""
    copy = copy_of(made)
    assert made.session() is None
    for release in range(2):
        made.total(release)
    restore(made, copy)
    return made.session()


def test_a_ledger_restored_from_before_a_session_is_barred_for_all_studies_and_for_good(made):
    assert rolled_back_between_sessions(made) == Reason.ROLLED_BACK.value
    (barred,) = made.records(VICTIM, Barred)
    assert [member for member, _, _ in barred.seen] == [one.key for one in made.study.roster[1:]]
    assert made.ask(VICTIM).refusal == Reason.ROLLED_BACK.value
    with pytest.raises(Refused, match=f"^{Reason.ROLLED_BACK.value}$"):  # a restart does not help, nor another study
        made.start(VICTIM)
    other = replace(made.study, name="another")
    gate = Gate(just_this(other), made.ledgers[VICTIM], SystemNoise(), Sessions(made.ledgers[VICTIM], key_of("a")))
    with pytest.raises(Refused, match=f"^{Reason.ROLLED_BACK.value}$"):
        gate.approve(other, other.roster[VICTIM])


def test_a_person_may_free_it_and_everything_that_may_be_forgotten_is_paid_for(made):
    rolled_back_between_sessions(made)  # the first session answered two releases
    made.ledgers[VICTIM].free(made.study.digest)
    made.start(VICTIM)
    assert made.session() is None  # the witness is excused, by name
    truth = 2 + sum(made.ask(VICTIM, release).refusal is None for release in range(RELEASES))
    assert made.ledgers[VICTIM].spent(View.AGGREGATE) >= truth * COST == 6 * COST


def longer(made):
    """Anything that makes the victim's chain longer than others have seen it."""
    for _ in range(20):
        made.sites[VICTIM].answer_frame(b"junk")


def evidence_is_flushed(made):
    """Put back, the victim opens sessions again and again that nobody confirms: do the others forget what they saw?"""
    copy = copy_of(made)
    assert made.session() is None
    for release in range(RELEASES):
        made.total(release)
    restore(made, copy)
    longer(made)
    for _ in range(3):
        made.half_session()
    return made.session()


def test_evidence_of_a_rollback_cannot_be_flushed(made):
    assert evidence_is_flushed(made) == Reason.ROLLED_BACK.value


def test_it_is_flushed_where_whoever_shows_a_newer_head_is_learnt_of(made, monkeypatch):
    monkeypatch.setattr(site_module, "_follows", lambda opening, known, _own: opening.head.count > known.count)
    monkeypatch.setattr(SiteSession, "is_confirmed", property(lambda session: session._joined is not None))
    monkeypatch.setattr(Ledger, "lose_sessions", lambda *_: None)
    assert evidence_is_flushed(made) is None
    assert made.ask(VICTIM).refusal is None  # once more, and the ledger does not know


def test_a_site_that_dies_before_its_bar_is_written_is_barred_the_next_time(made, monkeypatch):
    copy = copy_of(made)
    assert made.session() is None
    made.total(0)
    restore(made, copy)
    longer(made)
    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "bar", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made.session()
    made.start(VICTIM)
    assert made.session() == Reason.ROLLED_BACK.value


def two_studies(tmp_path, stack):
    """The same sites in two studies, and how to start the victim again."""
    one = masked_study()
    other = replace(one, name="other")
    caps = Caps(Cap(20.0, 1e-5), Cap(100.0, 1e-5))
    both = frozenset({one.digest, other.digest})
    policy = replace(just_this(one), studies=both, study_caps=caps, lifetime_caps=caps)
    first = stack.enter_context(Federation(tmp_path, one))

    def start(k):
        first.start(k, policy=policy)
        first.sites[k].approve(other)

    for k in range(5):
        start(k)
    return first, Federation(tmp_path, other, ledgers=first.ledgers, sites=first.sites), start


def forgotten_by_another_study(tmp_path):
    """Retries of one study are forgotten, and it is never opened again: what was charged and what was answered."""
    with ExitStack() as stack:
        first, second, start = two_studies(tmp_path, stack)
        assert first.session() is None
        copy = copy_of(first)
        seen = [first.ask(VICTIM, release, attempt) for release in range(RELEASES) for attempt in range(3)]
        restore(first, copy)
        start(VICTIM)
        assert second.session() is None
        seen += [second.ask(VICTIM, release) for release in range(RELEASES)]
        truth = sum(one.refusal is None for one in seen)
        return first.ledgers[VICTIM].spent(View.AGGREGATE), truth * COST


def test_what_one_study_forgot_is_paid_for_though_only_another_goes_on(tmp_path):
    charged, truth = forgotten_by_another_study(tmp_path)
    assert charged >= truth


def test_it_would_not_be_if_sessions_of_a_dead_process_were_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(Ledger, "lose_sessions", lambda *_: None)
    charged, truth = forgotten_by_another_study(tmp_path)
    assert charged < truth


def test_two_studies_that_open_at_once_both_get_their_session(tmp_path):
    with ExitStack() as stack:
        first, second, _ = two_studies(tmp_path, stack)
        first.half_session()
        assert second.session() is None  # shows newer heads than the first study's openings
        said = {first.step(k, wire.Phase.CONFIRM, b"").refusal for k in range(5)}
        assert said == {Reason.BAD_SESSION.value}
        assert first.session() is None
        assert first.ask(VICTIM).refusal is None
        assert second.ask(VICTIM).refusal is None


def test_nothing_shows_where_heads_of_others_are_not_kept(made, monkeypatch):
    monkeypatch.setattr(Ledger, "keep_heads", lambda *_: None)
    assert rolled_back_between_sessions(made) is None
    assert made.ask(VICTIM).refusal is None  # once more, and the ledger does not know


def test_a_session_that_forgot_another_of_the_same_second_is_found(made, monkeypatch):
    monkeypatch.setattr(Ledger, "__init__", partialmethod(Ledger.__init__, clock=lambda: "now"))
    made.start(VICTIM)
    assert rolled_back_between_sessions(made) == Reason.ROLLED_BACK.value


def test_it_is_not_where_the_entry_of_a_session_has_nothing_of_its_own(made, monkeypatch):
    monkeypatch.setattr(Ledger, "__init__", partialmethod(Ledger.__init__, clock=lambda: "now"))
    honest = Ledger.open_session
    monkeypatch.setattr(Ledger, "open_session", lambda self, study, _nonce, *a: honest(self, study, b"", *a))
    made.start(VICTIM)
    assert rolled_back_between_sessions(made) is None


def test_the_others_remember_after_a_restart_of_their_own(made):
    copy = copy_of(made)
    assert made.session() is None
    restore(made, copy)
    for k in range(1, 5):
        made.start(k)
    assert made.session() == Reason.ROLLED_BACK.value


def test_heads_are_on_disk_before_the_acknowledgement_leaves(made, monkeypatch):
    copy = copy_of(made)
    crash = lambda *_: (_ for _ in ()).throw(OSError("died here"))  # noqa: E731
    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "keep_heads", crash)
        assert made.session() == Reason.INTERNAL.value  # nothing left this site
    restore(made, copy)
    assert made.session() is None


def test_a_bar_that_is_only_said_lets_the_next_study_through(made, monkeypatch):
    monkeypatch.setattr(Ledger, "bar", lambda *_: None)
    assert rolled_back_between_sessions(made) == Reason.ROLLED_BACK.value
    made.start(VICTIM)  # approved again, as if nothing had been


def rolled_back_inside_a_session(made):
    """What the victim was charged and what it answered: its ledger is put back to within its first session."""
    assert made.session() is None
    copy = copy_of(made)
    seen = [made.ask(VICTIM, release).masked for release in range(3)]
    restore(made, copy)
    assert made.session() is None
    seen += [made.ask(VICTIM, release).masked for release in range(RELEASES)]
    assert len({one.payload for one in seen}) == 3 + RELEASES
    return made.ledgers[VICTIM].spent(View.AGGREGATE), len(seen) * COST


def test_a_ledger_restored_to_within_a_session_has_paid_for_what_it_forgot(made):
    charged, truth = rolled_back_inside_a_session(made)
    assert charged >= truth


def retried_inside_a_session(made):
    """The same, and what the victim answered in the first session were retries, as many as it gave."""
    assert made.session() is None
    copy = copy_of(made)
    asked = [(release, attempt) for release in range(RELEASES) for attempt in range(3)]
    replies = [made.ask(VICTIM, *one) for one in asked]
    seen = [reply.masked for reply in replies if reply.masked]
    restore(made, copy)
    assert made.session() is None
    seen += [made.ask(VICTIM, release).masked for release in range(RELEASES)]
    assert len({one.payload for one in seen}) == len(seen)
    return made.ledgers[VICTIM].spent(View.AGGREGATE), len(seen) * COST


def test_it_has_paid_for_retries_too(made):
    charged, truth = retried_inside_a_session(made)
    assert charged >= truth == (RELEASES + made.study.shares - made.study.floor + 1 + RELEASES) * COST


def test_it_would_not_have_if_a_session_did_not_count_retries(made, monkeypatch):
    monkeypatch.setattr(Roster, "retries", 100)
    charged, truth = retried_inside_a_session(made)
    assert charged < truth


def test_it_would_not_have_if_only_releases_were_paid_again(made, monkeypatch):
    monkeypatch.setattr(Planned, "retries", 0)
    charged, truth = retried_inside_a_session(made)
    assert charged < truth


def test_retries_are_counted_in_memory_where_no_copy_of_the_disk_resets_them(made):
    assert made.session() is None
    assert [made.ask(VICTIM, 0, attempt).refusal for attempt in range(3)] == [None] * 3
    assert made.ask(VICTIM, 1, 1).refusal is None
    assert made.ask(VICTIM, 1, 2).refusal == Reason.TOO_MANY_ATTEMPTS.value
    assert made.ask(VICTIM, 2).refusal is None  # what is no retry goes on
    assert made.session() is None
    assert made.ask(VICTIM, 3, 1).refusal is None  # a new session: its opening published what the one before spent


def test_it_would_not_have_if_a_second_session_cost_nothing(made, monkeypatch):
    honest = Books.charge
    monkeypatch.setattr(Books, "charge", lambda *a: FREE if isinstance(a[1], Sessioned) else honest(*a))
    monkeypatch.setattr(Planned, "retries", 0)
    charged, truth = rolled_back_inside_a_session(made)
    assert charged < truth


def test_a_database_put_back_under_a_living_process_stops_it(made):
    assert made.session() is None
    copy = copy_of(made)
    made.total(0)
    with sqlite3.connect(copy) as source, sqlite3.connect(made.path(VICTIM)) as target:
        source.backup(target)
    source.close()
    target.close()
    assert made.ask(VICTIM, 1).refusal == Reason.RECORD_BROKEN.value
    assert made.step(VICTIM, wire.Phase.OPEN).refusal == Reason.RECORD_BROKEN.value


class Memory:
    """What a copy of a process holds: each session's secrets, and what the session was told."""

    def __init__(self, monkeypatch):
        self.made = []
        fresh = session_module._fresh
        monkeypatch.setattr(session_module, "_fresh", lambda: self.made.append(fresh()) or self.made[-1])


def copies(made, memory, count=2):
    """Copies of the victim's process and disk as they are after a session was confirmed."""
    opened = next(entry for entry in made.ledgers[VICTIM].entries() if isinstance(entry.record, Sessioned))
    head = Head(opened.seq, bytes.fromhex(opened.hash))
    found = []
    for n in range(count):
        ledger = Ledger(copy_of(made, f"copy {n}"))
        seat = Seat(secagg_study.agreement(made.study), VICTIM, key_of("a"))
        live = SiteSession(seat, memory.made[0], opened.record.number, head, (NOTHING,) * 5)
        live.join(made.coordinator.transcript, {})
        live.confirm(made.coordinator.confirmation, lambda _head: True)
        sessions = Sessions(ledger, key_of("a"), live={made.study.digest: live})
        gate = Gate(just_this(made.study, restarts=3), ledger, SystemNoise(), sessions)
        site = Site("a", gate, made.sites[VICTIM]._load)
        site.approve(made.study)
        found.append((site, ledger))
    return found


@pytest.fixture
def cloned(made, monkeypatch):
    memory = Memory(monkeypatch)
    assert made.session() is None
    found = copies(made, memory)
    yield made, [site for site, _ in found]
    for _, ledger in found:
        ledger.close()


def test_a_copy_of_a_process_gives_the_same_bytes(cloned):
    made, sites = cloned
    frame = wire.encode_request(made.request())
    said = [wire.decode_reply(site.answer_frame(frame)) for site in (made.sites[VICTIM], *sites)]
    assert len({one.masked for one in said}) == 1  # nothing to average


def test_copies_would_average_the_noise_away_if_it_were_drawn_anew(cloned, monkeypatch):
    monkeypatch.setattr(SystemNoise, "under", lambda self, _key: self)
    made, sites = cloned
    frame = wire.encode_request(made.request())
    said = [wire.decode_reply(site.answer_frame(frame)).masked for site in sites]
    one, other = (np.frombuffer(reply.payload, dtype="<i4").astype(np.int64) for reply in said)
    apart = (one - other + (1 << 31)) % (1 << 32) - (1 << 31)
    assert 0 < np.abs(apart).max() < 1 << 24  # equal masks cancel: two noises remain


def test_a_copy_that_is_asked_otherwise_gives_other_noise_under_other_masks(cloned):
    made, sites = cloned
    said = [
        wire.decode_reply(site.answer_frame(wire.encode_request(made.request(0, 0, members)))).masked
        for site, members in zip(sites, ((0, 1, 2), (0, 1, 3)), strict=True)
    ]
    one, other = (np.frombuffer(reply.payload, dtype="<i4").astype(np.int64) for reply in said)
    assert np.abs(one - other).min() > 1 << 10  # fails by chance below 1e-5
    assert len({reply.header for reply in said}) == 2


def test_reservations_name_the_session(made):
    assert made.session() is None
    made.total(0)
    made.session()
    made.total(0, 1)
    sessions = [record.session for record in made.records(VICTIM, Reserved)]
    assert len(set(sessions)) == 2
