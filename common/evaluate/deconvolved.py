"""Total variation distances from counts that carry known noise.

Noise alone makes |difference| large: at epsilon 1 it doubles the distance of a coarse 2-way of ten thousand persons. So
the differences are taken for what they are, true ones plus Gaussian noise of known size, and the expected distance
given what was seen is computed (empirical Bayes, Robbins 1956; Efron 2010, chapter 1). Model: in table t the difference
of cell c is N(0, a_t p (1 - p) / n + b_t p^2), p its synthetic share and n the held-out units. The first part is the
sampling of both sides, of which at least as much is there as their sizes say; the second an error of the generator in
proportion to a cell. The tables' (a, b) come from one distribution on a grid, fitted to all of them at once.

The interval is for the exact distance of these very held-out units: it speaks of the noise and not of their sampling.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real

Z: Final = 1.959963984540054
"""Standard deviations to either side of a 95 % interval."""

_SAMPLING: Final = np.array([1, 1.4, 2, 3, 5, 9, 16, 30, 60, 120])
_ERROR: Final = np.concatenate([[0], np.geomspace(1e-4, 1, 13)])
_PRIOR: Final = 1.0  # tables that the grid's even distribution counts for
_STEPS, _DRAWS, _REPEATS, _FEW = 60, 300, 40, 30


@dataclass(frozen=True)
class Tables:
    """Noisy counts of some tables, one after the other, shape (cells,), and synthetic shares in the same cells."""

    counts: Real = field(repr=False)
    synthetic: Real = field(repr=False)
    offsets: Index = field(repr=False)
    deviation: float
    """Of the noise in a count, in units; 0: the counts are exact."""
    synthetic_rows: int

    @property
    def units(self) -> float:
        """About how many units there are: every table counts each once. At least 1."""
        sizes = np.diff(self.offsets)
        totals = np.add.reduceat(self.counts, self.offsets[:-1])
        return max(1.0, float(np.average(totals, weights=1 / sizes)))

    @property
    def units_deviation(self) -> float:
        """Of the noise in `units`."""
        return float(self.deviation / np.sqrt((1 / np.diff(self.offsets)).sum()))


@dataclass(frozen=True)
class Distances:
    """Distance of each table, shape (tables,), and of all in the mean: value, and a 95 % interval of each."""

    of: Real = field(repr=False)
    low: Real = field(repr=False)
    high: Real = field(repr=False)
    mean: float
    interval: tuple[float, float]


def distances(tables: Tables, rng: np.random.Generator) -> Distances:
    """Total variation distances between the units and the synthetic rows."""
    units, starts = tables.units, tables.offsets[:-1]
    seen = _centred(tables.counts / units - tables.synthetic, tables.offsets)
    if not tables.deviation:
        exact: Real = np.add.reduceat(np.abs(seen), starts) / 2
        return Distances(exact, exact, exact, float(exact.mean()), (float(exact.mean()), float(exact.mean())))
    model = _Model.of(tables, units)
    drawn = model.drawn(seen, _DRAWS, rng)
    of, mean = drawn.mean(axis=0), float(drawn.mean())
    bias, spread = model.error(seen, tables.deviation / units, rng)
    half = Z * (spread + float(drawn.mean(axis=1).std())) + abs(bias)  # of the same data: they add, not their squares
    alone = model.drawn(seen, _DRAWS, rng, pooled=False)  # one table may be unlike all others
    ends = np.quantile(np.stack([drawn, alone]), [0.025, 0.975], axis=1)  # (ends, with and without others, tables)
    low, high = np.where(model.silent(seen), 0, ends[0].min(axis=0)), ends[1].max(axis=0)
    return Distances(of, low, high, mean, (max(0.0, mean - half), min(1.0, mean + half)))


def _centred(values: Real, offsets: Index) -> Real:
    """Less the mean of each table: shares of a table add up to the same on both sides, only noise does not."""
    sizes = np.diff(offsets)
    means = np.add.reduceat(values, offsets[:-1]) / sizes
    centred: Real = values - np.repeat(means, sizes)
    return centred


@dataclass(frozen=True)
class _Model:
    """Variances of true differences under each point of the grid, shape (grid, cells), and of the noise, (cells,)."""

    offsets: Index
    true: Real
    noise: Real
    log: Real  # sum of log variances of each table, (grid, tables)
    inverse: Real  # (grid, cells)

    @classmethod
    def of(cls, tables: Tables, units: float) -> "_Model":
        share = np.maximum(tables.synthetic, 0.5 / units)
        sampling = share * (1 - share) * (1 / units + 1 / tables.synthetic_rows)
        grid = _SAMPLING[:, None, None] * sampling + _ERROR[None, :, None] * share**2
        true = np.maximum(grid.reshape(-1, share.size), 1e-18)
        sizes = np.diff(tables.offsets)
        noise = np.repeat((tables.deviation / units) ** 2 * (1 - 1 / np.maximum(sizes, 2)), sizes)
        log = np.add.reduceat(np.log(true + noise), tables.offsets[:-1], axis=1)
        return cls(tables.offsets, true, noise, log, 1 / (true + noise))

    def weights(self, seen: Real, *, pooled: bool = True) -> Real:
        """What each table's point of the grid may be, given what was seen in it, or in all: shape (tables, grid)."""
        squares = np.add.reduceat(seen**2 * self.inverse, self.offsets[:-1], axis=1)
        likelihood = -0.5 * (self.log + squares).T
        likelihood = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
        mixture = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
        for _ in range(_STEPS if pooled else 0):  # expectation and maximisation (Dempster, Laird, Rubin 1977)
            found = likelihood * mixture
            found /= found.sum(axis=1, keepdims=True)
            mixture = (found.sum(axis=0) + _PRIOR / mixture.size) / (len(found) + _PRIOR)
        found = likelihood * mixture
        whole: Real = found / found.sum(axis=1, keepdims=True)
        return whole

    def silent(self, seen: Real) -> NDArray[np.bool_]:
        """Which tables' differences are no larger than noise alone makes them, two deviations included."""
        free = np.maximum(np.diff(self.offsets) - 1, 1)
        squares = np.add.reduceat(seen**2 / self.noise, self.offsets[:-1]) * free / np.diff(self.offsets)
        quiet: NDArray[np.bool_] = squares <= free + 2 * np.sqrt(2 * free)
        return quiet

    def drawn(self, seen: Real, draws: int, rng: np.random.Generator, *, pooled: bool = True) -> Real:
        """Distances of true differences drawn given what was seen, shape (draws, tables)."""
        weights = self.weights(seen, pooled=pooled)
        out = np.empty((draws, len(weights)))
        for at in range(draws):
            true = self._variances(weights, rng)
            kept = true / (true + self.noise)
            differences = kept * seen + np.sqrt(kept * self.noise) * rng.standard_normal(seen.size)
            out[at] = np.add.reduceat(np.abs(differences), self.offsets[:-1]) / 2
        return out

    def error(self, seen: Real, deviation: float, rng: np.random.Generator) -> tuple[float, float]:
        """Bias and standard deviation of the mean distance, over differences drawn anew and noise drawn anew."""
        weights, errors = self.weights(seen), []
        for _ in range(_REPEATS):
            scale = np.sqrt(self._variances(weights, rng))
            true = _centred(scale * rng.standard_normal(seen.size), self.offsets)
            again = true + _centred(deviation * rng.standard_normal(seen.size), self.offsets)
            exact = np.add.reduceat(np.abs(true), self.offsets[:-1]).mean() / 2
            errors.append(self.drawn(again, _FEW, rng).mean() - exact)
        return float(np.mean(errors)), float(np.std(errors))

    def _variances(self, weights: Real, rng: np.random.Generator) -> Real:
        """Of every cell, with a point of the grid drawn for each table."""
        point = (rng.random(len(weights))[:, None] > weights.cumsum(axis=1)).sum(axis=1)
        point = np.minimum(point, weights.shape[1] - 1)
        sizes = np.diff(self.offsets)
        variances: Real = self.true[np.repeat(point, sizes), np.arange(self.noise.size)]
        return variances
