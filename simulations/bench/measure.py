"""How time is taken.

Contestants run in turns (A B A B ...), so that a machine that slows down slows all of them down; a ratio is taken
within each turn, and the median over turns is reported with the smallest and the largest. CPU seconds are those of this
process, in which numerical libraries have one thread.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from silosynth.common.progress import Progress


@dataclass(frozen=True)
class Spread:
    """A number in the middle and the two that frame it."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """The frame."""
        return self.low, self.high


@dataclass(frozen=True)
class Timings:
    """Seconds of each turn."""

    cpu_s: tuple[float, ...]
    wall_s: tuple[float, ...]


def interleaved(contestants: Mapping[str, Callable[[], object]], turns: int) -> Mapping[str, Timings]:
    """Seconds of each contestant in each turn. One turn before the first is not counted: it fills caches."""
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(-1, turns):
        for name, run in contestants.items():
            began = time.process_time(), time.perf_counter()
            run()
            if turn >= 0:
                cpu[name].append(time.process_time() - began[0])
                wall[name].append(time.perf_counter() - began[1])
    return {name: Timings(tuple(cpu[name]), tuple(wall[name])) for name in contestants}


def ranged(values: Sequence[float]) -> Spread:
    """Median, smallest and largest."""
    return Spread(float(np.median(values)), min(values), max(values))


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Of two contestants' seconds, turn by turn: how many times longer the first took."""
    return ranged([one / other for one, other in zip(over, under, strict=True)])


@dataclass
class Phases:
    """A Progress that takes the time of each phase, and passes on what it hears."""

    onwards: Progress
    cpu_s: dict[str, float] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)
    _phase: str = ""
    _since: tuple[float, float] = (0.0, 0.0)

    def __call__(self, phase: str, done: int, of: int, note: str = "") -> None:
        """See Progress. A phase lasts until another one is heard of, or `stop`."""
        if phase != self._phase:
            self.stop()
            self._phase, self._since = phase, (time.process_time(), time.perf_counter())
        self.onwards(phase, done, of, note)

    def stop(self) -> None:
        """The last phase is over."""
        if self._phase:
            cpu, wall = time.process_time() - self._since[0], time.perf_counter() - self._since[1]
            self.cpu_s[self._phase] = self.cpu_s.get(self._phase, 0.0) + cpu
            self.wall_s[self._phase] = self.wall_s.get(self._phase, 0.0) + wall
        self._phase = ""
