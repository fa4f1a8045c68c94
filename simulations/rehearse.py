"""A rehearsal: a whole study in the memory of one process, on fake rows drawn from its public schema alone.

What it shows is what would leave a site: how many answers, of what size, with how much noise. It reads no row, spends
nothing, and asks nobody: the other members are simulated here, with keys and ledgers in a folder that is gone at once.
The study it runs is therefore another one, of another digest, equal in all that decides what leaves.
"""

import math
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from silosynth.client import outbox
from silosynth.client.app import client_app
from silosynth.client.outbox import OutboxLine
from silosynth.common.describe import plan_event
from silosynth.common.engine import Parted, Units
from silosynth.common.errors import InvalidInput
from silosynth.common.privacy import Part, View
from silosynth.common.progress import Progress
from silosynth.common.sampled import epsilon_of
from silosynth.common.study import Study
from silosynth.server.app import server_app
from silosynth.server.certificate import Noise
from silosynth.server.journal import Journal
from silosynth.simulations.grid import LocalGrid
from silosynth.simulations.homes import Homes, with_keys

ROWS: Final = 500
"""Fake rows of each site, at most: their number is not seen in what leaves, nor in its size."""


@dataclass(frozen=True)
class Rehearsal:
    """What would leave the site `name`, in order."""

    name: str
    study: Study
    left: tuple[OutboxLine, ...]

    @property
    def octets(self) -> int:
        """Bytes of all answers, without the framing of messages."""
        return sum(line.octets for line in self.left)

    def epsilon(self, view: View) -> float:
        """What the study costs a person by itself; infinite where a sum has no noise."""
        event = plan_event(self.study)
        return math.inf if event is None else epsilon_of(event, self.study.budget.delta, view)

    @property
    def in_words(self) -> list[str]:
        """What would leave, answers that are alike together."""
        alike = groupby(self.left, key=lambda line: (line.kind, line.why, line.size, line.octets, line.noise))
        lines = []
        for (kind, why, size, octets, noise), same in alike:
            count = len(list(same))
            answers = "1 answer of" if count == 1 else f"{count} answers, each of"
            lines.append(f"  {answers} {size:,} integers in {octets:,} bytes ({kind}): {why}. Noise: {noise}")
        return lines


def fake_rows(study: Study, rng: np.random.Generator, rows: int = ROWS) -> Units:
    """Rows whose cells are drawn evenly from those that the schema declares, each of another unit."""
    codes = np.column_stack([rng.integers(0, size, rows, dtype=np.int32) for size in study.schema.sizes])
    return Units(codes, np.arange(rows))


def rehearse(study: Study, name: str, progress: Progress) -> Rehearsal:
    """The whole of a resolved study, seen from its member `name`. Raises InvalidInput where there is none."""
    if name not in [member.name for member in study.roster]:
        raise InvalidInput(f"no site {name!r} is on the study's roster; it has {', '.join(_names(study))}")
    with TemporaryDirectory(prefix="silosynth-rehearsal-") as folder:
        path = Path(folder)
        noise = Noise.NONE if math.isinf(study.budget.epsilon) else Noise.SYSTEM
        shown = _simulated(path, study, noise)
        rng = np.random.default_rng(secrets.randbits(128))
        units = {
            one.name: Parted(*(fake_rows(shown, rng, min(ROWS, one.capacity)) for _ in Part)) for one in shown.roster
        }
        _run(path, shown, units, noise, progress)
        return Rehearsal(name, study, outbox.listing(path / name / "ledger.sqlite"))


def _simulated(path: Path, study: Study, noise: Noise) -> Study:
    """The study with keys that are made here. Without officers and software, which only approvals are about."""
    bare = tuple(replace(member, key="", officer="") for member in study.roster)
    return replace(study, roster=with_keys(path, bare, noise, 0) if study.masked else bare, code="")


def _run(path: Path, study: Study, units: Mapping[str, Parted], noise: Noise, progress: Progress) -> None:
    homes = Homes(path, study, noise, 0)
    with homes.opened(units, progress) as sites:
        client = client_app(lambda context: sites[int(context.node_config["partition-id"])])
        journal = Journal(path, study, "rehearsal")
        grid = LocalGrid(client, len(sites))
        server_app(study, journal, 0, progress, _forgotten, threading.Event())(grid, grid.context())
        journal.close()


def _forgotten(_learnt: object) -> None:
    """A generator of made-up rows is of no use."""


def _names(study: Study) -> list[str]:
    return [member.name for member in study.roster]
