"""One person moves an answer of the marginals engine by no more than its noise is made for; and halves that break it.

The check measures how far persons of 1 to 64 rows move a total, through the engine's own half and the real mechanism,
and compares it with the variance that the mechanism asked of its source of noise, and with the price that was claimed.
"""

from fractions import Fraction

import mechanism_checks as checks
import numpy as np
import pytest

from silosynth.client import mechanism
from silosynth.client.engines.marginals import Marginals
from silosynth.client.mechanism import Metered, open_noised
from silosynth.common import scale
from silosynth.common.engine import Claim, Parts, Units
from silosynth.common.engines import marginals as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.marginals_tables import Tables
from silosynth.common.errors import MalformedFrame
from silosynth.common.plan import resolve
from silosynth.common.privacy import Gaussian
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Study

SIZES = (5, 4, 3, 6)  # of codes; each column has cells for other and missing ones as well
SCHEMA = Schema(
    tuple(Column(f"c{at}", Kind.CATEGORICAL, codes=tuple(map(str, range(size - 2)))) for at, size in enumerate(SIZES))
)
ROSTER = tuple(Member(f"site{at}", 200) for at in range(3))
STUDY = resolve(Study("bounds", SCHEMA, Budget(1.0, 1e-5, 1), target="c0", unit="person", engine="marginals"), ROSTER)
COARSENING = Coarsening(tuple(tuple(range(size)) for size in SIZES))
TASKS = (
    engine.CountOneWays(),
    engine.CountTables("pairs", COARSENING, engine.screened(STUDY, "pairs")),
    engine.CountTables("target", COARSENING, engine.screened(STUDY, "target")),
    engine.CountTables("marginals", COARSENING, ((0, 1), (2,), (0, 1, 3), (1, 2, 3))),
)


def persons(rows_of_the_last):
    """Some persons, and one more with so many rows; all of the last one's rows alike, where they add up the most."""
    rng = np.random.default_rng(7)
    owner = np.concatenate([np.repeat(np.arange(20), 3), np.full(rows_of_the_last, 99)])
    others = np.stack([rng.integers(0, size, 60) for size in SIZES], axis=1)
    codes = np.concatenate([others, np.tile([1, 2, 1, 3], (rows_of_the_last, 1))])
    return Units(codes.astype(np.int32), owner)


def answered(half, task, units):
    noise = checks.Silent()
    metered = Metered(noise, b"", shares=STUDY.shares, capacity=200, max_rows_per_unit=STUDY.most_rows_of_a_unit)
    vector = open_noised(half.answer(task, units, metered), metered, half.claim(task).size)
    return vector, noise.variance, metered.events


def check_nobody_moves_more_than_is_paid_for(half):
    for task in TASKS:
        tables = len(STUDY.schema.columns) if isinstance(task, engine.CountOneWays) else len(task.tables)
        without, variance, events = answered(half, task, persons(0))
        assert events == (half.claim(task).event,)
        multiplier = engine.step_of(STUDY, engine.kind_of(task)).multiplier
        assert events == (Gaussian(multiplier, STUDY.shares),)
        moved = [
            sum((answered(half, task, persons(k))[0] - without).astype(object) ** 2) for k in (1, 2, 7, 11, 63, 64)
        ]
        assert max(moved) <= tables * scale.HISTOGRAM_GRID**2
        assert (variance - 4) * STUDY.shares >= multiplier**2 * max(moved)
        assert max(moved) == tables * scale.HISTOGRAM_GRID**2  # what is paid for is used


def test_one_person_moves_an_answer_by_no_more_than_its_noise_is_made_for():
    check_nobody_moves_more_than_is_paid_for(Marginals(STUDY))


def check_tables_are_named_once(_half):
    twice = Parts("marginals", (*COARSENING.maps, (0, 1), (0, 1)))
    with pytest.raises(MalformedFrame):
        engine.put_together(STUDY, twice)


MUTANTS = []


def caught_by(check):
    def register(mutate):
        MUTANTS.append(pytest.param(mutate, check, id=mutate.__name__))
        return mutate

    return register


class RowsAsPersons(Marginals):
    def answer(self, task, units, mechanism):
        return super().answer(task, Units(units.codes, np.arange(len(units.owner))), mechanism)


class CountsTwice(Marginals):
    def answer(self, task, units, mechanism):
        super().answer(task, units, mechanism)
        return super().answer(task, units, mechanism)


class RowsTwice(Marginals):
    def answer(self, task, units, mechanism):
        once = Units(np.repeat(units.codes, 2, 0), np.append(units.owner, units.owner + 1000))
        return super().answer(task, once, mechanism)


class HalfTheNoise(Marginals):
    def answer(self, task, units, mechanism):
        multiplier = engine.step_of(STUDY, engine.kind_of(task)).multiplier / 2
        layout = engine.OneWays(SCHEMA.sizes) if isinstance(task, engine.CountOneWays) else task.layout
        return mechanism.histogram(units, layout, multiplier=multiplier)


class ClaimsLess(Marginals):
    def claim(self, task):
        claim = super().claim(task)
        return Claim(Gaussian(claim.event.multiplier * Fraction(11, 10), claim.event.shares), claim.size)


@caught_by(check_nobody_moves_more_than_is_paid_for)
def every_row_is_a_person(patch):
    return RowsAsPersons(STUDY)


@caught_by(check_nobody_moves_more_than_is_paid_for)
def a_task_answered_twice(patch):
    return CountsTwice(STUDY)


@caught_by(check_nobody_moves_more_than_is_paid_for)
def every_row_counted_twice(patch):
    return RowsTwice(STUDY)


@caught_by(check_nobody_moves_more_than_is_paid_for)
def half_the_noise(patch):
    return HalfTheNoise(STUDY)


@caught_by(check_nobody_moves_more_than_is_paid_for)
def a_cheaper_claim(patch):
    return ClaimsLess(STUDY)


@caught_by(check_nobody_moves_more_than_is_paid_for)
def weights_that_ignore_how_many_rows_a_person_has(patch):
    true = Metered._shared
    patch.setattr(Metered, "_shared", lambda self, units: _alone(true(self, units)))
    return Marginals(STUDY)


def _alone(shared):
    return mechanism._Shared(shared.rows, np.ones_like(shared.among), shared.owner, shared.units)


@caught_by(check_nobody_moves_more_than_is_paid_for)
def noise_for_one_table_only(patch):
    patch.setattr(scale, "histogram_sensitivity", lambda groups: scale.Sensitivity(scale.HISTOGRAM_GRID**2))
    return Marginals(STUDY)


@caught_by(check_nobody_moves_more_than_is_paid_for)
def tables_that_share_their_cells(patch):
    """All tables begin at 0, so that a row adds to one cell several times; the mechanism looks at every cell."""
    true = Tables.cells
    patch.setattr(Tables, "cells", lambda self, codes: true(self, codes) - self.offsets[:-1])
    return Marginals(STUDY)


@caught_by(check_tables_are_named_once)
def a_table_counted_twice(patch):
    patch.setattr(Tables, "check", lambda self: None)
    return Marginals(STUDY)


@pytest.mark.parametrize(("mutate", "check"), MUTANTS)
def test_a_broken_half_is_caught(mutate, check, monkeypatch):
    half = mutate(monkeypatch)
    with pytest.raises((AssertionError, RuntimeError, ValueError, pytest.fail.Exception)):
        check(half)


@pytest.mark.parametrize("check", [check_nobody_moves_more_than_is_paid_for, check_tables_are_named_once])
def test_the_real_half_passes_every_check(check):
    check(Marginals(STUDY))
