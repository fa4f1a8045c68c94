"""Entries of a ledger as they are on disk."""

import hashlib
from fractions import Fraction

import pytest
from ledger_made import COST, EVENT, STUDY, planned, reserved

from silosynth.client import entries
from silosynth.client.books import Price, price
from silosynth.client.entries import Entry
from silosynth.common.errors import Tampered
from silosynth.common.privacy import Composed, Gaussian, NoPrivacy, Repeated


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
        GOOD.replace('"format":3', '"format":99'),
        GOOD.replace('"format":3,', ""),
        GOOD.replace("reserve", "borrow"),
        GOOD.replace("gaussian", "laplace"),
        GOOD.replace("7/2", "14/4"),
        GOOD.replace('"release":0', '"release":0.0'),
        GOOD.replace('"release":0', '"release":"0"'),
        GOOD.replace('"release":0', '"extra":0,"release":0'),
        GOOD.replace(",", ", "),
        entries.write("now", planned()).replace('["sum",3', '["sum",0'),
        '{"at":"now","format":3,"kind":"refuse","reason":"Jane Roe","study":""}',
    ],
)
def test_a_body_that_this_code_did_not_write_is_tampering(body):
    with pytest.raises(Tampered):
        entries.read(1, body, bytes(32))


def test_an_entry_of_another_format_is_named():
    with pytest.raises(Tampered, match="entry 1 is of another format than 3"):
        entries.read(1, GOOD.replace('"format":3', '"format":99'), bytes(32))


def test_bodies_hold_no_floats():
    assert (
        '{"at":"now","attempt":0,"context":"c","event":{"event":"gaussian","multiplier":"7/2","shares":4},'
        f'"format":3,"kind":"reserve","release":0,"session":"","study":"{STUDY}","within":0}}'
    ) == GOOD
    assert entries.read(5, GOOD, bytes(32)) == Entry(5, "now", reserved(0), "00" * 32)


def test_golden_hash():
    # Changes only with the format number.
    assert (
        entries.chained(2, entries.ROOT, "{}").hex()
        == hashlib.sha256(b"silosynth/ledger/3\n" + b"\0" * 7 + b"\2" + b"\0" * 32 + b"{}").hexdigest()
    )


def test_prices_are_exact():
    assert price(Composed((EVENT, Repeated(2, EVENT)))) == Price(3 * COST, 12 * COST)
    assert price(NoPrivacy()) == Price(noiseless=True)
