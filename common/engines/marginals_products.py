"""A mixture of products: a model that holds any tables, where a graphical model of them would be too large.

p(row) is the mean over components of a product of columns' distributions, each a softmax of logits. Its marginals of
any columns are sums of outer products, so that Adam fits the logits to measured tables directly (cf. RAP, Aydore et al.
2021; GEM, Liu et al. 2021, whose network it leaves out).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from silosynth.common.arrays import Index, Real, Weights
from silosynth.common.engines.marginals_learning import Counted
from silosynth.common.engines.marginals_tree import systematic
from silosynth.common.engines.preparation import Preparation

_RATE: Final = 0.05
_WARM_UP: Final = 50  # iterations until the rate is at its height; then it falls to nothing by a cosine
_SPREAD: Final = 0.5  # of the first logits around the columns' frequencies, a standard deviation
_ENOUGH: Final = 1.0  # chi-square per cell: from there on only noise would be learnt
_LEAST: Final = 1e-5

Chi: TypeAlias = Callable[[list[Tensor]], Tensor]
"""Chi-square of the columns' distributions, each of shape (components, bins), against one set of measured tables."""


@dataclass(frozen=True)
class Products:
    """A mixture: logits of shape (components, bins of all columns)."""

    sizes: tuple[int, ...]
    logits: Weights = field(repr=False)

    @cached_property
    def tables(self) -> tuple[Real, ...]:
        """Each column's distribution in each component, shape (components, bins)."""
        parts = torch.split(torch.from_numpy(self.logits).double(), [*self.sizes], dim=1)
        return tuple(torch.softmax(part, 1).numpy() for part in parts)

    def bins(self, rows: int, rng: np.random.Generator) -> Index:
        """Bins of rows, shape (columns, rows). Components take turns."""
        count = len(self.logits)
        component = rng.permutation((np.arange(rows) + rng.integers(count)) % count)
        return np.stack([systematic(component, table, rng) for table in self.tables])


def begun(prepared: Preparation, components: int, rng: np.random.Generator) -> Products:
    """Components that differ at random around the columns' frequencies."""
    means = np.log(np.concatenate(prepared.marginals).clip(_LEAST))
    noise = _SPREAD * rng.standard_normal((components, means.size))
    return Products(prepared.coarsening.sizes, (means + noise).astype(np.float32))


def fitted(start: Products, prepared: Preparation, counted: Sequence[Counted], iterations: int) -> Products:
    """Adam from `start` towards all tables, until they are met but for their noise, or for so many iterations."""
    chis = [_one_ways(prepared), *(_gram(one, prepared) if _many(one) else _each(one, prepared) for one in counted)]
    cells = sum(start.sizes) + sum(one.counts.size for one in counted)
    logits = torch.from_numpy(start.logits.copy()).requires_grad_()
    adam = torch.optim.Adam([logits], lr=_RATE)
    for done in range(iterations):
        cosine = (1 + math.cos(math.pi * done / iterations)) / 2
        adam.param_groups[0]["lr"] = _RATE * min(1.0, (done + 1) / _WARM_UP) * cosine
        columns = [torch.softmax(part, 1) for part in torch.split(logits, [*start.sizes], dim=1)]
        per_cell = torch.stack([chi(columns) for chi in chis]).sum() / cells
        if per_cell.detach() <= _ENOUGH:
            break
        adam.zero_grad()
        per_cell.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        adam.step()
    return Products(start.sizes, logits.detach().numpy())


def _one_ways(prepared: Preparation) -> Chi:
    wanted = [torch.from_numpy(mass).float() for mass in prepared.marginals]
    weights = [
        torch.from_numpy(1 / np.maximum(deviations, 1 / prepared.units)).float()
        for deviations in prepared.bin_deviations
    ]

    def chi(columns: list[Tensor]) -> Tensor:
        distances = [
            ((column.mean(0) - mass) * weight).square().sum()
            for column, mass, weight in zip(columns, wanted, weights, strict=True)
        ]
        return torch.stack(distances).sum()

    return chi


def _many(counted: Counted) -> bool:
    """Whether these are so many pairs that all pairs are computed at once."""
    return all(len(table) == 2 for table in counted.tables) and len(counted.tables) > len(counted.screen.merges)  # noqa: PLR2004


def _gram(counted: Counted, prepared: Preparation) -> Chi:
    """All pairs in one product of matrices, those that were not counted masked out."""
    merges = [_one_hot(merge) for merge in counted.screen.merges]
    ends = np.cumsum([0, *(merge.shape[1] for merge in merges)]).tolist()
    wanted, mask = torch.zeros(ends[-1], ends[-1]), torch.zeros(ends[-1], ends[-1])
    for one in counted.measured(prepared.units):
        first, second = (slice(ends[column], ends[column + 1]) for column in one.table)
        wanted[first, second] = torch.from_numpy(one.frequencies).float().view(one.shape)
        mask[first, second] = 1
    weight = (prepared.units / counted.deviation) ** 2

    def chi(columns: list[Tensor]) -> Tensor:
        merged = torch.cat([column @ merge for column, merge in zip(columns, merges, strict=True)], 1)
        return ((merged.T @ merged / len(merged) - wanted) * mask).square().sum() * weight

    return chi


def _each(counted: Counted, prepared: Preparation) -> Chi:
    """Table by table."""
    merges = [_one_hot(merge) for merge in counted.screen.merges]
    measured = [
        (one.table, torch.from_numpy(one.frequencies).float().view(one.shape))
        for one in counted.measured(prepared.units)
    ]
    weight = (prepared.units / counted.deviation) ** 2

    def chi(columns: list[Tensor]) -> Tensor:
        merged = [column @ merge for column, merge in zip(columns, merges, strict=True)]
        distances = []
        for (*given, last), wanted in measured:
            joint = merged[given[0]]
            for column in given[1:]:
                joint = (joint[:, :, None] * merged[column][:, None, :]).flatten(1)
            found = joint.T @ merged[last] / len(joint)
            distances.append((found.view(wanted.shape) - wanted).square().sum())
        return torch.stack(distances).sum() * weight

    return chi


def _one_hot(merge: Index) -> Tensor:
    """The matrix that sums bins to merged ones, shape (bins, merged)."""
    return functional.one_hot(torch.from_numpy(merge)).float()
