"""A mixture of products: for tables too wide or too dense for a graphical model.

p(row) is the mean over components of a product of columns' distributions, each a softmax of logits. Its marginals of
any columns are sums of outer products, so that it is fitted to measured tables by Adam on the logits directly (cf. RAP,
Aydore et al. 2021; GEM, Liu et al. 2021, whose network it leaves out).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from silosynth.common.arrays import Index, Real, Weights
from silosynth.common.engines.layouts import rising
from silosynth.common.engines.marginals_tree import systematic


@dataclass(frozen=True)
class Products:
    """A marginals_generator.Model: logits of shape (components, bins of all columns)."""

    sizes: tuple[int, ...]
    logits: Weights = field(repr=False)

    @cached_property
    def tables(self) -> tuple[Real, ...]:
        """Each column's distribution in each component, shape (components, bins)."""
        parts = torch.from_numpy(self.logits).double().split(self.sizes, dim=1)
        return tuple(torch.softmax(part, 1).numpy() for part in parts)

    def bins(self, rows: int, rng: np.random.Generator) -> Index:
        """Bins of rows, shape (columns, rows). Components take turns."""
        count = len(self.logits)
        component = rng.permutation((np.arange(rows) + rng.integers(count)) % count)
        return np.stack([systematic(component, table, rng) for table in self.tables])


def begun(sizes: tuple[int, ...], marginals: Sequence[Real], components: int, rng: np.random.Generator) -> Products:
    """Components that differ at random around the columns' frequencies."""
    means = np.log(np.concatenate(marginals).clip(1e-5))
    noise = rng.standard_normal((components, int(rising(sizes)[-1]))) / 2
    return Products(sizes, (means + noise).astype(np.float32))
