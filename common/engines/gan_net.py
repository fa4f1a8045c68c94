"""The two networks of the GAN engine as flat vectors of weights: a discriminator of rows and a generator of them.

Both are plain functions of (weights, input), so there is no module that could keep a gradient, a hook or a random
number from one round to the next. Neither has a layer in which rows meet. A flat vector holds the parameters in the
order, and each in the shape, of `torch.nn.Sequential(...).parameters()` of the same layers.
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
"""Of both networks' leaky ReLUs, below zero."""

_LEAST_FREQUENCY = 1e-4
_TIMID = 0.3  # of the head's weights at the beginning, when the columns' frequencies should stand out


class Discriminator(NamedTuple):
    """Views into one vector of a discriminator's parameters."""

    first: Tensor  # (width, all bins)
    first_bias: Tensor  # (width,)
    second: Tensor  # (width, width)
    second_bias: Tensor  # (width,)
    last: Tensor  # (width,)
    last_bias: Tensor  # (1,)
    pairs: Tensor  # (pair cells,)


class Generator(NamedTuple):
    """Views into one vector of a generator's parameters. A gain and a shift stand behind each layer's norm."""

    first: Tensor  # (tall, noise)
    first_bias: Tensor  # (tall,), as the next two
    first_gain: Tensor
    first_shift: Tensor
    second: Tensor  # (tall, tall)
    second_bias: Tensor
    second_gain: Tensor
    second_shift: Tensor
    head: Tensor  # (all bins, tall)
    head_bias: Tensor  # (all bins,)


def discriminator(shape: Shape, flat: Tensor) -> Discriminator:
    """The layers in a flat vector, shape (shape.size,): views, which share its memory and its gradient."""
    return Discriminator(*_views(flat, shape.of_discriminator))


def generator(shape: Shape, flat: Tensor) -> Generator:
    """The layers in a flat vector, shape (shape.generator_size,): views, which share its memory and its gradient."""
    return Generator(*_views(flat, shape.of_generator))


def initial_discriminator(shape: Shape, rng: np.random.Generator) -> Weights:
    """A discriminator to begin with, shape (shape.size,)."""
    deep, fans = shape.of_discriminator[:-1], (shape.all_bins,) * 2 + (shape.width,) * 4
    return np.append(_uniform(deep, fans, rng), np.zeros(shape.pair_cells, dtype=np.float32))


def initial_generator(shape: Shape, marginals: Sequence[Real], rng: np.random.Generator) -> Weights:
    """A generator to begin with, shape (shape.generator_size,): each column about as frequent as in `marginals`."""
    own = shape.tall
    fans = (shape.noise, shape.noise, own, own, own, own, own, own, own, own)
    flat = _uniform(shape.of_generator, fans, rng)
    net = generator(shape, torch.from_numpy(flat))
    for gain, shift in ((net.first_gain, net.first_shift), (net.second_gain, net.second_shift)):
        gain.fill_(1.0)
        shift.zero_()
    net.head.mul_(_TIMID)
    net.head_bias.copy_(torch.from_numpy(np.log(np.concatenate(list(marginals)).clip(_LEAST_FREQUENCY))))
    return flat


def discriminate(shape: Shape, net: Discriminator, rows: Tensor) -> Tensor:
    """Log odds of being real, shape (rows,), from rows of shape (rows, all bins), one-hot in each column or nearly."""
    hidden = functional.leaky_relu(torch.addmm(net.first_bias, rows, net.first.t()), SLOPE)
    hidden = functional.leaky_relu(torch.addmm(net.second_bias, hidden, net.second.t()), SLOPE)
    deep = hidden @ net.last + net.last_bias
    if not shape.pair_cells:
        return deep
    square = torch.zeros(shape.all_bins**2).index_copy(0, torch.from_numpy(shape.places), net.pairs)
    return deep + shape.pull * ((rows @ square.view(shape.all_bins, -1)) * rows).sum(1)


def scores(net: Generator, noise: Tensor) -> Tensor:
    """Logits of every column's bins, shape (rows, all bins), from standard normal noise of shape (rows, noise)."""
    tall = net.first_bias.shape
    hidden = torch.addmm(net.first_bias, noise, net.first.t())
    hidden = functional.leaky_relu(functional.layer_norm(hidden, tall, net.first_gain, net.first_shift), SLOPE)
    hidden = torch.addmm(net.second_bias, hidden, net.second.t())
    hidden = functional.leaky_relu(functional.layer_norm(hidden, tall, net.second_gain, net.second_shift), SLOPE)
    return torch.addmm(net.head_bias, hidden, net.head.t())


def standard_normal(rows: int, columns: int, rng: np.random.Generator) -> Tensor:
    """Shape (rows, columns)."""
    return torch.from_numpy(rng.standard_normal((rows, columns), dtype=np.float32))


def gumbel(rows: int, columns: int, rng: np.random.Generator) -> Tensor:
    """Standard Gumbel noise, shape (rows, columns): the largest of logits plus it is a draw from their softmax."""
    waited = rng.standard_exponential((rows, columns), dtype=np.float32)
    return torch.from_numpy(-np.log(np.maximum(waited, np.finfo(np.float32).tiny)))


@torch.inference_mode()
def fakes(shape: Shape, weights: Weights, rows: int, rng: np.random.Generator) -> Index:
    """Bins of `rows` rows of the generator, shape (rows, columns): a function of weights and random numbers only."""
    net = generator(shape, torch.from_numpy(weights))
    drawn = scores(net, standard_normal(rows, shape.noise, rng)).add_(gumbel(rows, shape.all_bins, rng))
    bins: Index = torch.stack([column.argmax(1) for column in by_column(shape, drawn)], 1).numpy()
    return bins


def by_column(shape: Shape, of_bins: Tensor) -> tuple[Tensor, ...]:
    """What stands for all bins in the last axis, for each column alone."""
    return torch.split(of_bins, list(shape.bins), -1)


def _views(flat: Tensor, dimensions: tuple[tuple[int, ...], ...]) -> tuple[Tensor, ...]:
    parts = torch.split(flat, [math.prod(of) for of in dimensions])
    return tuple(part.view(of) for part, of in zip(parts, dimensions, strict=True))


def _uniform(dimensions: tuple[tuple[int, ...], ...], fans: tuple[int, ...], rng: np.random.Generator) -> Weights:
    """Each layer uniform within one over the root of its inputs, as torch begins linear layers."""
    drawn = [rng.uniform(-1, 1, math.prod(of)) / math.sqrt(fan) for of, fan in zip(dimensions, fans, strict=True)]
    return np.concatenate(drawn).astype(np.float32)
