"""The noise of the mechanism, seen from outside: how much, how fresh, and what it hides."""

import mechanism_checks as checks
import pytest


@pytest.mark.parametrize("verb", ["histogram", "clipped_sum"])
def test_noise_has_the_claimed_size(verb):
    checks.check_noise_has_the_claimed_size(verb)


def test_variance_covers_both_views():
    checks.check_variance_covers_both_views()


def test_noise_is_fresh():
    checks.check_noise_is_fresh()


def test_two_worlds_differ_by_mu():
    checks.check_two_worlds()


def test_places_are_uniform():
    checks.check_places_are_uniform()


def test_noise_cannot_be_left_out():
    checks.check_noise_cannot_be_left_out()
