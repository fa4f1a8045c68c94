"""What masks cost a whole study: the demo with secure sums, and with the same sums unmasked, turn by turn."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from silosynth.common.progress import Progress
from silosynth.simulations import demo
from silosynth.simulations.bench.measure import interleaved, ranged, ratio
from silosynth.simulations.bench.results import Row
from silosynth.simulations.chosen import chosen
from silosynth.simulations.cohort import gather
from silosynth.simulations.local import How, run

BAR: Final = 1.2
"""How many times longer the demo may take with masks."""

_MASKED, _PLAIN = "masked", "plain"


def masks(seeds: tuple[int, ...], progress: Progress) -> Iterator[Row]:
    """CPU seconds of a network learnt on the demo, keys and sessions included, scores not; one turn for each seed."""
    asked, turn = chosen(demo.study(), engine="autoregressive")[0], count()  # many sums, so that masks have work
    cohort = gather(asked, demo.sites(), None, seeds[0], progress)
    with TemporaryDirectory() as folder:

        def study(*, plain: bool) -> None:
            how = How(Path(folder) / str(next(turn)), seeds[0], evaluate=False, allow_gaps=True, plain_sums=plain)
            run(asked, cohort, how, progress)

        contestants: dict[str, Callable[[], object]] = {
            _MASKED: partial(study, plain=False),
            _PLAIN: partial(study, plain=True),
        }
        took = interleaved(contestants, len(seeds))
    method = f"median and range of {len(seeds)} interleaved turns, one process"
    for name in contestants:
        spent = ranged(took[name].cpu_s)
        yield Row("masks", f"demo, {name}, CPU", spent.value, "s", spent.interval, method, "lower", seeds=seeds[:1])
    for clock in ("CPU", "wall"):
        timings = [took[name].cpu_s if clock == "CPU" else took[name].wall_s for name in contestants]
        times = ratio(*timings)
        bar = BAR if clock == "CPU" else None
        yield Row("masks", f"demo, masked / plain, {clock}", times.value, "x", times.interval, method, "lower", bar=bar)
