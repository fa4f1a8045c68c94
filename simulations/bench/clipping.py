"""Per-row clipping in closed form beside what else there is, on one network and one batch, each to the same sum.

Contestants: this engine's exact integer sums; Opacus' GradSampleModule (hooks that keep every row's gradient), its fast
gradient and ghost clipping (two backward passes), torch.func; and one plain backward pass without clipping or privacy.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from silosynth.common import scale
from silosynth.common.arrays import Codes, Real, Weights
from silosynth.common.engines.autoregressive_net import initial, layers, zeros
from silosynth.common.engines.autoregressive_shape import Shape
from silosynth.common.engines.autoregressive_terms import Gradients
from silosynth.common.progress import Progress
from silosynth.simulations.bench.measure import interleaved, ranged, ratio
from silosynth.simulations.bench.results import Row

OURS: Final = "closed form, exact sums"
PLAIN: Final = "plain backward, no privacy"
HOOKS: Final = "Opacus hooks"

_ADULT_BINS: Final = (2, 3, 5, 6, 6, 7, 7, 10, 10, 15, 16, 18, 22, 24)
"""About what the first task of a study finds of Adult at epsilon 1, in the network's order."""


@dataclass(frozen=True)
class Batch:
    """One network and one micro-batch."""

    shape: Shape
    weights: Weights = field(repr=False)
    bins: Codes = field(repr=False)

    @classmethod
    def made(cls, seed: int, bins: tuple[int, ...] = _ADULT_BINS, rows: int = scale.MICRO_BATCH) -> "Batch":
        """Random weights of ordinary size and random rows."""
        rng = np.random.default_rng(seed)
        shape = Shape(bins, width=8, tall=32, parents=48)
        weights = initial(shape, tuple(rng.dirichlet(np.ones(size)) for size in bins), rng)
        weights += 0.1 * rng.standard_normal(shape.size).astype(np.float32)
        return cls(shape, weights, np.stack([rng.integers(0, size, rows, dtype=np.int32) for size in bins], axis=1))


class Network(nn.Module):
    """The same network from ordinary layers, as Opacus needs it. Gives the loss of each row, shape (rows,)."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        shape, net = batch.shape, layers(batch.shape, batch.weights)
        self._shape = shape
        columns = range(1, len(shape.bins))
        self.embeddings = nn.ModuleList(
            nn.Embedding(shape.bins[column - 1], shape.width, _weight=net.embedding[shape.span(column - 1)].clone())
            for column in columns
        )
        self.hidden = nn.ModuleList(
            _linear(net.hidden[shape.units(column), self._seen(column)], net.hidden_bias[shape.units(column)])
            for column in columns
        )
        self.heads = nn.ModuleList(
            _linear(net.head[shape.span(column)], net.head_bias[shape.span(column)]) for column in columns
        )
        self.first = _linear(net.head_bias[shape.span(0)][:, None], None)

    def forward(self, bins: Tensor) -> Tensor:
        """Sum of the columns' cross-entropies, shape (rows,); `bins` has shape (rows, columns)."""
        embedded = torch.cat([table(bins[:, at]) for at, table in enumerate(self.embeddings)], dim=1)
        ones = torch.ones(len(bins), 1)
        loss = nn.functional.cross_entropy(self.first(ones), bins[:, 0], reduction="none")
        for column, (hidden, head) in enumerate(zip(self.hidden, self.heads, strict=True), start=1):
            scores = head(torch.relu(hidden(embedded[:, self._seen(column)])))
            loss = loss + nn.functional.cross_entropy(scores, bins[:, column], reduction="none")
        return loss

    def flat(self, gradients: Mapping[str, Tensor]) -> Real:
        """Gradients by the names of parameters as the engine's flat vector, shape (shape.size,)."""
        shape = self._shape
        padded, views = zeros(shape, torch.float64)
        views.head_bias[shape.span(0)] = gradients["first.weight"][:, 0].double()
        for column in range(1, len(shape.bins)):
            at = column - 1
            views.embedding[shape.span(at)] = gradients[f"embeddings.{at}.weight"].double()
            views.hidden[shape.units(column), self._seen(column)] = gradients[f"hidden.{at}.weight"].double()
            views.hidden_bias[shape.units(column)] = gradients[f"hidden.{at}.bias"].double()
            views.head[shape.span(column)] = gradients[f"heads.{at}.weight"].double()
            views.head_bias[shape.span(column)] = gradients[f"heads.{at}.bias"].double()
        summed: Real = padded.numpy()[shape.trainable]
        return summed

    def _seen(self, column: int) -> slice:
        shape = self._shape
        return slice(max(0, column - shape.parents) * shape.width, column * shape.width)


