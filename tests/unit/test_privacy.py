"""Events and their price."""

from fractions import Fraction

import pytest

from silosynth.common.privacy import Composed, Gaussian, NoPrivacy, Repeated, Unpriced, View, mu_squared

ONE = Gaussian(Fraction(3, 2), 4)


@pytest.mark.parametrize(("view", "price"), [(View.AGGREGATE, Fraction(4, 9)), (View.LOCAL, Fraction(16, 9))])
def test_a_sum_is_priced_for_each_view(view, price):
    assert mu_squared(ONE, view) == price


def test_prices_add_exactly():
    third = Gaussian(Fraction(10, 3), 1)
    history = Composed((Repeated(7, ONE), Composed((third, Repeated(2, Repeated(3, third))))))
    assert mu_squared(history, View.AGGREGATE) == 7 * Fraction(4, 9) + 7 * Fraction(9, 100)
    assert mu_squared(Composed(()), View.LOCAL) == 0


@pytest.mark.parametrize("event", [NoPrivacy(), Repeated(2, NoPrivacy()), Composed((ONE, NoPrivacy()))])
def test_a_release_without_noise_has_no_price(event):
    with pytest.raises(Unpriced):
        mu_squared(event, View.LOCAL)


@pytest.mark.parametrize(("multiplier", "shares"), [(0, 1), (-1, 1), (1, 0)])
def test_events_that_mean_nothing_are_refused(multiplier, shares):
    with pytest.raises(ValueError, match="positive"):
        Gaussian(Fraction(multiplier), shares)


def test_nothing_is_not_repeated():
    with pytest.raises(ValueError, match="positive"):
        Repeated(0, ONE)


def test_events_are_values():
    assert Composed((Repeated(2, ONE),)) == Composed((Repeated(2, Gaussian(Fraction(6, 4), 4)),))
    assert len({ONE, Gaussian(Fraction(3, 2), 4), Gaussian(Fraction(3, 2), 5)}) == 2
