"""A study, as the coordinator sees it: ask, sum, learn, until the engine knows enough; then have each site sign."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from silosynth.common.arrays import Vector
from silosynth.common.engine import Each, Generator, Parts
from silosynth.common.engines import codec_of
from silosynth.common.evaluate.asked import Heard
from silosynth.common.progress import Progress
from silosynth.common.receipt import Signed
from silosynth.common.study import Study
from silosynth.server.certificate import Asked
from silosynth.server.engines import ENGINES
from silosynth.server.heldout import WholeStudy
from silosynth.server.journal import Journal


@dataclass(frozen=True)
class Total:
    """The sum of all sites' answers to one task, shape (size,), and what each site's ledger said after it."""

    vector: Vector = field(repr=False)
    receipts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Learnt:
    """What a study learnt: a generator, and about how many units it speaks for.

    `receipts`: what each site that answered in the end says it was charged, by its name.
    """

    generator: Generator
    units: float
    receipts: Mapping[str, Signed] = field(default_factory=dict)
    heard: Heard | None = None
    """What the held-out units said, where they were asked."""


@dataclass(frozen=True)
class Answers:
    """Each site's own answer, by its name, and what its ledger said after it: only where nobody is trusted."""

    vectors: Mapping[str, Vector] = field(repr=False)
    receipts: tuple[tuple[str, str], ...]


class Attempts(Protocol):
    """What is known, durably, of how often sites were asked for secure sums. The journal is one."""

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Every attempt so far, in order."""
        ...

    def ask(self, session: str, members: tuple[int, ...]) -> int:
        """Write down that the present release is about to be asked of `members`; the number of that attempt.

        `session`: its name. Raises QuorumLost where the study allows no more attempts.
        """
        ...


class Sites(Protocol):
    """All sites at once. Asked for a sum they give no answer of one site; with `trust = "local"` each speaks alone."""

    def total(self, study: Study, release: int, parts: Parts, attempts: Attempts) -> Total:
        """The sum over the roster, or where sums are secure over those of it who are left.

        Raises StudyRefused or QuorumLost; then nothing of the round is kept.
        """
        ...

    def each(self, study: Study, release: int, parts: Mapping[str, Parts]) -> Answers:
        """Each member's answer to its own task. Raises StudyRefused, QuorumLost, and ValueError under secure sums."""
        ...

    def settle(self, study: Study) -> Mapping[str, Signed]:
        """The receipt of every member that gives a valid one now; after it, it answers nothing more of the study."""
        ...


def run(study: Study, sites: Sites, journal: Journal, seed: int, progress: Progress) -> Learnt:
    """The generator learnt from `study.releases` sums; goes on after the last journaled one.

    A release that was asked but not journaled is asked again: in the same words, which sites answer with the same
    bytes, or where answers were masked, in a new session, as another attempt.
    `seed` drives sampling inside the engine, never noise. The receipts come last: asked for again, they are the same.
    """
    half = WholeStudy(study, ENGINES[study.engine](study, seed), seed)
    saved = journal.load()
    state = half.thaw(saved) if saved else half.start()
    while (task := half.next(state)) is not None:
        release = journal.releases
        step = study.step_of(release)
        kind, codec = step.kind, codec_of(study, step.part)
        progress(kind, release, study.releases)
        if isinstance(task, Each):
            heard = sites.each(study, release, {name: codec.take_apart(own) for name, own in task.tasks.items()})
            state = half.absorb_each(state, task.tasks, heard.vectors)
            total, receipts = np.concatenate([heard.vectors[name] for name in sorted(heard.vectors)]), heard.receipts
        else:
            summed = sites.total(study, release, codec.take_apart(task), journal)
            state = half.absorb(state, task, summed.vector)
            total, receipts = summed.vector, summed.receipts
        journal.save(kind, total, receipts, half.freeze(state))
    progress("fit", study.releases, study.releases)
    generator = half.finish(state)
    return Learnt(generator, half.units(state), sites.settle(study), half.heard(state))
