"""The autoregressive network's weights as layers, its beginning, and the prediction of one column.

Arrays are feature-major, (features, rows): a table's row is a column of every matrix.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from silosynth.common.arrays import Real, Weights
from silosynth.common.engines.autoregressive_shape import Shape


class Layers(NamedTuple):
    """Views into one vector of all parameters, padding included. `all_bins` counts the bins of all columns."""

    embedding: Tensor  # (all_bins, width)
    hidden: Tensor  # ((columns - 1) * tall, (columns - 1) * width)
    hidden_bias: Tensor  # ((columns - 1) * tall,)
    head: Tensor  # (all_bins, tall)
    head_bias: Tensor  # (all_bins,)


def zeros(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Layers]:
    """A vector of zeros for all parameters, padding included, and its layers."""
    lengths = [math.prod(of) for of in shape.dimensions]
    padded = torch.zeros(sum(lengths), dtype=dtype)
    parts = torch.split(padded, lengths)
    return padded, Layers(*(part.view(of) for part, of in zip(parts, shape.dimensions, strict=True)))


def layers(shape: Shape, flat: Weights) -> Layers:
    """The layers of a flat vector, shape (shape.size,)."""
    padded, views = zeros(shape, torch.float32)
    padded.numpy()[shape.trainable] = flat
    return views


def initial(shape: Shape, marginals: tuple[Real, ...], rng: np.random.Generator) -> Weights:
    """Weights to begin with, shape (shape.size,): every column independent, with its frequencies in `marginals` > 0."""
    padded, views = zeros(shape, torch.float32)
    views.embedding.copy_(torch.from_numpy(rng.standard_normal(views.embedding.shape)))
    seen = shape.width * max(1, min(len(shape.bins) // 2, shape.parents))
    views.hidden.copy_(torch.from_numpy(rng.standard_normal(views.hidden.shape) * math.sqrt(2 / seen)))
    views.head_bias.copy_(torch.from_numpy(np.log(np.concatenate(marginals))))
    flat: Weights = padded.numpy()[shape.trainable]
    return flat


def logits(shape: Shape, weights: Layers, column: int, embedded: Tensor) -> Tensor:
    """Logits of one column's bins, shape (bins, rows), from the embeddings of the columns before it.

    `embedded` has shape ((columns - 1) * width, rows); what the column does not see may hold anything finite.
    """
    bias = weights.head_bias[shape.span(column)][:, None]
    if column == 0:
        return bias.expand(-1, embedded.shape[1]).clone()
    units = shape.units(column)
    seen = slice(max(0, column - shape.parents) * shape.width, column * shape.width)
    active = torch.addmm(weights.hidden_bias[units][:, None], weights.hidden[units, seen], embedded[seen]).relu_()
    return torch.addmm(bias, weights.head[shape.span(column)], active)
