"""Which parameters the networks of the GAN engine have. Sizes only: no arithmetic."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from silosynth.common.arrays import Index
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import Pairs, rising


@dataclass(frozen=True)
class Shape:
    """Sizes of both networks, all public.

    `bins` are those of each column; `width` the units in each of the discriminator's two hidden layers; `components`
    the kinds of row that the generator mixes. `pull` is what each pair of columns adds to the discriminator's log odds
    for a weight of one; with 0 it has no weights for pairs.
    """

    bins: tuple[int, ...]
    width: int
    components: int
    pull: float = 0.0

    @cached_property
    def offsets(self) -> Index:
        """Where each column's bins begin among all bins, shape (columns + 1,)."""
        return rising(self.bins)

    @property
    def all_bins(self) -> int:
        """Bins of all columns together: the length of a row, each column one-hot."""
        return sum(self.bins)

    @cached_property
    def pairs(self) -> Pairs:
        """The table of every pair of columns."""
        return Pairs(Coarsening(tuple(tuple(range(size)) for size in self.bins)))

    @cached_property
    def places(self) -> Index:
        """Where each cell of those tables stands in a square of all bins by all bins, row after row: shape (cells,)."""
        begins, found = self.offsets[:-1], [np.zeros(0, dtype=np.int64)]
        for one, other in self.pairs.columns.T:
            rows, columns = begins[one] + np.arange(self.bins[one]), begins[other] + np.arange(self.bins[other])
            found.append((rows[:, None] * self.all_bins + columns).ravel())
        return np.concatenate(found)

    @property
    def pair_weights(self) -> int:
        """Weights of the discriminator that stand for such a cell."""
        return int(self.pairs.offsets[-1]) if self.pull else 0

    @property
    def of_discriminator(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each layer of the discriminator."""
        hidden = (self.width,)
        first, second = (self.width, self.all_bins), (self.width, self.width)
        return (first, hidden, second, hidden, hidden, (1,), (self.pair_weights,))

    @property
    def size(self) -> int:
        """Parameters of the discriminator: the length of every vector of its weights or gradients."""
        return sum(map(math.prod, self.of_discriminator))

    @property
    def generator_size(self) -> int:
        """Parameters of the generator: a logit of every bin in each component."""
        return self.components * self.all_bins
