"""The benchmark of record: scores, which trials there are, what is run again, and what the outcomes say together."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from silosynth.common.column import Column, Kind
from silosynth.common.errors import InvalidInput, NotPossible
from silosynth.common.evaluate import evaluate
from silosynth.common.schema import Schema
from silosynth.common.study import Budget, Study
from silosynth.simulations.bench import __main__ as command
from silosynth.simulations.bench import competitors, record, record_table, trial
from silosynth.simulations.bench.scoring import LIKENESS, USE, Yardstick, signal_kept
from silosynth.simulations.bench.trial import FRAME, Contestant, Outcome, Trial, code_of

SCHEMA = Schema(
    (
        Column("age", Kind.INTEGER, low=0, high=99),
        Column("cost", Kind.NUMBER, low=0, high=1e6, decimals=2),
        Column("kind", Kind.CATEGORICAL, codes=tuple("abcde")),
        Column("ill", Kind.BOOLEAN, codes=("0", "1")),
    )
)
STUDY = Study("made", SCHEMA, Budget(1.0, 1e-5, 1), target="ill")


def _rows(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 80, count)
    cost = np.where(rng.random(count) < 0.3, 0, rng.lognormal(5, 1, count)).round(2)
    kind = rng.choice(list("abcde"), count, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    ill = rng.random(count) < 1 / (1 + np.exp(-(age - 60) / 6 - (kind == "b")))
    text = pd.DataFrame({"age": age, "cost": cost, "kind": kind, "ill": ill.astype(int)}).astype(str)
    text.loc[::17, "cost"] = ""
    return SCHEMA.conform(text, source="made").frame


TRAIN, HELD = _rows(2000, 0), _rows(1000, 1)
YARDSTICK = Yardstick(STUDY, TRAIN, HELD, 0)


def _outcome(name: str, seed: int, scores: dict[str, float], epsilon: float = 1.0, **more: object) -> Outcome:
    contestant = Contestant.parse(name)
    return Outcome(Trial("adult", contestant, epsilon, seed), code_of(contestant), scores, **more)


def test_scores_are_those_of_an_evaluation():
    """Distances and shapes to rounding; models see other subsets and seeds only where rows are many."""
    made = _rows(2000, 2)
    found = YARDSTICK.scores(made)
    whole = evaluate(SCHEMA, TRAIN, HELD, made, "ill", seed=0).scores
    names = {"shapes": "column_shapes", "pairs": "pair_trends", "pairs_all": "pair_trends_all"}
    for name in LIKENESS:
        assert found[name] == pytest.approx(whole[names.get(name, name)].value, abs=1e-9)
    assert found["auc"] == pytest.approx(whole["tstr_auc_gb"].value, abs=0.01)
    assert found["ap"] == pytest.approx(whole["tstr_ap_gb"].value, abs=0.03)


def test_floor_and_ceiling_frame_every_generator():
    frame = YARDSTICK.frame()
    assert set(frame["floor"]) == set(frame["ceiling"]) == {*LIKENESS, *USE}
    assert frame["floor"]["auc"] < 0.6
    assert frame["ceiling"]["auc"] > 0.75
    assert frame["floor"]["tvd2"] > 2 * frame["ceiling"]["tvd2"]
    assert frame["floor"]["tvd1"] == 0
    assert YARDSTICK.frame() == frame


def test_the_same_rows_are_at_no_distance_and_keep_all_signal():
    found, ceiling = YARDSTICK.scores(TRAIN), YARDSTICK.frame()["ceiling"]
    assert found["tvd3"] == 0
    assert signal_kept(found["auc"], ceiling["auc"]) == 1


def test_a_contestant_is_a_name_with_settings():
    parsed = Contestant.parse("marginals[rounds=3, coarse=.25]")
    assert parsed == Contestant("marginals", (("coarse", 0.25), ("rounds", 3.0)))
    assert Contestant.parse(str(parsed)) == parsed
    for wrong in ("margins", "marginals[rounds]", "mbi-aim[rounds=3]", "marginals[rounds=3"):
        with pytest.raises(InvalidInput):
            Contestant.parse(wrong)


def test_competitors_run_on_some_tables_and_frames_come_first():
    wanted = list(record.Wanted((Contestant("marginals"), Contestant("mbi-aim")), 2).trials())
    assert len(set(wanted)) == len(wanted)
    frames = [one.contestant.name == FRAME for one in wanted]
    assert frames == sorted(frames, reverse=True)
    central = {one.table for one in wanted if one.contestant.central}
    assert central == set(record.AGAINST)
    assert {one.epsilon for one in wanted if one.table == "adult@2000"} == {0.0, 1.0, 3.0}


@pytest.mark.parametrize(
    ("only", "tables", "count"),
    [("ist", {"ist"}, 4), ("ist*/marginals/1", {"ist", "ist@2000", "ist@8000", "ist-ID14", "ist-ISC14"}, None)],
)
def test_only_picks_by_parts(only, tables, count):
    wanted = list(record.Wanted((Contestant("marginals"),), 1, (only,)).trials())
    picked = [one for one in wanted if one.contestant.name != FRAME]
    assert {one.table for one in picked} >= tables
    assert {one.table for one in picked} == {one.table for one in wanted}
    if count:
        assert len(picked) == count
    else:
        assert {one.epsilon for one in picked} == {1.0}


def test_an_outcome_survives_its_file(tmp_path):
    one = _outcome("marginals[rounds=3]", 2, {"auc": 0.8}, rows=7, cpu_s=1.5, finished=3.0)
    path = tmp_path / "one.json"
    path.write_text(json.dumps(one.to_json()), encoding="utf-8")
    assert trial.read(path) == one
    path.write_text("{", encoding="utf-8")
    assert trial.read(path) is None


def test_what_is_there_is_not_run_again_unless_its_code_is_another(tmp_path):
    one, here = _outcome("marginals", 0, {"auc": 0.8}), record.Record(tmp_path)
    path = here.path(one.trial)
    path.parent.mkdir()
    assert not here.finished(one.trial)
    path.write_text(json.dumps(one.to_json()), encoding="utf-8")
    assert here.finished(one.trial)
    assert not here.finished(replace(one.trial, seed=1))
    assert not here.finished(replace(one.trial, contestant=Contestant("marginals", (("rounds", 3.0),))))
    path.rename(path.with_name("marginals-eps1-seed0-00000000.json"))
    assert not here.finished(one.trial)
    assert record.Record(tmp_path, any_code=True).finished(one.trial)
    assert here.outcomes() == [one]


def test_a_failure_is_run_again_only_if_asked(tmp_path):
    one = _outcome("marginals", 0, {}, failed="refused")
    here = record.Record(tmp_path)
    here.path(one.trial).parent.mkdir()
    here.path(one.trial).write_text(json.dumps(one.to_json()), encoding="utf-8")
    assert here.finished(one.trial)
    assert not record.Record(tmp_path, retry=True).finished(one.trial)


def test_a_trial_of_other_code_stops_before_it_reads_anything(tmp_path):
    out = tmp_path / "out.json"
    assert trial.main(["adult", "marginals", "1", "0", "0" * 64, str(out)]) == trial.CHANGED
    assert not out.exists()


def test_the_summary_has_means_floor_ceiling_and_failures(tmp_path):
    frame = {"floor_auc": 0.5, "ceiling_auc": 0.9, "floor_tvd2": 0.2, "ceiling_tvd2": 0.01}
    outcomes = [_outcome(FRAME, seed, frame, 0.0) for seed in (0, 1)]
    outcomes += [_outcome("marginals", seed, {"auc": 0.8 + 0.02 * seed, "tvd2": 0.03}, cpu_s=4.0) for seed in (0, 1)]
    outcomes += [_outcome("mbi-mst", 0, {"auc": 0.7, "tvd2": 0.05}), _outcome("mbi-mst", 1, {}, failed="broke")]
    found = record_table.lines(outcomes)
    assert [(one.contestant, one.seeds) for one in found] == [
        ("floor", (0, 1)),
        ("ceiling", (0, 1)),
        ("marginals", (0, 1)),
        ("(mbi-mst)", (0,)),
    ]
    assert found[2].means["kept"].value == pytest.approx((0.75 + 0.8) / 2)
    record_table.publish(tmp_path, outcomes)
    told = (tmp_path / "SUMMARY.md").read_text(encoding="utf-8")
    assert "| 1 | marginals | 2 | 0.775 [" in told
    assert "- (mbi-mst), epsilon 1, seed 1: broke" in told
    assert (tmp_path / "adult.svg").read_text(encoding="utf-8").startswith("<svg")
    rows = pd.read_csv(tmp_path / "results.csv")
    assert rows.query("contestant == 'floor' and score == 'auc'")["mean"].item() == 0.5


def test_merged_cells_hold_every_cell_once_and_keep_exact_values_apart():
    rng = np.random.default_rng(0)
    for column in SCHEMA.columns:
        merged = competitors.merged(column, 20)
        cells = np.arange(column.size)
        bins = merged.into(cells)
        assert list(np.unique(bins)) == list(range(len(merged.first)))
        assert (merged.into(merged.back(bins, column.size, rng)) == bins).all()
        assert (bins == bins[column.missing_cell]).sum() == 1
        if column.name == "cost":
            zero = column.grid.encode(np.array([0.0]))[0]
            assert (bins == bins[zero]).sum() == 1
            assert len(merged.first) < 30
    assert len(competitors.merged(SCHEMA.columns[0], None).first) == SCHEMA.columns[0].size


def test_a_competitor_gets_codes_and_gives_typed_rows(tmp_path, monkeypatch):
    """The copula needs scipy only, so this environment can play that of a competitor."""
    python = tmp_path / "mbi" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setenv(competitors.ENVIRONMENTS, str(tmp_path))
    made, wall_s = competitors.synthesise("copula", STUDY, TRAIN, 1.0, 0)
    assert wall_s > 0
    assert len(made) == len(TRAIN)
    found, floor = YARDSTICK.scores(made), YARDSTICK.frame()["floor"]
    assert found["tvd1"] < 0.05
    assert found["tvd2"] < floor["tvd2"]
    assert found["auc"] > 0.7


def test_a_competitor_that_is_not_there_or_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv(competitors.ENVIRONMENTS, raising=False)
    with pytest.raises(NotPossible, match="not installed"):
        competitors.synthesise("mbi-aim", STUDY, TRAIN, 1.0, 0)
    python = tmp_path / "mbi" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho no luck >&2\nexit 5\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setenv(competitors.ENVIRONMENTS, str(tmp_path))
    with pytest.raises(NotPossible, match="exit code 5: no luck"):
        competitors.synthesise("mbi-aim", STUDY, TRAIN, 1.0, 0)


def test_the_command_lists_and_refuses(tmp_path, capsys):
    folder = str(tmp_path / "record")
    asked = ["quality", folder, "--list", "--seeds", "1", "--contestants", "marginals", "--only", "adult/*/1"]
    assert command.main(asked) == 0
    assert "2 trials, 2 of them to run\nadult/frame/0, seed 0\nadult/marginals/1, seed 0" in capsys.readouterr().out
    assert command.main(["quality", folder, "--contestants", "nobody"]) == 2
    assert not (tmp_path / "record").exists()


def test_a_trial_runs_in_a_process_of_its_own(tmp_path, monkeypatch):
    ran = []

    def played(command, **how):
        ran.append((command[1:3], how["env"]["OMP_NUM_THREADS"]))
        return subprocess.CompletedProcess(command, trial.ABSENT, "", "")

    monkeypatch.setattr(record.subprocess, "run", played)
    told = record.Record(tmp_path).run(Trial("adult", Contestant("marginals"), 1.0, 0))
    assert told == "its table is not there"
    assert ran == [(["-m", "silosynth.simulations.bench.trial"], "1")]
