"""The site: one task in, one Sealed out, and no exception, whatever happens inside."""

import logging
import sqlite3
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from silosynth.client.entries import Committed, Declined
from silosynth.client.gate import Gate
from silosynth.client.installed import code_digest
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import Policy, just_this
from silosynth.client.refusal import Reason, Refused
from silosynth.client.site import Site
from silosynth.common.engine import Claim, Parted, Parts, Units
from silosynth.common.engines import TaskCodec
from silosynth.common.engines.layouts import OneWays
from silosynth.common.errors import MalformedFrame
from silosynth.common.privacy import Gaussian
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study
from silosynth.common.wire import (
    Phase,
    Request,
    SessionRequest,
    decode_reply,
    decode_session_reply,
    encode_request,
    encode_session_request,
)

STUDY = Study(
    name="t",
    schema=Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")),)),
    budget=Budget(1.0, 1e-5, 1),
    engine="fake",
    max_rows_per_unit=3,
    roster=tuple(Member(name, 5) for name in "abcde"),
    plan=(Step("count", 3, Fraction(20)),),
)
PATIENT = "Jane Roe, born 1953-02-11"


class Fake:
    """A site half that counts, or fails in the way it is told to."""

    fault: Exception | None = None

    def __init__(self, study):
        self._study = study

    def claim(self, task):
        return Claim(Gaussian(Fraction(20), self._study.shares), 4)

    def answer(self, task, units, mechanism):
        if self.fault:
            raise self.fault
        return mechanism.histogram(units, OneWays((4,)), multiplier=Fraction(20))


def put_together(study, parts):
    if parts.lists:
        raise MalformedFrame("no lists here")
    return parts.kind


@pytest.fixture(autouse=True)
def fake_engine(monkeypatch):
    monkeypatch.setattr("silosynth.client.engines.ENGINES", {"fake": Fake})
    codec = TaskCodec(Parts, put_together, lambda _study, _task: 4)
    monkeypatch.setattr("silosynth.common.engines.CODECS", {"fake": codec})


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def rows(owners):
    return Units(np.zeros((len(owners), 1), dtype=np.int32), np.array(owners, dtype=np.int64))


@pytest.fixture
def site_with(ledger):
    def make(units=None, policy=None, name="a"):
        gate = Gate(policy or just_this(STUDY), ledger, SystemNoise())
        return Site(name, gate, lambda _: Parted.none_held_out(rows([0, 1, 2]) if units is None else units))

    return make


@pytest.fixture
def site(site_with):
    ready = site_with()
    ready.approve(STUDY)
    return ready


def request(release=0, attempt=0, *, kind="count", lists=(), study=STUDY):
    return Request(study.digest, release, attempt, bytes(range(16)), Parts(kind, lists))


def declined(ledger):
    return [entry.record.reason for entry in ledger.entries() if isinstance(entry.record, Declined)]


def test_a_round(site, ledger):
    for release in range(3):
        sealed = site.answer(request(release))
        assert sealed.refusal is None
        assert sealed.vector.shape == (4,)
    assert declined(ledger) == []


def test_a_round_in_bytes_and_again_in_the_same_bytes(site, ledger):
    frame = encode_request(request())
    first = site.answer_frame(frame)
    entries = ledger.verify()
    assert site.answer_frame(frame) == first
    assert ledger.verify() == entries
    reply = decode_reply(first)
    assert (reply.study, reply.release, reply.attempt) == (STUDY.digest, 0, 0)
    assert reply.nonce == bytes(range(16))
    assert reply.vector.shape == (4,)
    assert reply.receipt == ledger.head


def test_what_was_answered_is_not_computed_again(site, monkeypatch):
    first = site.answer(request())
    monkeypatch.setattr(Fake, "fault", ValueError("rows were touched again"))
    assert site.answer(request()).vector.tobytes() == first.vector.tobytes()


def test_a_site_without_rows_answers_with_its_noise(site_with):
    site = site_with(rows([]))
    site.approve(STUDY)
    assert site.answer(request()).vector.any()


def test_rows_are_read_once_a_study(ledger):
    loads = []

    def load(study):
        loads.append(study.name)
        return Parted.none_held_out(rows([0, 1]))

    site = Site("a", Gate(just_this(STUDY), ledger, SystemNoise()), load)
    site.approve(STUDY)
    for release in range(3):
        site.answer(request(release))
    assert loads == ["t"]


@pytest.mark.parametrize(
    ("study", "name", "reason"),
    [
        (STUDY, "nobody", Reason.NOT_A_MEMBER),
        (replace(STUDY, engine="other"), "a", Reason.ENGINE_NOT_ALLOWED),
        (replace(STUDY, code="0" * 64), "a", Reason.OTHER_CODE),
        (replace(STUDY, name="other"), "a", Reason.NOT_APPROVED),
    ],
)
def test_approval_is_refused_to_the_person_who_asks(site_with, study, name, reason):
    with pytest.raises(Refused, match=f"^{reason.value}$"):
        site_with(name=name).approve(study)


