"""A study, as the coordinator sees it: ask, sum, learn, until the engine knows enough."""

from dataclasses import dataclass, field
from typing import Protocol

from silosynth.common.arrays import Vector
from silosynth.common.engine import Generator, Parts
from silosynth.common.engines import CODECS
from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.server.engines import ENGINES
from silosynth.server.journal import Journal


@dataclass(frozen=True)
class Total:
    """The sum of all sites' answers to one task, shape (size,), and what each site's ledger said after it."""

    vector: Vector = field(repr=False)
    receipts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Learnt:
    """What a study learnt: a generator, and about how many units it speaks for."""

    generator: Generator
    units: float


class Sites(Protocol):
    """All sites at once. What can be asked of them is a sum over all of them, never one site's answer."""

    def total(self, study: Study, release: int, parts: Parts) -> Total:
        """The sum over the whole roster. Raises StudyRefused or QuorumLost; then nothing of the round is kept."""
        ...


def run(study: Study, sites: Sites, journal: Journal, seed: int, progress: Progress) -> Learnt:
    """The generator learnt from `study.releases` sums; goes on after the last journaled one.

    A release that was asked but not journaled is asked again in the same words: sites answer it with the same bytes.
    `seed` drives sampling inside the engine, never noise.
    """
    half, codec = ENGINES[study.engine](study, seed), CODECS[study.engine]
    saved = journal.load()
    state = half.thaw(saved) if saved else half.start()
    while (task := half.next(state)) is not None:
        release = journal.releases
        kind = study.step_of(release).kind
        progress(kind, release, study.releases)
        total = sites.total(study, release, codec.take_apart(task))
        state = half.absorb(state, task, total.vector)
        journal.save(kind, total.vector, total.receipts, half.freeze(state))
    progress("fit", study.releases, study.releases)
    return Learnt(half.finish(state), half.units(state))
