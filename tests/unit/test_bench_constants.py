"""Leaving one table out: what the others would choose, and what that costs the one left out."""

import pytest

from silosynth.simulations.bench import constants
from silosynth.simulations.bench.constants import ENGINE, Grid, variants
from silosynth.simulations.bench.trial import FRAME, Contestant, Outcome, Trial

DEFAULT, FEW, MANY = ENGINE, f"{ENGINE}[rounds=1]", f"{ENGINE}[rounds=3]"


def outcome(table, contestant, auc, seed=0):
    return Outcome(Trial(table, Contestant.parse(contestant), 1.0, seed), "code", {"auc": auc})


def frame(table, seed=0):
    return Outcome(Trial(table, Contestant(FRAME), 0.0, seed), "code", {"floor_auc": 0.5, "ceiling_auc": 0.9})


def test_what_all_others_prefer_is_chosen():
    kept = {"a": {DEFAULT: 0.8, FEW: 0.9}, "b": {DEFAULT: 0.9, FEW: 0.8}, "c": {DEFAULT: 0.85, FEW: 0.9}}
    grid = Grid(kept)
    assert [grid.chosen_without(table) for table in "abc"] == [DEFAULT, FEW, DEFAULT]
    assert [grid.loss(table) for table in "abc"] == pytest.approx([0, 0.1, 0])
    told = list(grid.as_markdown())
    assert "| rounds=1 | 0.900 | 0.800 | 0.900 | 0.867 |" in told
    assert "| b | rounds=1 | +0.100 |" in told


def test_a_variant_counts_only_where_it_was_measured_on_every_table():
    found = [frame("a"), frame("b"), outcome("a", DEFAULT, 0.8), outcome("b", DEFAULT, 0.7), outcome("a", FEW, 0.9)]
    assert Grid.of(found, ["a", "b"], 1.0).kept == {
        "a": {DEFAULT: pytest.approx(0.75)},
        "b": {DEFAULT: pytest.approx(0.5)},
    }
    found.append(outcome("b", FEW, 0.7))
    assert list(Grid.of(found, ["a", "b"], 1.0).kept["b"]) == [DEFAULT, FEW]
    with pytest.raises(ValueError, match="defaults"):
        Grid.of(found[:3], ["a", "b"], 1.0)


def test_seeds_are_averaged():
    found = [frame("a"), frame("a", 1), outcome("a", DEFAULT, 0.8), outcome("a", DEFAULT, 0.7, seed=1)]
    assert Grid.of(found, ["a"], 1.0).kept == {"a": {DEFAULT: pytest.approx(0.625)}}


def test_every_variant_is_a_contestant_whose_name_comes_back():
    assert len(variants()) == 1 + sum(map(len, constants.VARIED.values()))
    assert [str(Contestant.parse(name)) for name in variants()] == list(variants())


def test_it_runs_what_is_not_there_and_prints_what_follows(tmp_path, monkeypatch, capsys):
    asked = []
    there = [frame(table) for table in "tu"]
    there += [outcome(table, name, 0.8) for table in "tu" for name in (DEFAULT, MANY)]
    monkeypatch.setattr(constants.record, "main", lambda words: asked.append(words) or 0)
    monkeypatch.setattr(constants.record.Record, "outcomes", lambda self: there)
    assert constants.main([str(tmp_path), "--tables", "t", "u", "--seeds", "2"]) == 0
    assert asked[0][asked[0].index("--only") + 1] == "*/*/1"
    assert MANY in asked[0]
    assert "| t | defaults | +0.000 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        constants.main([str(tmp_path), "--tables", "t"])
