"""Rows from a trained autoregressive network: calibrated, tilted, back to fine cells, in blocks of bounded memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silosynth.common.arrays import Codes, Index, Real, Weights
from silosynth.common.engines.autoregressive import order
from silosynth.common.engines.autoregressive import shape as shape_of
from silosynth.common.engines.autoregressive_net import Layers, layers, logits
from silosynth.common.engines.autoregressive_shape import Shape
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import Pairs, rising
from silosynth.common.engines.tilt import BinsAndPairs, Tilt, weighted
from silosynth.common.errors import MalformedFrame
from silosynth.common.study import Study

_TOGETHER = 16_384  # rows sampled at once: their embeddings stay near the processor
_MOST_STEPS = 30  # of calibration; a trained network needs about 6
_CLOSE = 1e-4
_FLOOR = 1e-6
_DTYPES: Final = {"maps": "<i2", "weights": "<f4", "shifts": "<f4", "within": "<f8", "tilt": "<f8"}

Shift: TypeAlias = Callable[[int, Tensor], Tensor]
"""What to add to a column's logits, shape (bins, 1), given the column and the logits of all rows, (bins, rows)."""


@dataclass(frozen=True)
class AutoregressiveGenerator:
    """An engine.Generator.

    `shifts` has a number for each bin, in the network's order; `within[j]` holds the share of each fine cell of table
    column j in its bin; `tilt` is None where rows are not weighted.
    """

    shape: Shape
    coarsening: Coarsening
    weights: Weights = field(repr=False)
    shifts: Weights = field(repr=False)
    within: tuple[Real, ...] = field(repr=False)
    tilt: Tilt | None = field(repr=False)

    def sample(self, rows: int, rng: np.random.Generator) -> Codes:
        """Fine cells of synthetic rows, shape (rows, columns)."""
        codes = np.empty((rows, len(self.within)), dtype=np.int32)
        for begin in range(0, rows, _TOGETHER):
            block = codes[begin : begin + _TOGETHER]
            bins = self.bins(len(block), rng)
            for column, (bin_of, share) in enumerate(zip(self.coarsening.arrays, self.within, strict=True)):
                block[:, column] = fine_cells(bins[column], bin_of, share, rng)
        return codes

    def bins(self, rows: int, rng: np.random.Generator) -> Index:
        """Bins of rows, shape (columns, rows), in the table's order of columns."""
        net = layers(self.shape, self.weights)

        def shift(column: int, _: Tensor) -> Tensor:
            return torch.from_numpy(self.shifts[self.shape.span(column), None])

        def draw(count: int) -> Index:
            return ancestral(self.shape, net, order(self.coarsening), count, rng, shift)

        return draw(rows) if self.tilt is None else weighted(self.tilt, draw, rows, rng)


def calibrated(
    shape: Shape, net: Layers, columns: Sequence[int], marginals: Sequence[Real], rows: int, rng: np.random.Generator
) -> tuple[Weights, Index]:
    """Shifts with which a sample of the network has given marginals, shape (bins in all,), and `rows` rows so sampled.

    Column by column, in the network's order, the bias moves by log(wanted / predicted) until the mean prediction over
    the sample is what is wanted: post-processing of the noisy 1-ways. `marginals` are in the table's order.
    """
    shifts = np.zeros(int(shape.offsets[-1]), dtype=np.float32)

    def fit(column: int, unshifted: Tensor) -> Tensor:
        wanted = torch.from_numpy(marginals[columns[column]].astype(np.float32))[:, None] + _FLOOR
        found = torch.zeros_like(wanted)
        for _ in range(_MOST_STEPS):
            predicted = torch.softmax(unshifted + found, 0).mean(1, keepdim=True) + _FLOOR
            if (predicted - wanted).abs().max() < _CLOSE:
                break
            found += (wanted / predicted).log()
        shifts[shape.span(column)] = found[:, 0].numpy()
        return found

    return shifts, ancestral(shape, net, columns, rows, rng, fit)


