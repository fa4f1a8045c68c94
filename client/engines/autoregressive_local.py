"""A site that trusts nobody learns a network by itself, from noised sums over its own rows.

The learner is given what the mechanism opens for it, which is noised already, and what the task says; it never meets a
row, so whatever it computes is post-processing.
"""

import numpy as np

from silosynth.common.arrays import Vector
from silosynth.common.engines import autoregressive as engine
from silosynth.common.engines.autoregressive_fit import Descent, Schedule, mean_gradient, packed
from silosynth.common.study import Study


class NetworkLearner:
    """An engine.Learner: asks for the sums that the study plans within the release, in its order."""

    def __init__(self, study: Study, task: engine.Learn) -> None:
        self._task = task
        self._schedule = Schedule.of(study)
        self._descent = Descent.begun(task.weights)
        self._pairs = np.zeros(0, dtype=np.int64)
        self._left = [step.kind for step in engine.step_of(study, engine.LEARN).within for _ in range(step.repeats)]
        self._steps = 0

    def next(self) -> engine.Sum | None:
        """See engine.Learner."""
        if not self._left:
            return None
        if self._left[0] == engine.PAIRS:
            return engine.CountPairs(self._task.coarsening)
        return engine.SumGradients(self._task.coarsening, self._descent.weights.astype(np.float32))

    def absorb(self, ask: engine.Sum, total: Vector) -> None:
        """See engine.Learner."""
        del self._left[0]
        match ask:
            case engine.CountPairs():
                self._pairs = total
            case engine.SumGradients():
                self._steps += 1
                gradient = mean_gradient(total, self._task.units)
                self._descent = self._descent.stepped(gradient, self._steps, self._schedule)

    def answer(self) -> Vector:
        """See engine.Learner."""
        return packed(self._pairs, self._descent.average.astype(np.float32))
