"""How far one person can move an answer: exact search in integers, noise off."""

import mechanism_checks as checks
import numpy as np
import pytest

from silosynth.common.scale import SUM_GRID


def test_histogram_is_bounded_and_the_bound_is_reached():
    checks.check_histogram_is_bounded()


def test_clipped_sum_is_bounded_and_the_bound_is_reached():
    checks.check_clipped_sum_is_bounded()


def test_tables_cannot_be_escaped():
    checks.check_tables_cannot_be_escaped()


@pytest.mark.parametrize("people", [0, 1, 1024, 1500])
def test_empty_slots_add_nothing_even_if_their_code_is_poison(people):
    # Code 0, on which empty slots fall, is a row of infinities.
    terms = checks.Dense(checks.hostile_vectors())
    rows = checks.units(np.full(people, 8))
    answer, _ = checks.clipped_sum(checks.Silent(), rows, terms, capacity=2000)
    assert answer.tolist() == [people * (SUM_GRID - 1), 0, 0, 0, 0, 0]
