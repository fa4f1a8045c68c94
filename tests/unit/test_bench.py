"""The benchmark measures what it says: turns, means with intervals, equal sums, equal noise, files compared."""

import gzip
import importlib.util
import json
import math
import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from silosynth.common.column import Column, Kind
from silosynth.common.engine import Parted, Units
from silosynth.common.engines.autoregressive import settings
from silosynth.common.errors import InvalidInput
from silosynth.common.progress import silent
from silosynth.common.scale import Sensitivity, site_variance
from silosynth.common.schema import Schema
from silosynth.common.study import Budget, Member, Step, Study, Trust
from silosynth.simulations.bench import __main__ as command
from silosynth.simulations.bench import clipping, measure, pooled, quality, speed, tables
from silosynth.simulations.bench.made import made
from silosynth.simulations.bench.results import Results, Row, against, machine
from silosynth.simulations.repeats import mean

ROW = Row("clipping", "hooks / closed form", 6.0, "x", (5.0, 7.0), "median", "lower", seeds=(0,))


def test_contestants_run_in_turns_after_one_turn_that_does_not_count():
    ran = []
    took = measure.interleaved({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, turns=3)
    assert ran == ["a", "b"] * 4
    assert len(took["a"].cpu_s) == len(took["b"].wall_s) == 3


def test_a_ratio_is_taken_within_each_turn():
    spread = measure.ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0])
    assert (spread.value, spread.interval) == (3.0, (2.0, 4.0))


def test_a_mean_has_the_t_interval_of_its_values():
    values = [0.9, 0.91, 0.95]
    found = mean(values)
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert found.interval == pytest.approx(expected)
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    assert mean([0.9]).interval is None


def test_phases_are_timed_until_another_is_heard_of(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(measure.time, "process_time", lambda: next(clock))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: 0)
    heard = []
    phases = measure.Phases(lambda *said: heard.append(said))
    for phase in ("read", "read", "gradient", "evaluate"):
        phases(phase, 0, 0)
    phases.stop()
    phases.stop()
    assert phases.cpu_s == {"read": 1, "gradient": 1, "evaluate": 1}
    assert len(heard) == 4
    assert quality.training(phases) == 1


@pytest.mark.parametrize("rival", ["plain", "func", "hooks", "ghost", "fast"])
def test_every_rival_computes_the_sum_that_is_timed(rival):
    batch = clipping.Batch.made(3, bins=(2, 3, 5, 4), rows=48)
    if rival == "plain":  # nothing is clipped where the clip norm is out of reach
        ours = _unclipped(batch)
        theirs = clipping.plain(batch)()
    else:
        if rival != "func":
            pytest.importorskip("opacus")
        ours = clipping.closed_form(batch)()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if rival in {"ghost", "fast"}:
                theirs = clipping.ghost(batch, ghost=rival == "ghost")()
            else:
                theirs = {"func": clipping.func, "hooks": clipping.hooks}[rival](batch)()
    assert np.abs(ours).max() > 0.1
    np.testing.assert_allclose(theirs, ours, atol=2e-3 * np.abs(ours).max())


def _unclipped(batch):
    terms = clipping.Gradients(batch.shape, batch.weights, range(4), [np.arange(size) for size in batch.shape.bins])
    return terms(batch.bins).weighted_sum(np.ones(48)) / 2**30


@pytest.mark.parametrize(("bench", "peer"), [("clipping", "opacus"), ("noise", "opendp")])
def test_a_peer_that_is_not_installed_is_said_so(bench, peer, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == peer else found(name))
    monkeypatch.setattr(speed, "_SAMPLES", 64)
    monkeypatch.setattr(speed, "_DEVIATIONS", (10.0,))
    monkeypatch.setattr(clipping.Batch, "made", lambda seed, made=clipping.Batch.made: made(seed, (2, 3, 4), 32))
    run = {"clipping": clipping.clipping, "noise": speed.noise}[bench]
    rows = list(run((0,), 1, silent))
    missing = [row for row in rows if row.value is None]
    assert [row.note for row in missing] == [f"{peer} is not installed"]
    assert len(rows) > 2


def test_tables_that_are_not_there_give_a_row_that_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("SILOSYNTH_DATA", str(tmp_path))
    for rows in (quality.adult((0,), silent), quality.ist((0,), silent), pooled.pooled((0,), silent)):
        (row,) = rows
        assert row.value is None
        assert "not present" in row.note
        assert str(tmp_path) not in row.note


