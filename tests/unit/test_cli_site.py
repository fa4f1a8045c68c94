"""`silosynth site`, as people type it: exit code, and cause and cure in one line, for whatever is wrong."""

import io
import json
import logging
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import site_made

from silosynth.client import approval
from silosynth.client.gate import Gate
from silosynth.client.home import SiteHome, read_site
from silosynth.client.keys import agent_key
from silosynth.client.ledger import Ledger, listing
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import read_policy
from silosynth.client.session import Sessions
from silosynth.client.site import Site
from silosynth.common.column import Column, Kind
from silosynth.common.engine import Parted, Units
from silosynth.common.plan import resolve
from silosynth.common.schema import Schema
from silosynth.common.secagg.messages import Head
from silosynth.common.site_request import read_request
from silosynth.common.study_file import read_study, write_study
from silosynth.server.installed import code_digest
from silosynth.simulations import cli

ROWS = "sex,age\n" + "f,30\nm,40\n" * 50


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Type a command in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SILOSYNTH_HOME", raising=False)

    def typed(*arguments, said=None):
        monkeypatch.setattr("sys.stdin", io.StringIO(said or ""))
        code = cli._run(["site", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return typed


@pytest.fixture
def home(run):
    assert run("init", "--home", "a", "--name", "a", "--capacity", 1024, "--data", "rows.csv")[0] == 0
    Path("rows.csv").write_text(ROWS)
    made = SiteHome(Path("a"))
    made.policy.write_text(site_made.ALLOWS)
    return made


@pytest.fixture
def study(home):
    few = {"settings": (("steps", 2.0),), "purpose": "to teach"}
    asked = site_made.study_of(read_request(home.request.read_text(), "r"), **few)
    asked = resolve(asked, asked.roster)
    Path("study.toml").write_text(write_study(asked))
    return asked


def refused(outcome, code, *words):
    """It ended with `code` and one line that has these words."""
    assert outcome[0] == code
    said = outcome[2].splitlines()[-1]  # behind a question, where one was asked
    assert sum(f"{start}: " in outcome[2] for start in ("error", "refused")) == 1
    assert "Traceback" not in outcome[2]
    for word in ("refused: " if code == cli.REFUSED else "error: ", *words):
        assert word in said


def test_init_says_what_comes_next(run):
    code, out, _ = run("init", "--home", "a", "--name", "ward-7")
    assert code == 0
    request = read_request(Path("a/request.json").read_text(), "r")
    for words in (request.fingerprint, "policy.toml", "ca.pem", "no passphrase"):
        assert words in out
    assert read_site(Path("a/site.toml")).capacity == 100_000


def test_init_here_with_a_query_and_a_passphrase(run, tmp_path):
    Path("secret").write_text("correct horse\n")
    asked = ("init", "--name", "b", "--sql", "rows.sql", "--url-env", "URL", "--passphrase-file", "secret", "--json")
    code, out, _ = run(*asked)
    assert code == 0
    assert json.loads(out)["home"] == str(tmp_path)
    source = read_site(Path("site.toml")).source
    assert (source.query_file.resolve(), source.url_env) == (tmp_path / "rows.sql", "URL")
    assert b"ENCRYPTED" in Path("officer.key").read_bytes()


def test_init_asks_for_a_passphrase_twice(run, monkeypatch):
    asked = []
    monkeypatch.setattr("typer.prompt", lambda text, **how: asked.append(how) or "secret")
    assert run("init", "--name", "b", "--passphrase")[0] == 0
    assert asked[0]["confirmation_prompt"]
    assert asked[0]["hide_input"]
    assert b"ENCRYPTED" in Path("officer.key").read_bytes()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--name", "ward 7"], ["ward 7", "letters"]),
        (["--coordinator", "example.org"], ["HOST:PORT"]),
        (["--data", "a.csv", "--sql", "b.sql"], ["not both"]),
        (["--url-file", "u"], ["--sql"]),
        (["--sql", "q", "--url-file", "u", "--url-env", "V"], ["url_file", "url_env"]),
        (["--passphrase-file", "nowhere"], ["nowhere", "no such file"]),
        (["--home", "file/site"], ["file", "cannot be written"]),
    ],
)
def test_what_is_wrong_with_init(run, more, words):
    Path("file").write_text("")
    refused(run("init", *(["--name", "x"] if "--name" not in more else []), *more), 2, *words)
    assert not Path("site.toml").exists()


