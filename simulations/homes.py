"""Every simulated site has a home of its own: DIR/sites/NAME, with its agent key, policy and ledger.

They outlive a study. The first study finds no policy and writes one that covers its own price and nothing more. A
policy that is there is respected: a second study meets the caps, and is refused unless the person who owns the folder
has raised them. Going on with an interrupted study costs a site's ledger what is left of it once more (client/books.py,
B9); whoever resumes it here owns all the sites, and allows it by that.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Context

from silosynth.client.books import FREE, Account, Price, price
from silosynth.client.entries import Ended, Planned, Sessioned
from silosynth.client.gate import Gate
from silosynth.client.keys import agent_key, public_key
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import NoiseSource, SystemNoise
from silosynth.client.policy import Cap, Caps, Policy, just_this, read_policy, write_policy
from silosynth.client.refusal import Refused
from silosynth.client.session import Sessions
from silosynth.client.site import Site
from silosynth.common.engine import Parted, Units
from silosynth.common.errors import StudyRefused
from silosynth.common.privacy import Part
from silosynth.common.progress import Progress, silent
from silosynth.common.secagg.site import Seat
from silosynth.common.secagg_study import agreement
from silosynth.common.study import Member, Study
from silosynth.server.certificate import Noise
from silosynth.server.files import write_text
from silosynth.simulations.noiseless import SeededNoise, ZeroNoise
from silosynth.simulations.stored import Stored
from silosynth.simulations.telling import telling


def with_keys(root: Path, roster: tuple[Member, ...], noise: Noise, seed: int) -> tuple[Member, ...]:
    """The roster with each site's agent key, which is made in its home below `root` where there is none.

    Keys are part of a study: where its noise is to be repeatable, or is none, they follow from `seed` and protect
    nobody, as little as that noise.
    """
    return tuple(replace(member, key=public_key(_signer(root / member.name, noise, seed))) for member in roster)


@dataclass(frozen=True)
class Homes:
    """All sites of one study: where they live and where their noise comes from. Values only, so that it can travel."""

    root: Path
    study: Study
    noise: Noise
    seed: int

    def ledger(self, name: str) -> Ledger:
        """The ledger of the site `name`."""
        return Ledger(_made(self.root / name) / "ledger.sqlite")

    def site(
        self, name: str, ledger: Ledger, units: Parted, progress: Progress = silent, secrets: Path | None = None
    ) -> Site:
        """The site `name` with its rows, not yet asked to approve anything. It tells `progress` while it learns.

        `secrets`: the folder where its sessions are, if it is not to keep them in memory.
        """
        noise = telling(self._source(name), name, self.study, progress)
        gate = Gate(self._policy(name, ledger), ledger, noise, self._sessions(name, ledger, secrets))
        return Site(name, gate, lambda _study: units)

    @contextmanager
    def opened(self, units: Mapping[str, Parted], progress: Progress) -> Iterator[list[Site]]:
        """Every site of the roster, in its order, with the study approved and paid for. Raises StudyRefused."""
        sites, refusals = [], []
        with ExitStack() as ledgers:
            for count, member in enumerate(self.study.roster):
                progress("prepare", count, len(self.study.roster))
                ledger = ledgers.enter_context(closing(self.ledger(member.name)))
                sites.append(self.site(member.name, ledger, units[member.name], progress))
                ledgers.callback(sites[-1].close)
                try:
                    sites[-1].approve(self.study)
                except Refused as refused:
                    refusals.append((member.name, refused.reason.value))
            if refusals:
                raise StudyRefused(refusals)
            yield sites

    def end_sessions(self, secrets: Path) -> None:
        """End, in order, the sessions of all sites that are in the folder `secrets`."""
        for member in self.study.roster:
            with closing(self.ledger(member.name)) as ledger:
                if (sessions := self._sessions(member.name, ledger, secrets)) is not None:
                    sessions.close()

    def _sessions(self, name: str, ledger: Ledger, secrets: Path | None) -> Sessions | None:
        if not any(member.key for member in self.study.roster):
            return None
        signer = _signer(self.root / name, self.noise, self.seed)
        if secrets is None or not self.study.masked:
            return Sessions(ledger, signer)
        place = [member.name for member in self.study.roster].index(name)
        stored = Stored(secrets / f"{name}.session", Seat(agreement(self.study), place, signer))
        return Sessions(ledger, signer, live=stored, make=stored.make)

    def _policy(self, name: str, ledger: Ledger) -> Policy:
        path = self.root / name / "policy.toml"
        if path.exists():
            policy = read_policy(path.read_text(encoding="utf-8"), str(path))
            # On one machine whoever starts a study has read it; what it may cost is still for the caps to say.
            policy = replace(policy, studies=policy.studies | {self.study.digest})
        else:
            policy = just_this(self.study)
            if self.noise is Noise.SYSTEM:
                write_text(path, write_policy(policy))
        room = self._room_for_restarts(ledger)
        return replace(
            policy,
            study_caps=_raised(policy.study_caps, room),
            lifetime_caps=_raised(policy.lifetime_caps, room),
            allow_no_privacy=self.noise is not Noise.SYSTEM,
            allow_unreviewed=True,
            allow_plain_sums=not self.study.masked,
        )

    def _room_for_restarts(self, ledger: Ledger) -> Price:
        """What earlier sessions of this study may have cost besides its plan, or its going on may, and nothing else."""
        if not self.study.masked:
            return FREE
        records = [entry.record for entry in ledger.entries()]
        sessions = sum(isinstance(one, Sessioned) and one.study == self.study.digest for one in records)
        ended = sum(isinstance(one, Ended) and one.study == self.study.digest and not one.lost for one in records)
        planned = Planned.of(self.study, private=True)
        retried, whole = Account(planned, Price()).retried, price(planned.event())
        return sum([retried] * sessions + [retried + whole] * (sessions - ended), FREE)

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
    private: Path
    """Folder that nobody else may read, of the sites' rows as cells, and of their sessions' secrets: a file a site."""

    def __call__(self, context: Context) -> Site:
        """The site whose place on the roster is the node's partition."""
        name = self.homes.study.roster[int(context.node_config["partition-id"])].name
        units = _read_units(self.private / f"{name}.safetensors")
        site = self.homes.site(name, self.homes.ledger(name), units, secrets=self.private)
        site.approve(self.homes.study)
        return site