@pytest.mark.parametrize("name", ["adult", "ist"])
def test_the_studies_are_reviewed_and_their_targets_are_columns(name):
    study = tables.defined(name)
    assert study.target in study.schema.names
    assert not study.schema.unreviewed


def test_adult_is_split_as_in_the_notes(tmp_path, monkeypatch):
    monkeypatch.setenv("SILOSYNTH_DATA", str(tmp_path))
    names = tables.defined("adult").schema.names
    (tmp_path / "adult").mkdir()
    lines = [",".join(names)] + [",".join([str(row), *["0"] * (len(names) - 2), str(row % 2)]) for row in range(100)]
    (tmp_path / "adult" / "pgm_adult.csv.gz").write_bytes(_gzip("\n".join(lines)))
    case, again, other = tables.adult(0), tables.adult(0), tables.adult(1)
    order = np.random.RandomState(0).permutation(100).astype(str)
    assert list(case.holdout["age"]) == list(order[80:])
    assert sorted(age for rows in case.sites.values() for age in rows["age"]) == sorted(order[:80])
    assert len(case.sites) <= 5
    assert [*map(len, case.sites.values())] == [*map(len, again.sites.values())]
    assert [list(rows["age"]) for rows in case.sites.values()] != [list(rows["age"]) for rows in other.sites.values()]


def _gzip(text):
    return gzip.compress(text.encode())


def test_the_pooled_study_has_the_noise_of_five_sites_total():
    plan = (Step("one-ways", 1, Fraction(31, 10)), Step("gradient", 50, Fraction(123)))
    roster = tuple(Member(f"site-{at}", 1024 * (at + 1)) for at in range(5))
    study = Study("s", Schema((Column("a", Kind.BOOLEAN),)), Budget(1.0, 1e-5, 1), roster=roster, plan=plan)
    alone = pooled.one_site(study)
    assert alone.trust is Trust.LOCAL
    assert settings(alone) == settings(study)
    assert alone.roster[0].capacity == 15 * 1024
    for step, scaled in zip(plan, alone.plan, strict=True):
        sensitivity = Sensitivity(2**60)
        many = 5 * site_variance(sensitivity, step.multiplier, study.shares)
        assert site_variance(sensitivity, scaled.multiplier, alone.shares) == pytest.approx(many, rel=1e-8)


def test_joined_sites_share_no_unit():
    here, there = Units(np.zeros((3, 1), np.int32), np.array([0, 1, 1])), Units(np.ones((2, 1), np.int32), np.arange(2))
    empty = Units(np.zeros((0, 1), np.int32), np.zeros(0, np.int64))
    both = pooled.joined({"a": Parted(here, there), "empty": Parted(empty, empty), "b": Parted(there, here)})
    assert (both.train.owner.tolist(), both.holdout.owner.tolist()) == ([0, 1, 1, 2, 3], [0, 1, 2, 3, 3])
    assert (both.train.codes[:, 0].tolist(), both.holdout.codes[:, 0].tolist()) == ([0, 0, 0, 1, 1], [1, 1, 0, 0, 0])


def test_made_rows_fit_their_schema_and_their_columns_hang_together():
    schema = tables.defined("adult").schema
    rows = made(schema, 4000, np.random.default_rng(1))
    for at, column in enumerate(schema.columns):
        assert rows[:, at].min() >= 0
        assert rows[:, at].max() < (len(column.codes) if column.codes else column.size - 1)
    assert abs(np.corrcoef(rows[:, 0], rows[:, 2])[0, 1]) + abs(np.corrcoef(rows[:, 0], rows[:, 3])[0, 1]) > 0.1


def test_a_quality_row_stands_between_floor_and_ceiling_and_meets_its_bar_or_not():
    score = {"value": 0.9, "floor": 0.5, "ceiling": 0.92, "better": "higher"}
    asked = quality.Repeated(
        "adult",
        "epsilon 1",
        (0, 1),
        [quality.Repetition({"auc": score}, 30.0), quality.Repetition({"auc": score | {"value": 0.92}}, 50.0)],
    )
    row = asked.row("auc", 0.905)
    assert (row.value, row.floor, row.ceiling, row.passed) == (pytest.approx(0.91), 0.5, 0.92, True)
    assert row.by_seed == (0.9, 0.92)
    assert asked.row("auc", 0.915).passed is False
    assert asked.train_row(39.0).passed is False
    assert asked.train_row(41.0).passed is True
    assert asked.row("absent").value is None
    assert "MISSED" in asked.row("auc", 0.915).line()


