"""Masked sums at whole sites: sessions, rounds, retries, restarts, and what each costs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from masked_made import NAMES, RELEASES, SIZE, Fake, Federation, counts, fake_engine, key_of, masked_study

from silosynth.client.entries import Committed, Declined, Ended, Reserved, Sessioned
from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import just_this
from silosynth.client.refusal import Reason, Refused
from silosynth.client.session import Sessions
from silosynth.client.site import Site
from silosynth.common import wire
from silosynth.common.privacy import Gaussian, View
from silosynth.common.secagg.messages import REPLY_BYTES, read_reply
from silosynth.common.secagg_study import agreement

COST = Fraction(1, 400)
"""mu^2 of one release against totals; against all others together it is four times as much."""


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch):
    fake_engine(monkeypatch)


@pytest.fixture
def made(tmp_path):
    with Federation(tmp_path) as federation:
        yield federation


@pytest.fixture
def ready(tmp_path):
    """Sites in a session, which would pay for three restarts."""
    with Federation(tmp_path, restarts=3) as federation:
        assert federation.session() is None
        yield federation


def near(total, members):
    """Within 12 standard deviations of what is counted: false alarm below 1e-30."""
    return bool((np.abs(total - counts(members)) < 12 * 21 * 5040).all())


def test_a_whole_study_in_masked_sums_at_the_price_of_its_plan(ready):
    before = [ready.ledgers[k].spent(View.LOCAL) for k in range(5)]
    for release in range(RELEASES):
        assert near(ready.total(release), range(5))
    assert [ready.ledgers[k].spent(View.LOCAL) for k in range(5)] == before == [RELEASES * 4 * COST] * 5


def test_what_leaves_is_masked_signed_and_what_the_ledger_committed(ready):
    reply = ready.ask(1)
    assert (reply.vector, reply.refusal) == (None, None)
    assert len(reply.masked.header) == REPLY_BYTES
    assert read_reply(reply.masked.header, agreement(ready.study)).site == 1
    (committed,) = ready.records(1, Committed)
    assert committed.octets == REPLY_BYTES + SIZE * 4  # counts of so few rows fit 32 bits
    assert reply.receipt == ready.ledgers[1].head
    (reserved,) = ready.records(1, Reserved)
    assert len(reserved.session) == 64
    assert reserved.session != reserved.context


def test_a_masked_answer_says_nothing_by_itself(ready):
    alone = np.frombuffer(ready.ask(1).masked.payload, dtype="<i4")
    assert np.abs(alone.astype(np.int64)).max() > 12 * 21 * 5040 + 5 * 5040  # fails by chance below 1e-13


def test_a_repeated_request_gets_the_same_bytes_even_when_the_session_is_gone(ready):
    first = ready.ask(2)
    entries = ready.ledgers[2].verify()
    assert ready.ask(2) == first
    ready.start(2)
    assert ready.ask(2) == first
    assert ready.records(2)[entries:] == [Ended(ready.study.digest, 1, lost=True)]


def test_a_site_that_drops_out_costs_the_others_an_attempt_and_may_come_back(ready):
    for k in (0, 1, 2, 3):
        ready.ask(k)  # site 4 is away, what they said opens nothing
    spent = ready.ledgers[0].spent(View.AGGREGATE), ready.ledgers[0].spent(View.LOCAL)
    assert near(ready.total(0, 1, (0, 1, 2, 3)), range(4))
    after = ready.ledgers[0].spent(View.AGGREGATE), ready.ledgers[0].spent(View.LOCAL)
    assert after == (spent[0] + COST, spent[1] + 3 * COST)  # three honest sites share the noise, not four
    assert near(ready.total(1), range(5))
    assert ready.ledgers[4].spent(View.AGGREGATE) == RELEASES * COST


def test_noise_is_shared_by_those_who_answer(ready):
    ready.total(0, 0, (0, 2, 4))
    (reserved,) = ready.records(0, Reserved)
    assert reserved.event == Gaussian(Fraction(20), 2)


def test_attempts_end(ready):
    for attempt in range(3):
        assert ready.ask(0, 0, attempt).refusal is None
    assert ready.ask(0, 0, 3).refusal == Reason.TOO_MANY_ATTEMPTS.value
    assert ready.ask(0, 1, 3).refusal == Reason.TOO_MANY_ATTEMPTS.value


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"members": (0, 1)}, Reason.BAD_SET),
        ({"members": (1, 2, 3)}, Reason.BAD_SET),
        ({"members": (0, 1, 7)}, Reason.BAD_SET),
        ({"members": ()}, Reason.BAD_SET),
        ({"release": RELEASES}, Reason.OUT_OF_PLAN),
        ({"kind": "pairs"}, Reason.OUT_OF_PLAN),
    ],
)
def test_what_is_not_answered_costs_nothing(ready, asked, reason):
    spent, entries = ready.ledgers[0].spent(View.LOCAL), ready.ledgers[0].verify()
    assert ready.ask(0, **asked).refusal == reason.value
    assert ready.ledgers[0].spent(View.LOCAL) == spent
    assert ready.records(0)[entries:] == [Declined(ready.study.digest, reason)]


def test_without_a_session_nothing_is_answered(made):
    assert made.ask(0).refusal == "no session of secure sums"
    for phase in (wire.Phase.JOIN, wire.Phase.CONFIRM):
        assert made.step(0, phase, b"x").refusal == Reason.NO_SESSION.value
    made.step(0, wire.Phase.OPEN)
    assert made.ask(0).refusal == Reason.NO_SESSION.value
    assert made.records(0, Reserved) == []


def test_a_fault_spends_the_attempt_and_nothing_else(ready, monkeypatch):
    with monkeypatch.context() as faulty:
        faulty.setattr(Fake, "fault", ValueError("a passing fault"))
        assert ready.ask(0).refusal == Reason.INTERNAL.value
    assert ready.ask(0).refusal == Reason.OUT_OF_ORDER.value  # the round was begun: its masks are gone
    assert near(ready.total(0, 1), range(5))


def test_an_opening_is_the_same_until_it_is_joined(made):
    first = made.step(0, wire.Phase.OPEN).frame
    assert made.step(0, wire.Phase.OPEN).frame == first
    assert sessions_of(made) == [(1, None)]


def test_an_opening_that_was_not_joined_is_replaced_once_another_study_has_shown_a_newer_head(tmp_path):
    with Federation(tmp_path, restarts=3) as made:
        first = made.step(0, wire.Phase.OPEN).frame
        study, other = made.study.digest, replace(made.study, name="another")
        made.sites[0]._gate._policy = replace(made.sites[0]._gate._policy, studies=frozenset({study, other.digest}))
        made.sites[0].approve(other)
        opened = wire.SessionRequest(other.digest, wire.Phase.OPEN, bytes(16), b"")
        made.sites[0].session_frame(wire.encode_session_request(opened))
        second = made.step(0, wire.Phase.OPEN).frame
        assert second != first
        assert made.step(0, wire.Phase.OPEN).frame == second
        assert [(one.study, one.number) for one in made.records(0, Sessioned)] == [
            (study, 1),
            (other.digest, 2),
            (study, 3),
        ]
        assert made.records(0, Ended) == [Ended(study, 1, lost=False)]


def sessions_of(made, k=0):
    """Number of each of a site's sessions, and whether each that is over was lost."""
    ended = {record.number: record.lost for record in made.records(k, Ended)}
    return [(record.number, ended.get(record.number)) for record in made.records(k, Sessioned)]


