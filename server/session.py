"""One study's secure sums, as its coordinator runs them: sessions with all members, and in them sums over those left.

Rules:
  O1  a session is opened with every member of the roster or not at all; who does not confirm it is left out of sums;
  O2  an attempt is written down before anybody is asked: each site may pay for it, whatever comes back;
  O3  a site that does not answer in time, or says no, is left out: the others are asked again, at the price of another
      release. It stays out until there is a new session, because each time it drops out all the others pay;
  O4  a site that has lost its session (it was restarted) costs a new session with all, and the release another attempt;
  O5  below the threshold the study stops, and says what was spent.

Why a session takes all, and what each side checks: common/secagg/site.py, common/secagg/coordinator.py.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.common.engines import codec_of
from silosynth.common.errors import MalformedFrame, QuorumLost, StudyRefused
from silosynth.common.progress import Progress
from silosynth.common.secagg.coordinator import CoordinatorSession, Tally
from silosynth.common.secagg.faults import NO_SESSION, SumRefused
from silosynth.common.secagg.messages import transcript_hash
from silosynth.common.secagg_study import agreement, round_of
from silosynth.common.study import Study
from silosynth.common.wire import Phase
from silosynth.server.carrier import Carrier, Heard
from silosynth.server.certificate import Asked, prices
from silosynth.server.coordinator import Attempts, Total

SESSION: Final = "session"
"""The phase that progress is told while a session is opened."""

_NONCE: Final = bytes(wire.NONCE_BYTES)  # the carrier's business
_STEPS: Final = 3  # of a session: to open, to join, to confirm
_TRIES: Final = 2  # of each step of a session: to say it again costs nobody anything, and a site says the same


class _SessionLostError(Exception):
    """A site does not hold the session: it was restarted."""


class SecureSums:
    """Totals of one masked study. What must outlive the process is in `Attempts`; a new process opens a new session."""

    def __init__(self, study: Study, carrier: Carrier, progress: Progress) -> None:
        self._study = study
        self._carrier = carrier
        self._progress = progress
        self._agreement = agreement(study)
        self._names: Final = [member.name for member in study.roster]
        self._session: CoordinatorSession | None = None
        self._left: tuple[int, ...] = ()

    def total(self, release: int, parts: Parts, attempts: Attempts) -> Total:
        """The sum over the sites that are left, and their receipts. Raises StudyRefused, QuorumLost."""
        codec = codec_of(self._study, self._study.step_of(release).part)
        size = codec.answer_size(self._study, codec.put_together(self._study, parts))
        request = wire.Request(self._study.digest, release, 0, _NONCE, parts)
        for _ in range(self._study.attempts):
            try:
                return self._in_session(self._session or self._opened(), request, size, attempts)
            except _SessionLostError:
                self._session = None  # O4
        raise QuorumLost(
            f"release {release}: sites were restarted again and again, each time at the price of all that is left of "
            "the study. Find out why, and resume it"
        )

    def _in_session(self, session: CoordinatorSession, request: wire.Request, size: int, attempts: Attempts) -> Total:
        """A release in one session, attempt after attempt."""
        tally: Tally | None = None
        while True:
            attempt = attempts.ask(transcript_hash(session.transcript).hex(), self._left)  # O2
            request = replace(request, attempt=attempt, members=self._left)
            tally = tally or session.tally(round_of(self._study, request, size))
            names = [self._names[site] for site in self._left]
            told = telling(self._progress, self._study, request.release, len(names), attempts.asked)
            heard = self._carrier.ask(dict.fromkeys(names, request), told)
            for reply in heard.values():
                _count(tally, reply)
            if not tally.missing:
                return Total(tally.total(), tuple(sorted((name, reply.receipt) for name, reply in heard.items())))
            refusals = [(name, reply.refusal) for name, reply in heard.items() if reply.refusal is not None]
            _check_session_is_held(refusals)
            try:
                self._left = tally.retry().members  # O3
            except QuorumLost as lost:  # O5
                raise (StudyRefused(refusals) if refusals else lost) from lost

    def _opened(self) -> CoordinatorSession:
        """A new session, in three trips (O1)."""
        session = CoordinatorSession(self._agreement)
        for said in self._trip(Phase.OPEN, b"").values():
            _take(session.open, said)
        transcript = self._of_all(session, lambda: session.transcript)
        for said in self._trip(Phase.JOIN, transcript).values():
            _take(session.acknowledge, said)
        confirmation = self._of_all(session, lambda: session.confirmation)
        self._left = tuple(self._names.index(name) for name in self._trip(Phase.CONFIRM, confirmation))
        least = self._agreement.roster.threshold
        if len(self._left) < least:
            raise QuorumLost(
                f"{len(self._left)} of at least {least} sites confirmed the session of secure sums: nothing was asked. "
                "Resume the study when they are back"
            )
        self._session = session
        return session

    def _trip(self, phase: Phase, frame: bytes) -> Mapping[str, bytes]:
        """What each site said to a step of a session, by name, in the order of the roster. Raises StudyRefused."""

        def heard(count: int) -> None:
            note = f"{phase.name.lower()}: {count} of {len(self._names)} sites answered"
            self._progress(SESSION, phase - Phase.OPEN, _STEPS, note)

        asked = wire.SessionRequest(self._study.digest, phase, _NONCE, frame)
        said: dict[str, wire.SessionReply] = {}
        for _ in range(_TRIES):
            if absent := [name for name in self._names if name not in said]:
                said |= self._carrier.agree(dict.fromkeys(absent, asked), heard)
        refusals = [(name, reply.refusal) for name, reply in said.items() if reply.refusal is not None]
        _check_session_is_held(refusals)
        if refusals:
            raise StudyRefused(refusals)
        frames = {name: said[name].frame for name in self._names if name in said}
        return {name: given for name, given in frames.items() if given is not None}

    def _of_all(self, session: CoordinatorSession, bundle: Callable[[], bytes]) -> bytes:
        """What is made of a frame of every member. Raises QuorumLost where one is missing."""
        try:
            return bundle()
        except SumRefused as incomplete:
            absent = ", ".join(self._names[site] for site in session.missing)
            raise QuorumLost(
                f"no valid answer from {absent}, and a session of secure sums takes every site of the roster. Resume "
                "the study when they are back: what was summed is kept"
            ) from incomplete


def telling(progress: Progress, study: Study, release: int, sites: int, asked: Sequence[Asked] = ()) -> Heard:
    """Tells `progress` how many of so many sites have answered a release, and what was spent before it."""
    before = [one for one in asked if one.release < release]
    note = "NO PRIVACY"
    if not any(step.noiseless for step in study.plan):
        spent = prices(study, release, before).aggregate if release else 0.0
        note = f"epsilon {spent:.2f} of {study.budget.epsilon:g} spent"

    def heard(count: int) -> None:
        progress(study.step_of(release).kind, release, study.releases, f"{count} of {sites} sites answered; {note}")

    return heard


def _check_session_is_held(refusals: Sequence[tuple[str, str]]) -> None:
    if any(reason == NO_SESSION for _, reason in refusals):
        raise _SessionLostError


def _count(tally: Tally, reply: wire.Reply) -> None:
    """A masked answer into its sum; one that breaks a rule is as none."""
    if reply.masked is not None:
        with suppress(SumRefused, MalformedFrame):
            tally.accept(reply.masked)


def _take(take: Callable[[bytes], object], frame: bytes) -> None:
    """A frame into its session; one that breaks a rule is as none."""
    with suppress(SumRefused, MalformedFrame):
        take(frame)
