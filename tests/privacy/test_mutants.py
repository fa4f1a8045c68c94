"""Mechanisms broken on purpose. Each must fail the check that guards it, or that check guards nothing.

A mutant that passed would be a privacy bug nobody can see: no score gets worse without noise.
"""

import math
from dataclasses import replace
from itertools import count

import mechanism_checks as checks
import numpy as np
import pytest

from silosynth.client import mechanism
from silosynth.client.mechanism import Metered, SystemNoise
from silosynth.common import scale
from silosynth.common.discrete import DiscreteGaussian
from silosynth.common.privacy import Gaussian
from silosynth.common.study import Study

MUTANTS = []

true_add, true_stream, true_release = SystemNoise.add, SystemNoise._stream, Metered._release
true_shared, true_clipped, true_count, true_variance = (
    Metered._shared, mechanism._clipped, mechanism._count, scale.site_variance,
)  # fmt: skip


def caught_by(check):
    """Registers a mutant: a function that breaks something, and the check that must notice."""

    def register(mutate):
        MUTANTS.append(pytest.param(mutate, check, id=mutate.__name__))
        return mutate

    return register


def noise_size():
    checks.check_noise_has_the_claimed_size("histogram")


# Too little noise


@caught_by(noise_size)
def no_noise_at_one_site(patch):
    sites = count()

    class OneSilent(SystemNoise):
        __slots__ = ("_number",)

        def __init__(self):
            super().__init__()
            self._number = next(sites)

        def add(self, value, variance, context):
            return value if self._number == 1 else super().add(value, variance, context)

    patch.setattr(mechanism, "SystemNoise", OneSilent)


