"""The rounds of a study between institutions, all of whose processes run on this machine, as they are installed.

Sites are homes with keys, rows and an officer's approval; `site run` starts an agent and a relay for each, `coordinator
run` the SuperLink behind TLS, `coordinator study launch` the study. Only what people type once is done by functions.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.numpy

from silosynth.client import approval, new_home
from silosynth.client.home import Address, SiteConfig, SiteHome
from silosynth.client.officer import officer_key
from silosynth.client.where import FileSource
from silosynth.common.column import Column, Kind
from silosynth.common.progress import Progress
from silosynth.common.schema import Schema
from silosynth.common.study import Budget, Study
from silosynth.common.study_file import write_study
from silosynth.server import setup
from silosynth.server.enrol import enrol
from silosynth.server.home import CoordinatorHome, Settings, read_settings
from silosynth.server.studies import StudyFolder, propose
from silosynth.simulations.bench.processes import CLI, Processes, below, cpu_s, free_ports, listens, peak_mb

_COLUMNS, _CODES = 14, 12
"""Make a network of about 30,000 parameters."""

_ROWS: Final = 1000
"""Of each site: few, so that what is measured is the round."""

_COUNTS: Final = 2  # releases that are no gradients
_NAME: Final = "rounds"
_READY_S: Final = 180.0
_ROUND_S: Final = 60.0

_POLICY: Final = """\
format = 1
engines = ["autoregressive"]
least_sites = 3
least_floor = 2
[caps.study]
aggregate = {epsilon = 20.0, delta = 1e-5}
local = {epsilon = 100.0, delta = 1e-5}
[caps.lifetime]
aggregate = {epsilon = 20.0, delta = 1e-5}
local = {epsilon = 100.0, delta = 1e-5}
"""


@dataclass(frozen=True)
class Found:
    """What one study took. `rounds_s`: of each sum of gradients, with what the coordinator does between two sums."""

    rounds_s: tuple[float, ...]
    whole_s: float
    """Of all sums, without the start of processes and without the published table."""
    agents_s: tuple[float, ...]
    """What the agents needed for each answer to a sum of gradients."""
    parameters: int
    upload: int
    """Bytes of an answer."""
    memory_mb: Mapping[str, float]
    """The most that a process of a kind ever had."""
    cpu_s: Mapping[str, float]
    """Of a sum of gradients, by kind, that of all sites together."""


def deployed_rounds(sites: int, rounds: int, folder: Path, progress: Progress) -> Found:
    """Run a study of `rounds` sums of gradients over as many sites. Raises Broken."""
    progress("rounds", 0, 0, f"homes and keys of {sites} sites")
    public, loopback = free_ports(2)
    coordinator = CoordinatorHome(folder / "coordinator")
    settings = Settings(("127.0.0.1",), port=public, listen="127.0.0.1", loopback_port=loopback)
    setup.init(coordinator, settings)
    homes = [_home(folder / f"s{at}", at, settings, coordinator) for at in range(sites)]
    draft = folder / f"{_NAME}.toml"
    draft.write_text(write_study(_study(rounds)), encoding="utf-8")
    study_folder, study = propose(coordinator, draft, [home.path.name for home in homes])
    for home in homes:
        _approve(home, study)
    with Processes(folder / "logs", {"OMP_NUM_THREADS": "1"}) as processes:
        return _measured(processes, coordinator, study_folder, homes, progress)


def _measured(
    processes: Processes, coordinator: CoordinatorHome, study: StudyFolder, homes: list[SiteHome], progress: Progress
) -> Found:
    progress("rounds", 0, 0, f"processes of {len(homes)} sites")
    link = processes.start("coordinator", [*CLI, "coordinator", "run", "--home", coordinator.path])
    processes.wait(lambda: listens(read_settings(coordinator).port), "coordinator", _READY_S)
    pids = [processes.start(home.path.name, [*CLI, "site", "run", "--home", home.path]) for home in homes]
    for home in homes:
        processes.wait(partial(_ready, home), home.path.name, _READY_S)
    parts = {part: [one for pid in pids for one in below(pid, f"client.{part}")] for part in ("agent", "relay")}
    launch = processes.start("launch", [*CLI, "coordinator", "study", "launch", _NAME, "--home", coordinator.path])
    watch = _Watch(study, {**parts, "SuperLink": [link], "launch": [launch]})
    processes.finish("launch", _READY_S + study.study().releases * _ROUND_S, watch.look)
    return _read(study, homes, watch)


@dataclass
class _Watch:
    """Looks at processes, by kind, while a study runs."""

    study: StudyFolder
    kinds: Mapping[str, Sequence[int]]
    memory_mb: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[int, Mapping[str, float]] = field(default_factory=dict)
    """Of each kind, when so many releases were first seen to be done."""

    def look(self) -> None:
        """Note what they have, and what they have used."""
        for kind, pids in self.kinds.items():
            self.memory_mb[kind] = max(self.memory_mb.get(kind, 0.0), peak_mb(pids) or 0.0)
        journal = self.study.path / "journal.jsonl"
        done = journal.read_bytes().count(b'"total"') if journal.exists() else 0
        if done not in self.cpu_s:
            self.cpu_s[done] = {kind: cpu_s(pids) for kind, pids in self.kinds.items()}

    def of_a_round(self) -> Mapping[str, float]:
        """CPU seconds of each kind, over the sums of gradients that were seen."""
        first, last = min(done for done in self.cpu_s if done >= _COUNTS), max(self.cpu_s)
        return {kind: (used - self.cpu_s[first][kind]) / (last - first) for kind, used in self.cpu_s[last].items()}


def _read(study: StudyFolder, homes: list[SiteHome], watch: _Watch) -> Found:
    lines = (study.path / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    took = [line["seconds"] for line in map(json.loads, lines) if "total" in line]
    answers = [event for home in homes for event in _events(home, "agent") if event["event"] == "answered"]
    gradients = [event for event in answers if event["release"] >= _COUNTS]
    return Found(
        rounds_s=tuple(took[_COUNTS:]),
        whole_s=sum(took),
        agents_s=tuple(event["seconds"] for event in gradients),
        parameters=int(safetensors.numpy.load_file(study.path / "generator.safetensors")["weights"].size),
        upload=max(event["bytes_out"] for event in gradients),
        memory_mb=watch.memory_mb,
        cpu_s=watch.of_a_round(),
    )


def _home(path: Path, at: int, settings: Settings, coordinator: CoordinatorHome) -> SiteHome:
    """A site with rows, a policy and the coordinator's certificate; enrolled."""
    home, rows = SiteHome(path), path / "rows.csv"
    host, _, port = settings.address.rpartition(":")
    new_home.make(home, SiteConfig(path.name, _ROWS, Address(host, int(port)), FileSource(rows)), None)
    home.policy.write_text(_POLICY, encoding="ascii")
    cells = np.random.default_rng(at).integers(0, _CODES, (_ROWS, _COLUMNS))
    names = ",".join(column.name for column in _columns())
    np.savetxt(rows, cells, fmt="%d", delimiter=",", header=names, comments="")
    bundle = enrol(coordinator, settings, home.request).bundle
    home.ca.write_bytes((bundle / "ca.pem").read_bytes())
    return home


def _approve(home: SiteHome, study: Study) -> None:
    """What `site approve` does once a person has said yes."""
    facts = approval.facts_of(home, study, home.policy.read_text(encoding="ascii"))
    home.study(study.digest).write_text(write_study(study), encoding="utf-8")
    signed = approval.sign(officer_key(home.officer_key, None), facts)
    home.approval(study.digest).write_text(approval.write_approval(signed), encoding="ascii")


def _study(rounds: int) -> Study:
    return Study(
        _NAME, Schema(tuple(_columns())), Budget(8.0, 1e-5, 1), settings=(("steps", float(rounds)),), evaluate=False
    )


def _columns() -> Iterator[Column]:
    codes = tuple(map(str, range(_CODES)))
    return (Column(f"c{at}", Kind.CATEGORICAL, codes=codes) for at in range(_COLUMNS))


def _ready(home: SiteHome) -> bool:
    told = {part: {event["event"] for event in _events(home, part)} for part in ("agent", "relay")}
    return "ready" in told["agent"] and "connected" in told["relay"]


def _events(home: SiteHome, part: str) -> list[dict[str, Any]]:
    path = home.log / f"{part}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
