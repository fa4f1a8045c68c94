"""The time of a round between institutions, and what its processes need, beside an app on Flower as it comes.

Ours is all of a secure sum of gradients, one trip of about 30,000 parameters: the SuperLink behind TLS, signed nodes,
masks, noise, ledgers on disk, and what the coordinator does between two sums. Flower's app sends as many numbers there
and back, in clear, and does nothing with them. Both run on the loopback address, one after the other.

Wall-clock seconds mean something on a machine that has nothing else to do; the CPU seconds beside them say how much of
one was there to be had.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from silosynth.common.progress import Progress
from silosynth.simulations.bench.deployed import Found, deployed_rounds
from silosynth.simulations.bench.measure import ranged
from silosynth.simulations.bench.processes import Broken
from silosynth.simulations.bench.results import Row
from silosynth.simulations.bench.stock import stock_rounds

BARS_S: Final[Mapping[int, float]] = {3: 1.5, 10: 3.0}
"""Of a round, by number of sites."""

STUDY_BAR_S: Final = 180.0
"""Of a study of 50 sums over three sites."""

LENGTHS: Final[Mapping[int, int]] = {3: 48, 10: 15}
"""Sums of gradients, by number of sites; with two counts, 50 sums of three."""

_STOCK_ROUNDS: Final = 5
_FLOWER: Final = "Flower as it comes"


def rounds(
    progress: Progress, bars_s: Mapping[int, float] = BARS_S, lengths: Mapping[int, int] = LENGTHS
) -> Iterator[Row]:
    """Seconds of a round by number of sites, how many times longer Flower's takes, and memory of each process."""
    for sites, bar_s in bars_s.items():
        with TemporaryDirectory() as folder:
            try:
                ours = deployed_rounds(sites, lengths[sites], Path(folder) / "ours", progress)
                theirs = stock_rounds(sites, ours.parameters, _STOCK_ROUNDS, Path(folder) / "stock", progress)
            except Broken as error:
                yield Row("rounds", f"{sites} sites", None, "s", note=str(error))
                continue
        yield from rows(sites, bar_s, ours, theirs)


def rows(sites: int, bar_s: float, ours: Found, theirs: list[float]) -> Iterator[Row]:
    """What was found of so many sites."""
    title = f"{sites} sites, {ours.parameters} parameters"
    took, stock = ranged(ours.rounds_s), ranged(theirs)
    method = f"wall, median and range of {len(ours.rounds_s)} rounds"
    yield Row("rounds", title, took.value, "s", took.interval, method, "lower", bar=bar_s)
    method = f"wall, median and range of {len(theirs)} rounds"
    yield Row("rounds", f"{title}: {_FLOWER}", stock.value, "s", stock.interval, method)
    yield Row("rounds", f"{title}: {_FLOWER} / ours", stock.value / took.value, "x", method="medians")
    answers = ranged(ours.agents_s)
    yield Row("rounds", f"{title}: an agent's answer", answers.value, "s", answers.interval, "wall, median and range")
    for kind, spent in ours.cpu_s.items():
        yield Row("rounds", f"{title}: {kind}", spent, "CPU s", method="mean of a round, of all sites", better="lower")
    yield Row("rounds", f"{title}: an answer", ours.upload / 1e3, "kB", method="bytes from agent to relay")
    for kind, most in ours.memory_mb.items():
        yield Row("rounds", f"{title}: {kind}", most, "MB", method="most resident, of any such process", better="lower")
    sums = len(ours.rounds_s) + 2
    bar = STUDY_BAR_S if sites == min(BARS_S) and len(ours.rounds_s) == LENGTHS[sites] else None
    yield Row(
        "rounds", f"{sites} sites: study of {sums} sums", ours.whole_s, "s", method="wall", better="lower", bar=bar
    )
