"""Runs a study between institutions: `coordinator study launch`, and `resume` after whatever ended it before.

The process may be killed at any point: what sites were asked and what came of it is in the journal, so that going on
costs nothing for a release whose sums are there, and for the one under way no more than the attempt that the journal
says was begun. The SuperLink may be killed, too: the line to it is made again.
"""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Final

from silosynth.common.errors import InvalidInput, SilosynthError, StudyRefused
from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.server.carrier import Patience
from silosynth.server.certificate import Noise, prices
from silosynth.server.coordinator import run
from silosynth.server.enrol import node_keys
from silosynth.server.home import CoordinatorHome, Settings, enrolled, held, read_secret
from silosynth.server.installed import code_digest
from silosynth.server.journal import Journal
from silosynth.server.line import Line
from silosynth.server.nodes import Keys
from silosynth.server.sites import GridSites
from silosynth.server.studies import State, Status, StudyFolder, Teller
from silosynth.server.superlink import Access, Control

_PULL_S, _AGAIN_S = 0.02, 2.0


class Stopped(SilosynthError):
    """Somebody stopped the study."""


@dataclass(frozen=True)
class Launch:
    """A study in its folder, and where its coordinator is."""

    home: CoordinatorHome
    settings: Settings
    folder: StudyFolder

    def begin(self, seed: int, progress: Progress) -> Status:
        """Run a study that was never launched. `seed` drives sampling, never noise. Raises as `resume` does."""
        if self.folder.status_file.exists():
            state = self.folder.status().state
            raise InvalidInput(f"{self.folder.name}: was launched before, and is {state}; `resume` goes on with it")
        return self._run(Status(self.folder.study().digest, State.RUNNING, seed, round(time.time(), 3)), progress)

    def resume(self, progress: Progress) -> Status:
        """Go on with a study from its journal, and publish it.

        Raises StudyRefused, QuorumLost, Stopped, Unreachable, InvalidInput. What was spent until then is in its status.
        """
        if not self.folder.status_file.exists():
            raise InvalidInput(f"{self.folder.name}: was never launched; `launch` begins it")
        status = self.folder.status()
        if status.state in (State.RUNNING, State.FINISHED):
            raise InvalidInput(f"{self.folder.name}: is {status.state}")
        return self._run(status, progress)

    def stop(self) -> None:
        """Have the process that runs the study end within a round. Raises InvalidInput, Unreachable."""
        status = self.folder.status()
        if status.state is not State.RUNNING:
            raise InvalidInput(f"{self.folder.name}: does not run, it is {status.state}")
        control = Control(self._access())
        try:
            control.stop(status.run)
        finally:
            control.close()

    def _run(self, status: Status, progress: Progress) -> Status:
        study = self.folder.study()
        self._check(study, status)
        with held(self.folder.lock, wait=False) as alone:
            if not alone:
                raise InvalidInput(f"{self.folder.name}: another process runs it")
            teller = Teller(self.folder, _renewed(status, study))
            journal = Journal(self.folder.path, study, f"{Noise.SYSTEM}; seed {status.seed}")

            def both(phase: str, done: int, of: int, note: str = "") -> None:
                teller.progress(phase, done, of, note)
                progress(phase, done, of, note)

            try:
                self._learn_and_publish(study, journal, teller, both)
            except StudyRefused as error:
                teller.tell(state=State.REFUSED, cause=str(error), **spent(study, journal))
                raise
            except Stopped as error:
                teller.tell(state=State.STOPPED, cause=str(error), **spent(study, journal))
                raise
            except SilosynthError as error:
                teller.tell(state=State.FAILED, cause=str(error), **spent(study, journal))
                raise
            teller.tell(state=State.FINISHED, releases=study.releases, note="", **spent(study, journal))
            return teller.status

    def _learn_and_publish(self, study: Study, journal: Journal, teller: Teller, progress: Progress) -> None:
        seed, began = teller.status.seed, time.monotonic()
        fresh = not journal.releases
        left_s = teller.status.began + self.settings.study_s - time.time()
        patience = Patience(self.settings.roll_call_s, self.settings.round_s, left_s, _PULL_S, _AGAIN_S)
        with _stopping() as stop:
            line = Line(
                self._access(),
                lambda: held(self.home.run / "begin.lock", wait=True),
                stop,
                lambda number: teller.tell(run=number),
            )
            well = False
            try:
                register = Keys(
                    line, node_keys({member.name: enrolled(self.home)[member.name] for member in study.roster})
                )
                learnt = run(study, GridSites(line, progress, patience, stop, register), journal, seed, progress)
                well = True
            except SilosynthError as error:
                if stop.is_set():
                    raise Stopped("the study was stopped; `resume` goes on with it") from error
                raise
            finally:
                line.finish(well=well)
        from silosynth.server.product import Product, publish  # noqa: PLC0415  # tables: seconds that sites need not wait

        seconds = time.monotonic() - began if fresh else sum(entry.seconds for entry in journal.entries)
        product = Product(study, learnt, journal.entries, journal.asked, Noise.SYSTEM, seconds, None)
        publish(self.folder.path, product, seed, progress)
        journal.close()

    def _check(self, study: Study, status: Status) -> None:
        """Raise InvalidInput where anything is no longer as it was proposed, Unreachable where nothing can be asked."""
        if study.digest != status.study:
            raise InvalidInput(f"{self.folder.file}: was changed after the study was launched; put it back as it was")
        if study.code != code_digest():
            raise InvalidInput(
                f"{self.folder.file}: was proposed with other software than is installed here; install that version, "
                "or propose the study again"
            )
        sites = enrolled(self.home)
        for member in study.roster:
            site = sites.get(member.name)
            if site is None or (site.agent, site.officer) != (member.key, member.officer):
                raise InvalidInput(f"{member.name}: is not enrolled any more with the keys of this study's roster")
        if time.time() > status.began + self.settings.study_s:
            raise InvalidInput(f"{self.folder.name}: its deadline has passed; raise `study_s` in coordinator.toml")
        control = Control(self._access())
        try:
            control.nodes()
        finally:
            control.close()

    def _access(self) -> Access:
        return Access(self.settings.loopback_port, read_secret(self.home))


def spent(study: Study, journal: Journal) -> dict[str, object]:
    """What a study has cost at most, for its Status. A sum that was under way counts: sites may have paid for it."""
    done = journal.releases
    begun = done if study.masked or done == study.releases else done + 1
    cost = prices(study, begun, journal.asked)
    words = (
        f"{done} of {study.releases} sums were learnt from. At most this was spent, at delta {study.budget.delta:g}: "
        f"epsilon {cost.aggregate:.3g} of {study.budget.epsilon:g} against who sees totals, {cost.local:.3g} against "
        "the coordinator and all other sites together. Each site's ledger keeps its own account"
    )
    bounds = {"epsilon": cost.aggregate, "epsilon_local": cost.local}
    return {"spent": words} | {name: value if math.isfinite(value) else None for name, value in bounds.items()}


def _renewed(status: Status, study: Study) -> Status:
    """As it was, but running; what it spent so far still counts."""
    return replace(
        status, study=study.digest, state=State.RUNNING, run=0, phase="", note="", of=study.releases, spent="", cause=""
    )


_ENDS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, where this thread may hear them."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def leave(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, leave) for number in _ENDS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
