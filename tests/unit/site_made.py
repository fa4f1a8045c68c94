"""A site's home as `silosynth site init` makes it, in a test's folder, and a study it is a member of."""

from dataclasses import replace
from pathlib import Path

import small_study

from silosynth.client import new_home
from silosynth.client.home import Address, SiteConfig, SiteHome
from silosynth.client.installed import code_digest
from silosynth.client.where import FileSource
from silosynth.common.study import Member

CAPS = "\n".join(
    f"[caps.{kind}.{view}]\nepsilon = {epsilon}\ndelta = 1e-5"
    for kind in ("study", "lifetime")
    for view, epsilon in (("aggregate", 2.0), ("local", 4.0))
)
ALLOWS = f'engines = ["autoregressive"]\n{CAPS}\n'


def made(folder, name="a", capacity=1024, passphrase=None):
    """A new home in a folder, and the request of it."""
    home = SiteHome(folder)
    data = FileSource(Path(folder) / "rows.csv")
    return home, new_home.make(home, SiteConfig(name, capacity, Address("coordinator.test", 8443), data), passphrase)


def study_of(request, **changes):
    """A study of three members, of which the site that asked is one, to be run with the software that is here."""
    plain = small_study.study()
    others = [Member(name, 1024, f"{at + 1:064x}", f"{at + 2:064x}") for at, name in enumerate(("b", "c"))]
    roster = (Member(request.name, request.capacity, request.agent, request.officer), *others)
    return replace(plain, roster=roster, **{"code": code_digest()} | changes)
