"""What left, in words and for programs."""

import json
import math
from fractions import Fraction

import pytest
from rich.console import Console

from silosynth.client import ledger as ledger_module
from silosynth.client import outbox
from silosynth.client.entries import Planned, PlannedStep, Reserved
from silosynth.client.ledger import Ledger
from silosynth.client.refusal import Reason
from silosynth.common.accounting import epsilon
from silosynth.common.errors import InvalidInput
from silosynth.common.privacy import Certified, Composed, Gaussian, NoPrivacy, Repeated, Sampled
from silosynth.common.secagg.messages import Head

EVENT = Gaussian(Fraction(35, 2), 4)
STUDY = "a" * 64
NAME = "[bold]stroke[/bold]\x1b[31m"


def anything(_):
    return None


def shown(table):
    console = Console(width=250, no_color=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def filled(path):
    def fill(*, private=True, event=EVENT):
        ledger = Ledger(path, clock=lambda: "2026-01-02T03:04:05+00:00")
        steps = (PlannedStep("one-ways", 1, event), PlannedStep("sum", 2, event))
        ledger.plan(Planned(STUDY, NAME, "1e-05", private, steps), anything)
        for release, attempt in ((0, 0), (1, 0), (1, 1)):
            ledger.reserve(Reserved(STUDY, release, attempt, "c", event), anything)
            ledger.commit(STUDY, release, attempt, b"12345678" * (release + 1), release + 1)
        ledger.reserve(Reserved(STUDY, 2, 0, "c", event), anything)  # never sent
        ledger.refuse(STUDY, Reason.BAD_TASK)
        ledger.receipt(STUDY, "f" * 64)
        ledger.void(STUDY)
        ledger.close()
        return path

    return fill


def test_every_answer_that_left_is_a_line_and_nothing_else_is(filled):
    lines = outbox.listing(filled())
    assert [(line.release, line.attempt, line.kind, line.size, line.octets) for line in lines] == [
        (0, 0, "one-ways", 1, 8),
        (1, 0, "sum", 2, 16),
        (1, 1, "sum", 2, 16),
    ]
    assert lines[0].why == "how often each value of each column occurs"
    assert lines[1].why == "sum"
    assert lines[0].noise == "Gaussian, 17.5 x one person shared by 4 sites"
    mu_squared = EVENT.multiplier**-2
    assert [line.aggregate for line in lines] == [epsilon(n * mu_squared, 1e-5) for n in (1, 2, 3)]
    assert [line.local for line in lines] == [epsilon(4 * n * mu_squared, 1e-5) for n in (1, 2, 3)]


@pytest.mark.parametrize(("private", "event"), [(False, EVENT), (True, NoPrivacy())])
def test_what_protects_nobody_is_stamped(filled, private, event):
    path = filled(private=private, event=event)
    for line in outbox.listing(path):
        assert line.noise.endswith("NO PRIVACY")
        assert line.aggregate == line.local == math.inf
    assert "NO PRIVACY" in shown(outbox.ledger_table(ledger_module.listing(path)))
    assert json.loads(outbox.as_json(outbox.listing(path)))["sent"][0]["local"] == "inf"


def test_tables_say_it_in_words_and_let_no_markup_through(filled):
    path = filled()
    sent = shown(outbox.table(outbox.listing(path)))
    entries = shown(outbox.ledger_table(ledger_module.listing(path)))
    assert "1.1" in sent
    for text in (sent, entries):
        assert "[bold]stroke[/bold]" in text
        assert "\x1b" not in text
    for words in ("opened", "approved and paid for: 1 one-ways, 2 sum", "attempt 1 and paid for again", "bad task"):
        assert words in entries
    for words in ("study closed", "shown at the end", "paid for in all, by every study"):
        assert words in entries


def test_masked_sums_and_their_sessions_are_said(path):
    ledger = Ledger(path)
    plan = Planned(STUDY, "masked", "1e-05", True, (PlannedStep("sum", 2, EVENT),), 3, 2)
    ledger.plan(plan, anything)
    head = ledger.open_session(STUDY, bytes(32), anything)[1]
    fewer = Gaussian(EVENT.multiplier, 3)
    ledger.reserve(Reserved(STUDY, 0, 0, "c", fewer, head.hash.hex(), 1), anything)
    ledger.commit(STUDY, 0, 0, b"header and masks", 3)
    ledger.end_session(STUDY, 1)
    ledger.open_session(STUDY, bytes(32), anything)
    ledger.lose_sessions(())
    ledger.bar(STUDY, {bytes(32): Head(99, bytes(32))})
    ledger.free(STUDY)
    ledger.close()
    (line,) = outbox.listing(path)
    assert line.noise == "Gaussian, 17.5 x one person shared by 3 sites, masked"
    assert line.local == epsilon(3 * EVENT.multiplier**-2, 1e-5)
    said = [outbox.in_words(entry.record) for entry in ledger_module.listing(path)]
    assert said[2] == "session 1 of secure sums"
    assert said[5:] == [
        "session 1 of secure sums ended",
        "session 2 of secure sums",
        "session 2 of secure sums was lost: what it may have answered is paid for, and what is left costs again",
        "BARRED: others have seen entry 99, which is not here; put the newest copy of this file back",
        "freed by a person; what may have been forgotten is paid for",
    ]


def test_json_holds_the_entries_as_they_were_hashed(filled):
    path = filled()
    read = json.loads(outbox.ledger_as_json(ledger_module.listing(path)))
    assert read["format"] == 1
    assert [entry["kind"] for entry in read["entries"]] == [
        *("open", "plan"),
        *("reserve", "commit") * 3,
        *("reserve", "refuse", "receipt", "void"),
    ]
    assert read["paid"]["aggregate"] == epsilon(4 * EVENT.multiplier**-2, 1e-5)  # three sent, one begun
    assert json.loads(outbox.as_json(outbox.listing(path)))["sent"][2]["attempt"] == 1


def test_an_empty_ledger(path):
    Ledger(path).close()
    assert outbox.listing(path) == ()
    assert json.loads(outbox.ledger_as_json(ledger_module.listing(path)))["paid"] is None
    assert "opened" in shown(outbox.ledger_table(ledger_module.listing(path)))


def test_no_ledger(path):
    with pytest.raises(InvalidInput, match="there is no ledger"):
        outbox.listing(path)
    assert not path.exists()


def test_noise_in_words():
    event = Composed((Repeated(2, Gaussian(Fraction(3), 1)), NoPrivacy()))
    assert outbox.noise_in_words(event) == "2 times Gaussian, 3 x one person; none: NO PRIVACY"


SAMPLED = Composed((Repeated(20, Sampled(Fraction(1, 50), Gaussian(Fraction(2), 1))),))


def test_a_certified_step_costs_as_much_as_all_of_it_from_its_first_answer_on(path):
    ledger = Ledger(path)
    steps = (PlannedStep("one-ways", 1, EVENT), PlannedStep("learn", 3, SAMPLED, Fraction(1, 8)))
    ledger.plan(Planned(STUDY, NAME, "1e-05", True, steps), anything)
    for release, attempt in ((0, 0), (1, 0), (2, 0), (2, 1)):
        event = SAMPLED if release else EVENT
        ledger.reserve(Reserved(STUDY, release, attempt, "c", event), anything)
        ledger.commit(STUDY, release, attempt, b"12345678", 1)
    lines = outbox.listing(path)
    first = 4 * EVENT.multiplier**-2
    spent = (first, first + Fraction(1, 8), first + Fraction(1, 8), first + Fraction(1, 8) + Fraction(20, 4))
    assert [line.local for line in lines] == [epsilon(mu_squared, 1e-5) for mu_squared in spent]
    assert lines[1].noise == "20 times Gaussian, 2 x one person, over a secret random 2 % of the persons"
    assert outbox.noise_in_words(Certified(SAMPLED, Fraction(1))) == outbox.noise_in_words(SAMPLED)
    assert "by itself" in lines[1].why
    assert "3 learn" in shown(outbox.ledger_table(ledger_module.listing(path)))
