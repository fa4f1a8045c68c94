"""The two networks of the GAN engine as flat vectors of weights: a discriminator of rows and a generator of them.

Both are plain functions of (weights, input), so there is no module that could keep a gradient, a hook or a random
number from one round to the next. Neither has a layer in which rows meet.

The discriminator is wide and deep (Cheng et al. 2016): two hidden layers, and beside them, where asked for, a weight
for each cell of each pair of columns. The generator is a mixture of products: its noise is a component, drawn evenly,
and a component holds logits of every column's bins. A deep network of Gaussian noise learns less in 200 rounds: on
Adult at epsilon 10, AUC .85 against .90.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from silosynth.common.arrays import Index, Real, Weights
from silosynth.common.engines.gan_shape import Shape

SLOPE = 0.2
"""Of the leaky ReLUs, below zero."""

_LEAST_FREQUENCY = 1e-4


class Discriminator(NamedTuple):
    """Views into one vector of a discriminator's parameters, in the order of torch's own linear layers."""

    first: Tensor  # (width, all bins)
    first_bias: Tensor  # (width,)
    second: Tensor  # (width, width)
    second_bias: Tensor  # (width,)
    last: Tensor  # (width,)
    last_bias: Tensor  # (1,)
    pairs: Tensor  # (pair weights,)


def discriminator(shape: Shape, flat: Tensor) -> Discriminator:
    """The layers in a flat vector, shape (shape.size,): views, which share its memory and its gradient."""
    parts = torch.split(flat, [math.prod(of) for of in shape.of_discriminator])
    return Discriminator(*(part.view(of) for part, of in zip(parts, shape.of_discriminator, strict=True)))


def generator(shape: Shape, flat: Tensor) -> Tensor:
    """The logits in a flat vector, shape (components, all bins): a view."""
    return flat.view(shape.components, shape.all_bins)


def initial_discriminator(shape: Shape, rng: np.random.Generator) -> Weights:
    """A discriminator to begin with, shape (shape.size,): uniform as torch begins linear layers, pairs at zero."""
    flat = np.zeros(shape.size, dtype=np.float32)
    net = discriminator(shape, torch.from_numpy(flat))
    for layer, inputs in zip(net[:-1], (shape.all_bins, shape.all_bins, *(shape.width,) * 4), strict=True):
        layer.copy_(torch.from_numpy(rng.uniform(-1, 1, layer.shape) / math.sqrt(inputs)))
    return flat


def initial_generator(shape: Shape, marginals: Sequence[Real], spread: float, rng: np.random.Generator) -> Weights:
    """A generator to begin with, shape (shape.generator_size,): components `spread` about the frequencies' logarithms.

    `spread` is a standard deviation. Without it all components would be alike and remain so.
    """
    logits = np.log(np.concatenate(list(marginals)).clip(_LEAST_FREQUENCY))
    drawn: Weights = (logits + spread * rng.standard_normal((shape.components, shape.all_bins))).astype(np.float32)
    return drawn.ravel()


def discriminate(shape: Shape, net: Discriminator, rows: Tensor) -> Tensor:
    """Log odds of being real, shape (rows,), from rows of shape (rows, all bins), one-hot in each column or nearly."""
    hidden = functional.leaky_relu(torch.addmm(net.first_bias, rows, net.first.t()), SLOPE)
    hidden = functional.leaky_relu(torch.addmm(net.second_bias, hidden, net.second.t()), SLOPE)
    deep = hidden @ net.last + net.last_bias
    if not shape.pair_weights:
        return deep
    square = torch.zeros(shape.all_bins**2).index_copy(0, torch.from_numpy(shape.places), net.pairs)
    return deep + shape.pull * ((rows @ square.view(shape.all_bins, -1)) * rows).sum(1)


def components(shape: Shape, rows: int, rng: np.random.Generator) -> Index:
    """A component for each row, shape (rows,), rising: each as often as every other, one more or less."""
    return ((np.arange(rows) + rng.random()) * (shape.components / rows)).astype(np.int64) % shape.components


def gumbel(rows: int, columns: int, rng: np.random.Generator) -> Tensor:
    """Standard Gumbel noise, shape (rows, columns): the largest of logits plus it is a draw from their softmax."""
    waited = rng.standard_exponential((rows, columns), dtype=np.float32)
    return torch.from_numpy(-np.log(np.maximum(waited, np.finfo(np.float32).tiny)))


def fakes(shape: Shape, weights: Weights, rows: int, rng: np.random.Generator) -> Index:
    """Bins of `rows` rows of the generator, shape (rows, columns): a function of weights and random numbers only."""
    logits = generator(shape, torch.from_numpy(weights))[torch.from_numpy(components(shape, rows, rng))]
    drawn = logits + gumbel(rows, shape.all_bins, rng)
    bins: Index = torch.stack([column.argmax(1) for column in by_column(shape, drawn)], 1).numpy()
    return bins


def one_hot(shape: Shape, bins: Index) -> Tensor:
    """Rows of bins, shape (rows, columns), as rows of zeros and ones, shape (rows, all bins)."""
    index = torch.from_numpy(bins + shape.offsets[:-1])
    return torch.zeros(len(bins), shape.all_bins).scatter_(1, index, 1.0)


def frequencies(shape: Shape, table: Tensor) -> Tensor:
    """Of every bin in each component, shape (components, all bins), from the generator's logits."""
    return torch.cat([column.softmax(1) for column in by_column(shape, table)], 1)


def by_column(shape: Shape, of_bins: Tensor) -> tuple[Tensor, ...]:
    """What stands for all bins in the last axis, for each column alone."""
    return torch.split(of_bins, list(shape.bins), -1)