def clipping(seeds: tuple[int, ...], turns: int, progress: Progress) -> Iterator[Row]:
    """Rows per second of the closed form, and how many times longer the others take for the same sum."""
    progress("clipping", 0, 0)
    batch = Batch.made(seeds[0])
    rivals: dict[str, Callable[[], Real]] = {OURS: closed_form(batch), PLAIN: plain(batch), "torch.func": func(batch)}
    if importlib.util.find_spec("opacus"):
        rivals |= {HOOKS: hooks(batch)}
        rivals |= {f"Opacus {name}": ghost(batch, ghost=on) for name, on in (("fast", False), ("ghost", True))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hooks, that inputs need no gradient
        sums = {name: run() for name, run in rivals.items() if name != PLAIN}
        took = interleaved(rivals, turns)
    method = f"CPU, median and range of {turns} interleaved turns of {len(batch.bins)} rows"
    rates = ranged([len(batch.bins) / spent for spent in took[OURS].cpu_s])
    yield Row("clipping", OURS, rates.value, "rows/s", rates.interval, method, "higher", seeds=seeds[:1])
    for name in rivals:
        if name != OURS:
            times = ratio(took[name].cpu_s, took[OURS].cpu_s)
            title = f"{name} / closed form"
            yield Row("clipping", title, times.value, "x", times.interval, method, seeds=seeds[:1])
    if HOOKS not in rivals:
        yield Row("clipping", f"{HOOKS} / closed form", None, "x", note="opacus is not installed")
    off = max(float(np.abs(summed - sums[OURS]).max() / np.abs(sums[OURS]).max()) for summed in sums.values())
    yield Row("clipping", "largest difference of two sums, relative", off, "", better="lower", seeds=seeds[:1])


def closed_form(batch: Batch) -> Callable[[], Real]:
    """The engine's own: exact integers, here divided by their grid."""
    maps = [np.arange(size) for size in batch.shape.bins]

    def run() -> Real:
        terms = Gradients(batch.shape, batch.weights, range(len(maps)), maps)(batch.bins)
        norms = np.sqrt(terms.squared_norms())
        summed: Real = terms.weighted_sum(1 / np.maximum(norms, 1)) / scale.SUM_GRID
        return summed

    return run


def plain(batch: Batch) -> Callable[[], Real]:
    """One backward pass over the whole batch: what training costs without privacy."""
    network, bins = Network(batch), torch.from_numpy(batch.bins).long()

    def run() -> Real:
        network.zero_grad()
        network(bins).sum().backward()
        return network.flat({name: _known(one.grad) for name, one in network.named_parameters()})

    return run


def func(batch: Batch) -> Callable[[], Real]:
    """Every row's gradient by vectorised differentiation."""
    network, bins = Network(batch), torch.from_numpy(batch.bins).long()
    values = {name: one.detach() for name, one in network.named_parameters()}

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Any:
        return functional_call(network, parameters, (row[None],)).sum()

    each_row = vmap(grad(loss), in_dims=(None, 0))
    return lambda: network.flat(_clipped(each_row(values, bins)))


def hooks(batch: Batch) -> Callable[[], Real]:
    """Every row's gradient by Opacus' hooks."""
    network, bins = Network(batch), torch.from_numpy(batch.bins).long()
    wrapped = _opacus("grad_sample").GradSampleModule(network, loss_reduction="sum")

    def run() -> Real:
        wrapped.zero_grad()
        wrapped(bins).sum().backward()
        return network.flat(
            _clipped({name: _known(getattr(one, "grad_sample", None)) for name, one in network.named_parameters()})
        )

    return run


def ghost(batch: Batch, *, ghost: bool) -> Callable[[], Real]:
    """Norms in a first backward pass, the sum of weighted rows in a second, by Opacus."""
    network, bins = Network(batch), torch.from_numpy(batch.bins).long()
    wrap = _opacus("grad_sample").GradSampleModuleFastGradientClipping
    wrapped = wrap(network, loss_reduction="sum", max_grad_norm=1.0, use_ghost_clipping=ghost)

    def run() -> Real:
        wrapped.zero_grad()
        losses = wrapped(bins)
        losses.sum().backward(retain_graph=True)
        weights = wrapped.get_clipping_coef()
        wrapped.zero_grad()
        wrapped.disable_hooks()
        (weights * losses).sum().backward()
        wrapped.enable_hooks()
        return network.flat({name: _known(one.grad) for name, one in network.named_parameters()})

    return run


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight.data = weight.clone()
    if bias is not None:
        made.bias.data = bias.clone()
    return made


def _clipped(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sum of rows' gradients, each scaled to norm 1 at most; every tensor has shape (rows, ...)."""
    norms = torch.stack([one.flatten(1).square().sum(1) for one in rows.values()]).sum(0).sqrt()
    weights = 1 / norms.clamp(min=1)
    return {name: torch.einsum("r,r...->...", weights, one.detach()) for name, one in rows.items()}


def _known(gradient: Any) -> Tensor:
    if not isinstance(gradient, Tensor):
        raise TypeError("a parameter without a gradient")
    return gradient


def _opacus(module: str) -> Any:
    """A module of Opacus, which is a peer to measure and no dependency."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"opacus.{module}")
