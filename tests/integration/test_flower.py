"""Flower's own simulation engine runs the same apps to the same totals, and leaves nothing behind."""

import contextlib
import importlib.util
import os
import time
from pathlib import Path

import pytest
from made import content, silosynth, totals, written

from silosynth.common.errors import NotPossible
from silosynth.server.bundle import verified
from silosynth.simulations import flower

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `flower`)")


def test_without_ray_the_cure_is_said_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotPossible, match="pip install 'silosynth\\[flower\\]'"):
        flower.check()


@pytest.mark.flower
@needs_ray
def test_both_runtimes_give_the_same_totals_for_the_same_noise(tmp_path):
    study, data = written(tmp_path)
    common = ("simulate", study, "--data", data, "--sites", "clinic", "--seeded-noise")
    for runtime in ("memory", "flower"):
        # a long TMPDIR, as some systems have it: too long for the names of Ray's sockets
        environment = os.environ | {"TMPDIR": str(_new(tmp_path / f"{runtime}-{'long' * 20}")), "MARK": str(tmp_path)}
        run = silosynth(*common, "--out", tmp_path / runtime, "--runtime", runtime, env=environment)
        assert run.returncode == 0, run.stderr
        assert "WARNING" not in run.stderr + run.stdout
        assert "deprecated" not in run.stderr + run.stdout
    assert totals(tmp_path / "memory") == totals(tmp_path / "flower")
    assert (tmp_path / "memory" / "synthetic.csv").read_bytes() == (tmp_path / "flower" / "synthetic.csv").read_bytes()
    papers = [content(tmp_path / name / "certificate.json") for name in ("memory", "flower")]
    assert papers[0]["events"] == papers[1]["events"]
    assert [verified(tmp_path / name).study.digest for name in ("memory", "flower")] == [papers[0]["study"]] * 2
    deadline = time.monotonic() + 10  # Ray's helpers notice the end of their parent within a second or two
    while (left := _processes_of(f"MARK={tmp_path}")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


@pytest.mark.flower
@needs_ray
def test_a_refusal_reaches_the_person_as_on_the_other_runtime(tmp_path):
    study, data = written(tmp_path)
    common = ("simulate", study, "--data", data, "--sites", "clinic", "--out", tmp_path / "out")
    assert silosynth(*common).returncode == 0
    refused = silosynth(*common, "--epsilon", "3", "--runtime", "flower")
    assert (refused.returncode, "site North" in refused.stderr) == (3, True)


def _processes_of(mark):
    """Processes that inherited an environment variable, daemons of daemons included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
    return found


def _new(path):
    path.mkdir()
    return path
