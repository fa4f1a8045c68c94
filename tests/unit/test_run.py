"""What `site run` does with processes that end, hang, or outlive it. The processes are small scripts in their place."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import site_running

from silosynth.client import run as run_module
from silosynth.client.home import SiteHome
from silosynth.client.run import Part
from silosynth.common.errors import InvalidInput

WORKER = """
import os, signal, sys, threading, time
mode, folder = sys.argv[1], sys.argv[2]
with open(os.path.join(folder, mode + ".starts"), "a") as file:
    file.write(f"{os.getpid()} {time.monotonic()}\\n")
if mode == "ends":
    sys.exit(7)
if mode == "wrong":
    sys.exit(2)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    time.sleep(100)
if mode == "supervised":
    sys.stdin.buffer.read()
    sys.exit(0)
time.sleep(100)
"""
RUN = """
import sys
from pathlib import Path
from silosynth.client import run as module
from silosynth.client.home import SiteHome
folder, modes = sys.argv[1], dict(zip(module.Part, sys.argv[2:], strict=True))
start = module._start

def start_worker(child, now):
    child.command = [sys.executable, str(Path(folder) / "worker.py"), modes[child.part], folder]
    start(child, now)

module._start, module._STOP_S, module._FIRST_S = start_worker, 0.5, 0.05
sys.exit(module.run(SiteHome(Path(folder)), as_json=True))
"""


@pytest.fixture
def home(tmp_path):
    home = site_running.sites(tmp_path, approved=()).homes["North"]
    (home.path / "worker.py").write_text(WORKER)
    return home


def running(home, agent, relay):
    command = [sys.executable, "-c", RUN, str(home.path), agent, relay]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def starts(home, mode, count=1):
    """Process numbers of the starts of a worker, once there are `count`."""
    file = home.path / f"{mode}.starts"
    for _ in range(1000):
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= count:
            return [(int(line.split()[0]), float(line.split()[1])) for line in lines]
        time.sleep(0.02)
    raise AssertionError("was not started")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def gone(pid):
    for _ in range(500):
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_what_ends_is_started_again_ever_more_slowly_and_sigterm_stops_all(home):
    with running(home, "ends", "waits") as site:
        times = [moment for _pid, moment in starts(home, "ends", 4)]
        (relay, _), *more = starts(home, "waits")
        site.terminate()
        assert site.wait(20) == 0
        said = site.stdout.read()
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[2] > pauses[0] + 0.05 > 0.05  # 0.05, 0.1, 0.2 s and a start
    assert not more
    assert gone(relay)
    assert said.count('"event": "died", "part": "agent", "code": 7') >= 3
    assert said.splitlines()[-1].endswith('"event": "stopped"}')


def test_wrong_input_is_for_a_person_and_ends_everything(home):
    with running(home, "waits", "wrong") as site:
        assert site.wait(20) == 2
    assert len(starts(home, "wrong")) == 1
    if (home.path / "waits.starts").exists():  # it may not have come so far
        assert gone(starts(home, "waits")[0][0])


def test_what_does_not_stop_is_killed(home):
    with running(home, "stubborn", "waits") as site:
        while "deaf" not in site.stdout.readline():
            pass
        began = time.monotonic()
        site.send_signal(signal.SIGINT)
        assert site.wait(20) == 0
        assert time.monotonic() - began < 5
    assert gone(starts(home, "stubborn")[0][0])


def test_nothing_outlives_a_supervisor_that_was_killed(home):
    with running(home, "supervised", "supervised") as site:
        both = starts(home, "supervised", 2)
        site.kill()
    assert all(gone(pid) for pid, _moment in both)


def test_only_one_part(home, monkeypatch):
    seen = []
    monkeypatch.setattr(run_module, "_supervise", lambda children, *_: seen.extend(children) or 0)
    for only in (Part.AGENT, Part.RELAY, None):
        assert run_module.run(home, only) == 0
    assert [child.part for child in seen] == [Part.AGENT, Part.RELAY, Part.AGENT, Part.RELAY]


def test_the_relay_gets_no_environment_of_the_agents(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@host/rows")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    relay = run_module._environment(Part.RELAY)
    assert "DATABASE_URL" not in relay
    assert relay["HTTPS_PROXY"] == "http://proxy.test:3128"
    assert relay["FLWR_TELEMETRY_ENABLED"] == "0"
    assert "DATABASE_URL" in run_module._environment(Part.AGENT)


def test_a_folder_that_is_no_site(tmp_path):
    with pytest.raises(InvalidInput, match="site init"):
        run_module.run(SiteHome(tmp_path))


def test_a_real_part_says_what_is_wrong_in_one_line(home):
    (home.path / "rows.csv").unlink()
    command = [sys.executable, "-c", "from silosynth.simulations.cli import main; main()", "site", "run"]
    done = subprocess.run(
        [*command, "--home", home.path, "--only", "agent"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {home.path}/rows.csv: cannot be read (No such file or directory); see [data] in site.toml"
    ]