def test_a_session_opened_anew_by_the_same_process_costs_nothing(ready):
    spent = ready.ledgers[0].spent(View.LOCAL)
    ready.total(0)
    assert ready.session() is None
    ready.total(1)
    assert ready.ledgers[0].spent(View.LOCAL) == spent
    assert sessions_of(ready) == [(1, False), (2, None)]


def test_a_site_that_is_stopped_in_order_pays_nothing_for_it(ready):
    spent = ready.ledgers[3].spent(View.LOCAL)
    ready.total(0)
    ready.sites[3].close()
    assert ready.ask(3, 1).refusal == Reason.NO_SESSION.value
    ready.start(3)
    assert ready.session() is None
    assert near(ready.total(1), range(5))
    assert ready.ledgers[3].spent(View.LOCAL) == spent
    assert sessions_of(ready, 3) == [(1, False), (2, None)]


def test_a_restart_costs_the_releases_that_are_left_once_more_and_others_nothing(ready):
    before = [ready.ledgers[k].spent(View.AGGREGATE) for k in range(5)]
    ready.total(0)
    ready.start(3)
    assert ready.ask(3, 1).refusal == Reason.NO_SESSION.value
    assert ready.session() is None
    after = [ready.ledgers[k].spent(View.AGGREGATE) for k in range(5)]
    retries = 5 - 3 + 1  # that it may have answered since the newest copy of its ledger
    assert [now - then for now, then in zip(after, before, strict=True)] == [0, 0, 0, (3 + retries) * COST, 0]
    assert near(ready.total(1), range(5))
    assert sessions_of(ready, 3) == [(1, True), (2, None)]


def test_the_caps_hold_for_a_restart_too(tmp_path):
    with Federation(tmp_path) as made:
        assert made.session() is None
        made.total(0)
        made.start(0)
        assert made.session() == Reason.STUDY_CAP.value
        assert sessions_of(made) == [(1, True)]


