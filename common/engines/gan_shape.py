"""Which parameters the networks of the GAN engine have. Sizes only: no arithmetic."""

import math
from dataclasses import dataclass
from functools import cached_property

from silosynth.common.arrays import Index
from silosynth.common.engines.layouts import rising


@dataclass(frozen=True)
class Shape:
    """Sizes of both networks, all public.

    `bins` are those of each column; `width` the units in each of the discriminator's two hidden layers, `tall` in each
    of the generator's; `noise` the numbers that a row is made from.
    """

    bins: tuple[int, ...]
    width: int
    tall: int
    noise: int

    @cached_property
    def offsets(self) -> Index:
        """Where each column's bins begin among all bins, shape (columns + 1,)."""
        return rising(self.bins)

    @property
    def all_bins(self) -> int:
        """Bins of all columns together: the length of a row, each column one-hot."""
        return sum(self.bins)

    @property
    def of_discriminator(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each layer of the discriminator."""
        return (
            (self.width, self.all_bins),
            (self.width,),
            (self.width, self.width),
            (self.width,),
            (self.width,),
            (1,),
        )

    @property
    def of_generator(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each layer of the generator."""
        own = (self.tall,)
        first, second = (self.tall, self.noise), (self.tall, self.tall)
        return (first, own, own, own, second, own, own, own, (self.all_bins, self.tall), (self.all_bins,))

    @property
    def size(self) -> int:
        """Parameters of the discriminator: the length of every vector of its weights or gradients."""
        return sum(map(math.prod, self.of_discriminator))

    @property
    def generator_size(self) -> int:
        """Parameters of the generator."""
        return sum(map(math.prod, self.of_generator))
