"""Wrong input through the command line: exit code 2, one clear message without a value in it, and nothing written."""

import gzip
import json
import subprocess
import sys

import pandas as pd
import pytest
from made import STUDY, silosynth, table, written

from silosynth.simulations.cli import _run

VALUE = "p399"


@pytest.fixture
def run(tmp_path, capsys):
    """Call the command in this process; nothing but its own input may exist afterwards where it should have written."""

    def call(*arguments):
        code = _run([*map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def fails(run, tmp_path, study, data, *, sites="clinic", more=()):
    out = tmp_path / "out"
    code, said, error = run("simulate", study, "--data", data, "--sites", sites, "--out", out, "--quiet", *more)
    assert (code, said) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert VALUE not in error
    assert not out.exists()
    return error


def changed(tmp_path, change, *, steps=3):
    """A study and a table, the table changed by a function."""
    study, data = written(tmp_path, steps=steps)
    change(table()).to_csv(data, index=False)
    return study, data


def test_unknown_column(run, tmp_path):
    error = fails(run, tmp_path, *changed(tmp_path, lambda t: t.rename(columns={"dose": "dosis"})))
    assert "'dose'" in error
    assert "dosis" in error  # a near name is offered


def test_wrong_type_names_file_column_and_row(run, tmp_path):
    def seventeen(t):
        t.loc[16, "age"] = VALUE
        return t

    error = fails(run, tmp_path, *changed(tmp_path, seventeen))
    assert "table.csv: column 'age', row 17" in error


def test_an_empty_file_and_a_file_without_rows(run, tmp_path):
    study, data = written(tmp_path)
    data.write_text("")
    assert "table.csv" in fails(run, tmp_path, study, data)
    table().iloc[:0].to_csv(data, index=False)
    assert "table.csv" in fails(run, tmp_path, study, data)


def test_a_truncated_gzip(run, tmp_path):
    study, data = written(tmp_path)
    short = tmp_path / "table.csv.gz"
    short.write_bytes(gzip.compress(data.read_bytes())[:-200])
    assert "table.csv.gz" in fails(run, tmp_path, study, short)


def test_duplicate_column_names(run, tmp_path):
    study, data = written(tmp_path)
    data.write_text(data.read_text().replace("dose", "age", 1))
    assert "same name" in fails(run, tmp_path, study, data)


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan"])
def test_epsilon_must_be_positive(run, tmp_path, epsilon):
    study, data = written(tmp_path)
    assert "epsilon" in fails(run, tmp_path, study, data, more=["--epsilon", epsilon])
    study, data = written(tmp_path, epsilon=epsilon)
    assert "epsilon" in fails(run, tmp_path, study, data)


def test_fewer_than_three_sites(run, tmp_path):
    study, data = written(tmp_path)
    error = fails(run, tmp_path, study, data, sites="2")
    assert 'trust = "local"' in error


def test_too_many_colluders(run, tmp_path):
    study, data = written(tmp_path)
    study.write_text(study.read_text().replace("colluders = 1", "colluders = 2"))
    assert "colluders" in fails(run, tmp_path, study, data)


def test_a_column_of_identifiers_or_of_free_text_is_refused_with_advice(run, tmp_path):
    study, data = written(tmp_path)
    study.write_text(STUDY.format(epsilon=1, steps=3) + '[[columns]]\nname = "note"\ntype = "text"\n')
    assert "free text" in fails(run, tmp_path, study, data)
    study.write_text(STUDY.format(epsilon=1, steps=3).replace('unit = "person"', 'unit = "age"'))
    assert "unit" in fails(run, tmp_path, study, data)


def test_unknown_keys_and_broken_toml(run, tmp_path):
    study, data = written(tmp_path)
    study.write_text(STUDY.format(epsilon=1, steps=3).replace("delta", "detla"))
    assert "detla" in fails(run, tmp_path, study, data)
    study.write_text("[study")
    assert "TOML" in fails(run, tmp_path, study, data)
    study.write_bytes(b"\xff\xfe")
    assert "UTF-8" in fails(run, tmp_path, study, data)


def test_files_that_are_not_there(run, tmp_path):
    study, data = written(tmp_path)
    assert "nowhere" in fails(run, tmp_path, tmp_path / "nowhere.toml", data)
    assert "nowhere" in fails(run, tmp_path, study, tmp_path / "nowhere.csv")


@pytest.mark.parametrize("sites", ["no such column", "0", "5:dirichlet=x:ill", "5:dirichlet=1:nothing"])
def test_splits_that_cannot_be(run, tmp_path, sites):
    study, data = written(tmp_path)
    fails(run, tmp_path, study, data, sites=sites)


def test_a_site_name_that_is_no_folder(run, tmp_path):
    study, data = changed(tmp_path, lambda t: t.assign(clinic=t["clinic"].replace("West", "../West")))
    assert "cannot name a site" in fails(run, tmp_path, study, data)


def test_codes_outside_the_list_are_counted_not_refused(run, tmp_path):
    study, data = changed(tmp_path, lambda t: t.assign(sex=t["sex"].where(t["sex"] == "f", "x")))
    code, _, error = run("simulate", study, "--data", data, "--sites", "clinic", "--out", tmp_path / "out", "--quiet")
    assert code == 0
    assert "note: column 'sex'" in error


def test_a_column_without_a_value_at_one_site_is_asked_about(run, tmp_path):
    study, data = changed(tmp_path, lambda t: t.assign(dose=t["dose"].where(t["clinic"] != "West", "")))
    assert "site West: column 'dose' is missing in every row" in fails(run, tmp_path, study, data)
    arguments = ("--data", data, "--sites", "clinic", "--out", tmp_path / "out", "--quiet", "--no-scores")
    assert run("simulate", study, *arguments, "--allow-gaps")[0] == 0


def test_a_folder_that_is_a_file(run, tmp_path):
    study, data = written(tmp_path)
    code, _, error = run("simulate", study, "--data", data, "--sites", "3", "--out", data, "--quiet")
    assert (code, "is a file" in error) == (2, True)
    assert data.read_text().startswith("clinic")


def test_missing_arguments_and_wrong_options_are_wrong_input(run, tmp_path):
    assert run("simulate")[0] == 2
    assert run("nonsense")[0] == 2
    assert run("demo", "--out", tmp_path / "x", "--runtime", "carrier-pigeon")[0] == 2
    assert not (tmp_path / "x").exists()


def test_sampling_from_what_is_no_generator_or_to_what_is_no_table(run, tmp_path):
    wrong = tmp_path / "generator.safetensors"
    wrong.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    target = tmp_path / "rows.csv"
    for source in (wrong, tmp_path / "nowhere"):
        code, _, error = run("sample", source, "--rows", 5, "-o", target, "--quiet")
        assert (code, error.startswith("error: ")) == (2, True)
    assert run("sample", wrong, "--rows", 0, "-o", target)[0] == 2
    assert not target.exists()


def test_a_refusal_by_a_site_is_exit_code_3(run, tmp_path):
    study, data = written(tmp_path)
    arguments = ("simulate", study, "--data", data, "--sites", "clinic", "--out", tmp_path / "out", "--quiet")
    assert run(*arguments)[0] == 0
    code, said, error = run(*arguments, "--epsilon", "2")
    assert (code, said) == (3, "")
    assert error == (
        "refused: the study was refused. site North: cap per study exhausted; site South: cap per study exhausted; "
        "site West: cap per study exhausted. What a site allows stands in the policy.toml of its own "
        "folder; only its owner raises it\n"
    )
    assert run(*arguments)[0] == 2  # this very study is finished


def test_the_whole_way_on_the_command_line(tmp_path):
    """Draft, check, show, simulate, sample, ledger, outbox: each in a process of its own, as a person would."""
    study, data = written(tmp_path)
    shown = silosynth("study", "show", study)
    assert (shown.returncode, "epsilon" in shown.stdout) == (0, True)
    assert silosynth("study", "check", study, "--data", data).returncode == 0
    run = silosynth("simulate", study, "--data", data, "--sites", "clinic", "--out", tmp_path / "out", "--json")
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert set(result) == {"out", "certificate", "metrics"}
    assert "asking the sites" in run.stderr
    generator = tmp_path / "out" / "generator.safetensors"
    for name in ("more.csv", "more.parquet"):
        sampled = silosynth("sample", generator, "--rows", "100", "--seed", "1", "-o", tmp_path / name, "--quiet")
        assert sampled.returncode == 0, sampled.stderr
    assert len(pd.read_csv(tmp_path / "more.csv")) == len(pd.read_parquet(tmp_path / "more.parquet")) == 100
    ledger = silosynth("site", "ledger", tmp_path / "out", "--site", "North", "--json")
    assert len(json.loads(ledger.stdout)["entries"] if "entries" in ledger.stdout else json.loads(ledger.stdout)) > 5
    assert silosynth("site", "outbox", tmp_path / "out", "--site", "North").returncode == 0
    assert silosynth("site", "outbox", tmp_path / "out").returncode == 2


def test_a_draft_becomes_a_study(tmp_path):
    _, data = written(tmp_path)
    draft = tmp_path / "draft.toml"
    made = silosynth("study", "new", "--from", data, "--target", "ill", "--unit", "person", "-o", draft)
    assert made.returncode == 0, made.stderr
    assert silosynth("study", "check", draft).returncode == 0
    assert silosynth("study", "new", "--from", data, "-o", draft).returncode == 2  # nothing is overwritten


def test_help_comes_without_waiting_for_torch_or_flower():
    code = (
        "import sys\nfrom silosynth.simulations.cli import _run\n_run(['--help'])\n"
        "assert not {'torch', 'flwr', 'pandas', 'sklearn'} & set(sys.modules), 'slow import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
