"""Studies of the GAN engine that learn in seconds, and its networks in torch's own layers, for the tests of it."""

from dataclasses import replace

import numpy as np
import torch
from engine_fixtures import study
from torch import nn
from torch.nn.utils import vector_to_parameters

from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_net import SLOPE, initial_discriminator
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.plan import resolve

BINS = (2, 3, 5, 4)
ROWS = 16
SMALL = {"width": 32, "tall": 64, "noise": 16, "batch": 500, "fakes": 1000}


def gan_study(epsilon=1.0, **given):
    """A study of the fixtures' table with the GAN engine; settings by name, small networks unless given."""
    of = study(epsilon, **{name: given.pop(name) for name in ("schema", "capacity", "trust", "sites") if name in given})
    settings = tuple((SMALL | given).items())
    return resolve(replace(of, engine="gan", settings=settings, plan=()), of.roster)


def as_they_are(bins):
    """A coarsening that merges nothing."""
    return Coarsening(tuple(tuple(range(size)) for size in bins))


def network(seed=0, bins=BINS):
    """A shape, weights of a discriminator with sizeable gradients, and rows, every column in each of its bins."""
    rng = np.random.default_rng(seed)
    shape = Shape(bins, width=7, tall=6, noise=3)
    flat = initial_discriminator(shape, rng) + rng.normal(0, 0.5, shape.size).astype(np.float32)
    codes = np.stack([rng.integers(0, size, ROWS) for size in bins], axis=1).astype(np.int32)
    return shape, flat, codes


def reference(shape, flat):
    """The discriminator in torch's layers: (rows, all bins) to (rows, 1)."""
    made = nn.Sequential(
        nn.Linear(shape.all_bins, shape.width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(shape.width, shape.width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(shape.width, 1),
    )
    vector_to_parameters(torch.from_numpy(flat.copy()), made.parameters())
    return made


def one_hot(shape, bins):
    """Rows of bins as rows of zeros and ones, shape (rows, all bins)."""
    rows = torch.zeros(len(bins), shape.all_bins)
    return rows.scatter_(1, torch.from_numpy(bins.astype(np.int64) + shape.offsets[:-1]), 1.0)
