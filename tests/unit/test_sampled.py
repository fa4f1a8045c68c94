"""Certificates and epsilons of histories with sampled sums."""

import math
from fractions import Fraction

import pytest

from silosynth.common import accounting, sampled
from silosynth.common.errors import NotPossible
from silosynth.common.privacy import (
    Certified,
    Composed,
    Event,
    Gaussian,
    NoPrivacy,
    Parallel,
    Repeated,
    Sampled,
    Unpriced,
    View,
    mu_squared,
)
from silosynth.common.sampled import certify, covers, epsilon_of, is_sampled

GRADIENT = Sampled(Fraction(1, 20), Gaussian(Fraction(6, 5), 1))
LEARN = Repeated(20, Composed((Repeated(25, GRADIENT),)))
COUNTS = Gaussian(Fraction(4), 1)


def test_a_certificate_covers_its_history_and_no_smaller_number_does():
    number = certify(LEARN)
    assert covers(Certified(LEARN, number))
    assert covers(Certified(LEARN, number * 2))
    assert not covers(Certified(LEARN, number * Fraction(9999, 10000)))


def test_a_certificate_has_six_digits_and_is_far_below_the_price_without_sampling():
    number = certify(LEARN)
    assert number.denominator in {2**a * 5**b for a in range(20) for b in range(20)}
    assert len(str(float(number)).replace(".", "").strip("0")) <= 6
    assert number < mu_squared(LEARN, View.LOCAL) / 100


def test_without_sampling_a_certificate_is_the_plain_price():
    full = Repeated(10, Gaussian(Fraction(5), 1))
    assert float(certify(full)) == pytest.approx(0.4, rel=2e-3)
    assert certify(full) >= Fraction(4, 10)
    assert float(certify(Repeated(10, Sampled(Fraction(1), Gaussian(Fraction(5), 1))))) == float(certify(full))


def test_a_certificate_costs_a_little_more_than_the_study_by_itself():
    alone = epsilon_of(LEARN, 1e-5)
    charged = accounting.epsilon(certify(LEARN), 1e-5)
    assert alone < charged < alone * 1.3


def test_the_slack_of_all_certificates_fits_into_that_of_every_delta():
    assert sampled.MOST_CERTIFIED * sampled.SLACK < accounting.SLACK


def test_the_number_is_not_believed_when_the_history_is_priced_by_itself():
    assert epsilon_of(Certified(LEARN, Fraction(1, 10**6)), 1e-5) == epsilon_of(LEARN, 1e-5)
    assert mu_squared(Certified(LEARN, Fraction(3)), View.LOCAL) == 3


def test_where_nothing_is_sampled_the_closed_form_prices():
    plain = Composed((COUNTS, Repeated(3, Gaussian(Fraction(9), 4))))
    for view in View:
        assert epsilon_of(plain, 1e-6, view) == accounting.epsilon(mu_squared(plain, view), 1e-6)


def test_sums_over_all_units_add_to_the_sampled_ones():
    whole = Composed((COUNTS, COUNTS, Certified(LEARN, certify(LEARN))))
    both = epsilon_of(whole, 1e-5)
    bound = accounting.epsilon(mu_squared(whole, View.LOCAL), 1e-5)
    assert epsilon_of(LEARN, 1e-5) < both < bound


def test_what_has_no_price_says_so():
    with pytest.raises(Unpriced):
        epsilon_of(Composed((LEARN, NoPrivacy())), 1e-5)
    with pytest.raises(Unpriced):
        certify(Composed((LEARN, NoPrivacy())))
    assert not covers(Certified(Composed((LEARN, NoPrivacy())), Fraction(1)))
    for delta in (0.0, 1e-13, 1.0):
        with pytest.raises(ValueError, match="delta must lie"):
            epsilon_of(LEARN, delta)


def test_what_cannot_be_accounted_for_is_not_certified():
    bare = Repeated(5, Sampled(Fraction(1, 10), Gaussian(Fraction(1, 100), 1)))
    assert epsilon_of(bare, 1e-5) == math.inf
    assert not covers(Certified(bare, Fraction(10**6)))
    with pytest.raises(NotPossible, match="cannot be accounted for"):
        certify(bare)


def test_histories_without_any_privacy_left_still_end():
    assert certify(Repeated(1, Sampled(Fraction(1), Gaussian(Fraction(1, 15), 1)))) >= 225


def test_samples_are_only_drawn_where_a_site_adds_all_of_the_noise():
    with pytest.raises(ValueError, match="all of the noise"):
        Sampled(Fraction(1, 10), Gaussian(Fraction(3), 2))


def test_the_vocabulary_knows_poisson_samples_and_no_others():
    """A sample of a fixed size, or a fixed order of batches, would be priced wrongly as `Sampled`: it has no word."""
    known = {Gaussian, NoPrivacy, Repeated, Composed, Parallel, Sampled, Certified}
    assert set(Event.__args__) == known
    assert [is_sampled(event) for event in (COUNTS, LEARN, Certified(LEARN, Fraction(1)), NoPrivacy())] == [
        False,
        True,
        True,
        False,
    ]
