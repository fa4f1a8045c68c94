"""Homes of sites that have approved one study of made rows, their agents, and a whole study with them."""

from dataclasses import dataclass, replace
from pathlib import Path

import made

from silosynth.client import approval, new_home
from silosynth.client.agent import Agent
from silosynth.client.app import client_app
from silosynth.client.home import Address, SiteConfig, SiteHome
from silosynth.client.installed import code_digest
from silosynth.client.keys import agent_key
from silosynth.client.ledger import Ledger
from silosynth.client.officer import officer_key
from silosynth.client.where import FileSource
from silosynth.common.plan import resolve
from silosynth.common.progress import silent
from silosynth.common.study import Member, Study
from silosynth.common.study_file import read_study, write_study
from silosynth.server.coordinator import run
from silosynth.server.journal import Journal
from silosynth.server.sites import GridSites
from silosynth.simulations.grid import LocalGrid

NOWHERE = Address("127.0.0.1", 1)
NAMES = ("North", "South", "West")
POLICY = """
engines = ["autoregressive", "gan"]
least_floor = 2
[caps.study.aggregate]
epsilon = 20.0
delta = 1e-5
[caps.study.local]
epsilon = 40.0
delta = 1e-5
[caps.lifetime.aggregate]
epsilon = 20.0
delta = 1e-5
[caps.lifetime.local]
epsilon = 40.0
delta = 1e-5
"""


@dataclass
class Sites:
    """Three homes below a folder, and the study that all have approved."""

    homes: dict[str, SiteHome]
    study: Study


def approve(home, study):
    """What `site approve` does after the person has said yes."""
    policy = home.policy.read_text()
    facts = approval.facts_of(home, study, policy)
    signed = approval.sign(officer_key(home.officer_key, None), facts)
    home.study(study.digest).write_text(write_study(study))
    home.approval(study.digest).write_text(approval.write_approval(signed))


def sites(folder: Path, *, persons=200, steps=3, approved=NAMES, address=NOWHERE) -> Sites:
    """Homes with rows, keys and a policy; the study is approved at the sites that are named."""
    rows, homes, roster = made.table(persons), {}, []
    for name in NAMES:
        home = homes[name] = SiteHome(folder / name)
        source = FileSource(home.path / "rows.csv")
        request = new_home.make(home, SiteConfig(name, 1000, address, source), None)
        rows[rows["clinic"] == name].to_csv(source.path, index=False)
        home.policy.write_text(POLICY)
        roster.append(Member(name, 1000, request.agent, request.officer))
    asked = read_study(made.STUDY.format(epsilon="1.0", steps=steps), source="made")
    study = replace(resolve(asked, tuple(roster)), code=code_digest())
    for name in approved:
        approve(homes[name], study)
    return Sites(homes, study)


def agent(home, tell=lambda _told: None):
    """The agent of a home, in this process."""
    return Agent(home, Ledger(home.ledger), agent_key(home.agent), tell)


def learnt(study, answers, folder: Path, sites=None):
    """What a coordinator learns from `sites`, by default `answers` in this process, in the order of the roster."""
    if sites is None:
        app = client_app(lambda context: answers[int(context.node_config["partition-id"])])
        sites = GridSites(LocalGrid(app, len(answers)), silent)
    journal = Journal(folder, study, "test")
    try:
        return run(study, sites, journal, 0, silent)
    finally:
        journal.close()
