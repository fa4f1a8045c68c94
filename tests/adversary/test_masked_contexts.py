"""A coordinator that asks one site one thing and another site another, or the same site twice: at whole sites."""

from dataclasses import replace

import numpy as np
import pytest
from masked_made import SIZE, Fake, Federation, counts, fake_engine, masked_study

from silosynth.client.books import Books
from silosynth.client.entries import Reserved
from silosynth.client.refusal import Reason, Refused
from silosynth.common import secagg_study, wire
from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg.coordinator import CoordinatorSession
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.messages import Masked
from silosynth.common.secagg.site import SiteSession

EVERYBODY = (0, 1, 2, 3, 4)


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch):
    fake_engine(monkeypatch)


@pytest.fixture
def ready(tmp_path):
    with Federation(tmp_path, restarts=3) as federation:
        assert federation.session() is None
        yield federation


def far_from_any_count(replies):
    """Whether the sum of what came back is nowhere near a sum of counts. Fails by chance below 1e-6."""
    total = sum(np.frombuffer(reply.masked.payload, dtype="<u4").astype(np.uint64) for reply in replies)
    values = (total % (1 << 32)).astype(np.uint32).view(np.int32).astype(np.int64)
    return np.abs(values).max() > 1 << 24


def test_the_sum_of_the_honest_is_near_the_counts(ready):
    assert not far_from_any_count([ready.ask(k) for k in EVERYBODY])


@pytest.mark.parametrize(
    "asked_of",
    [
        lambda k: {"members": (0, 1, 2, 3, 4) if k < 3 else (0, 1, 3, 4)},
        lambda k: {"lists": ((k % 2,),)},
        lambda k: {"attempt": k % 2},
        lambda k: {"release": k % 2},
    ],
    ids=["set", "task", "attempt", "release"],
)
def test_sites_that_are_asked_different_things_add_up_to_noise(ready, asked_of):
    assert far_from_any_count([ready.ask(k, **asked_of(k)) for k in EVERYBODY])


OTHERWISE = {
    "another set": {"members": (0, 1, 2)},
    "another task": {"lists": ((1, 2),)},
    "another of both": {"members": (0, 1, 2), "lists": ((1, 2),)},
}


@pytest.mark.parametrize("how", OTHERWISE)
@pytest.mark.parametrize("restarted", [False, True])
def test_an_answered_release_and_attempt_is_not_answered_otherwise(ready, how, restarted):
    ready.total(0)
    if restarted:
        ready.start(0)
        assert ready.session() is None
    reserved = ready.records(0, Reserved)
    assert ready.ask(0, 0, 0, **OTHERWISE[how]).masked is None
    assert ready.records(0, Reserved) == reserved


def forgetful(monkeypatch):
    """Sessions that begin anything at any time."""
    honest = SiteSession.begin

    def begin(self, asked):
        self._last = (-1, -1)
        return honest(self, asked)

    monkeypatch.setattr(SiteSession, "begin", begin)


@pytest.mark.parametrize("how", OTHERWISE)
def test_the_ledger_refuses_it_where_the_session_would_not(ready, monkeypatch, how):
    forgetful(monkeypatch)
    ready.total(0)
    assert ready.ask(0, 0, 0, **OTHERWISE[how]).refusal == Reason.ANSWERED_DIFFERENTLY.value


def test_without_either_it_would_be_answered_twice_for_one_price(ready, monkeypatch):
    forgetful(monkeypatch)
    honest = Books.is_reserved

    def trusting(self, wanted):
        try:
            return honest(self, wanted)
        except Refused:
            return True

    monkeypatch.setattr(Books, "is_reserved", trusting)
    ready.total(0)
    few = (0, 1, 2)
    claim = Fake(secagg_study.among(ready.study, few)).claim(None)
    permit = ready.sites[0]._gate.permit(ready.study, ready.request(0, 0, few), claim)
    assert permit.pad is not None  # other masks and other noise
    assert len(ready.records(0, Reserved)) == 1  # and no charge


def test_attempts_and_releases_only_rise(ready):
    ready.total(0)
    ready.total(1, 1)
    for release, attempt in ((0, 0), (0, 1), (0, 2), (1, 0)):
        assert ready.ask(0, release, attempt).refusal == Reason.OUT_OF_ORDER.value


