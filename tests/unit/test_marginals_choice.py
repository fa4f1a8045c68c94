"""Which tables are counted: errors without their noise, and the trade between noise and what is left out."""

import math

import numpy as np
import pytest
from marginals_made import as_they_are

from silosynth.common.engines.marginals_choice import Candidates, chosen, errors
from silosynth.common.engines.marginals_learning import Counted, misfit
from silosynth.common.engines.marginals_tables import Screen

SIZES = (4, 4, 4)
TABLES = ((0, 1), (0, 2), (1, 2))
SCREEN = Screen(as_they_are(SIZES), tuple(np.arange(size) for size in SIZES))
UNITS = 10_000.0


def counted(counts, deviation):
    return Counted(TABLES, SCREEN, counts, deviation)


def test_errors_are_free_of_noise_on_average():
    rng = np.random.default_rng(0)
    frequencies = np.tile(rng.dirichlet(np.ones(16)), 3)
    shift = np.zeros(48)
    shift[:16] = np.where(np.arange(16) % 2, 200.0, -200.0)  # the first table is off by 3,200 in L1
    found = np.stack(
        [
            errors(counted(UNITS * frequencies + shift + 50 * rng.standard_normal(48), 50.0), UNITS, frequencies, 10**9)
            for _ in range(200)
        ]
    ).mean(0)
    assert found[0] == pytest.approx(math.sqrt(2 / math.pi) * 3200, rel=0.05)
    assert found[1:].max() < 100  # noise alone would give 640


def test_the_variance_of_sampling_is_taken_off_as_well():
    rng = np.random.default_rng(0)
    frequencies, rows = np.full(48, 1 / 16), 5000
    exact = counted(UNITS * frequencies, 1.0)
    sampled = np.concatenate([rng.multinomial(rows, frequencies[:16]) for _ in range(3)]) / rows
    assert errors(exact, UNITS, sampled, rows).max() < 0.8 * np.abs(UNITS * (sampled - frequencies)).sum() / 3
    assert errors(exact, UNITS, sampled, 10**9).min() > 100


def everything(_):
    return True


def test_tables_far_off_are_taken_and_those_lost_in_noise_are_not():
    among = Candidates.of(SIZES, {(0, 1): 3000.0, (0, 2): 5.0, (1, 2): 900.0}, {})
    assert among.tables == ((0, 1), (1, 2), (0, 2))
    assert chosen(among, 10.0, UNITS, everything) == ((0, 1), (1, 2))
    assert chosen(among, 1000.0, UNITS, everything) == ((0, 1),)
    assert chosen(among, 0.01, UNITS, everything) == among.tables


def test_what_the_model_cannot_hold_is_left_out():
    among = Candidates.of(SIZES, {(0, 1): 3000.0, (0, 2): 2000.0, (1, 2): 900.0}, {})
    assert chosen(among, 1.0, UNITS, lambda tables: (0, 2) not in tables) == ((0, 1), (1, 2))
    assert chosen(among, 1.0, UNITS, lambda _: False) == ()


def test_tables_wanted_in_any_case_are_taken_first_and_others_only_if_worth_their_noise():
    among = Candidates.of(SIZES, {(0, 1): 3000.0, (0, 2): 5.0, (1, 2): 900.0}, {})
    assert chosen(among, 10.0, UNITS, everything, first=[(0, 2)]) == ((0, 2), (0, 1), (1, 2))
    assert chosen(among, 1e6, UNITS, everything, first=[(0, 2)]) == ((0, 2),)
    assert chosen(among, 10.0, UNITS, lambda _: False, first=[(0, 2)]) == ((0, 2),)


def test_a_counted_table_is_off_by_its_noise_and_may_be_counted_again():
    noisy = Candidates.of(SIZES, {(0, 1): 0.0, (0, 2): 100.0}, {(0, 1): 400.0})
    assert noisy.tables[0] == (0, 1)
    assert chosen(noisy, 50.0, UNITS, everything)[0] == (0, 1)
    sharp = Candidates.of(SIZES, {(0, 1): 50.0, (0, 2): 3000.0}, {(0, 1): 0.5})
    assert chosen(sharp, 50.0, UNITS, everything) == ((0, 2),)


def test_without_noise_everything_that_is_off_is_counted():
    among = Candidates.of(SIZES, {(0, 1): 30.0, (0, 2): 0.0, (1, 2): 9.0}, {})
    assert chosen(among, 0.0, UNITS, everything) == ((0, 1), (1, 2))
    none = Candidates.of(SIZES, {}, {})
    assert chosen(none, 0.0, UNITS, everything) == ()


def test_chi_square_per_cell_is_one_where_only_noise_is_missed():
    rng = np.random.default_rng(0)
    frequencies = np.tile(rng.dirichlet(np.ones(16)), 3)
    noisy = counted(UNITS * frequencies + 20 * rng.standard_normal(48), 20.0)
    found = misfit([(noisy, frequencies)] * 2, UNITS, 10**9)
    assert 0.3 < found < 2.2  # 48 cells; false alarm below 1e-6
    off = counted(UNITS * frequencies + 100.0, 20.0)
    assert misfit([(off, frequencies)], UNITS, 10**9) == pytest.approx(25, rel=1e-3)