def test_a_repetition_is_a_whole_simulation_also_where_a_site_did_not_record_a_column():
    columns = (Column("a", Kind.BOOLEAN), Column("b", Kind.INTEGER, low=0, high=9), Column("c", Kind.BOOLEAN))
    study = Study("s", Schema(columns), Budget(1.0, 1e-5, 1), target="c", settings=(("steps", 2.0),))
    rng = np.random.default_rng(0)
    sites = {
        f"site-{at}": pd.DataFrame({name: rng.integers(0, 2, 200).astype(str) for name in "abc"}) for at in range(3)
    }
    sites["site-1"]["b"] = ""
    asked = quality.repeated("demo", "small", lambda seed: tables.Case(study, sites), (0, 1), silent)
    assert 0 <= asked.row("tvd2").value <= 1
    assert asked.row("tvd2").by_seed[0] != asked.row("tvd2").by_seed[1]
    assert asked.train_row().value > 0


def test_results_come_back_from_their_file(tmp_path):
    results = Results(machine(), (ROW, Row("noise", "opendp", None, "x", note="not installed")))
    results.write(tmp_path / "bench.json")
    assert Results.read(tmp_path / "bench.json") == results
    assert json.loads((tmp_path / "bench.json").read_text())["format"] == 1
    assert str(tmp_path) not in (tmp_path / "bench.json").read_text()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 2, "machine": {}, "rows": []}', '{"format": 1, "rows": [1]}']
)
def test_what_is_no_file_of_results_is_refused(content, tmp_path):
    (tmp_path / "bench.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"bench\.json"):
        Results.read(tmp_path / "bench.json")
    with pytest.raises(InvalidInput, match="cannot be opened"):
        Results.read(tmp_path / "absent.json")


def test_a_later_run_is_compared_number_by_number():
    score = Row("adult", "auc", 0.91, "score", (0.90, 0.92), better="higher")
    before = Results({"cpu": "a"}, (ROW, replace(score, value=0.88, interval=(0.87, 0.89)), replace(ROW, name="gone")))
    now = Results({"cpu": "b"}, (replace(ROW, value=3.0, interval=(2.0, 4.0)), score, replace(ROW, name="new")))
    told = list(against(now, before))
    assert "ANOTHER MACHINE" in told[0]
    assert "x 0.500  better" in told[1]
    assert "+0.0300  better" in told[2]
    assert len(told) == 3
    assert "within the intervals" in list(against(before, before))[1]
    assert "WORSE" in list(against(before, now))[1]


def test_the_command_measures_writes_and_compares(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "BENCHES", {"clipping": lambda effort, progress: iter([ROW])})
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    out = tmp_path / "bench.json"
    assert command.main(["clipping", "--out", str(out), "--quiet"]) == 0
    assert command.main(["--out", str(tmp_path / "later.json"), "--against", str(out), "--quiet"]) == 0
    assert "x 1.000" in capsys.readouterr().out
    missed = replace(ROW, bar=5.0)
    monkeypatch.setattr(command, "BENCHES", {"clipping": lambda effort, progress: iter([missed])})
    assert command.main(["--out", str(out), "--quiet"]) == 1


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["--seeds", "0"], ["--out", "no such folder/bench.json"], ["--turns", "many"]]
)
def test_wrong_input_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_a_file_to_compare_with_that_is_not_there_ends_with_2(tmp_path, capsys):
    assert command.main(["--against", str(tmp_path / "absent.json")]) == 2
    assert "give a file" in capsys.readouterr().err


def test_sampling_and_training_are_measured_through_the_whole_pipeline(monkeypatch):
    monkeypatch.setattr(speed, "ADULT_ROWS", 600)
    monkeypatch.setattr(speed, "BLOCK_ROWS", 256)
    small = replace(tables.defined("adult"), schema=Schema(tables.defined("adult").schema.columns[7:10]))
    small = replace(small, target=None, settings=(("steps", 2.0),))
    monkeypatch.setattr(speed, "defined", lambda name: small)
    monkeypatch.setattr(speed, "SPLITS", {name: speed.SPLITS[name] for name in ("autoregressive", "gan")})  # with steps
    trained = {row.name: row for row in speed.train((0,), silent)}
    assert all(math.isfinite(row.value) and row.value >= 0 for row in trained.values())
    assert {"autoregressive: one-ways", "autoregressive: pairs", "autoregressive: gradient"} <= trained.keys()
    assert len(list(speed.sampling((0,), 1, silent))) == 5
