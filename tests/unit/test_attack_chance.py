"""Tests and intervals of attacks: exact where they say so, silent where nothing is, and they cover what they claim."""

import itertools

import numpy as np
import pytest

from silosynth.common.evaluate.attacks.chance import (
    Rate,
    first_past,
    fisher,
    lead,
    mcnemar,
    newcombe,
    paired,
    per_person,
    ranking,
    rate,
)

metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")


def test_the_interval_of_a_difference_is_newcombes_own_example() -> None:
    assert newcombe(Rate(56, 70), Rate(48, 80)) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_fishers_test_is_scipys_and_never_finds_nothing() -> None:
    for members, control in itertools.product((0, 3, 10, 20), repeat=2):
        table = [[members, 20 - members], [control, 20 - control]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        assert fisher(Rate(members, 20), Rate(control, 20)) == pytest.approx(expected)
    assert fisher(Rate(0, 5), Rate(0, 5)) == 1


def test_mcnemars_test_counts_coins() -> None:
    assert mcnemar(8, 2) == pytest.approx(56 / 1024)
    assert mcnemar(0, 0) == 1


def test_the_test_of_the_highest_is_exact() -> None:
    """Against all orders of five members and four controls."""
    orders = list(itertools.combinations(range(9), 4))  # places of the control group
    for allowed in range(4):
        above = np.array([places[allowed] - allowed for places in orders])
        for many in range(6):
            assert first_past(many, allowed, 5, 4) == pytest.approx((above >= many).mean())


@pytest.mark.parametrize("ties", [False, True])
def test_a_ranking_has_the_auc_of_scikit_learn_and_accuses_as_few_as_it_may(ties: bool) -> None:
    rng = np.random.default_rng(0)
    members, control = rng.normal(0.5, 1, 300), rng.normal(0, 1, 200)
    if ties:
        members, control = np.round(members), np.round(control)
    found = ranking(members, control, 0.05, rng)
    truth = np.repeat([1, 0], [300, 200])
    assert found.auc == pytest.approx(metrics.roc_auc_score(truth, np.append(members, control)))
    assert found.auc_interval[0] < found.auc < found.auc_interval[1]
    assert found.control.sum() == 10
    lowest = min(members[found.members].min(), control[found.control].min())
    assert np.append(members[~found.members], control[~found.control]).max() <= lowest


def test_all_scores_alike_accuse_members_no_more_than_others() -> None:
    found = ranking(np.zeros(1000), np.zeros(1000), 0.1, np.random.default_rng(0))
    assert found.auc == 0.5
    assert found.p_value > 0.01
    assert rate(found.members).value == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("rounded", [0, 3])
def test_without_a_cause_few_are_found_and_intervals_cover(rounded: int) -> None:
    """600 tests each: at p <= .05 more than 60 of them with probability < 1e-6 (binomial at .05).

    Intervals of 95 %: fewer than 540 of 600 cover with probability < 1e-6.
    """
    rng = np.random.default_rng(1)
    alarms, covered = np.zeros(3), np.zeros(3)
    for _ in range(600):
        members, control = np.round(rng.normal(size=(2, 150)), rounded)
        found = ranking(members, control, 0.02, rng)
        alarms[0] += found.p_value <= 0.05
        covered[0] += found.auc_interval[0] <= 0.5 <= found.auc_interval[1]
        flags = rng.random((2, 150)) < 0.1
        ahead = lead(rate(flags[0]), rate(flags[1]), (Rate(1, 1), Rate(0, 1)))
        alarms[1] += ahead.p_value <= 0.05
        covered[1] += ahead.interval[0] <= 0 <= ahead.interval[1]
        alarms[2] += mcnemar(int((flags[0] & ~flags[1]).sum()), int((flags[1] & ~flags[0]).sum())) <= 0.05
        low, high = paired(flags[0], flags[1])
        covered[2] += low <= 0 <= high
    assert (alarms <= 60).all()
    assert (covered >= 540).all()


def test_a_person_counts_by_the_highest_row() -> None:
    assert per_person(np.array([1.0, 5.0, 2.0]), np.array([0, 1, 0]), 2).tolist() == [2, 5]
