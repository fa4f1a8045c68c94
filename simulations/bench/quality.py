"""Quality on real tables, through the whole pipeline: real noise, gates and ledgers, in a folder that is thrown away.

A repetition changes everything that is random: partition, hold-out, first weights, sampling and, always, the noise.
Told is the mean over repetitions with its 95 % interval (Student's t), between floor and ceiling (common/evaluate).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.simulations.bench import tables
from silosynth.simulations.bench.measure import Phases
from silosynth.simulations.bench.results import Row
from silosynth.simulations.bench.tables import Case
from silosynth.simulations.local import simulate
from silosynth.simulations.repeats import mean

BARS: Final[Mapping[float, Mapping[str, float]]] = {
    1.0: {"tstr_auc_gb": 0.905, "pair_trends": 0.97, "tvd2": 0.030},
    10.0: {"tstr_auc_gb": 0.914, "tvd2": 0.017},
}
"""What Adult must reach, by epsilon."""

TRAIN_BAR_S: Final = 60.0
SCORES: Final = ("tstr_auc_gb", "pair_trends", "tvd2", "tvd3", "column_shapes", "detection_auc", "tstr_signal_kept")
METHOD: Final = "mean over seeds, 95 % t-interval"

_NOT_TRAINING: Final = ("read", "sample", "evaluate")


@dataclass(frozen=True)
class Repetition:
    """What one study scored (as in metrics.json) and cost."""

    scores: Mapping[str, Mapping[str, Any]] = field(repr=False)
    train_cpu_s: float


@dataclass(frozen=True)
class Repeated:
    """The same question, asked once a seed."""

    bench: str
    title: str
    seeds: tuple[int, ...]
    repetitions: Sequence[Repetition] = field(repr=False)

    def row(self, score: str, bar: float | None = None) -> Row:
        """A score over all repetitions; a row without value where one of them lacks it."""
        name, found = f"{self.title}: {score}", [one.scores.get(score) for one in self.repetitions]
        known = [one for one in found if one is not None]
        if len(known) < len(self.repetitions):
            return Row(self.bench, name, None, "score", note="not measured in every repetition", seeds=self.seeds)
        values = tuple(float(one["value"]) for one in known)
        summed = mean(values)
        floor, ceiling = (
            None if any(one[side] is None for one in known) else mean([one[side] for one in known]).value
            for side in ("floor", "ceiling")
        )
        return Row(
            self.bench,
            name,
            summed.value,
            "score",
            interval=summed.interval,
            method=METHOD,
            better=known[0]["better"],
            deviation=summed.deviation,
            floor=floor,
            ceiling=ceiling,
            bar=bar,
            seeds=self.seeds,
            by_seed=values,
        )

    def train_row(self, bar: float | None = None) -> Row:
        """CPU seconds of training, all sites and the coordinator together."""
        values = tuple(one.train_cpu_s for one in self.repetitions)
        summed = mean(values)
        return Row(
            self.bench,
            f"{self.title}: training, CPU",
            summed.value,
            "s",
            interval=summed.interval,
            method=METHOD,
            better="lower",
            deviation=summed.deviation,
            bar=bar,
            seeds=self.seeds,
            by_seed=values,
        )


def adult(seeds: tuple[int, ...], progress: Progress) -> Iterator[Row]:
    """Adult, five sites by Dirichlet .5 on the label, at epsilon 1 and 10."""
    for epsilon, bars in BARS.items():
        asked = repeated("adult", f"epsilon {epsilon:g}", _at(tables.adult, epsilon), seeds, progress)
        if asked is None:
            yield absent("adult")
            return
        for score in SCORES:
            yield asked.row(score, bars.get(score))
        yield asked.train_row(TRAIN_BAR_S)


def randhie(
    seeds: tuple[int, ...], progress: Progress, targets: tuple[str, ...] = ("visit", "inpatient")
) -> Iterator[Row]:
    """The demo's six real sites at epsilon 1, once a target."""
    for target in targets:

        def case(seed: int, target: str = target) -> Case | None:
            return tables.randhie(seed, target)

        yield from _signal("randhie", f"{target}, epsilon 1", case, seeds, progress)


def ist(seeds: tuple[int, ...], progress: Progress) -> Iterator[Row]:
    """The International Stroke Trial by country, death within six months, at epsilon 1."""
    yield from _signal("ist", "DIED, epsilon 1", tables.ist, seeds, progress)


def _signal(
    bench: str, title: str, case: Callable[[int], Case | None], seeds: tuple[int, ...], progress: Progress
) -> Iterator[Row]:
    asked = repeated(bench, title, case, seeds, progress)
    if asked is None:
        yield absent(bench)
        return
    for score in SCORES:
        yield asked.row(score)
    yield asked.train_row()


def repeated(
    bench: str, title: str, case: Callable[[int], Case | None], seeds: tuple[int, ...], progress: Progress
) -> Repeated | None:
    """A study a seed; None where the table is not there."""
    found = []
    for seed in seeds:
        given = case(seed)
        if given is None:
            return None
        with TemporaryDirectory() as folder:
            phases = Phases(progress)
            result = simulate(
                given.study,
                given.sites,
                out=Path(folder) / "study",
                seed=seed,
                holdout=given.holdout,
                allow_gaps=True,  # known tables: a site of randhie lacks a column
                progress=phases,
            )
            phases.stop()
            found.append(Repetition(result.metrics["scores"], training(phases)))
    return Repeated(bench, title, seeds, found)


def training(phases: Phases) -> float:
    """CPU seconds from the opened sites to the fitted generator."""
    return sum(spent for phase, spent in phases.cpu_s.items() if phase not in _NOT_TRAINING)


def with_epsilon(study: Study, epsilon: float) -> Study:
    """The same study at another epsilon."""
    return replace(study, budget=replace(study.budget, epsilon=epsilon))


def absent(bench: str) -> Row:
    """What stands for a table that is not there."""
    return Row(bench, bench, None, "score", note="data not present: set SILOSYNTH_DATA to the folder of public tables")


def _at(case: Callable[[int], Case | None], epsilon: float) -> Callable[[int], Case | None]:
    def given(seed: int) -> Case | None:
        found = case(seed)
        return found and replace(found, study=with_epsilon(found.study, epsilon))

    return given
