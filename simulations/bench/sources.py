"""Where an engine's error comes from: the same study with the noise of one kind of sum left out at a time.

    python -m silosynth.simulations.bench sources [--tables TABLE ...] [--engine NAME] [--epsilon EPSILON] [--seeds N]

The coordinator is told the plan's noise throughout, so it makes the same choices as ever; what is left out is noise
alone. `bins` is no engine at all: real rows, each value drawn anew within its bin; `nothing left out` is the engine as
it is; the ceiling is what the luck of sampling leaves of a perfect generator.
"""

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch

from silosynth.client.engines import ENGINES as SITE_HALVES
from silosynth.client.mechanism import Metered, open_noised
from silosynth.common.arrays import Codes, Vector
from silosynth.common.engine import Units
from silosynth.common.engines import CODECS
from silosynth.common.engines.sampling import fine_cells
from silosynth.common.errors import InvalidInput
from silosynth.common.plan import resolve
from silosynth.common.progress import silent
from silosynth.common.study import Study
from silosynth.server.engines import ENGINES as COORDINATOR_HALVES
from silosynth.simulations.bench.cases import case
from silosynth.simulations.bench.scoring import Yardstick, signal_kept
from silosynth.simulations.chosen import chosen
from silosynth.simulations.cohort import Cohort, gather
from silosynth.simulations.noiseless import SeededNoise, ZeroNoise
from silosynth.simulations.repeats import mean

TABLES: Final = ("adult", "ist", "credit_default", "sdnist", "diabetes130")
NOTHING, ALL, BINS, CEILING = "nothing left out", "all noise", "bins", "ceiling"


@dataclass(frozen=True)
class Played:
    """One study, sum by sum, from all sites' rows."""

    study: Study
    cohort: Cohort = field(repr=False)
    seed: int

    def codes(self, without: Collection[str]) -> Codes:
        """Synthetic rows of the engine, with no noise in sums of these kinds."""
        half, state = self._played(without, stop=None)
        rows = len(self.cohort.train.frame)
        found: Codes = half.finish(state).sample(rows, np.random.default_rng(self.seed))
        return found

    def binned(self) -> Codes:
        """Real rows whose values are drawn anew within their bins."""
        _, state = self._played((), stop=1)
        prepared, rng = state.prepared, np.random.default_rng(self.seed)
        codes = np.concatenate([own.train.codes for own in self.cohort.units.values()])
        drawn = [
            fine_cells(maps[codes[:, at]], maps, within, rng)
            for at, (maps, within) in enumerate(zip(prepared.coarsening.arrays, prepared.within, strict=True))
        ]
        return np.stack(drawn, axis=1).astype(np.int32)

    def _played(self, without: Collection[str], stop: int | None) -> tuple[Any, Any]:
        study, codec = self.study, CODECS[self.study.engine]
        half, site = COORDINATOR_HALVES[study.engine](study, self.seed), SITE_HALVES[study.engine](study)
        state, done = half.start(), 0
        while done != stop and (task := half.next(state)) is not None:
            kind = codec.take_apart(task).kind
            quiet = kind in without or ALL in without
            answers = [
                self._answer(site, task, name, own.train, done, quiet=quiet) for name, own in self.cohort.units.items()
            ]
            state, done = half.absorb(state, task, np.sum(answers, axis=0)), done + 1
        return half, state

    def _answer(self, site: Any, task: Any, name: str, units: Units, release: int, *, quiet: bool) -> Vector:
        capacity = next(member.capacity for member in self.study.roster if member.name == name)
        mechanism = Metered(
            ZeroNoise() if quiet else SeededNoise(self.seed, name),
            release.to_bytes(4),
            shares=self.study.shares,
            capacity=capacity,
            max_rows_per_unit=self.study.most_rows_of_a_unit,
        )
        return open_noised(site.answer(task, units, mechanism), mechanism, site.claim(task).size)


def measured(table: str, engine: str, epsilon: float, seed: int) -> Mapping[str, Mapping[str, float]]:
    """AUC, signal kept and distances for everything that may be left out. Raises InvalidInput without the table."""
    given = case(table, seed)
    if given is None:
        raise InvalidInput(f"{table}: its rows are not here; set SILOSYNTH_DATA to the folder of public tables")
    cohort = gather(given.study, given.sites, given.holdout, seed, silent)
    cohort = replace(cohort, train=cohort.train.one_each(seed), holdout=cohort.holdout.one_each(seed))
    asked = chosen(replace(given.study, evaluate=False), engine=engine, epsilon=epsilon)[0]
    study = resolve(asked, cohort.roster)
    played = Played(study, cohort, seed)
    yardstick = Yardstick(study, cohort.train.frame, cohort.holdout.frame, seed)
    ceiling = yardstick.frame()["ceiling"]
    kinds = [step.kind for step in study.plan]
    made = {BINS: played.binned(), ALL: played.codes((ALL,))}
    made |= {kind: played.codes((kind,)) for kind in kinds} | {NOTHING: played.codes(())}
    rng = np.random.default_rng(seed)
    found = {CEILING: ceiling} | {
        name: yardstick.scores(study.schema.decode(codes, rng)) for name, codes in made.items()
    }
    for scores in found.values():
        scores["kept"] = signal_kept(scores["auc"], ceiling["auc"])
    return found


def as_markdown(table: str, found: Sequence[Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """One table of means over seeds."""
    yield f"### {table}\n"
    yield "| without | signal kept | 1-way | 2-way | 3-way |"
    yield "| --- | --- | --- | --- | --- |"
    for name in found[0]:
        cells = [mean([one[name][score] for one in found]).value for score in ("kept", "tvd1", "tvd2", "tvd3")]
        yield f"| {name} | {cells[0]:.3f} | " + " | ".join(f"{cell:.4f}" for cell in cells[1:]) + " |"
    yield ""


def main(arguments: Sequence[str]) -> int:
    """Print a table for each."""
    parser = argparse.ArgumentParser("bench sources", description=__doc__)
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--engine", default="marginals", choices=sorted(CODECS))
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for table in asked.tables:
        found = [measured(table, asked.engine, asked.epsilon, seed) for seed in range(asked.seeds)]
        print("\n".join(as_markdown(table, found)), flush=True)
    return 0
