"""All attacks: planted members are found, an independent sample is left alone, and odd tables do not crash."""

import json
from typing import Any

import numpy as np
import pytest
from attack_made import SMALL, each, people, planted, together

from silosynth.common.evaluate.attacks import Attacks, Budget, attack_all
from silosynth.common.evaluate.attacks.driver import ATTACKS
from silosynth.common.evaluate.attacks.outcome import FALSE_ALARM, TESTS
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.tables import Table

pytest.importorskip("sklearn")

SEEDS = 20
ROWS = 1_500


def attacked(share: float, seed: int, **more: Any) -> Attacks:
    train, clean, held = (people(rows, 10 * seed + at) for at, rows in enumerate((ROWS, ROWS, ROWS)))
    made = more.get("made") or planted(train, clean, share, seed)
    return attack_all(each(train), each(held), made, np.random.default_rng(seed), budget=more.get("budget", SMALL))


@pytest.fixture(scope="module")
def clean() -> list[Attacks]:
    return [attacked(0, seed) for seed in range(SEEDS)]


@pytest.fixture(scope="module")
def copied() -> list[Attacks]:
    return [attacked(0.05, seed) for seed in range(SEEDS)]


def test_an_independent_sample_is_not_flagged(clean: list[Attacks]) -> None:
    """Each seed is flagged with probability FALSE_ALARM = .001 at most: three of twenty with 1.1e-6."""
    assert len(ATTACKS) == TESTS
    assert FALSE_ALARM == 0.001
    assert sum(bool(one.found) for one in clean) <= 2
    assert all(not one.skipped for one in clean)


def test_one_copied_row_in_twenty_is_found_every_time(copied: list[Attacks]) -> None:
    for one in copied:
        assert {"copies", "dcr"} <= set(one.found)
    assert sum("nndr" in one.found for one in copied) >= SEEDS // 2
    assert sum("membership" in one.found for one in copied) >= SEEDS // 2


def test_nobody_is_protected_by_publishing_the_real_rows_and_all_by_an_independent_sample(
    clean: list[Attacks],
) -> None:
    train = people(ROWS, 10)
    open_book = attacked(0, 1, made=train)
    assert open_book.reduction is not None
    assert open_book.reduction.interval[0] < 5
    assert set(open_book.found) == set(ATTACKS)
    for one in clean:
        assert one.reduction is not None
        assert one.reduction.interval[1] > 99
        assert one.reduction.percent > 90


def test_leads_cover_zero_as_often_as_they_claim(clean: list[Attacks]) -> None:
    """160 intervals of 95 %, no two of one attack related: fewer than 136 cover with probability < 1e-5 (binomial)."""
    leads = [attack.lead for one in clean for attack in one]
    assert len(leads) == SEEDS * TESTS
    assert sum(lead.interval[0] <= 0 <= lead.interval[1] for lead in leads) >= 136
    assert all(lead.interval[0] <= lead.value <= lead.interval[1] for lead in leads)


def test_control_groups_are_of_equal_size(clean: list[Attacks]) -> None:
    assert all(attack.members.of == attack.control.of for one in clean for attack in one)


def test_the_same_arguments_give_the_same_outcome_which_is_json(copied: list[Attacks]) -> None:
    assert attacked(0.05, 3).to_json() == copied[3].to_json()
    said = json.loads(json.dumps(copied[3].to_json(), allow_nan=False))
    assert set(said["attacks"]) == set(ATTACKS)
    assert said["attacks"]["membership"]["auc"]["floor"] == 0.5
    assert said["rows"]["attacked_persons"] == SMALL.persons
    assert said["worst"] in ATTACKS
    assert said["attacks"]["copies"]["words"].endswith("in the control group: chance does not explain that.")


