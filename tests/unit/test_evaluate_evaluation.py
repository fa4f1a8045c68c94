"""A whole evaluation: good tables score near the ceiling, shuffled ones at the floor, and odd ones do not crash."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from silosynth.common.errors import NotPossible
from silosynth.common.evaluate import Budget, Scores, evaluate, summary
from silosynth.common.evaluate.utility import Limits
from silosynth.common.evaluate.words import GROUPS, MEANINGS
from silosynth.common.progress import silent
from silosynth.common.schema import Column, Kind, Schema

pytest.importorskip("sklearn")

SCHEMA = Schema(
    (
        Column("age", Kind.INTEGER, low=0, high=99),
        Column("cost", Kind.NUMBER, low=0, high=1e6),
        Column("area", Kind.CATEGORICAL, codes=("n", "e", "s", "w")),
        Column("ill", Kind.BOOLEAN, codes=("no", "yes")),
    )
)
SMALL = Budget(triples=3, detection=400, models=Limits(600, 600, 600))
DETECT = Budget(triples=1, detection=400, models=Limits(100, 100, 100))
QUICK = Budget(triples=3, detection=100, models=Limits(200, 200, 200))


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=rows)
    area = np.digitize(latent + rng.normal(size=rows) * 0.4, [-1, 0, 1])
    ill = (latent + 0.5 * rng.normal(size=rows) > 0.7).astype(int)
    return pd.DataFrame(
        {
            "age": np.clip(np.round(50 + 15 * latent), 0, 99),
            "cost": np.where(rng.random(rows) < 0.4, 0, np.round(np.exp(latent + 3 + rng.normal(size=rows)), 2)),
            "area": pd.Categorical.from_codes(area, list(SCHEMA.columns[2].labels)),
            "ill": pd.Categorical.from_codes(ill, list(SCHEMA.columns[3].labels)),
        }
    )


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: frame[name].iloc[rng.permutation(len(frame))].to_numpy() for name in frame}).astype(
        frame.dtypes.to_dict()
    )


def scored(
    made: pd.DataFrame,
    *,
    held: pd.DataFrame | None = None,
    train: pd.DataFrame | None = None,
    target: str | None = "ill",
    **more: Any,
) -> Scores:
    held = people(400, 2) if held is None else held
    train = people(600, 1) if train is None else train
    more = {"schema": SCHEMA, "seed": 0, "budget": QUICK} | more
    return evaluate(more.pop("schema"), train, held, made, target, **more)


NAMES = [
    "column_shapes",
    "pair_trends",
    "tvd1",
    "tvd2",
    "tvd3",
    "tstr_auc_gb",
    "tstr_auc_lr",
    "tstr_ap_gb",
    "tstr_f1_gb",
    "tstr_signal_kept",
    "detection_auc",
    "copies",
]


@pytest.fixture(scope="module")
def good() -> Scores:
    return scored(people(600, 3), budget=SMALL)


def test_fresh_real_rows_score_near_the_ceiling_and_shuffled_ones_at_the_floor(good: Scores) -> None:
    bad = scored(shuffled(people(600, 1), 4), budget=SMALL)
    for name in ("pair_trends", "tvd2", "tvd3", "tstr_signal_kept", "detection_auc"):
        near, far = good.scores[name].rescaled, bad.scores[name].rescaled
        assert near is not None
        assert far is not None
        # SDMetrics cuts a column at its own largest value: of 400 heavy-tailed costs that alone moves pair trends
        assert near > (40 if name == "pair_trends" else 75), name
        assert far < 45, name
    assert bad.scores["column_shapes"].value == 1  # which is why it never stands alone
    assert bad.scores["column_shapes"].rescaled is None
    assert abs(good.scores["detection_auc"].value - 0.5) < 0.12
    assert bad.scores["detection_auc"].value > 0.7


def test_metrics_json_is_as_promised(good: Scores) -> None:
    out = json.loads(json.dumps(good.to_json(), allow_nan=False))
    assert out["format"] == 1
    assert set(NAMES) <= set(out["scores"])
    for name, score in out["scores"].items():
        assert {"value", "floor", "ceiling", "interval", "better"} <= set(score)
        low, high = score["interval"]
        assert MEANINGS[name].says, name
        assert any(name in names for names in GROUPS.values()), name
        assert low <= score["value"] <= high, name
    for name, better in (("tvd2", "lower"), ("detection_auc", "lower"), ("copies", "lower"), ("pair_trends", "higher")):
        assert out["scores"][name]["better"] == better
    assert out["rows"]["train"] == 600
    assert out["rows"]["holdout"] == 400
    assert out["rows"]["matched"] == 400
    assert out["scores"]["tvd2"]["matched"]["ceiling"] == pytest.approx(out["scores"]["tvd2"]["ceiling"])
    assert out["scores"]["tstr_signal_kept"]["floor"] == 0
    assert out["scores"]["tstr_signal_kept"]["ceiling"] == 1


def test_the_same_seed_gives_the_same_scores_and_progress_ends() -> None:
    heard: list[tuple[int, int]] = []

    def listen(phase: str, done: int, of: int, note: str = "") -> None:
        assert phase == "evaluate"
        assert note
        heard.append((done, of))

    first = scored(people(300, 3), progress=listen)
    assert first.to_json() == scored(people(300, 3), progress=silent).to_json()
    done, steps = zip(*heard, strict=True)
    assert len(set(steps)) == 1
    assert list(done) == sorted(done)
    assert done[:10] == tuple(range(1, 11))
    assert done[-2] < done[-1] == steps[-1]


def test_copies_are_counted_beside_the_hold_outs_own_rate() -> None:
    train = people(400, 1)
    made = pd.concat([train.iloc[:100], people(300, 5)], ignore_index=True)
    held = pd.concat([train.iloc[:10], people(190, 2)], ignore_index=True)
    score = scored(made, train=train, held=held).scores["copies"]
    keys = {tuple(row) for row in train.astype(object).itertuples(index=False)}

    def rate(frame: pd.DataFrame) -> float:
        return float(np.mean([tuple(row) in keys for row in frame.astype(object).itertuples(index=False)]))

    assert score.value == pytest.approx(rate(made))
    assert score.value >= 0.25
    assert score.ceiling == pytest.approx(rate(held))


def test_without_a_target_or_hold_out_scores_are_absent_and_notes_say_why() -> None:
    scores = scored(people(300, 3), target=None)
    assert not any(name.startswith("tstr") for name in scores.scores)
    assert any("no target" in note for note in scores.notes)

    scores = scored(people(300, 3), held=people(0, 2))
    assert not any(name.startswith("tstr") for name in scores.scores)
    assert all(score.ceiling is None for score in scores.scores.values())
    assert any("no held-out rows" in note for note in scores.notes)
    json.dumps(scores.to_json(), allow_nan=False)


def test_a_hold_out_of_one_class_gives_no_models() -> None:
    held = people(200, 2)
    scores = scored(people(300, 3), held=held[held["ill"] == "no"])
    assert "tstr_auc_gb" not in scores.scores
    assert any("held-out rows of a class" in note for note in scores.notes)


def test_a_synthetic_table_of_one_class_is_a_coin() -> None:
    made = people(300, 3).assign(ill=pd.Categorical(["no"] * 300, SCHEMA.columns[3].labels))
    scores = scored(made).scores
    assert scores["tstr_auc_gb"].value == 0.5
    assert scores["tstr_signal_kept"].value == 0


def test_a_target_without_signal_has_none_to_keep() -> None:
    rng = np.random.default_rng(0)
    tables = [
        people(rows, seed).assign(ill=pd.Categorical.from_codes(rng.integers(0, 2, rows), SCHEMA.columns[3].labels))
        for rows, seed in ((600, 1), (150, 2), (600, 3))
    ]
    scores = scored(tables[2], train=tables[0], held=tables[1])
    assert "tstr_signal_kept" not in scores.scores
    assert any("no signal to keep" in note for note in scores.notes)


def test_numeric_and_many_valued_targets_are_questions_too() -> None:
    cost, area, age = (scored(people(500, 3), target=name) for name in ("cost", "area", "age"))
    assert str(cost.outcome).startswith("cost above 0 (its lowest value)")
    assert "4 classes" in str(area.outcome)
    assert "median" in str(age.outcome)
    for scores in (area, age):
        assert scores.scores["tstr_auc_gb"].value > 0.7


@pytest.mark.filterwarnings("error")
def test_odd_tables_do_not_crash() -> None:
    odd = Schema(
        (*SCHEMA.columns, Column("void", Kind.NUMBER, low=0, high=1), Column("flat", Kind.INTEGER, low=0, high=9))
    )
    tables = [people(rows, seed).assign(void=np.nan, flat=3.0) for rows, seed in ((200, 1), (120, 2), (150, 3))]
    tables[2]["area"] = pd.Categorical(["elsewhere"] * 150)
    tables[2].loc[:20, "ill"] = np.nan
    tables[1].loc[5:9, "age"] = np.nan
    for target in ("ill", "void", "flat", "area"):
        scores = evaluate(odd, *tables, target, seed=0, budget=QUICK)
        json.dumps(scores.to_json(), allow_nan=False)
        assert scores.scores["tvd1"].value > 0
    scores = evaluate(odd, tables[0].iloc[:3], tables[1].iloc[:2], tables[2].iloc[:1], "ill", seed=0)
    json.dumps(scores.to_json(), allow_nan=False)
    assert "detection_auc" not in scores.scores


def test_one_column_has_no_pairs() -> None:
    tables = [people(rows, seed)[["age"]] for rows, seed in ((200, 1), (120, 2), (150, 3))]
    scores = evaluate(Schema(SCHEMA.columns[:1]), *tables, None, seed=0)
    assert "tvd2" not in scores.scores
    assert any("no scores of pairs" in note for note in scores.notes)


def test_without_scikit_learn_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("silosynth.common.evaluate.evaluation.find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="pip install"):
        scored(people(10, 3))


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, silosynth.common.evaluate; print([m for m in ('sklearn', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="needs training rows"):
        scored(people(0, 3))


def test_rows_of_one_person_do_not_pass_for_a_detector() -> None:
    """Persons of ten equal rows: by rows a detector recognises them (AUC far above .5), by persons it cannot."""
    tables = {name: people(rows, seed) for name, rows, seed in (("train", 60, 1), ("held", 60, 2), ("made", 600, 3))}
    many = {name: tables[name].loc[np.repeat(np.arange(60), 10)].reset_index(drop=True) for name in ("train", "held")}
    whose = np.repeat(np.arange(60), 10)
    by_rows = scored(tables["made"], train=many["train"], held=many["held"], budget=DETECT)
    by_persons = scored(tables["made"], train=many["train"], held=many["held"], budget=DETECT, persons=(whose, whose))
    rows, persons = (one.scores["detection_auc"].ceiling for one in (by_rows, by_persons))
    assert rows is not None
    assert persons is not None
    assert rows > 0.9
    assert persons < 0.75


def test_a_summary_is_four_aligned_lines_with_floor_and_ceiling(good: Scores) -> None:
    lines = summary(good)
    assert [line[:14].strip() for line in lines[1:5]] == [
        "signal kept",
        "pair trends",
        "2-way distance",
        "detection AUC",
    ]
    assert lines[0].endswith("of the way")
    assert all(line.isascii() and len(line) <= 80 for line in lines)


def test_wide_tables_sample_pairs_and_say_so() -> None:
    rng = np.random.default_rng(0)
    wide = Schema(tuple(Column(f"x{at}", Kind.NUMBER, low=-9, high=9) for at in range(12)))
    tables = [pd.DataFrame(rng.normal(size=(200, 12)), columns=list(wide.names)) for _ in range(3)]
    scores = evaluate(wide, *tables, None, seed=0, budget=Budget(pairs=20, triples=30, cells=1200))
    assert scores.rows["pairs"] == 20
    assert scores.rows["triples"] == 30
    assert len({(pair.first, pair.second) for pair in scores.pairs}) == 20
