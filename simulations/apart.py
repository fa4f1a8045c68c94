"""What each unit by itself adds to a sum, and what others add without noise: for somebody who knows all rows.

The site's half of an engine is asked as ever, but the mechanism that it answers with keeps units apart, or adds no
noise. Of one row a unit; only a simulation, which holds the rows of all, can do this.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from silosynth.client.mechanism import Metered, Noised
from silosynth.common import scale
from silosynth.common.arrays import Real, Vector
from silosynth.common.engine import Layout, Learner, RowGradients, SiteHalf, TermsOf, Units
from silosynth.common.errors import NotPossible
from silosynth.common.study import Step, Study
from silosynth.simulations.noiseless import ZeroNoise


class Apart:
    """An engine.Mechanism that adds nothing up. `added` is what each unit would add, in units of `grid`."""

    def __init__(self) -> None:
        self.added: Real = np.zeros((0, 0))  # (units, size)
        self.grid = 1
        self._sensitivity = scale.Sensitivity(0)

    def noise(self, step: Step, study: Study, sites: int) -> float:
        """Variance in units of grid^2 of the noise in a sum over so many sites, as the study promises it."""
        if step.multiplier is None:
            raise NotPossible("a sum without noise cannot be weighed against others")
        own = scale.site_variance(self._sensitivity, step.multiplier, study.shares)
        return sites * own / self.grid**2

    def histogram(self, units: Units, layout: Layout, *, multiplier: Fraction | None) -> Noised:
        """See engine.Mechanism."""
        del multiplier
        self.grid, groups = scale.HISTOGRAM_GRID, len(layout.offsets) - 1
        self._sensitivity = scale.histogram_sensitivity(groups)
        self.added = np.zeros((len(units.owner), int(layout.offsets[-1])))
        np.put_along_axis(self.added, layout.cells(units.codes), 1.0, axis=1)
        return Noised()

    def clipped_sum(self, units: Units, terms: TermsOf, *, multiplier: Fraction | None) -> Noised:
        """See engine.Mechanism. Row by row: an adversary need not fill blocks of a fixed shape."""
        del multiplier
        self.grid, self._sensitivity = scale.SUM_GRID, scale.clipped_sum_sensitivity()
        self.added = np.zeros((len(units.owner), terms.size))
        for row in range(len(units.owner)):
            own = terms(units.codes[row : row + 1])
            self.added[row] = own.weighted_sum(1 / np.maximum(np.sqrt(own.squared_norms()), 1)) / self.grid
        return Noised()

    def sampled_sum(
        self, units: Units, gradients: RowGradients, *, rate: Fraction, multiplier: Fraction | None
    ) -> NoReturn:
        """See engine.Mechanism: no sum of several sites is over a sample."""
        del units, gradients, rate, multiplier
        raise NotPossible("sums over samples are not kept apart")

    def learn(self, learner: Learner[Any], perform: Callable[[Any], Any]) -> NoReturn:
        """See engine.Mechanism: what was learnt is no sum."""
        del learner, perform
        raise NotPossible("what a site learns is not kept apart")


class _Told(ZeroNoise):
    """A source without noise that keeps what it was asked to hide."""

    def __init__(self) -> None:
        super().__init__()
        self.value: Vector = np.zeros(0, dtype=np.int64)

    def add(self, value: Vector, variance: int, context: bytes) -> Vector:
        """See mechanism.NoiseSource."""
        self.value = value
        return super().add(value, variance, context)


def exact(half: SiteHalf[Any], task: Any, units: Mapping[str, Units], study: Study) -> Vector:
    """The sum over sites for a task, without noise, shape (size,), in grid units."""
    total: Vector = np.zeros(half.claim(task).size, dtype=np.int64)
    for own in units.values():
        told = _Told()
        capacity = max(1, len(own.owner))
        most = study.most_rows_of_a_unit
        half.answer(task, own, Metered(told, b"", shares=study.shares, capacity=capacity, max_rows_per_unit=most))
        total += told.value
    return total
