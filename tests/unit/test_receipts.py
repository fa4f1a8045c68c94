"""A receipt closes the study: in the ledger, at the gate, for every later process; and it says what was charged."""

from dataclasses import replace
from fractions import Fraction

import pytest
from masked_made import NONCE, RELEASES, Federation, fake_engine, key_of, masked_study, rows

from silosynth.client import outbox
from silosynth.client.books import price
from silosynth.client.entries import Ended, Planned, PlannedStep, Reserved, Settled
from silosynth.client.gate import Gate
from silosynth.client.keys import public_key
from silosynth.client.ledger import Ledger, listing
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import just_this
from silosynth.client.refusal import Reason, Refused
from silosynth.client.session import Sessions
from silosynth.client.site import Site
from silosynth.common import wire
from silosynth.common.engine import Parted
from silosynth.common.errors import Tampered
from silosynth.common.privacy import Gaussian, View
from silosynth.common.receipt import Cost, Run, unpack, verified
from silosynth.common.secagg.messages import Head
from silosynth.common.study import Trust

EVENT, COST = Gaussian(Fraction(7, 2), 4), Fraction(4, 49)
STUDY, OTHER = "a" * 64, "b" * 64
TWENTY = Gaussian(Fraction(20), 4)


def anything(_):
    return None


def closed():
    return pytest.raises(Refused, match=f"^{Reason.STUDY_CLOSED.value}$")


def planned(study=STUDY):
    return Planned(study, "a study", "1e-05", True, (PlannedStep("sum", 4, EVENT),))


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "ledger.sqlite")
    opened.plan(planned(), anything)
    opened.plan(planned(OTHER), anything)
    yield opened
    opened.close()


def answer(ledger, release, attempt=0, study=STUDY):
    ledger.reserve(Reserved(study, release, attempt, f"{release}.{attempt}", EVENT), anything)
    ledger.commit(study, release, attempt, b"payload", 1)


def test_it_lists_what_was_answered_and_what_that_cost(ledger):
    for release, attempt in ((0, 0), (1, 0), (1, 1), (2, 0)):
        answer(ledger, release, attempt)
    answer(ledger, 0, study=OTHER)
    ledger.refuse(STUDY, Reason.BAD_TASK)
    head, charges = ledger.settle(STUDY)
    plan, retry = Cost(4 * COST, 16 * COST), Cost(COST, 4 * COST)
    assert charges.reserved == (Run(0, 2, 0, EVENT), Run(1, 1, 1, EVENT), Run(2, 1, 0, EVENT))
    assert (charges.study, charges.private, charges.planned, charges.sessions) == (STUDY, True, plan, ())
    assert charges.charged == plan + retry
    assert ledger.spent(View.LOCAL) == 2 * 16 * COST + 4 * COST  # the other study's plan, too
    newest = list(ledger.entries())[-1]
    assert (newest.record, newest.seq, newest.hash) == (Settled(STUDY, charges.digest), head.count, head.hash.hex())


def test_after_it_nothing_is_paid_for_answered_or_credited(ledger):
    answer(ledger, 0)
    ledger.reserve(Reserved(STUDY, 1, 0, "under way", EVENT), anything)
    said, spent = ledger.settle(STUDY), ledger.spent(View.LOCAL)
    for act in (
        lambda: ledger.commit(STUDY, 1, 0, b"late", 1),
        lambda: answer(ledger, 1),
        lambda: answer(ledger, 1, 1),
        lambda: ledger.open_session(STUDY, bytes(32), anything),
        lambda: ledger.void(STUDY),
    ):
        with closed():
            act()
    ledger.plan(planned(), anything)  # approved again after a restart: costs nothing, opens nothing
    assert ledger.recall(STUDY, 0, 0, "0.0").payload == b"payload"  # the same bytes as before
    answer(ledger, 0, study=OTHER)
    assert ledger.settle(STUDY) == said
    assert ledger.spent(View.LOCAL) == spent


def test_a_person_reads_it_in_the_ledger(ledger, tmp_path):
    _, charges = ledger.settle(STUDY)
    said = outbox.in_words(listing(tmp_path / "ledger.sqlite")[-1].record)
    assert said == f"study over, its receipt signed: charges of sha256 {charges.digest[:12]}"


