"""Subgroups and sites: their distances are those of their own rows, and a table that fails one of them shows it."""

import json

import numpy as np
import pandas as pd
import pytest

from silosynth.common.evaluate import Budget, Scores, evaluate
from silosynth.common.evaluate.utility import Limits
from silosynth.common.evaluate.words import limits
from silosynth.common.schema import Column, Kind, Schema

pytest.importorskip("sklearn")

SCHEMA = Schema(
    (
        Column("sex", Kind.CATEGORICAL, codes=("m", "f")),
        Column("drug", Kind.CATEGORICAL, codes=("none", "one", "two", *(f"rare{at}" for at in range(10)))),
        Column("dose", Kind.NUMBER, low=-9, high=9),
        Column("died", Kind.BOOLEAN),
    )
)
BUDGET = Budget(triples=1, detection=60, neighbours=60, models=Limits(1500, 300, 900))


def patients(rows: int, seed: int, *, fails_women: bool = False, rare: bool = True) -> pd.DataFrame:
    """A dose decides who dies; in women of a bad table it decides nothing, and follows the drug the wrong way round."""
    rng = np.random.default_rng(seed)
    sex = rng.integers(0, 2, rows)
    drug = rng.integers(0, 3, rows)
    if rare:
        drug[rng.permutation(rows)[: rows // 20]] = rng.integers(3, 13, rows // 20)
    wrong = fails_women & (sex == 1)
    dose = np.clip(np.where(drug % 2 == wrong, 1, -1) + rng.normal(size=rows), -9, 9)
    died = rng.random(rows) < np.where(wrong, 0.5, 1 / (1 + np.exp(-3 * dose)))
    codes = {"sex": sex, "drug": drug, "died": died.astype(int)}
    frame = pd.DataFrame({"dose": dose})
    for name, values in codes.items():
        frame[name] = pd.Categorical.from_codes(values, list(SCHEMA.columns[SCHEMA.index(name)].labels))
    return frame[list(SCHEMA.names)]


@pytest.fixture(scope="module")
def failing() -> Scores:
    sites = tuple(np.where(np.arange(rows) % 3 == 0, "east", "west") for rows in (1500, 900))
    tables = patients(1500, 1), patients(900, 2), patients(1500, 3, fails_women=True, rare=False)
    return evaluate(SCHEMA, *tables, "died", seed=0, budget=BUDGET, sites=(list(sites[0]), list(sites[1])))


def test_the_subgroup_that_is_failed_stands_out(failing: Scores) -> None:
    groups = {one.name: one for one in failing.groups}
    men, women = groups["sex = m"], groups["sex = f"]
    assert men.auc is not None
    assert men.auc_real is not None
    assert women.auc is not None
    assert women.auc_real is not None
    assert men.auc > men.auc_real - 0.05
    assert women.auc < women.auc_real - 0.05
    assert women.tvd2 is not None
    assert men.tvd2 is not None
    assert women.tvd2 > 1.5 * men.tvd2
    assert men.rows + women.rows == 1500
    assert any("sex = f" in line for line in limits(failing) if line.startswith("Subgroups"))
    kept = failing.scores["subgroup_auc"]
    assert kept.floor is not None
    assert kept.floor < 0.65 < kept.value


def test_subgroups_are_codes_in_use_but_not_of_the_target(failing: Scores) -> None:
    names = [one.name for one in failing.groups if one.kind == "subgroup"]
    assert names == ["sex = m", "sex = f", "drug = none", "drug = one", "drug = two"]  # rare ones have too few rows


def test_sites_are_measured_against_the_whole_synthetic_table(failing: Scores) -> None:
    sites = [one for one in failing.groups if one.kind == "site"]
    assert [(one.name, one.rows) for one in sites] == [("west", 1000), ("east", 500)]
    assert all(one.auc is not None and one.tvd2 is not None for one in sites)
    assert {"site_tvd1", "site_tvd2", "site_auc"} <= set(failing.scores)
    assert failing.rows["sites"] == 2


def test_rare_codes_that_are_gone_are_counted_and_named(failing: Scores) -> None:
    score = failing.scores["rare_code_coverage"]
    assert failing.rows["rare_codes"] == 8 or failing.rows["rare_codes"] <= 10
    assert score.value == 0
    assert score.floor == 1
    out = json.loads(json.dumps(failing.to_json(), allow_nan=False))
    lost = {code for column in failing.columns if column.name == "drug" for code, _ in column.lost}
    assert {f"rare{at}" for at in range(10)} >= lost > {"rare1"}
    assert {group["kind"] for group in out["groups"]} == {"subgroup", "site"}


def test_the_distance_of_a_subgroup_is_that_of_its_own_rows() -> None:
    train, made = patients(800, 1), patients(600, 2)
    both = evaluate(SCHEMA, train, patients(0, 3), made, None, seed=0, budget=BUDGET)
    women = next(one for one in both.groups if one.name == "sex = f")
    own, other = (frame[frame["sex"] == "f"] for frame in (train, made))

    def table(frame: pd.DataFrame, names: list[str]) -> "pd.Series[float]":
        edges = np.unique(np.quantile(train["dose"], np.linspace(0, 1, 21)[1:-1]))
        cut = frame.assign(dose=np.searchsorted(edges, frame["dose"])).astype(str)
        return cut[names].value_counts(normalize=True)

    pairs = [["drug", "dose"], ["drug", "died"], ["dose", "died"]]
    by_hand = [table(own, pair).sub(table(other, pair), fill_value=0).abs().sum() / 2 for pair in pairs]
    assert women.tvd2 == pytest.approx(np.mean(by_hand))
    assert women.tvd2_ceiling is None
    assert women.auc is None


def test_a_table_without_subgroups_says_so() -> None:
    schema = Schema(SCHEMA.columns[2:])
    tables = [patients(rows, rows)[["dose", "died"]] for rows in (300, 200, 250)]
    scores = evaluate(schema, *tables, "died", seed=0, budget=BUDGET, sites=(["a", "b", "c"] * 100, [""] * 200))
    assert "subgroup_tvd2" not in scores.scores
    assert any(note.startswith("subgroups: none") for note in scores.notes)
    assert scores.rows["sites"] == 3
    assert "site_auc" not in scores.scores  # the hold-out does not say where its rows come from
    assert any(note.startswith("site_auc") for note in scores.notes)
