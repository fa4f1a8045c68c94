"""Studies of the GAN engine that learn in seconds, and its networks in torch's own layers, for the tests of it."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from engine_fixtures import study
from torch import nn
from torch.nn.utils import vector_to_parameters

from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_net import SLOPE, by_column, initial_discriminator
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.plan import resolve

BINS = (2, 3, 5, 4)
ROWS = 16
SMALL = {"width": 32, "components": 200, "batch": 400, "fakes": 1000}


def gan_study(epsilon=1.0, **given):
    """A study of the fixtures' table with the GAN engine; settings by name, small networks unless given."""
    of = study(epsilon, **{name: given.pop(name) for name in ("schema", "capacity", "trust", "sites") if name in given})
    settings = tuple((SMALL | given).items())
    return resolve(replace(of, engine="gan", settings=settings, plan=()), of.roster)


def as_they_are(bins):
    """A coarsening that merges nothing."""
    return Coarsening(tuple(tuple(range(size)) for size in bins))


def network(seed=0, bins=BINS, pull=0.7):
    """A shape, weights of a discriminator with sizeable gradients, and rows of bins."""
    rng = np.random.default_rng(seed)
    shape = Shape(bins, width=7, components=30, pull=pull)
    flat = initial_discriminator(shape, rng) + rng.normal(0, 0.5, shape.size).astype(np.float32)
    codes = np.stack([rng.integers(0, size, ROWS) for size in bins], axis=1).astype(np.int32)
    return shape, flat, codes


class Reference(nn.Module):
    """The discriminator in torch's layers, from rows of shape (rows, all bins) to log odds of shape (rows, 1)."""

    def __init__(self, shape, flat):
        super().__init__()
        self.shape = shape
        self.deep = nn.Sequential(
            nn.Linear(shape.all_bins, shape.width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(shape.width, shape.width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(shape.width, 1),
        )
        self.wide = nn.Linear(shape.pair_weights, 1, bias=False) if shape.pair_weights else None
        vector_to_parameters(torch.from_numpy(flat.copy()), self.parameters())

    def forward(self, rows):
        deep = self.deep(rows)
        if self.wide is None:
            return deep
        columns = by_column(self.shape, rows)
        products = [
            (columns[one][:, :, None] * columns[other][:, None, :]).flatten(1)
            for one, other in combinations(range(len(columns)), 2)
        ]
        return deep + self.wide(torch.cat(products, 1) * self.shape.pull)
