"""The GAN engine: sums of all sites, a discriminator at each, and the average of those as a naive federation has it.

Adult on five sites that are unlike (tables.adult_unlike): the same rows, hold-out and epsilon for all three. To average
discriminators is to train one on the mixture of what they have seen and unseen: it is here to be compared with, and no
part of the engine.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd

from silosynth.client.app import client_app
from silosynth.common.engine import Each
from silosynth.common.engines.gan import take_apart
from silosynth.common.evaluate import evaluate
from silosynth.common.plan import resolve
from silosynth.common.progress import Progress
from silosynth.common.study import Study, Trust
from silosynth.server.certificate import Noise
from silosynth.server.coordinator import Learnt
from silosynth.server.engines.gan_local import GanLocal, State
from silosynth.server.publish import sampled
from silosynth.server.sites import GridSites
from silosynth.simulations.bench import tables
from silosynth.simulations.bench.quality import Repeated, Repetition, absent, repeated, with_epsilon
from silosynth.simulations.bench.results import Row
from silosynth.simulations.bench.tables import Case
from silosynth.simulations.cohort import Cohort, gather
from silosynth.simulations.grid import LocalGrid
from silosynth.simulations.homes import Homes

LEAST_AUC: Final = 0.83
"""What discriminators at the sites must reach at epsilon 10."""

SCORES: Final = ("tstr_auc_gb", "tstr_f1_gb", "tvd2")
EPSILONS: Final = (1.0, 3.0, 10.0)

_SUMS, _LOCAL, _AVERAGED = "secure-sum", "local", "averaged discriminators"
WAYS: Final = (_SUMS, _LOCAL, _AVERAGED)

_BARS: Final[Mapping[tuple[str, float], Mapping[str, float]]] = {
    (_SUMS, 10.0): {"tstr_auc_gb": 0.86, "tstr_f1_gb": 0.5},
    (_LOCAL, 10.0): {"tstr_auc_gb": LEAST_AUC},
}


class Averaged(GanLocal):
    """Sites train as ever, but all go on from the mean of their discriminators, which alone teaches one generator."""

    def teach(self, state: State) -> State:
        """See GanLocal."""
        if state.known is None:
            raise ValueError("the 1-ways come first")
        shares = (state.known.units / state.known.units.sum()).astype(np.float32)
        mean = np.einsum("s,smp->mp", shares, state.critics)
        return super().teach(replace(state, critics=np.stack([mean] * len(shares))))


def gan(
    seeds: tuple[int, ...],
    progress: Progress,
    epsilons: tuple[float, ...] = EPSILONS,
    ways: tuple[str, ...] = WAYS,
) -> Iterator[Row]:
    """AUC, F1, 2-way distance and CPU seconds by epsilon and way."""
    for epsilon in epsilons:
        for way in ways:
            title, case = f"epsilon {epsilon:g}, {way}", _case(epsilon, way)
            ask = _averaged if way == _AVERAGED else repeated
            found = ask("gan", title, case, seeds, progress)
            if found is None:
                yield absent("gan")
                return
            for score in SCORES:
                yield found.row(score, _BARS.get((way, epsilon), {}).get(score))
            yield found.train_row()


def _case(epsilon: float, way: str) -> Callable[[int], Case | None]:
    def given(seed: int) -> Case | None:
        found = tables.adult_unlike(seed)
        if found is None:
            return None
        trust = Trust.SECURE_SUM if way == _SUMS else Trust.LOCAL
        settings = (("conditional", 0.0),) if way == _AVERAGED else ()
        study = replace(with_epsilon(found.study, epsilon), engine="gan", trust=trust, settings=settings)
        return replace(found, study=study)

    return given


def _averaged(
    bench: str, title: str, case: Callable[[int], Case | None], seeds: tuple[int, ...], progress: Progress
) -> Repeated | None:
    """As quality.repeated, with a half of the coordinator that no study can ask for."""
    found = []
    for seed in seeds:
        given = case(seed)
        if given is None:
            return None
        cohort = gather(given.study, given.sites, given.holdout, seed, progress)
        study, began = resolve(given.study, cohort.roster), time.process_time()
        learnt = _learnt(study, cohort, seed, progress)
        spent = time.process_time() - began
        blocks = list(sampled(learnt.generator, study.schema, max(1, round(learnt.units)), seed, progress))
        train, held, made = cohort.train.frame, cohort.holdout.frame, pd.concat(blocks, ignore_index=True)
        scores = evaluate(study.schema, train, held, made, study.target, seed=seed, progress=progress)
        found.append(Repetition(scores.to_json()["scores"], spent))
    return Repeated(bench, title, seeds, found)


def _learnt(study: Study, cohort: Cohort, seed: int, progress: Progress) -> Learnt:
    """The coordinator's loop, without a journal."""
    half = Averaged(study.training, seed)
    state = half.start()
    with TemporaryDirectory() as folder:
        homes = Homes(Path(folder), study, Noise.SYSTEM, seed)
        with homes.opened(cohort.units, progress) as sites:
            client = client_app(lambda context: sites[int(context.node_config["partition-id"])])
            asked = GridSites(LocalGrid(client, len(sites)), progress)
            while isinstance(task := half.next(state), Each):
                parts = {name: take_apart(own) for name, own in task.tasks.items()}
                heard = asked.each(study, state.released, parts)
                state = half.absorb_each(state, task.tasks, heard.vectors)
    return Learnt(half.finish(state), half.units(state))
