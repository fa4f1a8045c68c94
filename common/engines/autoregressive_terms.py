"""Per-row gradients of the autoregressive network, clipped in closed form and summed exactly.

Every gradient is a sum of outer products a (x) d of an activation and a back-propagated error, so a row's norm follows
from the norms of a and d (Goodfellow 2015), and one more product per layer sums the weighted rows (Lee, Kifer 2021; Bu
et al. 2023, "book-keeping"): no row's gradient is ever written down. A row's loss is the sum of its columns'
cross-entropies.

The sum is exact, as engine.Terms asks: activations are rounded to 2^-10, weighted errors truncated to 2^-20, gradients
of embeddings to 2^-30, so that every product is an integer in units of 2^-30. Rows meet only in those last products.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from silosynth.common import scale
from silosynth.common.arrays import Codes, Index, Real, Weights
from silosynth.common.engines.autoregressive_net import Layers, layers, zeros
from silosynth.common.engines.autoregressive_shape import Shape

_GRID = float(scale.SUM_GRID)
_ACTIVATION_GRID = 2.0**10
_ERROR_GRID = _GRID / _ACTIVATION_GRID


class Gradients:
    """An engine.TermsOf: what each row says about the weights.

    `maps[t]` takes the fine cells of table column `order[t]` to the bins of the network's column t.
    """

    def __init__(self, shape: Shape, weights: Weights, order: Sequence[int], maps: Sequence[Index]) -> None:
        self._shape = shape
        self._layers = layers(shape, weights)
        self._order = order
        self._maps = [bins + start for bins, start in zip(maps, shape.offsets[:-1], strict=True)]
        self._embedding = self._layers.embedding.t().contiguous()
        self._alpha = _on_grid(self._embedding)  # (width, all bins)

    @property
    def size(self) -> int:
        """Length of each row's vector: the trainable parameters."""
        return self._shape.size

    @torch.inference_mode()
    def __call__(self, codes: Codes) -> "ClosedForm":
        """Terms of rows of fine codes, shape (rows, columns)."""
        shape, net = self._shape, self._layers
        at = np.stack([bins[codes[:, column]] for bins, column in zip(self._maps, self._order, strict=True)])
        index = torch.from_numpy(at)  # (columns, rows), among all bins
        embedded = _gather(shape, self._embedding, index)
        active = _hidden(shape, net, embedded)
        errors = _softmax_less_truth(shape, net, active, index)
        hidden_errors, embedding_errors = _back(shape, net, active, errors)
        return ClosedForm(
            shape,
            index,
            _gather(shape, self._alpha, index),
            _on_grid(active),
            errors.double(),
            hidden_errors.double(),
            embedding_errors.double(),
        )


