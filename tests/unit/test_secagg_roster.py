"""Rosters: large enough to hide in, with a key for each institution."""

import re
from dataclasses import replace

import pytest
from secagg_made import agreement_of, derived

from silosynth.common.errors import InvalidStudy
from silosynth.common.secagg.roster import Agreement, Identity, Roster


def members(n):
    return tuple(Identity(f"site {i}", derived(i)) for i in range(n))


@pytest.mark.parametrize(("n", "c", "t"), [(3, 1, 3), (4, 1, 3), (4, 2, 4), (10, 2, 7), (30, 9, 21), (256, 1, 3)])
def test_thresholds_that_hide_a_site(n, c, t):
    roster = Roster(members(n), c, t)
    assert len(roster) == n
    assert roster.threshold - roster.colluders >= 2


@pytest.mark.parametrize(
    ("n", "c", "t", "says"),
    [
        (0, 1, 3, "at least 3"),
        (2, 1, 3, 'trust = "local"'),
        (257, 1, 3, "more than the 256"),
        (3, 0, 3, "at least 1"),
        (5, 1, 2, "colluders \\+ 2 = 3"),
        (5, 1, 6, "not between"),
        (3, 2, 3, "not between"),
    ],
)
def test_rosters_that_do_not(n, c, t, says):
    with pytest.raises(InvalidStudy, match=says):
        Roster(members(n), c, t)


def test_an_institution_sits_once():
    one, two, three = members(3)
    with pytest.raises(InvalidStudy, match="the same key"):
        Roster((one, two, replace(three, key=one.key)), 1, 3)
    with pytest.raises(InvalidStudy, match="the same name"):
        Roster((one, two, replace(three, name=one.name)), 1, 3)


@pytest.mark.parametrize(("name", "key"), [("", bytes(32)), ("x" * 129, bytes(32)), ("x", bytes(31)), ("x", b"")])
def test_a_member_has_a_name_and_a_key(name, key):
    with pytest.raises(InvalidStudy):
        Identity(name, key)


def test_the_digest_binds_everything_and_the_order():
    one, two, three, four = members(4)
    rosters = [
        Roster((one, two, three, four), 1, 3),
        Roster((two, one, three, four), 1, 3),
        Roster((one, two, three), 1, 3),
        Roster((one, two, three, four), 2, 4),
        Roster((one, two, three, four), 1, 4),
        Roster((one, two, three, replace(four, name="another")), 1, 3),
        Roster((one, two, three, replace(four, key=derived("another"))), 1, 3),
        Roster((replace(one, name="sit"), two, three, four), 1, 3),
    ]
    assert len({roster.digest for roster in rosters}) == len(rosters)
    assert rosters[0].digest == Roster(members(4), 1, 3).digest


def test_fingerprints_are_for_reading_aloud():
    roster = Roster(members(3), 1, 3)
    for shown in (roster.fingerprint, roster.members[0].fingerprint):
        assert re.fullmatch(r"([0-9a-f]{4} ){7}[0-9a-f]{4}", shown)
    assert roster.fingerprint.replace(" ", "") == roster.digest.hex()[:32]
    assert len({one.fingerprint for one in roster.members}) == 3


def test_an_agreement_names_a_study_with_releases():
    roster = agreement_of(3).roster
    for study, releases in ((bytes(31), 1), (bytes(32), 0)):
        with pytest.raises(ValueError, match="32 bytes"):
            Agreement(study, roster, releases)