@pytest.mark.parametrize(
    ("owners", "fits"),
    [([0, 1, 2, 3, 4], True), ([0, 1, 2, 3, 4, 5], False), ([7] * 9 + [2, 2], True), ([7] * 9 + [2, 2, 2], False)],
)
def test_capacity_counts_the_rows_that_count(site_with, ledger, caplog, owners, fits):
    site = site_with(rows(owners))
    if fits:
        site.approve(STUDY)
        return
    with pytest.raises(Refused, match="capacity"):
        site.approve(STUDY)
    assert ledger.verify() == 1  # not charged
    assert "5: declare more" in (said := "".join(caplog.messages))
    assert str(len(owners)) not in said
    assert site.answer(request()).refusal is Reason.UNKNOWN_STUDY


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(study=replace(STUDY, name="other")), Reason.UNKNOWN_STUDY),
        (request(lists=((1,),)), Reason.BAD_TASK),
        (request(kind="sum"), Reason.OUT_OF_PLAN),
        (request(1), Reason.OUT_OF_ORDER),
        (request(3), Reason.OUT_OF_PLAN),
        (request(0, 1), Reason.STUDY_CAP),
    ],
)
def test_refusals_are_words_and_entries(site, ledger, asked, reason):
    sealed = site.answer(asked)
    assert (sealed.refusal, sealed.vector) == (reason, None)
    assert declined(ledger) == [reason]
    assert sealed.receipt == ledger.head
    reply = decode_reply(site.answer_frame(encode_request(asked)))
    assert (reply.refusal, reply.vector) == (reason.value, None)


@pytest.mark.parametrize("frame", [b"", b"SILO", b"\xff" * 100])
def test_bytes_that_are_no_request_are_refused(site, ledger, frame):
    reply = decode_reply(site.answer_frame(frame))
    assert reply.refusal == Reason.BAD_TASK.value
    assert declined(ledger) == [Reason.BAD_TASK]


FAULTS = [
    ValueError(f"could not convert {PATIENT!r}"),
    KeyError(PATIENT),
    MemoryError(PATIENT),
    sqlite3.OperationalError(PATIENT),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_no_exceptions_text_leaves(site, ledger, tmp_path, monkeypatch, caplog, fault):
    monkeypatch.setattr(Fake, "fault", fault)
    with caplog.at_level(logging.INFO):
        reply = site.answer_frame(encode_request(request()))
        sealed = site.answer(request())
    assert decode_reply(reply).refusal == Reason.INTERNAL.value
    assert sealed.refusal is Reason.INTERNAL
    for leaves in (reply, repr(sealed).encode(), (tmp_path / "ledger.sqlite-wal").read_bytes()):
        assert b"Jane" not in leaves
    assert PATIENT in caplog.text  # the story stays in the site's own log


def test_a_study_goes_on_after_a_fault_without_a_second_charge(site, ledger, monkeypatch):
    with monkeypatch.context() as faulty:
        faulty.setattr(Fake, "fault", ValueError("a passing fault"))
        site.answer(request())
    entries = ledger.verify()
    assert site.answer(request()).refusal is None
    (new,) = list(ledger.entries())[entries:]
    assert isinstance(new.record, Committed)


def test_a_broken_ledger_is_said_and_nothing_is_answered(site, ledger, tmp_path):
    site.answer(request())
    db = sqlite3.connect(tmp_path / "ledger.sqlite")
    db.execute("DROP TRIGGER no_delete")
    with db:
        db.execute("DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)")
    db.close()
    sealed = site.answer(request(1))
    assert (sealed.refusal, sealed.vector, sealed.receipt) == (Reason.RECORD_BROKEN, None, "")


def test_a_study_for_the_software_that_is_here(ledger):
    pinned = replace(STUDY, code=code_digest())
    site = Site("a", Gate(just_this(pinned), ledger, SystemNoise()), lambda _: Parted.none_held_out(rows([0])))
    site.approve(pinned)
    assert site.answer(request(study=pinned)).refusal is None


def test_that_rows_outgrew_the_capacity_leaves_in_no_way(ledger):
    """It tells how many there are. The agent takes a study up before it answers or opens a session of it."""

    def outgrown(_study):
        raise Refused(Reason.CAPACITY)

    site = Site("a", Gate(Policy(), ledger, SystemNoise()), lambda _: Parted.none_held_out(rows([0])), outgrown)
    said = [decode_reply(site.answer_frame(encode_request(request()))).refusal]
    for phase in Phase:
        frame = encode_session_request(SessionRequest(STUDY.digest, phase, bytes(16)))
        said.append(decode_session_reply(site.session_frame(frame)).refusal)
    assert set(said) == {Reason.INTERNAL}


def test_an_empty_policy_takes_part_in_nothing(site_with):
    site = site_with(policy=Policy())
    with pytest.raises(Refused, match=f"^{Reason.NOT_APPROVED.value}$"):
        site.approve(STUDY)
    assert site.answer(request()).refusal is Reason.UNKNOWN_STUDY


def test_a_site_that_was_restarted_goes_on(site, site_with):
    first = site.answer(request())
    again = site_with()
    again.approve(STUDY)
    assert again.answer(request()).vector.tobytes() == first.vector.tobytes()
    assert again.answer(request(1)).refusal is None