def test_a_reply_of_an_earlier_session_does_not_count_in_a_later_one(ready):
    old = ready.ask(0)
    ready.start(0)
    assert ready.session() is None
    assert ready.ask(0) == old  # the very same bytes, which say for what they were made
    tally = ready.coordinator.tally(secagg_study.round_of(ready.study, ready.request(), SIZE))
    with pytest.raises(SumRefused) as refused:
        tally.accept(old.masked)
    assert refused.value.fault is Fault.OTHER_CONTEXT


def test_the_same_round_in_a_new_session_is_another_attempt(ready):
    first = ready.ask(0, 1)
    assert ready.session() is None
    assert ready.ask(0, 1) == first  # a repetition
    again = ready.ask(0, 1, 1)
    assert again.masked.payload != first.masked.payload


def test_messages_of_an_earlier_session_are_refused(ready):
    transcript, confirmation = ready.coordinator.transcript, ready.coordinator.confirmation
    ready.start(0)
    assert ready.step(0, wire.Phase.OPEN).refusal is None
    assert ready.step(0, wire.Phase.JOIN, transcript).refusal == Reason.BAD_SESSION.value
    assert ready.step(0, wire.Phase.CONFIRM, confirmation).refusal == Reason.NO_SESSION.value
    assert ready.session() is None
    assert ready.step(0, wire.Phase.CONFIRM, confirmation).refusal == Reason.BAD_SESSION.value


def test_messages_of_another_study_are_refused(ready):
    first, confirmation = ready.study, ready.coordinator.confirmation
    transcript = ready.coordinator.transcript
    ready.study = masked_study(name="another")
    for k in EVERYBODY:
        ready.start(k)
    assert ready.step(0, wire.Phase.OPEN).refusal is None
    assert ready.step(0, wire.Phase.JOIN, transcript).refusal == Reason.BAD_SESSION.value
    assert ready.session() is None
    assert ready.step(0, wire.Phase.CONFIRM, confirmation).refusal == Reason.BAD_SESSION.value
    assert ready.study.digest != first.digest


def test_two_studies_at_once_do_not_disturb_each_other(ready, tmp_path):
    """One ledger, two studies, each in a session of its own."""
    other = masked_study(name="another")
    for k in EVERYBODY:
        gate = ready.sites[k]._gate
        gate._policy = replace(
            gate._policy, studies=gate._policy.studies | {other.digest}, lifetime_caps=gate._policy.study_caps
        )
        ready.sites[k].approve(other)
    first = ready.study, ready.coordinator
    ready.study = other
    assert ready.session() is None
    ready.total(0)
    second = ready.study, ready.coordinator
    for (ready.study, ready.coordinator), release in ((first, 0), (second, 1), (first, 1), (second, 2)):
        assert (np.abs(ready.total(release) - counts(EVERYBODY)) < 12 * 21 * 5040).all()


def test_a_changed_transcript_is_refused(ready):
    assert ready.step(0, wire.Phase.OPEN).refusal is None
    for k in EVERYBODY[1:]:
        ready.step(k, wire.Phase.OPEN)
    made = CoordinatorSession(secagg_study.agreement(ready.study))
    for k in EVERYBODY:
        made.open(ready.step(k, wire.Phase.OPEN).frame)
    for at in range(0, len(made.transcript), 37):
        changed = bytearray(made.transcript)
        changed[at] ^= 1
        assert ready.step(0, wire.Phase.JOIN, bytes(changed)).refusal == Reason.BAD_SESSION.value
        ready.sites[0]._gate._policy = replace(ready.sites[0]._gate._policy, lock_out_after=10**6)
    assert ready.step(0, wire.Phase.JOIN, made.transcript).refusal is None


def test_a_reply_of_another_site_does_not_count(ready):
    tally = ready.coordinator.tally(secagg_study.round_of(ready.study, ready.request(), SIZE))
    one, other = ready.ask(0).masked, ready.ask(1).masked
    with pytest.raises(SumRefused) as refused:
        tally.accept(Masked(one.header, other.payload))
    assert refused.value.fault is Fault.NOT_AS_SIGNED
    with pytest.raises(MalformedFrame):
        tally.accept(Masked(one.header, one.payload[:-1]))
