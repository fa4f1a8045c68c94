"""What was measured, and the graphical model that fits it best: Private-PGM (McKenna, Sheldon, Miklau 2019).

All of it is post-processing of noisy totals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.sparse import csr_array

from silosynth.common.arrays import Index, Real
from silosynth.common.engines.marginals_tables import Table
from silosynth.common.engines.marginals_tree import Tree
from silosynth.common.threads import alone

_ENOUGH: Final = 0.5  # of the decrease that the gradient promises (Armijo)
_GROWTH: Final = 1.4


@dataclass(frozen=True)
class MeasuredTable:
    """Noisy frequencies of one table's cells and the deviation of their noise, both of shape (cells,).

    `merges` says for each column of the table where the model's bins go.
    """

    table: Table
    merges: tuple[Index, ...] = field(repr=False)
    frequencies: Real = field(repr=False)
    deviations: Real = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each column."""
        return tuple(int(merge.max()) + 1 for merge in self.merges)

    def cells(self, table: Table, sizes: Sequence[int]) -> Index:
        """The measured cell of each cell of a `table` of bins that holds this one's columns, flat."""
        found = np.zeros(tuple(sizes[column] for column in table), dtype=np.int64)
        for column, merge, size in zip(self.table, self.merges, self.shape, strict=True):
            axis = [-1 if other == column else 1 for other in table]
            found = found * size + merge.reshape(axis)
        return found.ravel()


@dataclass(frozen=True)
class Fitted:
    """A structure and its potentials, shape (Tree.offsets[-1],)."""

    tree: Tree
    potentials: Real = field(repr=False)


def independent(sizes: tuple[int, ...], marginals: Sequence[Real], least: float) -> Fitted:
    """Every column by itself, with its frequencies, none of them below `least`."""
    tree = Tree(sizes, tuple((column,) for column in range(len(sizes))))
    return Fitted(tree, np.concatenate([np.log(np.maximum(mass, least)) for mass in marginals]))


@dataclass(frozen=True)
class Misfit:
    """Half the squared distance, in deviations of noise, between a model's marginals and what was measured."""

    sums: csr_array = field(repr=False)  # (measured cells, clique cells)
    frequencies: Real = field(repr=False)
    weights: Real = field(repr=False)

    @classmethod
    def of(cls, tree: Tree, measured: Sequence[MeasuredTable]) -> "Misfit":
        """Raises ValueError for a table that no clique of the tree holds."""
        rows, columns, begin = [], [], 0
        for one in measured:
            home = tree.home(one.table)
            rows.append(begin + one.cells(tree.cliques[home], tree.sizes))
            columns.append(np.arange(tree.offsets[home], tree.offsets[home + 1]))
            begin += one.frequencies.size
        at = np.concatenate(rows), np.concatenate(columns)
        sums = csr_array((np.ones(at[0].size), at), shape=(begin, int(tree.offsets[-1])))
        deviations = np.concatenate([one.deviations for one in measured])
        return cls(sums, np.concatenate([one.frequencies for one in measured]), 1 / deviations**2)

    def __call__(self, marginals: Real) -> tuple[float, Real]:
        """The misfit and its gradient in the marginals."""
        distance = self.sums @ marginals - self.frequencies
        pulled = self.weights * distance
        gradient: Real = self.sums.T @ pulled
        return float(distance @ pulled / 2), gradient


def fitted(start: Fitted, misfit: Misfit, iterations: int) -> Fitted:
    """Mirror descent from `start`: potentials move against the gradient in the marginals, with backtracking."""
    tree, potentials = start.tree, start.potentials
    with alone():
        marginals = tree.marginals(potentials)
        value, gradient = misfit(marginals)
        step = 2 / misfit.weights.max()
        for _ in range(iterations):
            moved = potentials - step * gradient
            tried = tree.marginals(moved)
            reached, slope = misfit(tried)
            if value - reached < _ENOUGH * gradient @ (marginals - tried):
                step /= 2
                continue
            if reached >= value:  # to the last digit
                break
            potentials, marginals, value, gradient = moved, tried, reached, slope
            step *= _GROWTH
    return Fitted(tree, potentials)
