"""The benchmark of rounds: the app on Flower does what it says, processes end, and rows hold what was found."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from silosynth.common.progress import silent
from silosynth.simulations.bench import processes, rounds, stock_app
from silosynth.simulations.bench.deployed import Found, deployed_rounds
from silosynth.simulations.bench.processes import Broken, Processes, below, cpu_s, peak_mb
from silosynth.simulations.grid import LocalGrid

FOUND = Found(
    rounds_s=(1.0, 3.0, 1.5),
    whole_s=6.0,
    agents_s=(0.1, 0.3),
    parameters=30_000,
    upload=245_000,
    memory_mb={"agent": 390.0, "relay": 107.0},
    cpu_s={"agent": 0.1, "SuperLink": 0.4},
)


def test_the_app_on_flower_sends_as_much_there_and_back(tmp_path):
    out = tmp_path / "took.json"
    settings = {"sites": 3, "rounds": 2, "size": 7, "out": str(out)}
    grid, seen = LocalGrid(stock_app.client, 3), []
    real = grid.send_and_receive

    def send_and_receive(messages):
        messages = list(messages)
        replies = list(real(messages))
        seen.extend((one.content, other.content) for one, other in zip(messages, replies, strict=True))
        return replies

    grid.send_and_receive = send_and_receive
    stock_app.server(grid, Context(1, 1, {}, RecordDict(), settings))
    assert len(json.loads(out.read_text())) == 2
    sent = [asked.array_records["weights"].to_numpy_ndarrays()[0] for asked, _ in seen]
    heard = [said.array_records["gradient"].to_numpy_ndarrays()[0] for _, said in seen]
    assert {(one.size, one.dtype.str) for one in [*sent, *heard]} == {(7, "<f4")}
    assert len({one.tobytes() for one in heard}) == 6  # equal ones would travel once
    assert np.allclose(sent[3], np.mean(heard[:3], axis=0))


def test_processes_end_with_all_that_they_started(tmp_path):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with Processes(tmp_path, {"MARK": "x"}) as started:
        pid = started.start("parent", [sys.executable, "-c", child])
        started.wait(lambda: len(below(pid)) == 2, "parent", 60)
        family = below(pid)
        assert below(pid, "time.sleep(600)") == sorted(family)
        assert peak_mb(family) > 1
        assert cpu_s(family) >= 0
    until = time.monotonic() + 10
    while any(Path(f"/proc/{one}").exists() for one in family):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("holds", [False, True])
def test_a_process_that_ends_badly_is_said_with_its_last_words(tmp_path, holds):
    with Processes(tmp_path, {}) as started:
        started.start("bad", [sys.executable, "-c", "raise SystemExit('no such thing')"])
        started.start("good", [sys.executable, "-c", "import time; time.sleep(600)"])
        with pytest.raises(Broken, match=r"(?s)bad ended with exit code 1.*no such thing"):
            started.finish("bad", 60) if holds else started.wait(lambda: False, "good", 60)


def test_a_process_that_takes_too_long_is_said(tmp_path):
    with Processes(tmp_path, {}) as started:
        started.start("slow", [sys.executable, "-c", "import time; time.sleep(600)"])
        with pytest.raises(Broken, match="slow did not come to it in time"):
            started.wait(lambda: False, "slow", 0.2)


def test_free_ports_are_free_and_differ():
    ports = processes.free_ports(5)
    assert len(set(ports)) == 5
    assert not any(map(processes.listens, ports))


def test_rows_hold_what_was_found():
    found = {row.name: row for row in rounds.rows(3, 1.4, FOUND, [6.0, 9.0, 12.0])}
    title = "3 sites, 30000 parameters"
    assert (found[title].value, found[title].interval, found[title].passed) == (1.5, (1.0, 3.0), False)
    assert found[f"{title}: Flower as it comes"].value == 9.0
    assert found[f"{title}: Flower as it comes / ours"].value == 6.0
    assert found[f"{title}: SuperLink"].value == 0.4
    assert found[f"{title}: relay"].value == 107.0
    assert found["3 sites: study of 5 sums"].bar is None


def test_the_bar_of_a_study_is_for_fifty_sums():
    whole = Found((1.0,) * 48, 181.0, (0.1,), 30_000, 245_000, {}, {})
    last = list(rounds.rows(3, 1.5, whole, [6.0]))[-1]
    assert (last.name, last.passed) == ("3 sites: study of 50 sums", False)


def test_what_breaks_is_a_row_with_its_cause(monkeypatch):
    def broken(*_):
        raise Broken("relay ended with exit code 2")

    monkeypatch.setattr(rounds, "deployed_rounds", broken)
    (row,) = rounds.rounds(silent, {3: 1.5})
    assert row.value is None
    assert "relay ended" in row.note


@pytest.mark.slow
def test_three_sites_in_processes_of_their_own(tmp_path):
    found = deployed_rounds(3, 2, tmp_path, silent)
    assert len(found.rounds_s) == 2
    assert len(found.agents_s) == 6
    assert 25_000 < found.parameters < 35_000
    assert found.upload > 4 * found.parameters
    assert set(found.memory_mb) == set(found.cpu_s) == {"agent", "relay", "SuperLink", "launch"}
    assert min(found.memory_mb.values()) > 50
