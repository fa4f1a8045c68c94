"""A whole study between institutions, through the commands that people type: proposed, approved, killed, resumed."""

import json
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import made
import pytest
import site_running
from coordinator_running import CLI, Running
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from silosynth.client import new_home
from silosynth.client.entries import Reserved
from silosynth.client.home import Address, SiteConfig, SiteHome
from silosynth.client.ledger import listing
from silosynth.client.where import FileSource
from silosynth.common.study_file import read_study
from silosynth.server.enrol import enrol

NAMES = ("North", "South", "West")
pytestmark = pytest.mark.slow  # half a minute of processes that start

FILES = {
    "study.toml", "journal.jsonl", "status.json", "launch.lock", "synthetic.csv", "synthetic.parquet",
    "generator.safetensors", "certificate.json", "metrics.json", "report.html",
    "croissant.json", "sdv_metadata.json", "model_card.md",
}  # fmt: skip


class World(Running):
    """A coordinator and three sites with rows, whose agents and nodes are threads here."""

    def settle(self):
        """Make the sites, enrol them, start everything."""
        self.homes, rows = {}, made.table(200)
        for name in NAMES:
            home = self.homes[name] = SiteHome(self.folder / name)
            source = FileSource(home.path / "rows.csv")
            new_home.make(home, SiteConfig(name, 1000, Address("127.0.0.1", self.settings.port), source), None)
            rows[rows["clinic"] == name].to_csv(source.path, index=False)
            home.policy.write_text(site_running.POLICY)
            enrol(self.home, self.settings, home.request)
            self.keys[name] = load_ssh_private_key(home.node_key.read_bytes(), None)
        self.start()
        for name, home in self.homes.items():
            self.lines.enter_context(self.site(name, site_running.agent(home)))

    def command(self, *words, **more):
        """What a command of the coordinator's came to."""
        words = [*CLI, "coordinator", *words, "--home", self.home.path]
        return subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, **more)

    def propose(self, name, approved=NAMES, steps=3):
        """A study that some sites have approved."""
        file = self.folder / f"{name}.toml"
        file.write_text(made.STUDY.format(epsilon="1.0", steps=steps).replace('"made"', f'"{name}"'))
        assert self.command("study", "propose", file, "--sites", ",".join(NAMES)).returncode == 0
        study = read_study((self.home.studies / name / "study.toml").read_text(), source=name)
        for one in approved:
            site_running.approve(self.homes[one], study)
        return self.home.studies / name, study

    def launch(self, name):
        """A launch that goes on by itself."""
        words = [*CLI, "coordinator", "study", "launch", name, "--home", self.home.path]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    with ExitStack() as stack:
        stack.callback(lambda: world.process and world.stop())
        world.settle()
        yield world


def absorbed(folder: Path):
    journal = folder / "journal.jsonl"
    return journal.read_bytes().count(b'"total"') if journal.exists() else 0


def wait_for(what, patience_s=240):
    deadline = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_study_that_is_killed_goes_on_and_pays_for_nothing_twice_but_what_it_says(world):
    folder, study = world.propose("heart", steps=8)
    running = world.launch("heart")
    wait_for(lambda: absorbed(folder) >= 3)
    running.kill()
    running.wait()
    shown = json.loads(world.command("study", "status", "heart", "--json").stdout)["studies"]["heart"]
    assert (shown["state"], shown["study"]) == ("interrupted", study.digest)
    resumed = world.command("study", "resume", "heart", "--json")
    assert resumed.returncode == 0, resumed.stderr
    paper = json.loads(resumed.stdout)["certificate"]
    assert {path.name for path in folder.iterdir()} == FILES
    assert paper["aggregation"] == "secure-sum"
    assert paper["study"] == study.digest
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()[1:]]
    asked = [(line["release"], line["attempt"]) for line in lines if "attempt" in line]
    assert len(asked) == len(set(asked))
    for name in NAMES:
        records = [entry.record for entry in listing(world.homes[name].ledger)]
        own = [one for one in records if isinstance(one, Reserved) and one.study == study.digest]
        reserved = [(one.release, one.attempt) for one in own]
        assert len(reserved) == len(set(reserved))
        assert set(reserved) <= set(asked)
    again = world.command("study", "launch", "heart")
    assert (again.returncode, "is finished" in again.stderr) == (2, True)


def test_a_site_that_has_not_approved_ends_the_study_and_says_what_it_cost(world):
    folder, study = world.propose("lungs", approved=("North", "South"))
    refused = world.command("study", "launch", "lungs")
    assert refused.returncode == 3
    assert "site West: " in refused.stderr
    assert f"0 of {study.releases} sums were learnt from" in refused.stderr
    shown = world.command("study", "status", "lungs").stdout
    assert "refused" in shown
    assert not (folder / "certificate.json").exists()


def test_a_study_is_stopped_by_command_or_signal_and_goes_on(world):
    folder, _ = world.propose("liver", steps=60)
    running = world.launch("liver")
    wait_for(lambda: absorbed(folder) >= 2)
    assert world.command("study", "resume", "liver").returncode == 2  # it runs
    assert world.command("study", "stop", "liver").returncode == 0
    assert running.wait(60) == 1
    assert json.loads((folder / "status.json").read_text())["state"] == "stopped"
    done = absorbed(folder)
    words = [*CLI, "coordinator", "study", "resume", "liver", "--home", world.home.path]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as resumed:
        wait_for(lambda: absorbed(folder) > done)
        resumed.send_signal(signal.SIGTERM)
        assert resumed.wait(60) == 1
    assert json.loads((folder / "status.json").read_text())["state"] == "stopped"


def test_what_is_no_longer_as_it_was_proposed_is_not_launched(world):
    folder, _ = world.propose("brain")
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace('code = "', 'code = "' + "0" * 64 + '"\n# "', 1))
    changed = world.command("study", "launch", "brain")
    assert (changed.returncode, "other software" in changed.stderr) == (2, True)
    (folder / "study.toml").write_text(text.replace("capacity = 1000", "capacity = 999", 1))
    assert not (folder / "journal.jsonl").exists()
