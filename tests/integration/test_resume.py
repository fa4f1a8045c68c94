"""kill -9 and Ctrl-C of a running study: resume finishes it, and no charge is lost or doubled."""

import json
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from made import content, silosynth, totals, written

from silosynth.client.entries import Committed, Planned, Reserved, Sessioned, Settled
from silosynth.client.ledger import listing
from silosynth.common.accounting import epsilon, mu_squared_for
from silosynth.server.bundle import verified
from silosynth.simulations import local
from silosynth.simulations.cli import _run

STEPS = 40
RELEASES = STEPS + 2


def command(study, data, out, *more):
    return ["simulate", study, "--data", data, "--sites", "clinic", "--out", out, "--quiet", "--no-scores", *more]


def begun(*arguments):
    listens = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # background jobs are deaf to it
    )
    code = f"{listens}; from silosynth.simulations.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def asked(out):
    """Every attempt that the coordinator wrote down."""
    lines = map(json.loads, (out / "journal.jsonl").read_text().splitlines()[1:])
    return [(line["release"], line["attempt"]) for line in lines if "attempt" in line]


def check_charges(out, *, stops):
    """Every site paid for the plan once, for each session, and once for each attempt, all of which are written down."""
    attempts = asked(out)
    assert len(attempts) == len(set(attempts)) <= RELEASES + stops
    assert {release for release, _ in attempts} == set(range(RELEASES))
    for site in ("North", "South", "West"):
        records = [entry.record for entry in listing(out / "sites" / site / "ledger.sqlite")]
        assert sum(isinstance(record, Planned) for record in records) == 1
        assert 1 <= sum(isinstance(record, Sessioned) for record in records) <= 1 + stops
        reserved = [(r.release, r.attempt) for r in records if isinstance(r, Reserved)]
        committed = [(r.release, r.attempt) for r in records if isinstance(r, Committed)]
        assert len(reserved) == len(set(reserved))
        assert set(committed) <= set(reserved) <= set(attempts)
        assert {max(attempts, key=lambda one: (one[0] == release, one[1])) for release in range(RELEASES)} <= set(
            committed
        )  # the last attempt at each release is the one that was summed


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_finishes_as_if_it_had_not_been(tmp_path, seed):
    """Without noise, for a release that was being asked is asked again as another attempt, with other noise."""
    study, data = written(tmp_path, steps=STEPS, epsilon="inf")
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert silosynth(*command(study, data, whole)).returncode == 0
    moments, kills = np.random.default_rng(seed), 0
    for _ in range(3):
        process = begun(*command(study, data, out, "--resume"))
        wait_for(process, (out / "sites").exists)
        reached = _absorbed(out)
        goal = reached + int(moments.integers(0, RELEASES // 3))
        wait_for(process, lambda: _absorbed(out) >= goal)  # noqa: B023
        time.sleep(float(moments.uniform(0, 0.03)))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stderr.close()
    done = silosynth(*command(study, data, out, "--resume"))
    assert done.returncode == 0, done.stderr
    assert kills == 3
    check_charges(out, stops=3)
    assert totals(out) == totals(whole)
    for name in ("synthetic.csv", "synthetic.parquet"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    paper = content(out / "certificate.json")
    assert paper["attempts"]["asked"] == sum(event["count"] for event in paper["events"]) == len(asked(out))
    assert verified(out).promises_nothing
    assert not list(out.glob(".*.part"))


def test_stopped_by_hand_it_says_how_to_go_on_and_goes_on(tmp_path):
    study, data = written(tmp_path, steps=STEPS)
    out = tmp_path / "out"
    process = begun(*command(study, data, out))
    wait_for(process, lambda: _absorbed(out) > 3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, "--resume" in error, "Traceback" in error) == (1, True, False)
    again = silosynth(*command(study, data, out))
    assert (again.returncode, "--resume" in again.stderr) == (2, True)  # not started over by accident
    other = silosynth(*command(study, data, out, "--resume", "--seed", "9"))
    assert other.returncode in {2, 3}  # not with another split of the rows
    done = silosynth(*command(study, data, out, "--resume"))
    assert done.returncode == 0, done.stderr
    check_charges(out, stops=1)
    paper = content(out / "certificate.json")
    retried = len(paper["attempts"]["retries"])  # one, if it was stopped while sites were asked
    expected = epsilon(mu_squared_for(1.0, 1e-5) * (1 + Fraction(retried, RELEASES)), 1e-5)
    assert paper["epsilon"]["aggregate"] == pytest.approx(expected, abs=0.02)
    assert verified(out).epsilon.aggregate == pytest.approx(paper["epsilon"]["aggregate"])


def test_stopped_between_receipts_and_publishing_it_goes_on_and_publishes(tmp_path, monkeypatch):
    study, data = written(tmp_path)

    def stopped(*_arguments, **_options):
        raise KeyboardInterrupt

    arguments = [*map(str, command(study, data, tmp_path / "out"))]
    with monkeypatch.context() as patched:
        patched.setattr(local, "publish", stopped)
        assert _run(arguments) == 1
    heads = {path.parent.name: listing(path)[-1] for path in (tmp_path / "out").glob("sites/*/ledger.sqlite")}
    assert {type(entry.record) for entry in heads.values()} == {Settled}
    assert _run([*arguments, "--resume"]) == 0
    found = verified(tmp_path / "out")
    assert {one.site: one.head.hash.hex() for one in found.receipts} == {name: one.hash for name, one in heads.items()}


def _absorbed(out):
    path = out / "journal.jsonl"
    return path.read_bytes().count(b'"total"') if path.exists() else 0
