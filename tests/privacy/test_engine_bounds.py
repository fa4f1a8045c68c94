"""The autoregressive engine's real terms through the real mechanism: one person moves a sum by at most Delta.

The weights come from the coordinator, so they are chosen to hurt: amplified, overflowing, not finite, and in halves
that cancel but for rounding.
"""

import mechanism_checks as checks
import numpy as np
import pytest
import torch

from silosynth.common.engines.autoregressive_net import initial, zeros
from silosynth.common.engines.autoregressive_shape import Shape
from silosynth.common.engines.autoregressive_terms import Gradients

SHAPE = Shape(bins=(2, 3, 5, 9, 17, 24), width=8, tall=32, parents=4)
COLUMNS = len(SHAPE.bins)


def ordinary():
    rng = np.random.default_rng(1)
    uniform = tuple(np.full(size, 1 / size) for size in SHAPE.bins)
    return initial(SHAPE, uniform, rng) + rng.standard_normal(SHAPE.size).astype(np.float32)


def cancelling():
    """Each hidden unit has a twin with the opposite, huge head: what is left of them is rounding, times 1e30."""
    padded, net = zeros(SHAPE, torch.float32)
    padded.numpy()[SHAPE.trainable] = ordinary()
    half = SHAPE.tall // 2
    for column in range(1, COLUMNS):
        units, span = SHAPE.units(column), SHAPE.span(column)
        net.hidden[units][half:] = net.hidden[units][:half]
        net.head[span] = net.head[span] * 1e30
        net.head[span, half:] = -net.head[span, :half]
    return padded.numpy()[SHAPE.trainable]


def sprinkled():
    """Some embeddings of the last source column hold what is not a number: rows with other bins stay ordinary."""
    weights = ordinary()
    embedding = weights[: SHAPE.offsets[-2] * SHAPE.width].reshape(-1, SHAPE.width)
    embedding[-7:, 3] = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0]
    return weights


WEIGHTS = {
    "ordinary": ordinary,
    "amplified": lambda: ordinary() * np.float32(1e4),
    "overflowing": lambda: ordinary() * np.float32(1e30),
    "tiny": lambda: ordinary() * np.float32(1e-30),
    "cancelling": cancelling,
    "not finite": sprinkled,
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")
def test_a_person_moves_a_sum_of_gradients_by_at_most_delta(name):
    torch.set_num_threads(1)
    rng = np.random.default_rng(2)
    rows = np.stack([rng.integers(0, size, 700) for size in SHAPE.bins], axis=1)
    terms = Gradients(SHAPE, WEIGHTS[name](), range(COLUMNS), [np.arange(size) for size in SHAPE.bins])
    moved = []
    for others in (0, 1, 115, 600):
        owner = np.concatenate([np.arange(others), np.full(64, 10_000)])
        answers = {
            k: checks.clipped_sum(
                checks.Silent(others % 251), checks.units(rows[: others + k], owner[: others + k], COLUMNS), terms
            )[0]
            for k in (0, 1, 5, 64)
        }
        moved += [sum((answers[k] - answers[0]).astype(object) ** 2) for k in (1, 5, 64)]
    assert max(moved) <= checks.SUM_GRID**2
    if name in {"ordinary", "not finite"}:  # with huge activations truncation only shortens
        assert max(moved) >= 0.81 * checks.SUM_GRID**2
