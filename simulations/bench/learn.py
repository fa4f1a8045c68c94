"""A study run from its parts, without what simulate() adds: its checks for people, its files, its scores."""

from collections.abc import Mapping
from pathlib import Path

from silosynth.client.app import client_app
from silosynth.common.engine import Parted
from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.server.certificate import Noise
from silosynth.server.coordinator import Learnt, run
from silosynth.server.journal import Journal
from silosynth.server.sites import GridSites
from silosynth.simulations.grid import LocalGrid
from silosynth.simulations.homes import Homes


def learn(study: Study, units: Mapping[str, Parted], folder: Path, seed: int, progress: Progress) -> Learnt:
    """Run a resolved study over `units` with the system's noise, gates and ledgers in `folder`."""
    homes = Homes(folder / "sites", study, Noise.SYSTEM, seed)
    with homes.opened(units, progress) as sites:
        client = client_app(lambda context: sites[int(context.node_config["partition-id"])])
        grid = LocalGrid(client, len(sites))
        return run(study, GridSites(grid, progress), Journal(folder, study, str(Noise.SYSTEM)), seed, progress)
