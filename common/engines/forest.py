"""A model of one outcome, in integers: a weight for each bin of each column, and trees over the bins.

A row's score is a sum of integers, exact in any order: the same on every machine, and a function of that row alone. It
stands for log odds, `UNIT` of them to one. Nothing is computed with a model that comes from outside before `check`.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from silosynth.common.arrays import Codes, Index
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import rising
from silosynth.common.errors import MalformedFrame

UNIT: Final = 1 << 16
"""Integers of a score to one of log odds."""

MOST_NODES: Final = 1 << 13
MOST_TREES: Final = 256
MOST_DEPTH: Final = 16
MOST_CUTS: Final = 31
MOST_VALUE: Final = 1 << 40
"""Of a weight, a leaf or a cut: sums of all of them stay far below 2^63."""

LEAF: Final = -1

_LISTS: Final = 7


@dataclass(frozen=True)
class Forest:
    """`coarsening` gives a row's bins; `weights` has one integer for each bin of each column, column after column.

    Node i of a tree asks whether the bin of column `feature[i]` is at most `threshold[i]`: then it goes on with its
    first child, otherwise with its second; where `feature[i]` is LEAF it ends with `value[i]`. `roots` are the trees.
    Bin b of the score lies between the rising `cuts` b - 1 and b.
    """

    coarsening: Coarsening
    weights: tuple[int, ...] = field(repr=False)
    feature: tuple[int, ...] = field(repr=False)
    threshold: tuple[int, ...] = field(repr=False)
    children: tuple[int, ...] = field(repr=False)
    """Left and right of node 0, then of node 1, and so on."""
    value: tuple[int, ...] = field(repr=False)
    roots: tuple[int, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, lists: tuple[tuple[int, ...], ...]) -> "Forest":
        """The model of which these are `lists`; nothing of it is checked."""
        return cls(Coarsening(lists[:-_LISTS]), *lists[-_LISTS:])

    @property
    def lists(self) -> tuple[tuple[int, ...], ...]:
        """The model for the wire."""
        trees = (self.feature, self.threshold, self.children, self.value, self.roots)
        return (*self.coarsening.maps, self.weights, *trees, self.cuts)

    @property
    def bins(self) -> int:
        """Of the score."""
        return len(self.cuts) + 1

    def check(self, sizes: tuple[int, ...]) -> None:
        """Raise MalformedFrame unless it is a model of rows with `sizes` fine cells, and a small one.

        The children of a node come after it, so every path ends; none is longer than MOST_DEPTH.
        """
        self.coarsening.check(sizes)
        nodes = len(self.feature)
        if len(self.weights) != sum(self.coarsening.sizes):
            raise MalformedFrame("a model has one weight for each bin")
        if nodes > MOST_NODES or len(self.roots) > MOST_TREES or not 0 < len(self.cuts) <= MOST_CUTS:
            raise MalformedFrame("a model is larger than a model may be")
        if (len(self.threshold), len(self.children), len(self.value)) != (nodes, 2 * nodes, nodes):
            raise MalformedFrame("a model's trees are not whole")
        if any(abs(one) > MOST_VALUE for one in (*self.weights, *self.value, *self.cuts, *self.threshold)):
            raise MalformedFrame("a model's numbers are too large")
        if any(one >= other for one, other in pairwise(self.cuts)):
            raise MalformedFrame("cuts must rise")
        self._check_trees(nodes)

    def _check_trees(self, nodes: int) -> None:
        if not all(0 <= root < nodes for root in self.roots):
            raise MalformedFrame("a tree begins at no node")
        for node, feature in enumerate(self.feature):
            if feature == LEAF:
                continue
            if not 0 <= feature < len(self.coarsening.sizes):
                raise MalformedFrame("a node asks for no column")
            if not all(node < child < nodes for child in self.children[2 * node : 2 * node + 2]):
                raise MalformedFrame("a node's children must come after it")
        if self.levels > MOST_DEPTH:
            raise MalformedFrame("a tree is deeper than a tree may be")

    @cached_property
    def levels(self) -> int:
        """Splits on the longest path."""
        depth = [0] * len(self.feature)
        for node, feature in enumerate(self.feature):
            if feature != LEAF:
                for child in self.children[2 * node : 2 * node + 2]:
                    depth[child] = max(depth[child], depth[node] + 1)
        return max(depth, default=0)

    def score(self, codes: Codes) -> Index:
        """Of rows of fine cells, shape (rows,)."""
        bins = self.coarsening.bins(codes)
        total: Index = self._arrays.weights[bins + self._arrays.begins].sum(axis=1)
        for root in self.roots:
            total += self._arrays.value[self._leaf(bins, root)]
        return total

    def bin(self, scores: Index) -> Index:
        """The bin of each score, shape (rows,)."""
        return np.searchsorted(self._arrays.cuts, scores, side="right").astype(np.int64)

    def _leaf(self, bins: Index, root: int) -> Index:
        """Where each row of bins ends in the tree at `root`, shape (rows,).

        Every row takes all levels of the model, whatever it holds: a model in which one row alone goes deep would
        otherwise tell by its time that this row is there.
        """
        of, rows = self._arrays, np.arange(len(bins))
        node = np.full(len(bins), root, dtype=np.int64)
        for _ in range(self.levels):
            feature = of.feature[node]
            right = bins[rows, feature] > of.threshold[node]  # of a leaf, whatever it is: not followed
            node = np.where(feature == LEAF, node, of.children[node, right.astype(np.int64)])
        return node

    @cached_property
    def _arrays(self) -> "_Arrays":
        return _Arrays(
            weights=_array(self.weights),
            feature=_array(self.feature),
            threshold=_array(self.threshold),
            children=_array(self.children).reshape(-1, 2),
            value=_array(self.value),
            cuts=_array(self.cuts),
            begins=rising(self.coarsening.sizes)[:-1],
        )


def _array(values: tuple[int, ...]) -> Index:
    return np.array(values, dtype=np.int64)


@dataclass(frozen=True)
class _Arrays:
    weights: Index
    feature: Index
    threshold: Index
    children: Index
    value: Index
    cuts: Index
    begins: Index
