"""`silosynth coordinator` without a service: what it makes, what it says, and how it ends."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
from coordinator_made import STUDY, request_of, written

from silosynth.simulations import cli


def run(*words):
    """What a command line comes to."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = cli._run(["coordinator", *map(str, words)])
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A coordinator with three sites."""
    folder = tmp_path_factory.mktemp("cli")
    made = run("init", "--home", folder / "C", "--host", "localhost", "--loopback-port", 1)
    assert made.returncode == 0, made.stderr
    for name in ("north", "south", "west"):
        done = run("enrol", written(folder, request_of(name)), "--home", folder / "C", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["site"] == name
    return folder / "C"


def test_a_study_is_proposed_and_shown_without_a_service(home, tmp_path):
    (tmp_path / "heart.toml").write_text(STUDY)
    proposed = run("study", "propose", tmp_path / "heart.toml", "--sites", "north, south,west", "--home", home)
    assert proposed.returncode == 0, proposed.stderr
    assert "study launch heart" in proposed.stdout
    shown = run("study", "status", "--home", home)
    assert "heart" in shown.stdout
    assert "proposed" in shown.stdout
    launched = run("study", "launch", "heart", "--home", home, "--quiet")
    assert launched.returncode == 1
    assert launched.stderr.strip().splitlines()[-1].startswith("error: the coordinator does not run")
    assert not (home / "studies" / "heart" / "status.json").exists()


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("init", "--host", "localhost"), "there is a coordinator here already"),
        (("enrol", "none.json"), "none.json"),
        (("revoke", "east"), "is not enrolled"),
        (("study", "propose", "none.toml", "--sites", "north"), "none.toml"),
        (("study", "launch", "none"), "no study 'none'"),
        (("study", "resume", "../C"), "no study"),
        (("study", "stop", "none"), "no study"),
        (("study", "status", "none"), "no study"),
    ],
)
def test_wrong_input_ends_with_2_and_one_line(home, words, cause):
    done = run(*words, "--home", home)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("starting") and line.strip()]
    assert cause in line


def test_the_home_of_nobody_says_how_to_make_one(tmp_path):
    done = run("run", "--home", tmp_path)
    assert (done.returncode, "coordinator init" in done.stderr) == (2, True)


def test_sites_come_go_and_are_listed(home, tmp_path):
    assert run("enrol", written(tmp_path, request_of("east")), "--home", home).returncode == 0
    listed = run("sites", "--home", home, "--json")
    assert {site["site"] for site in json.loads(listed.stdout)["sites"]} == {"north", "south", "west", "east"}
    gone = run("revoke", "east", "--home", home)
    assert (gone.returncode, "is revoked" in gone.stdout) == (0, True)
    assert "east" not in run("sites", "--home", home).stdout
    assert run("renew", "--home", home).returncode == 0
