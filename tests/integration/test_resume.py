"""kill -9 and Ctrl-C of a running study: resume finishes it, and no charge is lost or doubled."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from made import content, silosynth, written

from silosynth.client.entries import Committed, Planned, Reserved
from silosynth.client.ledger import listing

STEPS = 40
RELEASES = STEPS + 2


def command(study, data, out, *more):
    return ["simulate", study, "--data", data, "--sites", "clinic", "--out", out, "--quiet", "--no-scores", *more]


def begun(*arguments):
    code = "from silosynth.simulations.cli import main; main()"
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


def totals(out):
    return [json.loads(line)["total"] for line in (out / "journal.jsonl").read_text().splitlines()[1:]]


def check_one_charge_each(out):
    for site in ("North", "South", "West"):
        records = [entry.record for entry in listing(out / "sites" / site / "ledger.sqlite")]
        assert sum(isinstance(record, Planned) for record in records) == 1
        reserved = [(r.release, r.attempt) for r in records if isinstance(r, Reserved)]
        committed = [(r.release, r.attempt) for r in records if isinstance(r, Committed)]
        assert reserved == committed == [(release, 0) for release in range(RELEASES)]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_finishes_as_if_it_had_not_been(tmp_path, seed):
    study, data = written(tmp_path, steps=STEPS)
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert silosynth(*command(study, data, whole, "--seeded-noise")).returncode == 0
    moments, kills = np.random.default_rng(seed), 0
    for _ in range(3):
        process = begun(*command(study, data, out, "--seeded-noise", "--resume"))
        wait_for(process, (out / "sites").exists)
        reached = len(totals(out)) if (out / "journal.jsonl").exists() else 0
        goal = reached + int(moments.integers(0, RELEASES // 3))
        wait_for(process, lambda: goal == 0 or ((out / "journal.jsonl").exists() and _lines(out) > goal))  # noqa: B023
        time.sleep(float(moments.uniform(0, 0.03)))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stderr.close()
    done = silosynth(*command(study, data, out, "--seeded-noise", "--resume"))
    assert done.returncode == 0, done.stderr
    assert kills == 3
    check_one_charge_each(out)
    assert totals(out) == totals(whole)
    for name in ("synthetic.csv", "synthetic.parquet"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    papers = [content(folder / "certificate.json") for folder in (out, whole)]
    assert papers[0]["epsilon_with_real_noise"] == papers[1]["epsilon_with_real_noise"]
    assert not list(out.glob(".*.part"))


def test_stopped_by_hand_it_says_how_to_go_on_and_goes_on(tmp_path):
    study, data = written(tmp_path, steps=STEPS)
    out = tmp_path / "out"
    process = begun(*command(study, data, out))
    wait_for(process, lambda: (out / "journal.jsonl").exists() and _lines(out) > 3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, "--resume" in error, "Traceback" in error) == (1, True, False)
    again = silosynth(*command(study, data, out))
    assert (again.returncode, "--resume" in again.stderr) == (2, True)  # not started over by accident
    other = silosynth(*command(study, data, out, "--resume", "--seed", "9"))
    assert other.returncode in {2, 3}  # not with another split of the rows
    done = silosynth(*command(study, data, out, "--resume"))
    assert done.returncode == 0, done.stderr
    check_one_charge_each(out)
    assert content(out / "certificate.json")["epsilon"]["aggregate"] == pytest.approx(1.0, abs=0.01)


def _lines(out):
    return (out / "journal.jsonl").read_bytes().count(b"\n")
