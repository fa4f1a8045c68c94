"""Predicates: what they hold for, what they are made of, and that one person counts once."""

from dataclasses import replace

import numpy as np
import pytest
from attack_made import SMALL, each

from silosynth.common.evaluate.attacks.scene import scene
from silosynth.common.evaluate.attacks.singling_out import holds, multivariate, univariate
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.tables import Table

pytest.importorskip("sklearn")

ROWS = 200
COLUMNS = 20


def numbers(seed: int, *, low: float = 0.0, high: float = 1.0) -> Table:
    rng = np.random.default_rng(seed)
    return Table(tuple(rng.uniform(low, high, ROWS) for _ in range(COLUMNS)), ROWS)


def giant(table: Table, size: float) -> Table:
    """The first row with that value in every column."""
    columns = tuple(np.append(size, column[1:]) for column in table.columns)
    return Table(columns, table.rows)


def test_a_predicate_holds_where_all_its_terms_do() -> None:
    table = Table((np.array([1.0, 2.0, np.nan, 2.0]), np.array([0, 1, 1, -1], np.int32)), 4)
    assert holds(((0, ">=", 2.0),), table).tolist() == [1, 3]
    assert holds(((0, "<=", 1.0),), table).tolist() == [0]
    assert holds(((0, "==", float("nan")),), table).tolist() == [2]
    assert holds(((0, "==", 2.0), (1, "==", -1.0)), table).tolist() == [3]
    assert holds(((1, "==", 1.0), (0, "<=", 9.0)), table).tolist() == [1]


def test_many_predicates_about_one_person_are_one_discovery() -> None:
    """The giant among members meets twenty bounds that nobody else does: without the rule, twenty hits to none."""
    train, held, made = giant(numbers(1, low=0.1), 100.0), numbers(2, low=0.1), giant(numbers(3), 2.0)
    budget = replace(SMALL, predicates=100_000)
    on = scene(each(train), each(held), made, np.random.default_rng(0), budget)
    found = univariate(on, np.random.default_rng(0))
    assert (found.members.hits, found.control.hits) == (1, 0)
    assert not found.found


def test_rows_of_one_person_are_singled_out_together() -> None:
    """Each value occurs in two rows of one person: of rows, none is alone; of persons, every copied one is."""
    train, held = numbers(1), numbers(2)
    twice, whose = np.repeat(np.arange(ROWS), 2), np.repeat(np.arange(ROWS), 2)
    pairs = (Grouped(side.take(twice), whose) for side in (train, held))
    found = univariate(scene(*pairs, train, np.random.default_rng(0), SMALL), np.random.default_rng(0))
    assert found.members.value > 0.9
    assert found.control.hits == 0
    assert found.found


def test_published_rows_are_singled_out_by_their_combinations() -> None:
    train, held = numbers(1), numbers(2)
    found = multivariate(
        scene(each(train), each(held), train, np.random.default_rng(0), SMALL), np.random.default_rng(0)
    )
    assert found.found
    assert found.lead.value > 0.5
    assert found.reduction is not None
    assert found.reduction.interval[0] < 10
