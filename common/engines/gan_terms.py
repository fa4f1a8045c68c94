"""Per-row gradients of the discriminator, clipped in closed form and summed exactly.

A row's loss is softplus(-D(row)) where it is real and softplus(D(row)) where it is fake. Its gradient is one outer
product d (x) a of a back-propagated error and an activation for each layer, so its norm follows from theirs (Goodfellow
2015) and one more product per layer sums the weighted rows (Lee, Kifer 2021; Bu et al. 2023, "book-keeping"): no row's
gradient is ever written down. The input is one-hot in each column, so the first layer's products are look-ups.

The sum is exact, as engine.Terms asks: activations are rounded to 2^-10, weighted errors truncated to 2^-20, and to
2^-30 beside the input, which is 0 or 1, so that every product is an integer in units of 2^-30. Rows meet only in those
last products.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from silosynth.common import scale
from silosynth.common.arrays import Codes, Index, Real, Weights
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_net import SLOPE, discriminator
from silosynth.common.engines.gan_shape import Shape

REAL, FAKE = 1.0, -1.0

_GRID = float(scale.SUM_GRID)
_ACTIVATION_GRID = 2.0**10
_ERROR_GRID = _GRID / _ACTIVATION_GRID


class Gradients:
    """An engine.TermsOf: what each row, real or fake, says about the discriminator's weights."""

    def __init__(self, shape: Shape, weights: Weights, coarsening: Coarsening) -> None:
        self.shape = shape
        self.weights = weights
        self._coarsening = coarsening
        self._net = discriminator(shape, torch.from_numpy(weights))
        self._table = self._net.first.t().contiguous()  # (all bins, width)

    @property
    def size(self) -> int:
        """Length of each row's vector: the parameters."""
        return self.shape.size

    def __call__(self, codes: Codes) -> "ClosedForm":
        """Terms of real rows of fine codes, shape (rows, columns)."""
        return self.of_bins(self._coarsening.bins(codes), REAL)

    @torch.inference_mode()
    def of_bins(self, bins: Index, label: float) -> "ClosedForm":
        """Terms of rows of bins, shape (rows, columns), that are all `label`: REAL or FAKE."""
        net = self._net
        index = torch.from_numpy(bins + self.shape.offsets[:-1])
        before_first = functional.embedding_bag(index, self._table, mode="sum") + net.first_bias
        first = functional.leaky_relu(before_first, SLOPE)
        before_second = first @ net.second.t() + net.second_bias
        second = functional.leaky_relu(before_second, SLOPE)
        logit = (second * net.last).sum(1) + net.last_bias
        cells = torch.from_numpy(self.shape.pairs.cells_of_bins(bins)) if self.shape.pair_weights else index[:, :0]
        if self.shape.pair_weights:
            logit += self.shape.pull * functional.embedding_bag(cells, net.pairs[:, None], mode="sum")[:, 0]
        error = -label * torch.sigmoid(-label * logit)
        second_error = error[:, None] * net.last * _slope(before_second)
        first_error = (second_error @ net.second) * _slope(before_first)
        return ClosedForm(
            self.shape,
            index,
            cells,
            _on_grid(first),
            _on_grid(second),
            first_error.double(),
            second_error.double(),
            error.double(),
            error.double() * self.shape.pull,
        )


@dataclass(frozen=True)
class ClosedForm:
    """An engine.Terms. Activations in grid units, errors in their own, all float64."""

    shape: Shape
    index: Tensor  # (rows, columns): each row's bins among all bins
    cells: Tensor  # (rows, pairs): its cells among those of all pairs
    first: Tensor  # (rows, width): the first hidden layer, in units of 2^-10
    second: Tensor  # (rows, width): the second, alike
    first_error: Tensor  # (rows, width): d loss / d what enters the first leaky ReLU
    second_error: Tensor  # (rows, width)
    error: Tensor  # (rows,): d loss / d logit
    pair_error: Tensor  # (rows,): d loss / d what pairs add up to

    @property
    def factors(self) -> tuple[Tensor, ...]:
        """Everything computed of each row."""
        return self.first, self.second, self.first_error, self.second_error, self.error, self.pair_error

    def squared_norms(self) -> Real:
        """See engine.Terms. |a|^2 |d|^2 summed over the outer products, biases having the activation 1."""
        total = _squares(self.first_error) * (self.index.shape[1] + 1)
        total += _squares(self.second_error) * (_squares(self.first) / _ACTIVATION_GRID**2 + 1)
        total += self.error.numpy() ** 2 * (_squares(self.second) / _ACTIVATION_GRID**2 + 1)
        total += self.pair_error.numpy() ** 2 * self.cells.shape[1]
        return total

    @torch.inference_mode()
    def weighted_sum(self, weights: Real) -> Real:
        """See engine.Terms."""
        flat = torch.zeros(self.shape.size, dtype=torch.float64)
        sums = discriminator(self.shape, flat)
        first = _truncated(self.first_error, weights[:, None] * _GRID)
        chosen = torch.zeros(self.shape.all_bins, self.shape.width, dtype=torch.float64)
        for column in range(self.index.shape[1]):
            chosen.index_add_(0, self.index[:, column], first)
        sums.first.copy_(chosen.t())
        torch.sum(first, 0, out=sums.first_bias)
        second = _truncated(self.second_error, weights[:, None] * _ERROR_GRID)
        torch.mm(second.t(), self.first, out=sums.second)
        sums.second_bias.copy_(second.sum(0) * _ACTIVATION_GRID)
        last = _truncated(self.error, weights * _ERROR_GRID)
        torch.mv(self.second.t(), last, out=sums.last)
        sums.last_bias.copy_(last.sum() * _ACTIVATION_GRID)
        if self.shape.pair_weights:
            pairs = _truncated(self.pair_error, weights * _GRID).numpy()
            spread = np.repeat(pairs, self.cells.shape[1])
            sums.pairs.copy_(torch.from_numpy(np.bincount(self.cells.numpy().ravel(), spread, self.shape.pair_weights)))
        summed: Real = flat.numpy()
        return summed


def clipped_sum(terms: ClosedForm) -> Real:
    """Sum of rows' gradients, each scaled to norm 1 at most, in units of the clip norm, shape (size,).

    For public rows: what client/mechanism.py does to private ones, less their shares, secrets and noise.
    """
    with np.errstate(all="ignore"):
        squared = terms.squared_norms()
        finite = np.isfinite(squared)
        return terms.weighted_sum(np.where(finite, 1 / np.maximum(np.sqrt(squared), 1), 0)) / _GRID


def _slope(before: Tensor) -> Tensor:
    return torch.where(before > 0, 1.0, SLOPE)


def _on_grid(activations: Tensor) -> Tensor:
    """Rounded to integers in units of 2^-10, float64; what is not finite becomes 0 or the largest number there is."""
    alpha = torch.nan_to_num(activations).double()
    return alpha.mul_(_ACTIVATION_GRID).round_()


def _truncated(errors: Tensor, weights: Real) -> Tensor:
    """Errors times their rows' weights, towards zero to integers; exactly 0 where the weight is 0."""
    weighted = errors.numpy() * weights
    np.trunc(weighted, out=weighted)  # vectorised, which torch.trunc is not
    np.copyto(weighted, 0.0, where=weights == 0)
    return torch.from_numpy(weighted)


def _squares(features: Tensor) -> Real:
    """Sum of squares of each row, shape (rows,)."""
    values = features.numpy()
    summed: Real = np.einsum("rf,rf->r", values, values)
    return summed
