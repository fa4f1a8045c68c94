"""Fine cells merged into fewer bins, column by column: what a site is told about the bins it must count or model in."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from silosynth.common.arrays import Codes, Index
from silosynth.common.errors import MalformedFrame


@dataclass(frozen=True)
class Coarsening:
    """`maps[j][cell]` is the bin of a fine cell of column j; bins are numbered from 0, and none is without a cell."""

    maps: tuple[tuple[int, ...], ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Bins of each column."""
        return tuple(max(column) + 1 for column in self.maps)

    @cached_property
    def arrays(self) -> tuple[Index, ...]:
        """The maps as arrays, each of shape (fine cells,)."""
        return tuple(np.array(column, dtype=np.int64) for column in self.maps)

    def bins(self, codes: Codes) -> Index:
        """The bins of rows of fine cells, shape (rows, columns)."""
        bins = np.empty(codes.shape, dtype=np.int64)
        for at, column in enumerate(self.arrays):
            bins[:, at] = column[codes[:, at]]
        return bins

    def check(self, sizes: tuple[int, ...]) -> None:
        """Raise MalformedFrame unless every fine cell of a schema with `sizes` has a bin and every bin has a cell."""
        if tuple(map(len, self.maps)) != sizes:
            raise MalformedFrame("a coarsening must map every fine cell of every column")
        for column in self.maps:
            used = set(column)
            if min(used) != 0 or max(used) != len(used) - 1:
                raise MalformedFrame("bins must be numbered from 0 without gaps")
