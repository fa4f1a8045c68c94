"""A graphical model of binned columns, exactly: log Z by elimination, marginals as its gradient, rows by conditionals.

p(row) is proportional to exp(sum over cliques of the clique's potential at the row). Eliminating columns one after the
other, cheapest first, computes log Z; the gradient of log Z in a potential is the marginal of its clique, so automatic
differentiation is the whole of belief propagation (Darwiche 2003; McKenna, Sheldon, Miklau 2019).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from torch import Tensor

from silosynth.common.arrays import Index, Real
from silosynth.common.engines.layouts import rising
from silosynth.common.engines.marginals_tables import Table

_BELOW_ONE: Final = np.nextafter(1.0, 0.0)


@dataclass(frozen=True)
class Elimination:
    """Columns in the order in which they are summed out; `scopes[k]` ends with the k-th, after what it depends on."""

    scopes: tuple[Table, ...]
    cells: int
    """Of all scopes together: what the model costs in time and memory."""


def eliminate(sizes: Sequence[int], cliques: Sequence[Table]) -> Elimination:
    """Greedy elimination: next is the column whose scope has the fewest cells."""
    near: dict[int, set[int]] = {column: set() for column in range(len(sizes))}
    for clique in cliques:
        for column in clique:
            near[column].update(clique)
    for column, beside in near.items():
        beside.discard(column)

    def cost(column: int) -> int:
        return sizes[column] * math.prod(sizes[other] for other in near[column])

    costs = {column: cost(column) for column in near}
    scopes, cells = [], 0
    while near:
        column = min(near, key=lambda one: (costs[one], one))
        beside = near.pop(column)
        cells += costs.pop(column)
        scopes.append((*sorted(beside), column))
        for other in beside:
            near[other] |= beside
            near[other] -= {other, column}
        costs |= {other: cost(other) for other in beside}
    return Elimination(tuple(scopes), cells)


def maximal(columns: int, tables: Sequence[Table]) -> tuple[Table, ...]:
    """The tables that lie in no other, each once, and every column that is in none: cliques that hold all tables."""
    sets = {table: frozenset(table) for table in (*((column,) for column in range(columns)), *tables)}
    return tuple(sorted(one for one in sets if not any(sets[one] < other for other in sets.values())))


@dataclass(frozen=True)
class Tree:
    """The model's structure: bins of each column, and cliques that cover every column. Potentials are arguments."""

    sizes: tuple[int, ...]
    cliques: tuple[Table, ...]

    @cached_property
    def elimination(self) -> Elimination:
        """In which order columns are summed out."""
        return eliminate(self.sizes, self.cliques)

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Bins of each clique's columns."""
        return tuple(tuple(self.sizes[column] for column in clique) for clique in self.cliques)

    @cached_property
    def offsets(self) -> Index:
        """Where each clique's cells begin in one flat vector, and the end, shape (cliques + 1,)."""
        return rising(tuple(math.prod(shape) for shape in self.shapes))

    def home(self, table: Table) -> int:
        """A clique that holds a table: its position. Raises ValueError where none does."""
        for at, clique in enumerate(self.cliques):
            if set(table) <= set(clique):
                return at
        raise ValueError("no clique holds this table")

    def log_normaliser(self, flat: Tensor) -> Tensor:
        """Log Z of flat potentials, shape (offsets[-1],)."""
        *_, last = self._eliminated(flat)
        return last[1]

    def marginals(self, flat: Real) -> Real:
        """The marginals of all cliques, one after the other, shape (offsets[-1],)."""
        potentials = torch.from_numpy(flat).requires_grad_()
        (marginals,) = torch.autograd.grad(self.log_normaliser(potentials), [potentials])
        found: Real = marginals.numpy()
        return found

    @torch.inference_mode()
    def conditionals(self, flat: Real) -> tuple[Real, ...]:
        """For each scope the distribution of its last column given the others, shape (configurations, bins)."""
        tables = self._eliminated(torch.from_numpy(flat))
        return tuple(torch.softmax(table, -1).reshape(-1, table.shape[-1]).numpy() for table, _ in tables)

    def _eliminated(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each scope the sum of what it holds, and its log-sum-exp over the last column (with log Z so far)."""
        factors = [flat[begin:end].view(shape) for begin, end, shape in zip(*self._spans, strict=True)]
        done: list[tuple[Tensor, Tensor]] = []
        for inputs, shape in self._program:
            table = torch.zeros(shape, dtype=torch.float64)
            for factor, permuted, view in inputs:
                table = table + factors[factor].permute(permuted).reshape(view)
            summed = torch.logsumexp(table, -1)
            factors.append(summed)
            done.append((table, summed))
        constants = [summed for _, summed in done if summed.ndim == 0]
        table, _ = done[-1]
        done[-1] = (table, torch.stack(constants).sum())
        return done

    @cached_property
    def _spans(self) -> tuple[list[int], list[int], tuple[tuple[int, ...], ...]]:
        return self.offsets[:-1].tolist(), self.offsets[1:].tolist(), self.shapes

    @cached_property
    def _program(self) -> list[tuple[list[tuple[int, list[int], list[int]]], list[int]]]:
        """For each scope: its factors (number, axes in the scope's order, shape to broadcast), and its shape."""
        scopes_of = dict(enumerate(self.cliques))  # factors not used up yet, by number
        number, program = len(self.cliques), []
        for scope in self.elimination.scopes:
            used = [factor for factor, columns in scopes_of.items() if scope[-1] in columns]
            inputs = []
            for factor in used:
                columns = scopes_of.pop(factor)
                permuted = [columns.index(column) for column in scope if column in columns]
                view = [self.sizes[column] if column in columns else 1 for column in scope]
                inputs.append((factor, permuted, view))
            program.append((inputs, [self.sizes[column] for column in scope]))
            if len(scope) > 1:
                scopes_of[number] = scope[:-1]
            number += 1
        return program


def carried(old: Tree, flat: Real, new: Tree) -> Real:
    """The potentials of one structure in another whose cliques hold all of the old ones: the same distribution."""
    carried = np.zeros(int(new.offsets[-1]))
    for at, clique in enumerate(old.cliques):
        home = new.home(clique)
        part = carried[new.offsets[home] : new.offsets[home + 1]].reshape(new.shapes[home])
        part += flat[old.offsets[at] : old.offsets[at + 1]].reshape(
            [size if column in clique else 1 for column, size in zip(new.cliques[home], new.shapes[home], strict=True)]
        )
    return carried


def drawn(tree: Tree, conditionals: Sequence[Real], rows: int, rng: np.random.Generator) -> Index:
    """Bins of `rows` rows, shape (columns, rows): systematic draws, the last column eliminated first.

    For each configuration of what a column depends on, its bins are drawn as often as they are expected, rounded up or
    down; which of the rows get them is random.
    """
    bins = np.empty((len(tree.sizes), rows), dtype=np.int64)
    for scope, table in zip(reversed(tree.elimination.scopes), reversed(conditionals), strict=True):
        *given, column = scope
        shape = [tree.sizes[other] for other in given]
        at = np.ravel_multi_index([bins[other] for other in given], shape) if given else np.zeros(rows, dtype=np.int64)
        bins[column] = systematic(np.asarray(at, dtype=np.int64), table, rng)
    return bins


def systematic(given: Index, table: Real, rng: np.random.Generator) -> Index:
    """A draw for each row from the line of `table`, shape (lines, bins), that `given` names, shape (rows,).

    Of m rows of one line, a bin gets m times its probability, rounded up or down, and each row has the line's
    distribution (systematic sampling).
    """
    visited = rng.permutation(given.size)
    visited = visited[np.argsort(given[visited], kind="stable")]  # rows of one line together, shuffled
    lines, begins, line, held = np.unique(given[visited], return_index=True, return_inverse=True, return_counts=True)
    place = (np.arange(given.size) - begins[line] + rng.random(lines.size)[line]) / held[line]
    reached = np.cumsum(table[lines], axis=1)
    reached /= reached[:, -1:]  # ends in exactly 1, so that what has no probability is never drawn
    cells = np.empty_like(given)
    cells[visited] = (reached[line] <= np.minimum(place, _BELOW_ONE)[:, None]).sum(axis=1)
    return cells