def test_another_process_says_the_same_for_ever(ledger, tmp_path):
    answer(ledger, 0)
    said = ledger.settle(STUDY)
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.settle(STUDY) == said
    with closed():
        answer(again, 1)
    again.close()
    assert ledger.settle(STUDY) == said


def test_what_was_never_planned_or_was_voided_has_no_receipt(ledger):
    with pytest.raises(Refused, match=Reason.NOT_APPROVED.value):
        ledger.settle("c" * 64)
    ledger.void(OTHER)
    with closed():
        ledger.settle(OTHER)
    ledger.bar(STUDY, {bytes(32): Head(9, bytes(32))})
    with pytest.raises(Refused, match=Reason.ROLLED_BACK.value):
        ledger.settle(STUDY)


def test_an_entry_after_it_was_not_written_by_this_code(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.plan(planned(), anything)
    ledger.settle(STUDY)
    monkeypatch.setattr(ledger._books, "is_reserved", lambda _wanted: False)
    monkeypatch.setattr(ledger._books, "after", lambda _wanted: None)
    ledger.reserve(Reserved(STUDY, 0, 0, "c", EVENT), anything)
    ledger.close()
    with pytest.raises(Tampered, match="cannot follow"):
        Ledger(tmp_path / "ledger.sqlite")


def test_charges_that_are_not_those_of_the_entry_are_not_signed(ledger, monkeypatch):
    ledger.settle(STUDY)
    assert ledger.head  # reads its own entry
    account = ledger._books.accounts[STUDY]
    ledger._books.accounts[STUDY] = replace(account, settled=replace(account.settled, charges="0" * 64))
    with pytest.raises(Tampered, match="receipt was signed over"):
        ledger.settle(STUDY)


# Whole sites, of masked sums, and where nobody is trusted.


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    fake_engine(monkeypatch)


def settled(federation, k):
    """What site k signs."""
    reply = federation.step(k, wire.Phase.SETTLE)
    assert reply.refusal is None
    return verified(unpack(reply.frame), public_key(key_of("abcde"[k])))


def test_every_site_signs_what_the_others_can_check(tmp_path):
    with Federation(tmp_path) as made:
        assert made.session() is None
        for release in range(RELEASES):
            made.total(release)
        said = [settled(made, k) for k in range(5)]
        for k, receipt in enumerate(said):
            assert (receipt.site, receipt.charges.study) == ("abcde"[k], made.study.digest)
            assert receipt.charges.reserved == (Run(0, RELEASES, 0, TWENTY),)
            assert receipt.charges.sessions == (Cost(),)
            paid = price(Planned.of(made.study, private=True).event())
            assert receipt.charges.charged == Cost(paid.aggregate, paid.local)
            assert receipt.head == Head(made.ledgers[k].verify(), bytes.fromhex(made.ledgers[k].head))
        assert len({receipt.head for receipt in said}) == 5


def test_a_coordinator_cannot_have_it_signed_and_go_on(tmp_path):
    with Federation(tmp_path, restarts=1) as made:
        assert made.session() is None
        made.total(0)
        first, receipt = made.ask(0, 0), settled(made, 0)
        assert made.ask(0, 1).refusal == Reason.NO_SESSION  # its secrets are gone
        for phase in (wire.Phase.OPEN, wire.Phase.JOIN):
            assert made.step(0, phase, made.coordinator.transcript).refusal is not None
        made.start(0)  # approves again
        assert made.step(0, wire.Phase.OPEN).refusal == Reason.STUDY_CLOSED
        assert made.ask(0, 1).refusal == Reason.NO_SESSION
        assert made.ask(0, 0).masked == first.masked
        assert settled(made, 0) == receipt
        assert receipt.charges.reserved == (Run(0, 1, 0, TWENTY),)


def test_a_restart_within_a_study_is_on_the_receipt(tmp_path):
    with Federation(tmp_path, restarts=1) as made:
        assert made.session() is None
        made.total(0)
        made.start(0)
        assert made.session() is None
        made.total(1)
        charges = settled(made, 0).charges
        assert charges.sessions[0] == Cost()
        _, lost, again = charges.sessions
        assert min(lost.local, again.local) > 0
        assert charges.charged == charges.planned + lost + again
        assert charges.charged.local == made.ledgers[0].spent(View.LOCAL)


def test_it_ends_the_session_so_that_no_later_process_pays_for_it(tmp_path):
    with Federation(tmp_path, restarts=1) as made:
        assert made.session() is None
        made.total(0)
        settled(made, 0)
        spent = made.ledgers[0].spent(View.LOCAL)
        ended = [entry.record for entry in made.ledgers[0].entries() if isinstance(entry.record, Ended)]
        assert [one.lost for one in ended] == [False]
        made.start(0)
        assert made.ledgers[0].spent(View.LOCAL) == spent


def test_a_session_that_nobody_ended_is_lost_and_on_the_receipt(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    steps = (PlannedStep("sum", 4, EVENT),)
    ledger.plan(Planned(STUDY, "a study", "1e-05", True, steps, attempts=4, floor=3), anything)
    ledger.plan(Planned(OTHER, "a study", "1e-05", True, steps, attempts=4, floor=3), anything)
    ledger.open_session(STUDY, bytes(32), anything)
    with pytest.raises(Refused, match=Reason.NO_SESSION.value):
        ledger.settle(STUDY)
    ledger.lose_sessions(())
    _, charges = ledger.settle(STUDY)
    free, lost = charges.sessions
    assert free == Cost()
    assert lost.local > 0
    assert charges.charged == charges.planned + lost
    before = ledger.spent(View.LOCAL)
    ledger.bar(OTHER, {bytes(32): Head(99, bytes(32))})
    ledger.free(OTHER)
    assert ledger.settle(STUDY)[1] == charges  # what others have forgotten is none of its business any more
    assert ledger.spent(View.LOCAL) > before
    assert ledger.settle(OTHER)[1].sessions[0].local == ledger.spent(View.LOCAL) - before
    ledger.close()


def test_a_study_that_is_not_known_is_not_signed(tmp_path):
    with Federation(tmp_path) as made:
        request = wire.SessionRequest("ab" * 32, wire.Phase.SETTLE, NONCE)
        reply = wire.decode_session_reply(made.sites[0].session_frame(wire.encode_session_request(request)))
        assert (reply.refusal, reply.frame) == (Reason.UNKNOWN_STUDY, None)


def alone(**changes):
    """A study in which nobody is trusted, at five sites with keys."""
    return replace(masked_study(), trust=Trust.LOCAL, threshold=None, **changes)


def local_site(folder, study, *, keyed=True, key="a"):
    ledger = Ledger(folder / "a.sqlite")
    gate = Gate(just_this(study), ledger, SystemNoise(), Sessions(ledger, key_of(key)) if keyed else None)
    return ledger, Site("a", gate, lambda _study: Parted.none_held_out(rows(0)))


def ask(site, study):
    request = wire.SessionRequest(study.digest, wire.Phase.SETTLE, NONCE)
    return wire.decode_session_reply(site.session_frame(wire.encode_session_request(request)))


def test_keys_sign_receipts_where_nothing_is_masked(tmp_path):
    study = alone()
    ledger, site = local_site(tmp_path, study)
    site.approve(study)
    assert not study.masked
    receipt = verified(unpack(ask(site, study).frame), study.roster[0].key)
    assert (receipt.site, receipt.charges.reserved, receipt.charges.sessions) == ("a", (), ())
    ledger.close()


@pytest.mark.parametrize(("keyed", "key"), [(True, "b"), (False, "a")])
def test_a_roster_with_a_key_that_is_not_the_sites_is_refused(tmp_path, keyed, key):
    study = alone()
    ledger, site = local_site(tmp_path, study, keyed=keyed, key=key)
    with pytest.raises(Refused, match=(Reason.OTHER_KEY if keyed else Reason.NOT_MASKED).value):
        site.approve(study)
    ledger.close()


def test_without_keys_receipts_are_not_signed(tmp_path):
    study = alone(roster=tuple(replace(member, key="") for member in masked_study().roster))
    ledger, site = local_site(tmp_path, study, keyed=False)
    site.approve(study)
    signed = unpack(ask(site, study).frame)
    assert signed.signature == b""
    assert verified(signed, "").site == "a"
    ledger.close()
