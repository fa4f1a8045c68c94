"""`silosynth compare`: a grid of real studies goes on where it was stopped, and one that fails is told, not fatal."""

import json

import pandas as pd
import pytest
from made import content, written

from silosynth.client.entries import Committed, Reserved
from silosynth.client.ledger import listing
from silosynth.common.errors import StudyRefused
from silosynth.common.progress import silent
from silosynth.simulations import compare
from silosynth.simulations.cli import _run
from silosynth.simulations.cohort import study_of
from silosynth.simulations.local import run as really_run

NAMES = tuple(f"autoregressive-secure-sum-eps{epsilon}-seed0" for epsilon in ("1", "10"))


@pytest.fixture
def call(tmp_path, capsys):
    study, data = written(tmp_path)

    def command(*more, out=tmp_path / "out"):
        given = ("compare", study, "--data", data, "--sites", "clinic", "--out", out, "--quiet")
        code = _run([*map(str, given), "--epsilons", "1,10", "--seeds", "1", *map(str, more)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def ran(monkeypatch):
    """Names of the studies that were run."""
    names = []

    def recorded(asked, cohort, how, progress):
        names.append(how.out.name)
        return really_run(asked, cohort, how, progress)

    monkeypatch.setattr(compare, "run", recorded)
    return names


def releases(folder):
    records = [entry.record for entry in listing(folder / "sites" / "North" / "ledger.sqlite")]
    reserved, committed = (
        [(one.release, one.attempt) for one in records if isinstance(one, kind)] for kind in (Reserved, Committed)
    )
    assert reserved == committed
    return reserved


def test_a_comparison_goes_on_where_it_was_stopped_and_runs_nothing_twice(tmp_path, call, ran):
    study, data, out = tmp_path / "study.toml", tmp_path / "table.csv", tmp_path / "out"

    def stops(phase, done, of, note=""):
        if phase == "gradient" and done >= 3 and "epsilon 10" in note:  # two gradients of the second study are missing
            raise KeyboardInterrupt

    grid = compare.Grid.parse("autoregressive", "secure-sum", "1,10", 1)
    with pytest.raises(KeyboardInterrupt):
        compare.Comparison(study_of(study), compare.Source(data, "clinic"), grid, out, stops).run()
    assert ran == list(NAMES)
    assert len(pd.read_csv(out / "compare.csv")) == 3  # floor, ceiling, and what there was
    assert not (out / "runs" / NAMES[1] / "certificate.json").exists()
    ran.clear()
    code, said, error = call()
    assert (code, error) == (0, "")
    assert ran == [NAMES[1]]
    assert [row["epsilon"] for _, row in pd.read_csv(out / "compare.csv").iterrows()][2:] == [1, 10]
    for name in NAMES:
        folder = out / "runs" / name
        assert releases(folder) == [(release, 0) for release in range(9)]  # no second charge
        assert not list(folder.glob("synthetic.*"))
    first, second = (content(out / "runs" / name / "metrics.json")["train_cpu_seconds"] for name in NAMES)
    assert first > 0
    assert second is None  # a part of it ran in a process that is gone
    ran.clear()
    assert call()[1] == said
    assert ran == []


def test_a_study_that_fails_is_told_and_stops_no_other(tmp_path, call, monkeypatch):
    def refuses(asked, cohort, how, progress):
        if asked.budget.epsilon == 1.0:
            raise StudyRefused([("North", "cap per study exhausted")])
        return really_run(asked, cohort, how, progress)

    monkeypatch.setattr(compare, "run", refuses)
    code, said, _ = call("--keep", "--json")
    told = json.loads(said)
    assert code == 1
    refused, finished = told["rows"]
    assert (refused["failed"], refused["scores"]) == (1, {})
    assert "site North: cap per study exhausted" in refused["reasons"][0]
    assert finished["scores"]["tstr_auc_gb"]["interval"] is None
    assert told["floor"]["tstr_auc_gb"] < told["ceiling"]["tstr_auc_gb"]
    out = tmp_path / "out"
    assert "cap per study exhausted" in (out / "compare.md").read_text()
    assert "cap per study exhausted" in (out / "compare.html").read_text()
    assert (out / "compare.svg").read_text().startswith("<svg xmlns=")
    assert list((out / "runs" / NAMES[1]).glob("synthetic.csv"))  # --keep


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--engines", "autoregressive,oracle"), "--engines oracle: there is no such engine"),
        (("--trusts", "nobody"), "--trusts nobody"),
        (("--epsilons", "1,-3"), "--epsilons -3"),
        (("--seeds", "0"), "--seeds 0"),
        (("--sites", "2"), "too few for secure sums"),
        (("--data", "nowhere.csv"), "nowhere.csv: cannot be opened"),
    ],
)
def test_wrong_input_writes_nothing(tmp_path, call, more, said):
    code, out, error = call(*more)
    assert (code, out) == (2, "")
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_settings_that_mean_nothing_write_nothing(tmp_path, call):
    study = tmp_path / "study.toml"
    study.write_text(study.read_text().replace("steps = 3", "stoops = 3"))
    code, _, error = call()
    assert (code, "'stoops' is unknown" in error) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path, call):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    code, _, error = call(out=other)
    assert (code, "is no comparison" in error) == (2, True)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]
    assert call(out=other / "thesis.tex")[0] == 2


@pytest.mark.parametrize("changed", ["study", "data"])
def test_a_folder_of_another_comparison_is_left_alone(tmp_path, changed):
    study, data = written(tmp_path)
    out, grid = tmp_path / "out", compare.Grid.parse("autoregressive", "secure-sum", "1", 1)
    begun = compare.Comparison(study_of(study), compare.Source(data, "clinic"), grid, out, silent)
    out.mkdir()
    (out / compare.HEAD).write_text(json.dumps(begun._head))
    compare.Comparison(study_of(study), compare.Source(data, "clinic"), grid, out, silent)  # the same: no objection
    study.write_text(study.read_text().replace("max = 99", "max = 98" if changed == "study" else "max = 99"))
    sites = "clinic" if changed == "study" else "3"
    with pytest.raises(compare.InvalidInput, match=f"holds another comparison .its {changed}"):
        compare.Comparison(study_of(study), compare.Source(data, sites), grid, out, silent)