def test_init_twice(run, home):
    before = home.officer_key.read_bytes()
    refused(run("init", "--home", "a", "--name", "a"), 2, "nothing is overwritten")
    assert home.officer_key.read_bytes() == before


def test_a_request_again(run, home):
    home.config.write_text(home.config.read_text().replace("1024", "2048"))
    code, out, _ = run("request", "--home", "a")
    assert (code, "2,048" in out) == (0, True)
    assert read_request(home.request.read_text(), "r").capacity == 2048


def test_check_reads_rows_as_the_agent_would(run, study):
    code, out, _ = run("check", "study.toml", "--home", "a")
    assert code == 0
    assert "100 rows" in out
    assert "rows that count: 100, of at most 1024" in out


def test_more_rows_than_declared(run, home, study):
    small = replace(study, roster=(replace(study.roster[0], capacity=99), *study.roster[1:]))
    Path("small.toml").write_text(write_study(small))
    refused(run("check", "small.toml", "--home", "a"), 2, "capacity", "99", "silosynth site request")


@pytest.mark.parametrize("command", ["check", "approve", "rehearse"])
def test_studies_that_are_none(run, home, study, command):
    refused(run(command, "nowhere.toml", "--home", "a"), 2, "nowhere.toml", "no such file", "coordinator")
    refused(run(command, "deadbeef", "--home", "a"), 2, "deadbeef", "begins so")
    Path("draft.toml").write_text(write_study(replace(study, plan=(), roster=())))
    refused(run(command, "draft.toml", "--home", "a"), 2, "draft.toml", "draft", "study propose")
    Path("typo.toml").write_text(write_study(study).replace("epsilon", "epsilom"))
    refused(run(command, "typo.toml", "--home", "a"), 2, "typo.toml", "did you mean 'epsilon'")
    Path("folder.toml").mkdir()
    refused(run(command, "folder.toml", "--home", "a"), 2, "folder.toml", "cannot be read")


@pytest.mark.parametrize("command", ["check", "approve", "rehearse", "request", "ledger", "outbox"])
def test_a_wrong_home(run, home, study, command):
    study_file = ["study.toml"] if command in {"check", "approve", "rehearse"} else []
    refused(run(command, *study_file, "--home", "elsewhere"), 2, "elsewhere", "no such file")


def test_rows_that_are_not_there(run, home, study):
    Path("rows.csv").unlink()
    refused(run("check", "study.toml", "--home", "a"), 2, "rows.csv", "cannot be opened")


@pytest.mark.parametrize("file", ["rows.csv", "site.toml", "study.toml"])
def test_files_that_cannot_be_read(run, home, study, monkeypatch, file):
    opened = io.open

    def locked(path, *how, **more):  # root may read everything
        if str(path).endswith(file):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr("io.open", locked)
    refused(
        run("check", "study.toml", "--home", "a"),
        2,
        file,
        "Permission denied",
        "permissions" if "rows" in file else "mode",
    )


def test_approve_reads_aloud_and_asks(run, home, study):
    code, out, err = run("approve", "study.toml", "--home", "a", said=f"{study.digest[:8]}\n")
    assert code == 0
    member = "officer key"
    for words in ("to teach", "What leaves a site", "Who takes part", member, study.digest, code_digest(),
                  "this study, against who sees only totals", "there is room for", "approved:"):  # fmt: skip
        assert words in out
    assert "first 8 digits" in err
    loaded = approval.load(home, study.digest)
    assert loaded.study == study
    assert read_study(home.study(study.digest).read_text(), source="s").digest == study.digest


def test_what_was_approved_is_what_a_site_pays_for(run, home, study):
    """The caps that approve asks are those that the gate asks: what it lets through, a Site lets in."""
    assert run("approve", "study.toml", "--home", "a", "--yes", study.digest)[0] == 0
    loaded = approval.load(home, study.digest)
    with closing(Ledger(home.ledger)) as ledger:
        sessions = Sessions(ledger, agent_key(home.agent))
        one = Units(np.zeros((1, 2), dtype=np.int32), np.zeros(1, dtype=np.int64))
        site = Site("a", Gate(loaded.policy, ledger, SystemNoise(), sessions),
                    lambda _: Parted.none_held_out(one))  # fmt: skip
        site.approve(loaded.study)
    code, out, _ = run("approve", study.digest[:10], "--home", "a", "--yes", study.digest)
    assert code == 0
    assert "paid for this study already" in out