@caught_by(noise_size)
def sigma_five_percent_short(patch):
    patch.setattr(SystemNoise, "add", lambda self, x, v, context: true_add(self, x, v * 361 // 400, context))


@caught_by(noise_size)
def calibrated_to_all_sites(patch):
    patch.setattr(Study, "shares", property(lambda study: len(study.roster)))
    patch.setattr(mechanism, "Gaussian", lambda m, _: Gaussian(m, checks.SITES - checks.COLLUDERS))


@caught_by(checks.check_two_worlds)
def calibrated_to_all_sites_in_two_worlds(patch):
    patch.setattr(Study, "shares", property(lambda study: len(study.roster)))


@caught_by(checks.check_variance_covers_both_views)
def variance_rounded_down(patch):
    patch.setattr(scale, "site_variance", lambda s, m, shares: math.floor(m**2 * s.squared / shares) + 4)


@caught_by(checks.check_variance_covers_both_views)
def bridge_to_continuous_noise_forgotten(patch):
    patch.setattr(scale, "site_variance", lambda s, m, shares: true_variance(s, m, shares) - 4)


@caught_by(noise_size)
def variance_halved(patch):
    patch.setattr(scale, "site_variance", lambda s, m, shares: true_variance(s, m, shares) // 2)


@caught_by(noise_size)
def multiplier_not_squared(patch):
    patch.setattr(scale, "site_variance", lambda s, m, shares: math.ceil(m * s.squared / shares) + 4)


@caught_by(checks.check_variance_covers_both_views)
def sensitivity_of_one_table_only(patch):
    patch.setattr(scale, "histogram_sensitivity", lambda groups: scale.Sensitivity(scale.HISTOGRAM_GRID**2))


@caught_by(noise_size)
def multiplier_of_the_plan_ignored(patch):
    def release(self, value, sensitivity, multiplier, context, event):
        return true_release(self, value, sensitivity, multiplier / 2, context, event)

    patch.setattr(Metered, "_release", release)


@caught_by(noise_size)
def cheaper_event_written_down(patch):
    patch.setattr(mechanism, "Gaussian", lambda multiplier, shares: Gaussian(2 * multiplier, shares))


@caught_by(checks.check_noise_cannot_be_left_out)
def system_noise_left_out(patch):
    patch.setattr(SystemNoise, "private", False)
    patch.setattr(SystemNoise, "add", lambda self, x, v, context: true_add(self, x, v, context) if v else x)


# Noise that is not fresh


@caught_by(checks.check_noise_is_fresh)
def one_stream_for_all_contexts(patch):
    patch.setattr(SystemNoise, "_stream", lambda self, what, context, *rest: true_stream(self, what, b"", *rest))


@caught_by(checks.check_noise_is_fresh)
def noise_that_does_not_depend_on_rows(patch):
    def add(self, value, variance, context):
        return value + DiscreteGaussian(variance).sample(value.size, true_stream(self, b"noise", context))

    patch.setattr(SystemNoise, "add", add)


@caught_by(noise_size)
def two_sites_with_one_key(patch):
    patch.setattr(mechanism.os, "urandom", bytes)


@caught_by(checks.check_noise_is_fresh)
def a_key_from_a_seed(patch):
    patch.setattr(mechanism.os, "urandom", lambda n: bytes(range(n)))


@caught_by(checks.check_places_are_uniform)
def rows_in_their_own_order(patch):
    patch.setattr(mechanism, "random_injection", lambda slots, n, csprng: np.arange(n))


# Units that are not bounded


def _clipped_with(weights):
    def clipped(terms, share, size):
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            norms = np.sqrt(terms.squared_norms())
            return terms.weighted_sum(weights(norms, share)).astype(np.int64)

    return clipped


@caught_by(checks.check_clipped_sum_is_bounded)
def clipping_off(patch):
    patch.setattr(mechanism, "_clipped", _clipped_with(lambda norms, share: np.where(norms < 1e3, share, 0)))


@caught_by(checks.check_clipped_sum_is_bounded)
def clipping_at_twice_the_norm(patch):
    patch.setattr(
        mechanism, "_clipped",
        _clipped_with(lambda norms, share: np.where(np.isfinite(norms), share / np.maximum(norms / 2, 1), 0)),
    )  # fmt: skip


@caught_by(checks.check_clipped_sum_is_bounded)
def clipping_after_the_sum(patch):
    def clipped(terms, share, size):
        with np.errstate(over="ignore", invalid="ignore"):
            whole = terms.weighted_sum(np.where(terms.squared_norms() < 1e6, share, 0))
        return np.trunc(whole / max(1.0, np.linalg.norm(whole) / scale.SUM_GRID)).astype(np.int64)

    patch.setattr(mechanism, "_clipped", clipped)


@caught_by(checks.check_clipped_sum_is_bounded)
def rows_that_are_not_finite_kept(patch):
    patch.setattr(
        mechanism, "_clipped", _clipped_with(lambda norms, share: share / np.fmax(np.nan_to_num(norms, posinf=1), 1))
    )


@caught_by(checks.check_clipped_sum_is_bounded)
def a_row_that_is_not_finite_stops_the_release(patch):
    def clipped(terms, share, size):
        if not np.isfinite(terms.squared_norms()[share > 0]).all():
            raise RuntimeError("not finite")
        return true_clipped(terms, share, size)

    patch.setattr(mechanism, "_clipped", clipped)


def _every_row_a_unit(self, units):
    shared = true_shared(self, units)
    return replace(shared, among=np.ones_like(shared.among))


@caught_by(checks.check_clipped_sum_is_bounded)
def rows_of_a_unit_count_whole_in_sums(patch):
    patch.setattr(Metered, "_shared", _every_row_a_unit)


@caught_by(checks.check_histogram_is_bounded)
def rows_of_a_unit_count_whole_in_histograms(patch):
    patch.setattr(Metered, "_shared", _every_row_a_unit)


@caught_by(checks.check_histogram_is_bounded)
def rows_of_a_unit_rounded_up(patch):
    patch.setattr(
        mechanism, "_count", lambda cells, weights, offsets: true_count(cells, weights + (weights < 5040), offsets)
    )


@caught_by(checks.check_histogram_is_bounded)
def rows_counted_twice(patch):
    patch.setattr(mechanism, "_count", lambda cells, weights, offsets: true_count(cells, 2 * weights, offsets))


@caught_by(checks.check_tables_cannot_be_escaped)
def cells_trusted(patch):
    def count_anywhere(cells, weights, offsets):
        spread = np.repeat(weights, offsets.size - 1)
        return np.bincount(cells.ravel(), weights=spread, minlength=offsets[-1]).astype(np.int64)

    patch.setattr(mechanism, "_count", count_anywhere)


@pytest.mark.parametrize(("mutate", "check"), MUTANTS)
def test_a_broken_mechanism_is_caught(mutate, check, monkeypatch):
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        check()