def test_nothing_is_credited_to_a_masked_study(made):
    ledger = made.ledgers[0]
    spent = ledger.spent(View.AGGREGATE)
    ledger.void(made.study.digest)
    assert ledger.spent(View.AGGREGATE) == spent
    assert made.step(0, wire.Phase.OPEN).refusal == Reason.STUDY_CLOSED.value


def test_a_request_that_is_delivered_twice_at_once_gets_one_answer(ready, monkeypatch):
    inside, go, honest = threading.Event(), threading.Event(), Ledger.commit

    def slow(ledger, *given):
        inside.set()
        assert go.wait(60)
        return honest(ledger, *given)

    monkeypatch.setattr(Ledger, "commit", slow)
    with ThreadPoolExecutor(2) as both:
        first = both.submit(ready.ask, 0)
        assert inside.wait(60)
        second = both.submit(ready.ask, 0)
        go.set()
        assert first.result() == second.result()
    assert first.result().refusal is None


@pytest.mark.parametrize("frame", [b"", b"SILO", b"\xff" * 100])
def test_bytes_that_are_no_step_are_refused(made, frame):
    reply = wire.decode_session_reply(made.sites[0].session_frame(frame))
    assert reply.refusal == Reason.BAD_SESSION.value
    assert made.records(0, Declined) == [Declined("", Reason.BAD_SESSION)]


def test_a_session_of_a_study_that_is_not_known_is_refused(made):
    made.study = replace(made.study, name="other")
    assert made.step(0, wire.Phase.OPEN).refusal == Reason.UNKNOWN_STUDY.value


def test_steps_are_refused_after_too_many_refusals(tmp_path):
    with Federation(tmp_path) as made:
        made.start(0, policy=replace(just_this(made.study), lock_out_after=2))
        for _ in range(2):
            made.step(0, wire.Phase.JOIN, b"x")
        assert made.step(0, wire.Phase.OPEN).refusal == Reason.LOCKED_OUT.value


def test_no_exceptions_text_leaves_a_session(made, caplog):
    made.ledgers[0].close()
    reply = made.step(0, wire.Phase.OPEN)
    assert reply.refusal == Reason.INTERNAL.value
    assert "closed database" in caplog.text  # the story stays in the site's own log


def approved(tmp_path, study, *, signer=None, policy=None, sessions=True):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    try:
        own = Sessions(ledger, signer or key_of("a")) if sessions else None
        gate = Gate(policy or just_this(study), ledger, SystemNoise(), own)
        Site("a", gate, lambda _study: None).approve(study)
    finally:
        ledger.close()


@pytest.mark.parametrize(
    ("changes", "how", "reason"),
    [
        ({}, {"signer": key_of("b")}, Reason.OTHER_KEY),
        ({}, {"sessions": False}, Reason.NOT_MASKED),
        ({"threshold": 2}, {}, Reason.FLOOR_TOO_LOW),
        ({"threshold": 6}, {}, Reason.NOT_MASKED),
    ],
)
def test_a_study_that_could_not_be_masked_is_not_paid_for(tmp_path, monkeypatch, changes, how, reason):
    monkeypatch.setattr("silosynth.client.site._fits", lambda *_: True)
    study = masked_study(**changes)
    policy = replace(just_this(study), least_floor=2)
    with pytest.raises(Refused, match=f"^{reason.value}$"):
        approved(tmp_path, study, policy=policy, **how)
    check = Ledger(tmp_path / "ledger.sqlite")
    assert check.verify() == 1
    check.close()


@pytest.mark.parametrize("keyed", [(), ("a",), ("a", "b", "c", "d")])
def test_a_secure_sum_without_all_keys_is_refused(tmp_path, monkeypatch, keyed):
    monkeypatch.setattr("silosynth.client.site._fits", lambda *_: True)
    study = masked_study()
    roster = tuple(one if one.name in keyed else replace(one, key="") for one in study.roster)
    plain = replace(study, roster=roster, threshold=None)
    strict = replace(just_this(plain), allow_plain_sums=False)
    with pytest.raises(Refused, match=f"^{Reason.NOT_MASKED.value}$"):
        approved(tmp_path, plain, policy=strict)
    if keyed:  # some keys and not all: no policy lets it in
        with pytest.raises(Refused, match=f"^{Reason.NOT_MASKED.value}$"):
            approved(tmp_path, plain, policy=replace(strict, allow_plain_sums=True))
    else:
        approved(tmp_path, plain, policy=replace(strict, allow_plain_sums=True))


def test_the_names_are_those_of_the_roster():
    assert [member.name for member in masked_study().roster] == list(NAMES)