@pytest.mark.parametrize(
    ("typed", "words"),
    [("00000000\n", ["otherwise"]), ("\n", ["nothing was signed"]), ("", ["nobody answered", "--yes"])],
)
def test_nobody_approves_by_accident(run, home, study, typed, words):
    refused(run("approve", "study.toml", "--home", "a", said=typed), 2, *words)
    assert not list(home.studies.iterdir())


def test_yes_names_the_whole_digest(run, home, study):
    for digest in (study.digest[:8], "0" * 64, ""):
        refused(run("approve", "study.toml", "--home", "a", "--yes", digest), 2, "--yes", study.digest)
    assert not list(home.studies.iterdir())


CAP = site_made.ALLOWS.index("[caps.lifetime.local]")
POLICIES = [
    ("", ["engine not allowed", "has no `engines`"]),
    (site_made.ALLOWS.replace('["autoregressive"]', '["gan"]'), ["line 1", "gan"]),
    (site_made.ALLOWS.replace("2.0", "0.5", 1), ["cap per study", "line 3", "0.5"]),
    (site_made.ALLOWS[:CAP], ["lifetime cap", "[caps.lifetime.local]"]),
    ("least_sites = 4\n" + site_made.ALLOWS, ["too few sites", "line 1", "has 3"]),
    ("least_floor = 3\n" + site_made.ALLOWS, ["honest floor", "line 1", "study's is 2"]),
]


@pytest.mark.parametrize(("policy", "words"), POLICIES)
def test_the_line_of_the_policy_that_refuses(run, home, study, policy, words):
    home.policy.write_text(policy)
    refused(run("approve", "study.toml", "--home", "a", "--yes", study.digest), 3, "nothing was signed", *words)
    assert not list(home.studies.iterdir())


def test_a_policy_with_a_typo(run, home, study):
    home.policy.write_text(site_made.ALLOWS.replace("engines", "engine"))
    refused(run("approve", "study.toml", "--home", "a"), 2, "policy.toml", "did you mean 'engines'")
    home.policy.unlink()
    refused(run("approve", "study.toml", "--home", "a"), 2, "policy.toml", "no such file")


def test_studies_of_others(run, home, study):
    def declined(other, *words):
        Path("other.toml").write_text(write_study(other))
        refused(run("approve", "other.toml", "--home", "a", "--yes", other.digest), 3, "nothing was signed", *words)

    declined(replace(study, code="ab" * 32), "abababab", code_digest()[:16], "install that version")
    declined(replace(study, code=""), "names none")
    declined(replace(study, roster=(replace(study.roster[0], name="z"), *study.roster[1:])), "not on the roster", "'a'")
    declined(replace(study, roster=(replace(study.roster[0], key="12" * 32), *study.roster[1:])), "request.json")
    declined(replace(study, roster=(replace(study.roster[0], capacity=4096), *study.roster[1:])), "4096", "1024")
    declined(replace(study, plan=(replace(study.plan[0], multiplier=study.plan[0].multiplier / 10), *study.plan[1:])),
             "dearer")  # fmt: skip
    declined(replace(study, plan=(replace(study.plan[0], multiplier=None), *study.plan[1:])), "plan missing or dearer")
    unreviewed = Schema((study.schema.columns[0], Column("age", Kind.INTEGER, low=0, high=99, unreviewed=("max",))))
    declined(replace(study, schema=unreviewed), "age", "taken from data")


def test_keys_of_others(run, home, study, tmp_path):
    other, _ = site_made.made(tmp_path / "other")
    asked = ("approve", "study.toml", "--home", "a", "--yes", study.digest)
    refused(run(*asked, "--officer-key", other.officer_key), 2, "not the officer's key of request.json")
    refused(run(*asked, "--officer-key", "nowhere"), 2, "nowhere", "no such key")
    home.officer_key.chmod(0o644)
    refused(run(*asked), 2, "chmod 600")
    assert not list(home.studies.iterdir())


