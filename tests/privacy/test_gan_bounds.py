"""The GAN engine's real terms through the real mechanism: one person moves a sum by at most Delta.

The weights come from the coordinator, so they are chosen to hurt: amplified, overflowing, not finite, and in halves
that cancel but for rounding.
"""

import mechanism_checks as checks
import numpy as np
import pytest
import torch

from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_net import discriminator, initial_discriminator
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.gan_terms import Gradients

SHAPE = Shape(bins=(2, 3, 5, 9, 17, 24), width=32, components=4, pull=0.5)
COARSENING = Coarsening(tuple(tuple(range(size)) for size in SHAPE.bins))


def ordinary():
    rng = np.random.default_rng(1)
    return initial_discriminator(SHAPE, rng) + rng.standard_normal(SHAPE.size).astype(np.float32)


def cancelling():
    """Each unit of the second layer has a twin with the opposite, huge output: what is left is rounding, times 1e30."""
    weights = ordinary()
    net = discriminator(SHAPE, torch.from_numpy(weights))
    half = SHAPE.width // 2
    net.second[half:] = net.second[:half]
    net.second_bias[half:] = net.second_bias[:half]
    net.last[:half] *= 1e30
    net.last[half:] = -net.last[:half]
    return weights


def sprinkled():
    """Some bins of the last column hold what is not a number: rows with other bins stay ordinary."""
    weights = ordinary()
    first = discriminator(SHAPE, torch.from_numpy(weights)).first
    first[3, -7:] = torch.tensor([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0])
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
    columns = len(SHAPE.bins)
    terms = Gradients(SHAPE, WEIGHTS[name](), COARSENING)
    moved = []
    for others in (0, 1, 115, 600):
        owner = np.concatenate([np.arange(others), np.full(64, 10_000)])
        answers = {
            k: checks.clipped_sum(
                checks.Silent(others % 251), checks.units(rows[: others + k], owner[: others + k], columns), terms
            )[0]
            for k in (0, 1, 5, 64)
        }
        moved += [sum((answers[k] - answers[0]).astype(object) ** 2) for k in (1, 5, 64)]
    assert max(moved) <= checks.SUM_GRID**2
    if name in {"ordinary", "not finite"}:  # with huge activations truncation only shortens
        assert max(moved) >= 0.81 * checks.SUM_GRID**2