@torch.inference_mode()
def ancestral(
    shape: Shape, net: Layers, columns: Sequence[int], rows: int, rng: np.random.Generator, shift: Shift
) -> Index:
    """Bins of `rows` rows, shape (columns, rows), in the table's order: the network's column t is its columns[t].

    A column's uniforms are stratified over the rows, in random order: frequencies vary less than those of independent
    draws, each row's distribution is the same.
    """
    bins = np.empty((len(shape.bins), rows), dtype=np.int64)
    embedded = torch.zeros((len(shape.bins) - 1) * shape.width, rows)
    for column in range(len(shape.bins)):
        scores = logits(shape, net, column, embedded)
        reached = torch.softmax(scores + shift(column, scores), 0).cumsum(0)
        uniform = torch.from_numpy((rng.permutation(rows) + rng.random(rows)) / rows).float()
        drawn = (reached[:-1] <= uniform * reached[-1]).sum(0)
        bins[columns[column]] = drawn.numpy()
        if column < len(shape.bins) - 1:
            torch.index_select(net.embedding[shape.span(column)].t(), 1, drawn, out=embedded[shape.embedded(column)])
    return bins


def fine_cells(bins: Index, bin_of: Index, share: Real, rng: np.random.Generator) -> Index:
    """A fine cell for each row's bin, shape (rows,), by systematic sampling within each bin.

    Of m rows of a bin, each of its fine cells gets m times its share, rounded up or down; which rows is random.
    """
    by_bin = np.argsort(bin_of, kind="stable")
    reached = np.cumsum(share[by_bin])
    held = np.bincount(bins, minlength=int(bin_of.max()) + 1)
    begins = np.cumsum(held) - held
    visited = rng.permutation(bins.size)
    visited = visited[np.argsort(bins[visited].astype(np.int16), kind="stable")]  # rows of one bin together, shuffled
    sorted_bins = bins[visited]
    place = (np.arange(bins.size) - begins[sorted_bins] + rng.random(held.size)[sorted_bins]) / held[sorted_bins]
    chosen = np.searchsorted(reached, sorted_bins + place, side="right")
    first = np.concatenate([[0], np.cumsum(np.bincount(bin_of))])
    cells = np.empty_like(bins)
    cells[visited] = by_bin[chosen.clip(first[sorted_bins], first[sorted_bins + 1] - 1)]
    return cells


def freeze(generator: AutoregressiveGenerator) -> Mapping[str, NDArray[Any]]:
    """A generator as named arrays, without what follows from its study."""
    return {
        "maps": np.concatenate(generator.coarsening.arrays).astype(np.int16),
        "weights": generator.weights,
        "shifts": generator.shifts,
        "within": np.concatenate(generator.within),
        "tilt": np.zeros(0) if generator.tilt is None else generator.tilt.duals,
    }


def thaw(study: Study, arrays: Mapping[str, NDArray[Any]]) -> AutoregressiveGenerator:
    """The generator that `freeze` gave. Raises MalformedFrame unless its arrays fit each other and the study."""
    ends = rising(study.schema.sizes)
    if arrays.keys() != _DTYPES.keys() or any(arrays[name].dtype != dtype for name, dtype in _DTYPES.items()):
        raise MalformedFrame("a generator has other arrays than these")
    if arrays["maps"].shape != (ends[-1],) or arrays["within"].shape != (ends[-1],):
        raise MalformedFrame("a generator must say something of every fine cell")
    coarsening = Coarsening(tuple(tuple(part.tolist()) for part in np.split(arrays["maps"], ends[1:-1])))
    coarsening.check(study.schema.sizes)
    network = shape_of(study, coarsening)
    bins, duals = int(network.offsets[-1]), arrays["tilt"]
    if arrays["weights"].shape != (network.size,) or arrays["shifts"].shape != (bins,):
        raise MalformedFrame("a generator's weights do not fit its network")
    if duals.shape not in {(0,), (bins + int(Pairs(coarsening).offsets[-1]),)}:
        raise MalformedFrame("a generator's tilt does not fit its bins")
    if not all(np.isfinite(values).all() for values in arrays.values()) or (arrays["within"] < 0).any():
        raise MalformedFrame("a generator's numbers must be finite, and its shares not negative")
    within = tuple(np.split(arrays["within"], ends[1:-1]))
    tilt = Tilt(BinsAndPairs(coarsening), duals) if duals.size else None
    return AutoregressiveGenerator(network, coarsening, arrays["weights"], arrays["shifts"], within, tilt)
