"""What it costs to trust nobody: networks learnt site by site, beside one network learnt from secure sums.

Adult on five sites that are unlike (tables.adult_unlike): the same rows, hold-out and epsilon for both.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from silosynth.common.progress import Progress
from silosynth.common.study import Trust
from silosynth.simulations.bench import tables
from silosynth.simulations.bench.quality import absent, repeated, with_epsilon
from silosynth.simulations.bench.results import Row
from silosynth.simulations.bench.tables import Case

BARS: Final[Mapping[float, Mapping[str, float]]] = {
    1.0: {"tstr_auc_gb": 0.89},
    3.0: {"tstr_auc_gb": 0.90},
    10.0: {"tstr_auc_gb": 0.90},
}
"""What the mixture must reach, by epsilon."""

SCORES: Final = ("tstr_auc_gb", "tstr_f1_gb", "tvd2", "pair_trends")


def local(
    seeds: tuple[int, ...],
    progress: Progress,
    epsilons: tuple[float, ...] = tuple(BARS),
    ways: tuple[Trust, ...] = (Trust.LOCAL, Trust.SECURE_SUM),
) -> Iterator[Row]:
    """AUC, F1, 2-way distance, pair trends and CPU seconds by epsilon and trust."""
    for epsilon in epsilons:
        least = BARS[epsilon]
        for trust in ways:
            asked = repeated("local", f"epsilon {epsilon:g}, {trust}", _case(epsilon, trust), seeds, progress)
            if asked is None:
                yield absent("local")
                return
            for score in SCORES:
                yield asked.row(score, least.get(score) if trust is Trust.LOCAL else None)
            yield asked.train_row()


def _case(epsilon: float, trust: Trust) -> Callable[[int], Case | None]:
    def given(seed: int) -> Case | None:
        found = tables.adult_unlike(seed)
        return found and replace(found, study=replace(with_epsilon(found.study, epsilon), trust=trust))

    return given