def write_units(folder: Path, units: Mapping[str, Parted]) -> None:
    """Rows of every site where `Resident` finds them."""
    for name, own in units.items():
        codes = {f"{part}.codes": own.of(part).codes for part in Part}
        owners = {f"{part}.owner": own.of(part).owner for part in Part}
        safetensors.numpy.save_file({**codes, **owners}, folder / f"{name}.safetensors")


def _made(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home


def _signer(home: Path, noise: Noise, seed: int) -> Ed25519PrivateKey:
    if noise is Noise.SYSTEM:
        return agent_key(_made(home))
    return Ed25519PrivateKey.from_private_bytes(sha256(f"silosynth/agent\n{seed}\n{home.name}".encode()).digest())


def _raised(caps: Caps, room: Price) -> Caps:
    return Caps(_more(caps.aggregate, room.aggregate), _more(caps.local, room.local))


def _more(cap: Cap | None, mu_squared: Fraction) -> Cap | None:
    return Cap.covering(cap.mu_squared + mu_squared, cap.delta) if cap and mu_squared else cap


@lru_cache(maxsize=256)
def _read_units(path: Path) -> Parted:
    arrays = safetensors.numpy.load_file(path)
    return Parted(*(Units(arrays[f"{part}.codes"], arrays[f"{part}.owner"]) for part in (Part.TRAIN, Part.HOLDOUT)))
