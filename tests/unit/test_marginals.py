"""The marginals engine's tasks and settings: how they are checked and travel, and how a budget is divided."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from engine_fixtures import SCHEMA, study
from marginals_made import marginals_study

from silosynth.common.engine import Parts
from silosynth.common.engines import marginals as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.errors import InvalidStudy, MalformedFrame
from silosynth.common.plan import resolve
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Trust

COARSENING = Coarsening(tuple(tuple(cell % 3 if size > 2 else cell for cell in range(size)) for size in SCHEMA.sizes))
CHOSEN = engine.CountTables("marginals", COARSENING, ((0, 1), (1, 3), (0, 2, 3)))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("speed", 1, "unknown; known are bins, cells"),
        ("rounds", 0, "positive whole number"),
        ("rounds", 1.5, "positive whole number"),
        ("rounds", 11, "at most 10"),
        ("products", 2, "at most 1"),
        ("share_one_ways", -1, "positive number"),
        ("share_pairs", 1, "at most 0.9"),
        ("share_pairs", 0.8, "less than 1"),
        ("bins", 1, "at least 2"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_name(name, value, said):
    with pytest.raises(InvalidStudy, match=said):
        engine.settings(replace(study(), engine="marginals", settings=((name, value),)))


def test_settings_are_the_study_s():
    settled = engine.settings(marginals_study(rounds=3, share_target=0))
    assert (settled.rounds, settled.share_target, settled.iterations) == (3, 0.0, 60)
    assert isinstance(settled.rounds, int)


def columns(count):
    return Schema(tuple(Column(f"c{at}", Kind.BOOLEAN) for at in range(count)))


@pytest.mark.parametrize(
    ("count", "target", "kinds"),
    [
        (1, None, ["one-ways"]),
        (2, "c0", ["one-ways", "marginals"]),
        (3, None, ["one-ways", "pairs", "marginals"]),
        (3, "c1", ["one-ways", "pairs", "target", "marginals"]),
        (200, "c1", ["one-ways", "pairs", "target", "marginals"]),
    ],
)
def test_what_is_counted_follows_from_the_schema_and_the_target(count, target, kinds):
    of = marginals_study(schema=columns(count), target=target)
    shares = engine.split(of)
    assert [share.kind for share in shares] == kinds
    assert sum(share.share for share in shares) == 1
    assert not engine.has_products(of)
    assert engine.has_products(replace(of, settings=(("products", 1),)))


@pytest.mark.parametrize(("count", "columns_of_each"), [(32, 3), (33, 2)])
def test_the_target_of_a_wide_table_is_counted_with_one_column_at_a_time(count, columns_of_each):
    tables = engine.screened(marginals_study(schema=columns(count), target="c5"), "target")
    assert {len(table) for table in tables} == {columns_of_each}
    assert all(5 in table for table in tables)
    assert len(tables) == (31 * 30 // 2 if count == 32 else 32)


def test_shares_are_those_of_the_settings():
    shares = engine.split(marginals_study(share_one_ways=0.25, share_pairs=0.125, share_target=0.125, rounds=4))
    assert [(share.repeats, share.share) for share in shares] == [
        (1, Fraction(1, 4)),
        (1, Fraction(1, 8)),
        (1, Fraction(1, 8)),
        (4, Fraction(1, 2)),
    ]


def test_the_price_of_a_task_does_not_depend_on_what_was_chosen_nor_on_rows():
    few, many = replace(CHOSEN, tables=CHOSEN.tables[:1]), CHOSEN
    of = marginals_study(capacity=100)
    (step,) = [step for step in of.plan if step.kind == "marginals"]
    assert engine.step_of(of, engine.kind_of(few)) == engine.step_of(of, engine.kind_of(many)) == step
    more = marginals_study(capacity=100_000)
    assert [s.multiplier for s in more.plan] == [s.multiplier for s in of.plan]


@pytest.mark.parametrize("trust", list(Trust))
def test_both_ways_of_trust_have_the_same_plan(trust):
    of = marginals_study(trust=trust)
    assert of.plan == marginals_study().plan
    assert of.shares == (2 if trust is Trust.SECURE_SUM else 1)


@pytest.mark.parametrize(
    "task",
    [
        engine.CountOneWays(),
        engine.CountTables("pairs", COARSENING, engine.all_pairs(4)),
        engine.CountTables("target", COARSENING, ((0, 1, 2), (0, 2, 3), (1, 2, 3))),
        CHOSEN,
    ],
)
def test_a_task_survives_being_taken_apart(task):
    of = marginals_study()
    assert engine.put_together(of, engine.take_apart(task)) == task


def test_only_chosen_tables_are_named():
    parts = engine.take_apart(engine.CountTables("pairs", COARSENING, engine.all_pairs(4)))
    assert parts.lists == COARSENING.maps


GOOD = engine.take_apart(CHOSEN)
MAPS = COARSENING.maps


@pytest.mark.parametrize(
    "parts",
    [
        replace(GOOD, kind="anything"),
        replace(GOOD, tensor=np.zeros(1, dtype=np.float32)),
        replace(GOOD, lists=MAPS),  # nothing is counted
        replace(GOOD, lists=MAPS[:3]),
        replace(GOOD, lists=(*MAPS, ())),
        replace(GOOD, lists=(*MAPS, (0, 1), (0, 1))),  # one table twice
        replace(GOOD, lists=(*MAPS, (0, 0))),
        replace(GOOD, lists=(*MAPS, (1, 0))),
        replace(GOOD, lists=(*MAPS, (0, 4))),
        replace(GOOD, lists=(*MAPS, (-1, 2))),
        replace(GOOD, lists=(*MAPS, (0, 1, 2, 3))),
        replace(GOOD, lists=((*MAPS[0][:-1], 7), *MAPS[1:], (0, 1))),  # a bin without a cell
        replace(GOOD, lists=((*MAPS[0][:-1], -1), *MAPS[1:], (0, 1))),
        Parts("pairs"),
        Parts("pairs", GOOD.lists),
        Parts("target", GOOD.lists),
        Parts("pairs", MAPS, np.zeros(1, dtype=np.float32)),
        Parts("one-ways", MAPS),
        Parts("one-ways", (), np.zeros(1, dtype=np.float32)),
    ],
)
def test_a_malformed_task_is_refused(parts):
    with pytest.raises(MalformedFrame):
        engine.put_together(marginals_study(), parts)


def test_tables_of_more_cells_than_a_site_holds_are_refused():
    schema = Schema(tuple(Column(f"c{at}", Kind.CATEGORICAL, codes=tuple(map(str, range(500)))) for at in range(3)))
    maps = tuple(tuple(range(size)) for size in schema.sizes)
    of = marginals_study(schema=schema, target=None)
    assert engine.put_together(of, Parts("marginals", (*maps, (0, 1))))
    with pytest.raises(MalformedFrame, match="too many cells"):
        engine.put_together(of, Parts("marginals", (*maps, (0, 1, 2))))


def test_a_kind_outside_the_plan_has_no_step():
    without = marginals_study(target=None)
    with pytest.raises(MalformedFrame):
        engine.step_of(without, "target")
    with pytest.raises(MalformedFrame):
        engine.put_together(without, Parts("target", MAPS))
    with pytest.raises(MalformedFrame):
        engine.screened(without, "marginals")


def test_the_plan_costs_what_was_asked_for():
    of = marginals_study(0.5)
    again = resolve(replace(of, plan=()), of.roster)
    assert again.plan == of.plan
    spent = sum(step.repeats / step.multiplier**2 for step in of.plan)
    tight = sum(step.repeats / step.multiplier**2 for step in marginals_study(0.25).plan)
    assert spent > 3 * tight