@dataclass(frozen=True)
class ClosedForm:
    """An engine.Terms. Activations in grid units, errors in their own, all float64 and feature-major."""

    shape: Shape
    index: Tensor  # (columns, rows): each row's bins among all bins
    embedded: Tensor  # ((columns - 1) * width, rows), in units of 2^-10
    active: Tensor  # ((columns - 1) * tall, rows), in units of 2^-10
    errors: Tensor  # (all bins, rows): d loss / d logits
    hidden_errors: Tensor  # ((columns - 1) * tall, rows): before the ReLU
    embedding_errors: Tensor  # ((columns - 1) * width, rows)

    @property
    def factors(self) -> tuple[Tensor, ...]:
        """Everything computed of each row, each of shape (features, rows)."""
        return self.embedded, self.active, self.errors, self.hidden_errors, self.embedding_errors

    @torch.inference_mode()
    def squared_norms(self) -> Real:
        """See engine.Terms. |a|^2 |d|^2 summed over the outer products, biases having the activation 1."""
        shape, columns = self.shape, len(self.shape.bins)
        sources = _squares(self.embedded.view(columns - 1, shape.width, -1)) / _ACTIVATION_GRID**2
        seen = (torch.from_numpy(shape.sees.astype(np.float64)) @ torch.from_numpy(sources)).numpy() + 1
        total = (_squares(self.hidden_errors.view(columns - 1, shape.tall, -1)) * seen).sum(0)
        total += _squares(self.embedding_errors[None])[0]
        active = _squares(self.active.view(columns - 1, shape.tall, -1)) / _ACTIVATION_GRID**2 + 1
        for column in range(columns):
            errors = _squares(self.errors[None, shape.span(column)])[0]
            total += errors * active[column - 1] if column else errors
        norms: Real = total
        return norms

    @torch.inference_mode()
    def weighted_sum(self, weights: Real) -> Real:
        """See engine.Terms."""
        shape, columns = self.shape, len(self.shape.bins)
        padded, sums = zeros(shape, torch.float64)
        errors = _truncated(self.errors, weights * _ERROR_GRID)
        sums.head_bias.copy_(errors.sum(1) * _ACTIVATION_GRID)
        for column in range(1, columns):
            torch.mm(
                errors[shape.span(column)], self.active[shape.units(column)].t(), out=sums.head[shape.span(column)]
            )
        hidden = _truncated(self.hidden_errors, weights * _ERROR_GRID)
        sums.hidden_bias.copy_(hidden.sum(1) * _ACTIVATION_GRID)
        for units, seen in shape.blocks:
            torch.mm(hidden[units], self.embedded[seen].t(), out=sums.hidden[units, seen])
        embedding = _truncated(self.embedding_errors, weights * _GRID)
        chosen = torch.zeros_like(self.errors).scatter_(0, self.index, 1.0)
        for column in range(columns - 1):
            torch.mm(
                chosen[shape.span(column)],
                embedding[shape.embedded(column)].t(),
                out=sums.embedding[shape.span(column)],
            )
        summed: Real = padded.numpy()[shape.trainable]
        return summed


def _gather(shape: Shape, table: Tensor, index: Tensor) -> Tensor:
    """Embeddings of each row's bins, ((columns - 1) * width, rows); `table` has shape (width, all bins)."""
    found = torch.empty((len(shape.bins) - 1) * shape.width, index.shape[1], dtype=table.dtype)
    for column in range(len(shape.bins) - 1):
        torch.index_select(table, 1, index[column], out=found[shape.embedded(column)])
    return found


def _hidden(shape: Shape, net: Layers, embedded: Tensor) -> Tensor:
    active = torch.empty(net.hidden.shape[0], embedded.shape[1])
    for units, seen in shape.blocks:
        torch.mm(net.hidden[units, seen], embedded[seen], out=active[units])
    return active.add_(net.hidden_bias[:, None]).relu_()


def _softmax_less_truth(shape: Shape, net: Layers, active: Tensor, index: Tensor) -> Tensor:
    errors = torch.zeros(int(shape.offsets[-1]), index.shape[1])
    for column in range(1, len(shape.bins)):
        torch.mm(net.head[shape.span(column)], active[shape.units(column)], out=errors[shape.span(column)])
    errors += net.head_bias[:, None]
    for column in range(len(shape.bins)):
        torch.softmax(errors[shape.span(column)], 0, out=errors[shape.span(column)])
    return errors.scatter_add_(0, index, torch.full((), -1.0).expand(index.shape))


def _back(shape: Shape, net: Layers, active: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Errors before the ReLUs and of the embeddings."""
    hidden = torch.empty_like(active)
    for column in range(1, len(shape.bins)):
        torch.mm(net.head[shape.span(column)].t(), errors[shape.span(column)], out=hidden[shape.units(column)])
    hidden *= active.sign()
    embedding = torch.zeros(net.hidden.shape[1], errors.shape[1])
    for units, seen in shape.blocks:
        embedding[seen].addmm_(net.hidden[units, seen].t(), hidden[units])
    return hidden, embedding


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
    """Sum of squares over axis 1, shape (groups, rows); `features` has shape (groups, features, rows)."""
    values = features.numpy()
    summed: Real = np.einsum("gfr,gfr->gr", values, values)
    return summed
