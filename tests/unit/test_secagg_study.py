"""What a study says of its secure sums: the agreement, who may answer, and rings that hold every sum."""

from dataclasses import replace
from fractions import Fraction

import pytest
from masked_made import NAMES, SIZE, masked_study

from silosynth.client.entries import Planned
from silosynth.common import scale
from silosynth.common.engine import Parts
from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg_study import agreement, among, check_sums_fit, ring_of, roster, round_of
from silosynth.common.study import Step, Trust
from silosynth.common.wire import Request

STUDY = masked_study()
REQUEST = Request(STUDY.digest, 2, 1, bytes(16), Parts("one-ways"), (0, 2, 3))


def test_the_agreement_names_study_members_and_releases():
    agreed = agreement(STUDY)
    assert (agreed.study.hex(), agreed.releases) == (STUDY.digest, STUDY.releases)
    assert [one.name for one in agreed.roster.members] == list(NAMES)
    assert [one.key.hex() for one in agreed.roster.members] == [member.key for member in STUDY.roster]
    assert (agreed.roster.colluders, agreed.roster.threshold) == (1, 3)
    assert agreement(replace(STUDY, threshold=None)).roster.threshold == 5


def test_session_and_ledger_count_the_same_retries():
    for study in (
        STUDY,
        replace(STUDY, threshold=None),
        masked_study(4, threshold=4),
        masked_study(5, colluders=2, threshold=4),
    ):
        assert Planned.of(study, private=True).retries == roster(study).retries


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"threshold": 2}, "threshold"),
        ({"threshold": 6}, "threshold"),
        ({"roster": STUDY.roster[:2]}, 'trust = "local"'),
        ({"roster": (*STUDY.roster[:4], replace(STUDY.roster[4], key=""))}, "no key of e"),
        ({"roster": (*STUDY.roster[:4], replace(STUDY.roster[4], key="x" * 64))}, "64 hex digits"),
        ({"roster": (*STUDY.roster[:4], replace(STUDY.roster[4], key=STUDY.roster[0].key))}, "same key"),
    ],
)
def test_what_cannot_have_secure_sums_says_why(changes, says):
    with pytest.raises(InvalidStudy, match=says):
        roster(replace(STUDY, **changes))


def test_a_study_is_masked_where_sums_are_shared_and_all_have_keys():
    assert STUDY.masked
    assert not replace(STUDY, trust=Trust.LOCAL).masked
    assert not replace(STUDY, roster=()).masked
    assert not replace(STUDY, roster=(*STUDY.roster[:4], replace(STUDY.roster[4], key=""))).masked


def test_the_honest_of_those_who_answer_share_the_noise():
    assert (STUDY.shares, STUDY.floor) == (4, 2)
    assert replace(STUDY, threshold=None).floor == 4
    assert among(STUDY, (0, 1, 2, 3, 4)) == STUDY
    assert among(STUDY, (0, 2, 3)).shares == 2


@pytest.mark.parametrize(
    ("members", "fault"),
    [((), Fault.SET_TOO_SMALL), ((0, 1), Fault.SET_TOO_SMALL), ((0, 1, 5), Fault.NOT_A_MEMBER)],
)
def test_a_set_that_may_not_answer_is_refused(members, fault):
    with pytest.raises(SumRefused) as refused:
        among(STUDY, members)
    assert refused.value.fault is fault


def test_plain_sums_are_of_everybody():
    plain = replace(STUDY, roster=tuple(replace(member, key="") for member in STUDY.roster))
    assert among(plain, ()) is plain
    with pytest.raises(SumRefused):
        among(plain, (0, 1, 2))


def test_a_round_is_the_request_and_what_study_and_task_say():
    asked = round_of(STUDY, REQUEST, SIZE)
    assert (asked.release, asked.attempt, asked.members, asked.size) == (2, 1, (0, 2, 3), SIZE)
    assert (asked.task, asked.ring.bits) == (REQUEST.task, 32)
    other = replace(REQUEST, parts=Parts("one-ways", ((1,),)))
    assert round_of(STUDY, other, SIZE).task != asked.task
    with pytest.raises(SumRefused, match="plan"):
        round_of(STUDY, replace(REQUEST, release=4), SIZE)


def of(kind, capacity, multiplier=Fraction(20)):
    members = tuple(replace(member, capacity=capacity) for member in STUDY.roster)
    return replace(STUDY, roster=members, plan=(Step(kind, 1, multiplier),))


def test_a_ring_is_the_smallest_that_holds_the_sum_over_all_sites():
    assert ring_of(of("one-ways", 80_000), 0).bits == 32
    assert ring_of(of("pairs", 86_000), 0).bits == 64  # 5 * 86,000 * 5040 > 2^31
    assert ring_of(of("gradient", 1), 0).bits == 64  # the noise alone is 20 * 2^30
    assert ring_of(of("one-ways", 1, Fraction(100_000)), 0).bits == 64
    assert ring_of(of("one-ways", 1, None), 0).bits == 32
    uneven = replace(STUDY, roster=tuple(replace(one, capacity=10**k) for k, one in enumerate(STUDY.roster)))
    for study in (of("one-ways", 80_000), uneven):
        most = scale.HISTOGRAM_GRID * sum(member.capacity for member in study.roster)
        assert ring_of(study, 0).largest >= most


def test_a_retry_with_fewer_sites_has_the_same_ring():
    """What took 64 bits, 32 may hold for fewer: the coordinator asks for one, and a site must not know better."""
    for capacity, multiplier in ((90_000, Fraction(20)), (80_000, Fraction(14_000))):
        of = replace(STUDY, roster=tuple(replace(one, capacity=capacity) for one in STUDY.roster))
        of = replace(of, plan=(Step("one-ways", 4, multiplier),))
        sets = [(0, 1, 2, 3, 4), (0, 1, 2, 3), (1, 3, 4)]
        requests = [Request(of.digest, 0, 0, bytes(16), Parts("one-ways"), members) for members in sets]
        rings = {round_of(of, request, SIZE).ring for request in requests}
        assert len(rings) == 1
        narrow = {ring_of(among(of, members), 0) for members in sets}
        assert rings == {max(narrow, key=lambda ring: ring.bits)}


def test_a_sum_that_64_bits_do_not_hold_is_not_possible():
    check_sums_fit(of("gradient", scale.MAX_CAPACITY))
    with pytest.raises(NotPossible, match="64 bits"):
        check_sums_fit(of("gradient", 1 << 32))
