"""Rows from a trained generator of the GAN engine, back to fine cells, in blocks of bounded memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from silosynth.common.arrays import Codes, Index, Real, Weights
from silosynth.common.engines import gan as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_net import by_column, components, frequencies, generator
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.layouts import rising
from silosynth.common.engines.sampling import fine_cells
from silosynth.common.errors import MalformedFrame
from silosynth.common.study import Study

_TOGETHER = 16_384  # rows sampled at once
_DTYPES: Final = {"maps": "<i2", "weights": "<f4", "within": "<f8"}


@dataclass(frozen=True)
class GanGenerator:
    """An engine.Generator. `within[j]` holds the share of each fine cell of column j in its bin."""

    shape: Shape
    coarsening: Coarsening
    weights: Weights = field(repr=False)
    within: tuple[Real, ...] = field(repr=False)

    def sample(self, rows: int, rng: np.random.Generator) -> Codes:
        """Fine cells of synthetic rows, shape (rows, columns)."""
        codes = np.empty((rows, len(self.within)), dtype=np.int32)
        for begin in range(0, rows, _TOGETHER):
            block = codes[begin : begin + _TOGETHER]
            bins = self._bins(len(block), rng)
            for column, (bin_of, share) in enumerate(zip(self.coarsening.arrays, self.within, strict=True)):
                block[:, column] = fine_cells(bins[:, column], bin_of, share, rng)
        return codes

    def _bins(self, rows: int, rng: np.random.Generator) -> Index:
        """Bins of `rows` rows, shape (rows, columns).

        A column's uniforms are stratified over the rows, in random order: frequencies vary less than those of
        independent draws, each row's distribution is the same.
        """
        held = frequencies(self.shape, generator(self.shape, torch.from_numpy(self.weights))).double()
        component = torch.from_numpy(rng.permutation(components(self.shape, rows, rng)))
        bins = np.empty((rows, len(self.shape.bins)), dtype=np.int64)
        for column, share in enumerate(by_column(self.shape, held)):
            reached = share.cumsum(1)[component]
            uniform = torch.from_numpy((rng.permutation(rows) + rng.random(rows)) / rows)[:, None]
            bins[:, column] = (reached[:, :-1] <= uniform * reached[:, -1:]).sum(1).numpy()
        return bins


def freeze(made: GanGenerator) -> Mapping[str, NDArray[Any]]:
    """A generator as named arrays, without what follows from its study."""
    return {
        "maps": np.concatenate(made.coarsening.arrays).astype(np.int16),
        "weights": made.weights,
        "within": np.concatenate(made.within),
    }


def thaw(study: Study, arrays: Mapping[str, NDArray[Any]]) -> GanGenerator:
    """The generator that `freeze` gave. Raises MalformedFrame unless its arrays fit each other and the study."""
    ends = rising(study.schema.sizes)
    if arrays.keys() != _DTYPES.keys() or any(arrays[name].dtype != dtype for name, dtype in _DTYPES.items()):
        raise MalformedFrame("a generator has other arrays than these")
    if arrays["maps"].shape != (ends[-1],) or arrays["within"].shape != (ends[-1],):
        raise MalformedFrame("a generator must say something of every fine cell")
    coarsening = Coarsening(tuple(tuple(part.tolist()) for part in np.split(arrays["maps"], ends[1:-1])))
    coarsening.check(study.schema.sizes)
    networks = engine.shape(study, coarsening)
    if arrays["weights"].shape != (networks.generator_size,):
        raise MalformedFrame("a generator's weights do not fit its network")
    if not all(np.isfinite(values).all() for values in arrays.values()) or (arrays["within"] < 0).any():
        raise MalformedFrame("a generator's numbers must be finite, and its shares not negative")
    return GanGenerator(networks, coarsening, arrays["weights"], tuple(np.split(arrays["within"], ends[1:-1])))
