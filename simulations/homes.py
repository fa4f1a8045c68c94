"""Every simulated site has a home of its own: DIR/sites/NAME, with its policy and its ledger, which outlive a study.

The first study finds no policy and writes one that covers its own price and nothing more. A policy that is there is
respected: a second study meets the caps, and is refused unless the person who owns the folder has raised them.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import safetensors.numpy
from flwr.app import Context

from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import NoiseSource, SystemNoise
from silosynth.client.policy import Policy, just_this, read_policy, write_policy
from silosynth.client.refusal import Refused
from silosynth.client.site import Site
from silosynth.common.engine import Units
from silosynth.common.errors import StudyRefused
from silosynth.common.progress import Progress, silent
from silosynth.common.study import Study
from silosynth.server.certificate import Noise
from silosynth.server.publish import write_text
from silosynth.simulations.noiseless import SeededNoise, ZeroNoise
from silosynth.simulations.telling import telling


@dataclass(frozen=True)
class Homes:
    """All sites of one study: where they live and where their noise comes from. Values only, so that it can travel."""

    root: Path
    study: Study
    noise: Noise
    seed: int

    def ledger(self, name: str) -> Ledger:
        """The ledger of the site `name`."""
        home = self.root / name
        home.mkdir(parents=True, exist_ok=True)
        return Ledger(home / "ledger.sqlite")

    def site(self, name: str, ledger: Ledger, units: Units, progress: Progress = silent) -> Site:
        """The site `name` with its rows, not yet asked to approve anything. It tells `progress` while it learns."""
        noise = telling(self._source(name), name, self.study, progress)
        return Site(name, Gate(self._policy(self.root / name), ledger, noise), lambda _study: units)

    @contextmanager
    def opened(self, units: Mapping[str, Units], progress: Progress) -> Iterator[list[Site]]:
        """Every site of the roster, in its order, with the study approved and paid for. Raises StudyRefused."""
        sites, refusals = [], []
        with ExitStack() as ledgers:
            for count, member in enumerate(self.study.roster):
                progress("prepare", count, len(self.study.roster))
                ledger = ledgers.enter_context(closing(self.ledger(member.name)))
                sites.append(self.site(member.name, ledger, units[member.name], progress))
                try:
                    sites[-1].approve(self.study)
                except Refused as refused:
                    refusals.append((member.name, refused.reason.value))
            if refusals:
                raise StudyRefused(refusals)
            yield sites

    def _policy(self, home: Path) -> Policy:
        path = home / "policy.toml"
        if path.exists():
            policy = read_policy(path.read_text(encoding="utf-8"), str(path))
            # On one machine whoever starts a study has read it; what it may cost is still for the caps to say.
            policy = replace(policy, studies=policy.studies | {self.study.digest})
        else:
            policy = just_this(self.study)
            if self.noise is Noise.SYSTEM:
                write_text(path, write_policy(policy))
        return replace(policy, allow_no_privacy=self.noise is not Noise.SYSTEM, allow_unreviewed=True)

    def _source(self, name: str) -> NoiseSource:
        match self.noise:
            case Noise.SYSTEM:
                return SystemNoise()
            case Noise.SEEDED:
                return SeededNoise(self.seed, name)
            case Noise.NONE:
                return ZeroNoise()


@dataclass(frozen=True)
class Resident:
    """Finds the site of a Flower node in a process that has nothing but folders: opens it, rows and all, when asked.

    An actor serves many nodes, and a node many actors: so nothing is kept between messages but rows read before.
    """

    homes: Homes
    rows: Path
    """Folder of the sites' rows as cells, one file a site."""

    def __call__(self, context: Context) -> Site:
        """The site whose place on the roster is the node's partition."""
        name = self.homes.study.roster[int(context.node_config["partition-id"])].name
        site = self.homes.site(name, self.homes.ledger(name), _read_units(self.rows / f"{name}.safetensors"))
        site.approve(self.homes.study)
        return site


def write_units(folder: Path, units: Mapping[str, Units]) -> None:
    """Rows of every site where `Resident` finds them."""
    for name, own in units.items():
        safetensors.numpy.save_file({"codes": own.codes, "owner": own.owner}, folder / f"{name}.safetensors")


@lru_cache(maxsize=256)
def _read_units(path: Path) -> Units:
    arrays = safetensors.numpy.load_file(path)
    return Units(arrays["codes"], arrays["owner"])