def test_an_officers_key_elsewhere_with_a_passphrase(run):
    Path("secret").write_text("correct horse\n")
    assert run("init", "--home", "b", "--name", "a", "--passphrase-file", "secret", "--capacity", 1024)[0] == 0
    shutil.move("b/officer.key", "elsewhere.key")
    home = SiteHome(Path("b"))
    home.policy.write_text(site_made.ALLOWS)
    asked = site_made.study_of(read_request(home.request.read_text(), "r"))
    asked = resolve(asked, asked.roster)
    Path("study.toml").write_text(write_study(asked))
    typed = ("approve", "study.toml", "--home", "b", "--yes", asked.digest, "--officer-key", "elsewhere.key")
    Path("wrong").write_text("incorrect\n")
    refused(run(*typed, "--passphrase-file", "wrong"), 2, "passphrase")
    assert run(*typed, "--passphrase-file", "secret")[0] == 0
    assert approval.load(home, asked.digest).study == asked


def test_approve_for_programs(run, home, study):
    code, out, _ = run("approve", "study.toml", "--home", "a", "--yes", study.digest, "--json")
    told = json.loads(out)
    assert (code, told["digest"], told["findings"]) == (0, study.digest, [])
    assert [room["table"] for room in told["rooms"]] == [
        f"caps.{kind}.{view}" for kind in ("study", "lifetime") for view in ("aggregate", "local")
    ]


def test_rehearse_shows_what_would_leave_and_touches_nothing(run, home, study):
    before = {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()}
    Path("rows.csv").unlink()
    code, out, _ = run("rehearse", "study.toml", "--home", "a", "--quiet", "--json")
    assert code == 0
    left = json.loads(out)["sent"]
    assert len(left) == study.releases
    assert [line["kind"] for line in left] == [step.kind for step in study.plan for _ in range(step.repeats)]
    assert {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()} == before
    refused(run("rehearse", "study.toml", "--home", "a", "--site", "z"), 2, "'z'", "a, b, c")


def test_rehearse_in_words(run, home, study):
    code, out, err = run("rehearse", "study.toml", "--home", "a", "--every", "--site", "b")
    assert code == 0
    for words in ("would leave b for good", "epsilon 1.000 against who sees only totals", "1 answer of ",
                  "Nothing was spent", "What left"):  # fmt: skip
        assert words in out
    assert "asking the sites" in err


def test_doctor_exits_with_one_where_something_fails(run, home):
    code, out, err = run("doctor", "--home", "a", "--offline")
    assert (code, err) == (1, "")
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("fail")] == ["fail  ca.pem"]
    home.ca.write_text("")
    code, out, _ = run("doctor", "--home", "a", "--offline", "--json")
    assert code == 1
    assert {finding["level"] for finding in json.loads(out)["findings"]} == {"ok", "warn", "fail"}
    assert run("doctor", "--home", "nowhere")[0] == 1
    assert logging.getLogger("silosynth").level == logging.NOTSET  # as it was


def test_a_home_may_be_named_by_the_environment(run, home, monkeypatch):
    monkeypatch.setenv("SILOSYNTH_HOME", "a")
    assert "site.toml: a" in run("doctor", "--offline")[1]


def test_ledger_and_outbox_of_a_home(run, home):
    refused(run("ledger", "--home", "a"), 2, "no ledger yet", "site run")
    Ledger(home.ledger).close()
    code, out, _ = run("ledger", "--home", "a", "--json")
    assert (code, len(json.loads(out)["entries"])) == (0, 1)
    assert run("ledger", "a", "--json")[1] == out
    assert json.loads(run("outbox", "--home", "a", "--json")[1])["sent"] == []


def test_unlock_explains_asks_and_says_who(run, home):
    with closing(Ledger(home.ledger)) as ledger:
        assert "not barred" in run("unlock", "--home", "a")[1]
        ledger.bar("ab" * 32, {b"k" * 32: Head(9, bytes(32))})
        refused(run("unlock", "--home", "a", said="me\nchecked\nyes\n"), 2, "stays barred")
        refused(run("unlock", "--home", "a", "--yes", "--who", "me"), 2, "--why")
        code, out, err = run("unlock", "--home", "a", said="Ann\nasked ward-b\nnewest\n")
        assert code == 0
        assert "freed by Ann, because: asked ward-b" in out
        for words in ("Put the newest copy", f"agent key {b'k'.hex() * 8}", "abab"):
            assert words in err
        assert "Ann" not in str(listing(home.ledger))
        assert ledger.head[:16] in out
    assert "not barred" in run("unlock", "--home", "a")[1]


def test_the_policy_of_the_example_is_one(home):
    text = (Path(__file__).parents[2] / "deploy" / "policy.example.toml").read_text()
    assert read_policy(text, "p").engines
