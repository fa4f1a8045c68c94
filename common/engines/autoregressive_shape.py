"""Which parameters the autoregressive network has, and how they stand in one flat vector. Sizes only: no arithmetic.

Column t of T, in a fixed order, is predicted from at most `parents` columns before it: an embedding of each, one hidden
ReLU block of its own, a softmax head. The first column has a bias only.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from silosynth.common.arrays import Index
from silosynth.common.engines.layouts import rising

_TOGETHER = 4  # target columns whose hidden blocks share a matrix product: fewer, larger products


@dataclass(frozen=True)
class Shape:
    """Sizes of a network, all public.

    `bins` are those of each column, in the network's order; `width` is that of an embedding, `tall` the hidden units of
    a column, `parents` the most columns that a column is predicted from.
    """

    bins: tuple[int, ...]
    width: int
    tall: int
    parents: int

    @cached_property
    def offsets(self) -> Index:
        """Where each column's bins begin among all bins, shape (columns + 1,)."""
        return rising(self.bins)

    @cached_property
    def sees(self) -> Index:
        """Whether target column t + 1 sees source column s, shape (columns - 1, columns - 1)."""
        target, source = np.arange(1, len(self.bins))[:, None], np.arange(len(self.bins) - 1)[None, :]
        return ((source < target) & (source >= target - self.parents)).astype(np.int64)

    @cached_property
    def trainable(self) -> Index:
        """Positions of the trainable parameters among those of all layers one after another, shape (size,).

        The others are zero and stay so, because no row can touch them: embeddings of the last column, hidden weights
        from columns a column does not see, and the head of the first column. No noise is spent on them.
        """
        columns = np.repeat(np.arange(len(self.bins)), self.bins)
        last, first = columns == len(self.bins) - 1, columns == 0
        touched = (
            np.repeat(~last, self.width),
            np.kron(self.sees, np.ones((self.tall, self.width))).ravel() > 0,
            np.ones(len(self.sees) * self.tall, dtype=bool),
            np.repeat(~first, self.tall),
            np.ones(columns.size, dtype=bool),
        )
        return np.flatnonzero(np.concatenate(touched))

    @property
    def size(self) -> int:
        """Trainable parameters: the length of every flat vector of weights or gradients."""
        return self.trainable.size

    @cached_property
    def blocks(self) -> tuple[tuple[slice, slice], ...]:
        """Hidden units (rows of `hidden`) beside the embeddings they may see (its columns), a few targets at a time."""
        found = []
        for first in range(1, len(self.bins), _TOGETHER):
            last = min(first + _TOGETHER, len(self.bins))
            units = slice((first - 1) * self.tall, (last - 1) * self.tall)
            found.append((units, slice(max(0, first - self.parents) * self.width, (last - 1) * self.width)))
        return tuple(found)

    def span(self, column: int) -> slice:
        """A column's bins among all bins."""
        return slice(int(self.offsets[column]), int(self.offsets[column + 1]))

    def units(self, column: int) -> slice:
        """The hidden units that predict a column, from 1."""
        return slice((column - 1) * self.tall, column * self.tall)

    def embedded(self, column: int) -> slice:
        """A column's place among the embeddings of all columns."""
        return slice(column * self.width, (column + 1) * self.width)

    @property
    def dimensions(self) -> tuple[tuple[int, ...], ...]:
        """Of each layer: embedding, hidden weights, hidden biases, head weights, head biases; padding included."""
        all_bins, targets = int(self.offsets[-1]), len(self.bins) - 1
        return (
            (all_bins, self.width),
            (targets * self.tall, targets * self.width),
            (targets * self.tall,),
            (all_bins, self.tall),
            (all_bins,),
        )
