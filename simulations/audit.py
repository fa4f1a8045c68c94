"""An audit of the claim itself: a whole study with canaries among its units, and what the coordinator can tell of them.

The coordinator is given more than it ever has: every other unit, every canary, and the tasks, so that it can subtract
from a total all that it knows; what is left are the canaries whose coins showed heads, and the noise. It weighs all
sums together (the best linear guess) and says of each canary how likely it was in. common/one_run.py turns guesses into
a lower bound on epsilon, which must not exceed what the certificate claims.

Everything runs as in any simulation, with real noise and masks, in a folder that is gone at once.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from silosynth.client.app import client_app
from silosynth.client.engines import ENGINES
from silosynth.common import scale
from silosynth.common.arrays import Real, Vector
from silosynth.common.certificate import holds_against
from silosynth.common.engine import Parted, Parts, Units
from silosynth.common.engines import CODECS
from silosynth.common.errors import NotPossible
from silosynth.common.one_run import CONFIDENCE, Refuted, refuted
from silosynth.common.plan import resolve
from silosynth.common.progress import Progress
from silosynth.common.receipt import Signed
from silosynth.common.study import Member, Step, Study, Trust
from silosynth.server.certificate import Noise, prices
from silosynth.server.coordinator import Answers, Attempts, Sites, Total, run
from silosynth.server.journal import Journal
from silosynth.server.sites import GridSites
from silosynth.simulations.apart import Apart, exact
from silosynth.simulations.cohort import Cohort
from silosynth.simulations.grid import LocalGrid
from silosynth.simulations.homes import Homes, with_keys
from silosynth.simulations.rehearse import fake_rows

CANARIES: Final = 500
FEWEST: Final = 20

_PARTS = np.logspace(-10, 1, 111)
"""Of the promised variance of noise: what is tried for the true one."""

_SMALLEST = 1e-9  # eigenvalues relative to the largest: below is rounding


@dataclass(frozen=True)
class Audit:
    """What came of it."""

    claimed: float
    delta: float
    against: str
    canaries: int
    sums: int
    refuted: Refuted

    @property
    def holds(self) -> bool:
        """Whether the claim was not refuted."""
        return self.refuted.lower <= self.claimed

    @property
    def words(self) -> tuple[str, ...]:
        """For a person."""
        found = self.refuted
        verdict = "which does not contradict the claim" if self.holds else "THE CLAIM IS FALSE: do not use this study"
        return (
            f"claimed epsilon: {self.claimed:.2f} at delta {self.delta:g}, against {self.against}",
            f"audited epsilon: at least {found.lower:.2f} with {CONFIDENCE:.0%} confidence, {verdict}",
            f"{found.right} of {found.guesses} guesses were right, about {self.canaries} canaries in {self.sums} sums",
        )

    def to_json(self) -> dict[str, Any]:
        """As on standard output with --json."""
        return {
            "claimed_epsilon": self.claimed,
            "delta": self.delta,
            "against": self.against,
            "audited_epsilon_at_least": round(self.refuted.lower, 6),
            "confidence": CONFIDENCE,
            "holds": self.holds,
            "canaries": self.canaries,
            "guesses": self.refuted.guesses,
            "right": self.refuted.right,
            "sums": self.sums,
        }


def audit(
    asked: Study,
    cohort: Cohort,
    canaries: int,
    seed: int,
    progress: Progress,
    coins: Callable[[int], bytes] = secrets.token_bytes,
) -> Audit:
    """Run the study with `canaries` made-up units, each in by a coin from the operating system.

    `seed` drives network and canaries, never coins or noise; only a test brings coins of its own. What sites learn by
    themselves is no sum, and not looked at: with `trust = "local"` the bound rests on the first counts alone. Raises
    NotPossible for a study without a claim, and for too few canaries.
    """
    if asked.budget.epsilon == float("inf"):
        raise NotPossible("a study without noise claims nothing that an audit could refute: give it an epsilon")
    if canaries < FEWEST:
        raise NotPossible(f"{canaries} canaries show nothing: take {FEWEST} or more; {CANARIES} is a sound choice")
    asked = replace(asked, evaluate=False)  # canaries are trained on, and held-out units are others
    made = fake_rows(resolve(asked, cohort.roster), np.random.default_rng(seed), canaries)
    taken = np.unpackbits(np.frombuffer(coins(canaries), np.uint8))[:canaries].astype(np.bool_)
    with TemporaryDirectory(prefix="silosynth-audit-") as folder:
        crowd = _Crowd({name: own.train for name, own in cohort.units.items()}, made, taken)
        study = _study(asked, crowd, Path(folder))
        heard = _overheard(study, crowd, Path(folder), seed, progress)
    scores = _scores(study, crowd, heard, progress)
    claim = prices(study, study.releases)
    price = claim.local if study.trust is Trust.LOCAL else claim.aggregate
    found = refuted(scores, taken, study.budget.delta)
    against = holds_against(study)["aggregate"]
    return Audit(price, study.budget.delta, against, canaries, len(heard), found)


@dataclass(frozen=True)
class _Crowd:
    """The sites' own units, and the canaries, spread over sites in turn."""

    others: Mapping[str, Units]
    canaries: Units
    taken: NDArray[np.bool_] = field(repr=False)

    def at(self, site: str) -> NDArray[np.bool_]:
        """Which canaries would be there, (canaries,)."""
        names = list(self.others)
        return np.asarray(np.arange(len(self.taken)) % len(names) == names.index(site))

    @property
    def units(self) -> dict[str, Units]:
        """What each site answers with: its own, and its canaries whose coins showed heads."""
        return {
            name: joined(own, _some(self.canaries, self.at(name) & self.taken)) for name, own in self.others.items()
        }

    @property
    def roster(self) -> tuple[Member, ...]:
        """Capacities hold all canaries, so that they do not tell of coins."""
        most = {name: len(own.owner) + int(self.at(name).sum()) for name, own in self.others.items()}
        slots = scale.MICRO_BATCH
        return tuple(Member(name, max(1, -(-rows // slots)) * slots) for name, rows in most.items())


def joined(first: Units, second: Units) -> Units:
    """All units of both; none of the second is one of the first."""
    after = int(first.owner.max(initial=-1)) + 1
    return Units(np.concatenate([first.codes, second.codes]), np.concatenate([first.owner, second.owner + after]))


def _some(units: Units, which: NDArray[np.bool_]) -> Units:
    return Units(units.codes[which], units.owner[which])


def _study(asked: Study, crowd: _Crowd, folder: Path) -> Study:
    study = resolve(asked, crowd.roster)
    if study.trust is Trust.SECURE_SUM:
        study = replace(study, roster=with_keys(folder, study.roster, Noise.SYSTEM, 0))
    return study


@dataclass(frozen=True)
class _Heard:
    """A sum over some sites, as the coordinator saw it."""

    sites: tuple[str, ...]
    step: Step
    parts: Parts
    total: Vector = field(repr=False)


class _Overheard:
    """Passes on to other Sites, and keeps every task and total: a coordinator that forgets nothing."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self.heard: list[_Heard] = []

    def total(self, study: Study, release: int, parts: Parts, attempts: Attempts) -> Total:
        """See coordinator.Sites."""
        found = self._sites.total(study, release, parts, attempts)
        everybody = tuple(member.name for member in study.roster)
        self.heard.append(_Heard(everybody, study.step_of(release), parts, found.vector))
        return found

    def each(self, study: Study, release: int, parts: Mapping[str, Parts]) -> Answers:
        """See coordinator.Sites. What a site has learnt is no sum."""
        found, step = self._sites.each(study, release, parts), study.step_of(release)
        if not step.within:
            self.heard += [_Heard((name,), step, parts[name], vector) for name, vector in found.vectors.items()]
        return found

    def settle(self, study: Study) -> Mapping[str, Signed]:
        """See coordinator.Sites."""
        return self._sites.settle(study)


def _overheard(study: Study, crowd: _Crowd, folder: Path, seed: int, progress: Progress) -> Sequence[_Heard]:
    homes = Homes(folder, study, Noise.SYSTEM, seed)
    units = {name: Parted.none_held_out(own) for name, own in crowd.units.items()}
    with homes.opened(units, progress) as sites, closing(Journal(folder, study, "audit")) as journal:
        grid = LocalGrid(client_app(lambda context: sites[int(context.node_config["partition-id"])]), len(sites))
        listening = _Overheard(GridSites(grid, progress, stop=threading.Event()))
        run(study, listening, journal, seed, progress)
    return listening.heard


def _scores(study: Study, crowd: _Crowd, heard: Sequence[_Heard], progress: Progress) -> Real:
    """How likely each canary was in, (canaries,), from all sums together.

    With a sum's other units and half of each canary subtracted, what is left is V^T (coin - 1/2) + noise, V being what
    each canary adds, (canaries, size). All sums together give V V^T and V (what is left), each over the noise promised.
    """
    many = len(crowd.taken)
    alike, seen = np.zeros((many, many)), np.zeros(many)
    half, codec = ENGINES[study.engine](study), CODECS[study.engine]
    for at, one in enumerate(heard):
        progress("audit", at, len(heard), one.step.kind)
        task, apart = codec.put_together(study, one.parts), Apart()
        half.answer(task, crowd.canaries, apart)
        added, noise = apart.added, apart.noise(one.step, study, len(one.sites))
        added[~np.any([crowd.at(name) for name in one.sites], axis=0)] = 0  # they never were in this sum
        rest = one.total - exact(half, task, {name: crowd.others[name] for name in one.sites}, study)
        alike += added @ added.T / noise
        seen += added @ (rest / apart.grid - added.sum(axis=0) / 2) / noise
    return guessed(alike, seen)


def guessed(alike: Real, seen: Real) -> Real:
    """The best linear guess of (coin - 1/2), (canaries,), from V V^T and V (what is left), both over promised noise.

    How much noise there really was is found by likelihood: along each eigenvector of V V^T, with eigenvalue l, what is
    seen has variance l^2 / 4 + part * l, because coins have variance 1/4. Trusting the promise would blind the audit to
    the very fault that it is for.
    """
    values, vectors = np.linalg.eigh(alike)
    kept = values > values.max(initial=0) * _SMALLEST
    values, along = values[kept], (vectors[:, kept].T @ seen)
    spreads = values**2 / 4 + _PARTS[:, None] * values
    part = _PARTS[np.argmin((np.log(spreads) + along**2 / spreads).sum(axis=1))]
    return np.asarray(vectors[:, kept] @ (along / (values + 4 * part)), np.float64)
