"""Where every engine begins: bins, frequencies and the number of units, all from the noisy fine 1-ways.

Post-processing of one release, hence free of charge. Nothing here is told anything about the rows but those counts.
"""

from dataclasses import dataclass, field

import numpy as np

from silosynth.common.arrays import Index, Real
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import OneWays
from silosynth.common.schema import Schema

SIGNIFICANT = 4.0
"""Standard deviations of noise that a cell must rise above zero to be modelled by itself."""

STEP_COST = 4.0
"""Noise variances by which a step must improve the fit of an ordered column: between 2 (least risk, were the steps
given) and 2 log(cells) (hardly a step that is noise). Nine columns of 3,800 persons at epsilon 1: mean
total variation of the 1-ways .126, without smoothing .156; six of Adult, 39,073 rows: .008, .008."""

_LEAST_SHARE = 200  # an ordered bin holds at least 1/200 of the units


@dataclass(frozen=True)
class Preparation:
    """What the noisy 1-ways tell.

    `marginals[j]` are the frequencies of column j's bins, shape (bins,), summing to 1; `within[j]` is the share of each
    fine cell in its own bin, shape (fine cells,), summing to 1 over every bin; `bin_deviations[j]` the noise in
    `marginals[j]`, one standard deviation.
    """

    units: float
    coarsening: Coarsening
    marginals: tuple[Real, ...] = field(repr=False)
    within: tuple[Real, ...] = field(repr=False)
    bin_deviations: tuple[Real, ...] = field(repr=False)


def prepare(schema: Schema, counts: Real, deviation: float, bins: int) -> Preparation:
    """Preparation from noisy counts.

    Args:
        schema: the public schema.
        counts: noisy units in every fine cell, shape (sum of schema.sizes,).
        deviation: standard deviation of the noise in each count, in units.
        bins: an ordered column gets about this many.
    """
    tables = np.split(counts, OneWays(schema.sizes).offsets[1:-1])
    units = estimated_units(tables)
    maps, marginals, within, deviations = [], [], [], []
    for column, noisy in zip(schema.columns, tables, strict=True):
        if column.ordered:
            fine = project(np.append(smooth(noisy[:-1], deviation), noisy[-1]), units)
            bin_of = _merge_ordered(fine, deviation, bins)
            summed: Real = np.bincount(bin_of, weights=fine).astype(np.float64)
        else:
            fine = project(noisy, units)
            bin_of = _merge_coded(fine, deviation)
            summed = np.bincount(bin_of, weights=noisy).astype(np.float64)
        maps.append(tuple(bin_of.tolist()))
        marginals.append(project(summed, units) / units)
        within.append(_shares(fine, bin_of))
        deviations.append(deviation * np.sqrt(np.bincount(bin_of)) / units)
    return Preparation(units, Coarsening(tuple(maps)), tuple(marginals), tuple(within), tuple(deviations))


def estimated_units(tables: list[Real]) -> float:
    """Number of units: mean of the columns' totals, each weighted by one over the variance of its noise; at least 1."""
    weights = np.array([1 / table.size for table in tables])
    return max(1.0, float(np.average([table.sum() for table in tables], weights=weights)))


def smooth(noisy: Real, deviation: float) -> Real:
    """Counts of neighbouring cells without most of their noise: the best fit by steps, shape (cells,).

    Minimises |noisy - fit|^2 + STEP_COST * deviation^2 * steps over all piecewise constant fits, exactly, by dynamic
    programming (Winkler, Liebscher 2002). A spike is a step of its own; where little is held, noise averages out.
    """
    first, second = np.append(0.0, np.cumsum(noisy)), np.append(0.0, np.cumsum(noisy**2))
    cost, begins = np.zeros(noisy.size + 1), np.zeros(noisy.size + 1, dtype=np.int64)
    for end in range(1, noisy.size + 1):
        begin = np.arange(end)
        misfit = second[end] - second[begin] - (first[end] - first[begin]) ** 2 / (end - begin)
        total = cost[begin] + misfit
        begins[end] = total.argmin()
        cost[end] = total[begins[end]] + STEP_COST * deviation**2
    fit, end = np.empty(noisy.size), noisy.size
    while end > 0:
        step = slice(begins[end], end)
        fit[step] = noisy[step].mean()
        end = int(begins[end])
    return fit


def project(counts: Real, total: float) -> Real:
    """The nearest non-negative counts, in L2, that add up to `total` > 0 (Duchi et al. 2008, figure 1)."""
    falling = np.sort(counts)[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, counts.size + 1)
    last = np.flatnonzero(falling > excess)[-1]
    nearest: Real = np.maximum(counts - excess[last], 0.0)
    return nearest


def _merge_coded(fine: Real, deviation: float) -> Index:
    """Codes that stand out of the noise keep a bin each; all others share one that keeps only their frequency.

    Where that frequency is nothing, they go to the last bin and are never sampled.
    """
    own = fine >= max(SIGNIFICANT * deviation, 1.0)
    own[fine.argmax()] = True
    rare = own.sum() if fine[~own].any() else own.sum() - 1
    return np.where(own, np.cumsum(own) - 1, rare)


def _merge_ordered(fine: Real, deviation: float, bins: int) -> Index:
    """Neighbours merge until a bin is heavy enough; a spike stays alone; MISSING, the last cell, is no neighbour."""
    values = fine[:-1]
    spike = values.sum() / bins
    least = max(SIGNIFICANT * deviation, 1.0)
    if values.size > bins:
        least = max(least, values[values < spike].sum() / bins, fine.sum() / _LEAST_SHARE)
    begins = np.zeros(values.size, dtype=bool)
    held = 0.0
    for cell, mass in enumerate(values):
        if held > 0 and (held >= least or mass >= least):
            begins[cell], held = True, 0.0
        held += mass
    if held < least / 2 and begins.any():
        begins[np.flatnonzero(begins)[-1]] = False
    bin_of = np.cumsum(begins)
    alone = fine[-1] >= max(SIGNIFICANT * deviation, 1.0)
    return np.append(bin_of, bin_of[-1] + alone)


def _shares(fine: Real, bin_of: Index) -> Real:
    """Share of each fine cell in its bin, equal where a bin holds nothing."""
    mass = np.bincount(bin_of, weights=fine)[bin_of]
    return np.where(mass > 0, fine / np.where(mass > 0, mass, 1.0), 1 / np.bincount(bin_of)[bin_of])
