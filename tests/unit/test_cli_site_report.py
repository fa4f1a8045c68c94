"""`silosynth site report`: exact, stamped on every page, in the home, never beside the release; nothing is sent."""

import io
import json
import stat
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import certified_made
import numpy as np
import pandas as pd
import pytest
from small_study import SCHEMA
from test_report import outline

from silosynth.client.home import SiteHome
from silosynth.client.keys import agent_key, key_of_rows
from silosynth.client.sources import split_holdout
from silosynth.client.sources.table import read_table
from silosynth.common.evaluate import metrics_file
from silosynth.common.evaluate.report import FOR_ONE_SITE
from silosynth.common.evaluate.sections import Scope
from silosynth.common.study_file import write_study
from silosynth.server.bundle import bundle
from silosynth.simulations import cli

pytest.importorskip("sklearn")


def table(rows, seed):
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], rows)
    return pd.DataFrame(
        {"sex": sex, "age": np.clip(rng.normal(50 + 10 * (sex == "m"), 9, rows).round(), 0, 99)}
    ).astype({"age": "Int64"})


@pytest.fixture
def world(tmp_path, monkeypatch, capsys):
    """A site with 300 rows, and a release that holds; typed: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SILOSYNTH_HOME", raising=False)
    assert cli._run(["site", "init", "--home", "a", "--name", "a", "--data", "rows.csv"]) == 0
    table(300, 1).to_csv("rows.csv", index=False)
    Path("ledgers").mkdir()
    Path("run").mkdir()
    honest = certified_made.made(Path("ledgers"), certified_made.study(target="sex"))
    parquet = io.BytesIO()
    table(250, 2).astype({"sex": "string"}).to_parquet(parquet)
    honest.files["synthetic.parquet"] = parquet.getvalue()
    honest.hashes["synthetic.parquet"] = sha256(parquet.getvalue()).hexdigest()
    honest.rewrite()
    honest.publish(Path("run"))
    capsys.readouterr()

    def typed(*arguments):
        code = cli._run(["site", "report", *map(str, arguments), "--quiet"])
        return code, *capsys.readouterr()

    return typed, honest.study


def test_it_is_exact_stamped_and_for_its_owner_alone(world):
    typed, study = world
    code, out, _ = typed("run/study.toml", "run", "--home", "a")
    folder = SiteHome(Path("a")).report(study.digest)
    assert code == 0
    assert "nothing was sent" in out
    assert str(folder / "report.html") in out
    page = (folder / "report.html").read_text()
    said = " ".join(outline(page).text)
    assert said.count(FOR_ONE_SITE) == 3  # on the screen, in words, and on each sheet of paper
    assert "@top-center" in page
    content = json.loads((folder / "metrics.json").read_text())
    assert content["stamp"] == FOR_ONE_SITE
    metrics = metrics_file.read(content)
    assert metrics.scope is Scope.SITE
    held = split_holdout(
        read_table(Path("rows.csv"), SCHEMA, None).unit_ids,
        key_of_rows(agent_key(Path("a/agent")), study.digest),
        study.holdout,
    )
    assert metrics.scores.rows["holdout"] == int(held.sum()) > 0
    assert metrics.scores.rows["train"] == 300 - int(held.sum())
    assert metrics.scores.rows["synthetic"] == 250
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in Path("run").iterdir()} == {*certified_made.ARTEFACTS, "certificate.json"}


def test_nothing_is_spent_and_no_ledger_is_opened(world):
    typed, _ = world
    before = {path: path.stat().st_mtime_ns for path in Path("a/agent").iterdir()}
    assert typed("run/study.toml", "run", "--home", "a")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in Path("a/agent").iterdir()} == before
    assert not SiteHome(Path("a")).ledger.exists()


def test_nothing_can_be_sent(world):
    """In a process where a socket is an error, and after which nothing that could send was imported."""
    code = (
        "import socket, sys\n"
        "def never(*_, **__): raise AssertionError('a socket')\n"
        "socket.socket.connect = socket.create_connection = never\n"
        "from silosynth.simulations.cli import _run\n"
        "assert _run(['site', 'report', 'run/study.toml', 'run', '--home', 'a', '--quiet']) == 0\n"
        "sending = {'flwr', 'grpc', 'httpx', 'requests', 'urllib3', 'http.client', 'sqlalchemy', 'torch'}\n"
        "assert not sending & set(sys.modules), sorted(sending & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=200, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_an_archive_is_compared_as_its_folder_is(world, tmp_path):
    typed, study = world
    bundle(Path("run"), Path("study.zip"))
    assert typed("run/study.toml", "study.zip", "--home", "a", "--output", tmp_path / "zip")[0] == 0
    assert typed("run/study.toml", "run", "--home", "a", "--output", tmp_path / "folder")[0] == 0
    assert (tmp_path / "zip" / "report.html").read_bytes() == (tmp_path / "folder" / "report.html").read_bytes()
    assert typed("run/study.toml", "study.zip", "--home", "a", "--output", ".")[0] == cli.WRONG_INPUT  # beside it
    content = bytearray(Path("study.zip").read_bytes())
    content[len(content) // 2] ^= 1
    Path("study.zip").write_bytes(content)
    assert typed("run/study.toml", "study.zip", "--home", "a")[0] == cli.ANYTHING_ELSE
    assert not SiteHome(Path("a")).report(study.digest).exists()


def test_its_persons_are_attacked_with_those_held_out_as_the_control_group(world):
    """Of 900 rows 180 are held out, by a key of the moment: fewer than 120 with probability below 1e-7."""
    typed, _ = world
    table(900, 1).to_csv("rows.csv", index=False)
    assert typed("run/study.toml", "run", "--home", "a", "--output", "mine")[0] == 0
    attacks = metrics_file.read(json.loads(Path("mine/metrics.json").read_text())).scores.sections.attacks
    assert attacks is not None
    assert len(attacks.rows) > 4
    assert "Attacks" in " ".join(outline(Path("mine/report.html").read_text()).text)


def test_a_table_alone_is_compared_and_that_is_said(world, tmp_path):
    typed, _ = world
    table(200, 3).to_csv("t.csv", index=False)
    code, out, _ = typed("run/study.toml", "t.csv", "--home", "a", "--output", tmp_path / "mine", "--json")
    assert code == 0
    assert json.loads(out)["scores"]["column_shapes"]["value"] > 0.5
    assert "given without its certificate" in (tmp_path / "mine" / "report.html").read_text()


@pytest.mark.parametrize("target", ["run", "run/below"])
def test_it_never_lies_beside_the_release(world, target):
    typed, _ = world
    for released in ("run", "run/synthetic.parquet"):
        code, _, err = typed("run/study.toml", released, "--home", "a", "--output", target)
        assert code == cli.WRONG_INPUT
        assert "lies with what was published" in err
    assert not Path("run/below").exists()


def test_a_release_that_does_not_hold_is_not_compared(world):
    typed, _ = world
    Path("run/synthetic.parquet").write_bytes(b"another")
    code, _, err = typed("run/study.toml", "run", "--home", "a")
    assert code == cli.ANYTHING_ELSE
    assert "synthetic.parquet is not the file that was certified" in err


def test_a_release_of_another_study_is_not_compared(world):
    typed, study = world
    Path("other.toml").write_text(write_study(replace(study, purpose="another")))
    code, _, err = typed("other.toml", "run", "--home", "a")
    assert code == cli.ANYTHING_ELSE
    assert "not the study that was expected" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.toml", "run", "--home", "a"), "nowhere.toml"),
        (("run/study.toml", "nowhere", "--home", "a"), "nowhere"),
        (("run/study.toml", "ledgers", "--home", "a"), "certificate.json"),
        (("run/study.toml", "run", "--home", "nobody"), "--home"),
        (("run/study.toml", "run", "--home", "a", "--output", "rows.csv/x"), "cannot be written"),
    ],
)
def test_whatever_is_wrong_has_a_cause_and_a_cure(world, arguments, words):
    typed, _ = world
    code, _, err = typed(*arguments)
    assert code == cli.WRONG_INPUT
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_rows_that_are_not_there_are_named(world):
    typed, _ = world
    Path("rows.csv").write_text("sex,age\n")
    code, _, err = typed("run/study.toml", "run", "--home", "a")
    assert code == cli.WRONG_INPUT
    assert "rows" in err
