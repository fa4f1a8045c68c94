"""Gradients of single rows by Opacus, for sums over Poisson samples (client/sampling.py).

What is Opacus': per-sample gradients of a module in one forward and one backward pass (`GradSampleModule`), and the
recipe of DP-SGD that they serve (Abadi et al. 2016). What is ours, and why: Opacus clips rows, where a person may have
several, so the mechanism averages a person's rows before it clips; its noise is drawn in floating point by torch's
generator, so the mechanism adds exact discrete noise from a CSPRNG to exact integer sums; its loader draws a batch of a
size that can be seen, so the mechanism computes a fixed number of slots.

Two traps, each with a test. Public rows (fakes) go through the same forward pass as real ones: two passes before a
step leave a list of gradients, or their sum under a wrong count. And hooks that stay on collect the gradients of
whatever is computed next, so they exist only while a block is computed.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn

from silosynth.common.arrays import Codes, Weights
from silosynth.common.engine import RowGradients
from silosynth.common.errors import NotPossible
from silosynth.common.scale import SAMPLED_BLOCK

if TYPE_CHECKING:
    from opacus import GradSampleModule

_ROW_BY_ROW: Final = (nn.Linear, nn.LeakyReLU, nn.ReLU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.GELU, nn.ELU, nn.Identity)


class OpacusGradients:
    """Gradients of `losses` in the parameters of a module, row by row: an engine.RowGradients.

    Formal guarantee: in a chain of linear and elementwise layers a row's gradient is a function of its own input and of
    the weights. That rounding keeps to it, at these shapes on this machine, is what `check_rows_do_not_meet` tests.
    """

    def __init__(
        self,
        module: nn.Sequential,
        encode: Callable[[Codes], Tensor],
        public: Callable[[int], Tensor],
        losses: Callable[[Tensor, int], Tensor],
        public_weight: float,
    ) -> None:
        """Raises ValueError for a module in which rows might meet, or whose gradients depend on more than rows.

        Args:
            module: a chain of linear and elementwise layers, at the weights of the task.
            encode: a public map from rows, shape (rows, columns), to inputs, float32 of shape (rows, inputs).
            public: the inputs of a block's public rows, by its number, shape (any, inputs).
            losses: one number a row, shape (rows + public rows,), from the module's outputs, shape (rows + public
                rows, outputs), and the number of rows: those come first.
            public_weight: what a public row counts for, where a unit counts for one.
        """
        if type(module) is not nn.Sequential or not all(type(layer) in _ROW_BY_ROW for layer in module):
            raise ValueError("rows keep apart only in a chain of linear and elementwise layers")
        self._module = module
        self._encode = encode
        self._public = public
        self._losses = losses
        self.public_weight = public_weight
        self.size = sum(parameter.numel() for parameter in module.parameters())

    def __call__(self, block: int, codes: Codes) -> tuple[Weights, Weights]:
        """See engine.RowGradients. Weights that are not finite give gradients that are not, and no exception."""
        from opacus import GradSampleModule  # noqa: PLC0415  # heavy, and only needed where a site learns by itself

        rows = self._encode(codes)
        # Inputs that need a gradient keep torch from warning that a backward hook fires without one.
        inputs = torch.cat([rows, self._public(block)]).detach().requires_grad_()
        hooked = GradSampleModule(self._module, loss_reduction="sum")
        try:
            torch.autograd.backward(self._losses(hooked(inputs), len(rows)).sum())
            of_layers: list[Tensor] = [
                getattr(parameter, "grad_sample").flatten(1)  # noqa: B009  # Opacus' own, unknown to the type
                for parameter in self._module.parameters()
            ]
            gradients = torch.cat(of_layers, dim=1).numpy()
        finally:
            _leave_no_trace(hooked)
        return gradients[: len(rows)], gradients[len(rows) :]


def _leave_no_trace(hooked: "GradSampleModule") -> None:
    """Hooks, gradients and inputs of rows, all of which Opacus attaches to a module and its parameters."""
    module: nn.Module = hooked.to_standard_module()
    module.zero_grad(set_to_none=True)
    for layer in module.modules():
        for attached in ("activations", "max_batch_len"):
            layer.__dict__.pop(attached, None)


def perceptron(widths: Sequence[int], slope: float, weights: Weights) -> nn.Sequential:
    """Linear layers from widths[0] inputs to widths[-1] outputs, leaky ReLUs between them, at a copy of flat `weights`.

    They are read in the order of `parameters()`. Raises ValueError where they are not as many as the layers have.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(slope)]
    module = nn.Sequential(*layers[:-1])
    parameters = list(module.parameters())
    if weights.shape != (sum(parameter.numel() for parameter in parameters),):
        raise ValueError("not the weights of these layers")
    nn.utils.vector_to_parameters(torch.tensor(weights), parameters)
    return module


def check_rows_do_not_meet(
    gradients_at: Callable[[Weights], RowGradients], weights: Weights, cells: Sequence[int]
) -> None:
    """Raise NotPossible unless each row's gradient is the same bits whoever the other rows are, and public rows' too.

    The privacy of sampled sums rests on it (client/sampling.py, rules 3 and 4). Kernels are chosen by shape, so it is
    run at those of the study: at ordinary `weights`, at hostile ones that amplify a last bit, and where some rows
    overflow beside others that do not. `cells` is how many codes each column has. Takes milliseconds; run it once.
    """
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, size, SAMPLED_BLOCK, dtype=np.int32) for size in cells], axis=1)
    others = rng.random(SAMPLED_BLOCK) < 1 / 2
    changed = np.where(others[:, None], codes[rng.permutation(SAMPLED_BLOCK)], codes)
    for amplified, overflowing in ((1.0, 0), (1e4, 0), (1e15, 0), (1.0, 1)):
        at = (weights + rng.standard_normal(weights.size).astype(np.float32)) * np.float32(amplified)
        at[:overflowing] = np.finfo(np.float32).max  # meets only rows whose first input is not 0
        gradients = gradients_at(at)
        (here, here_public), (there, there_public) = gradients(0, codes), gradients(0, changed)
        same = np.array_equal(here[~others], there[~others], equal_nan=True)
        if not same or not np.array_equal(here_public, there_public, equal_nan=True):
            raise NotPossible(
                "this machine's matrix products let rows influence each other: a site here cannot take part"
            )