def test_persons_with_many_rows_are_found_by_one_of_them() -> None:
    """Each person has three rows; of one member in five, one row is published."""
    train, clean, held = people(1_500, 1), people(1_500, 2), people(1_500, 3)
    whose = np.arange(1_500) // 3
    published = train.take(np.arange(0, 300, 3))
    made = together(published, clean.take(np.arange(1_400)))
    found = attack_all(Grouped(train, whose), Grouped(held, whose), made, np.random.default_rng(0), budget=SMALL)
    copies = next(iter(found))
    assert copies.members.of == 500
    assert copies.members.hits >= 100
    assert {"copies", "dcr"} <= set(found.found)


def test_rows_of_a_person_are_no_independent_trials() -> None:
    """Every held-out and every trained person is fifty equal rows: of rows, chance alone would find a great deal."""
    persons = [people(60, seed).take(np.repeat(np.arange(60), 50)) for seed in range(2)]
    whose = np.repeat(np.arange(60), 50)
    train, held = (Grouped(side, whose) for side in persons)
    flagged = [
        bool(attack_all(train, held, people(800, seed), np.random.default_rng(seed), budget=SMALL).found)
        for seed in range(10, 16)
    ]
    assert sum(flagged) <= 2  # three of six with probability < 2e-8


@pytest.mark.parametrize(("trained", "held"), [(500, 0), (500, 20), (10, 500)])
def test_too_few_people_are_said_not_tried(trained: int, held: int) -> None:
    train, holdout = each(people(trained, 1)), each(people(held, 2))
    found = attack_all(train, holdout, people(100, 3), np.random.default_rng(0))
    assert not found.done
    assert {one.name for one in found.skipped} == set(ATTACKS)
    assert "held-out persons" in found.skipped[0].why
    assert found.reduction is None
    assert json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("rows", [1, 7])
def test_a_handful_of_synthetic_rows_will_do(rows: int) -> None:
    found = attack_all(each(people(200, 1)), each(people(200, 2)), people(rows, 3), np.random.default_rng(0))
    assert not found.found
    assert json.dumps(found.to_json(), allow_nan=False)


def test_no_synthetic_row_will_not() -> None:
    found = attack_all(each(people(200, 1)), each(people(200, 2)), people(0, 3), np.random.default_rng(0))
    assert found.skipped[0].why == "no synthetic rows to attack with"


def constant(rows: int) -> Table:
    return Table(
        (np.full(rows, 3.0), np.full(rows, np.nan), np.zeros(rows, np.int32), np.full(rows, -1, np.int32)), rows
    )


def test_a_constant_table_gives_nothing_away() -> None:
    found = attack_all(each(constant(300)), each(constant(300)), constant(300), np.random.default_rng(0))
    assert not found.found
    assert found.reduction is None
    assert {one.name for one in found.skipped} >= {"inference", "singling_out_univariate", "singling_out_multivariate"}
    assert json.dumps(found.to_json(), allow_nan=False)


def test_one_column_can_be_attacked_too() -> None:
    train, held, made = (Table(people(400, seed).columns[:1], 400) for seed in range(3))
    found = attack_all(each(train), each(held), made, np.random.default_rng(0))
    assert not found.found
    assert {"linkability", "inference", "singling_out_multivariate"} <= {one.name for one in found.skipped}


def test_codes_that_one_side_alone_has_are_no_error() -> None:
    train, held, made = people(200, 1), people(200, 2), people(200, 3)
    made = Table((*made.columns[:5], np.full(200, 77, np.int32)), 200)
    assert len(attack_all(each(train), each(held), made, np.random.default_rng(0)).done) >= 6


def test_unlike_tables_are_refused() -> None:
    short = Table(people(100, 1).columns[:2], 100)
    with pytest.raises(ValueError, match="same columns"):
        attack_all(each(people(100, 1)), each(people(100, 2)), short, np.random.default_rng(0))


def test_large_tables_are_sampled_and_the_rows_say_so() -> None:
    budget = Budget(work=1e6)
    found = attack_all(
        each(people(600, 1)), each(people(600, 2)), people(600, 3), np.random.default_rng(0), budget=budget
    )
    assert dict(found.rows)["attacked_persons"] == 200
