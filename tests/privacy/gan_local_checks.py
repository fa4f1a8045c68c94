"""What must be true of a GAN's discriminator that is trained at a site, as functions that raise AssertionError.

As in mechanism_checks.py: test_gan_local_mutants.py runs them on code that is broken on purpose.
"""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from dp_accounting.pld import privacy_loss_distribution
from engine_fixtures import answer, rows
from gan_local_made import few, round_of, training
from torch.nn import functional

from silosynth.client.engines.gan import Gan
from silosynth.client.engines.gan_local import Ask
from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.local_gradients import perceptron
from silosynth.client.mechanism import Metered, SystemNoise, open_noised
from silosynth.client.policy import just_this
from silosynth.client.refusal import Refused
from silosynth.common import scale
from silosynth.common.engine import Units
from silosynth.common.engines import gan as engine
from silosynth.common.engines.gan_net import SLOPE
from silosynth.common.wire import Request
from silosynth.simulations.noiseless import ZeroNoise

EVERYBODY = 1


def persons(seed=0, rows_each=(1, 2, 5), number=40):
    """Units of several rows each."""
    owner = np.repeat(np.arange(number), np.resize(rows_each, number))
    return Units(rows(owner.size, seed), owner)


def check_a_sum_is_that_of_brute_force() -> None:
    """One backward pass for each unit's mean loss and for each fake, then clipping: within 1e-5 of the mechanism."""
    asked, units = round_of(few(sample=1300), units=200), persons()
    assert asked.rate == EVERYBODY
    weights = asked.task.discriminator[0] * np.float32(2)
    mechanism = Metered(ZeroNoise(), b"", shares=1, capacity=1300, max_rows_per_unit=5)
    gradients = asked.gradients(Ask(3, weights))
    noised = mechanism.sampled_sum(units, gradients, rate=asked.rate, multiplier=None)
    ours = open_noised(noised, mechanism, asked.shape.size) / scale.SUM_GRID

    module = perceptron((asked.shape.all_bins, asked.shape.width, asked.shape.width, 1), SLOPE, weights).double()
    inputs = torch.cat(
        [
            functional.one_hot(torch.from_numpy(column).long(), size)
            for column, size in zip(asked.task.coarsening.bins(units.codes).T, asked.shape.bins, strict=True)
        ],
        1,
    ).double()
    norms: dict[int, list[float]] = {1: [], -1: []}

    def clipped(held: torch.Tensor, sign: int) -> np.ndarray:
        loss = functional.softplus(-sign * module(held)).mean()
        gradient = torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(module.parameters()))])
        norms[sign].append(float(gradient.norm()))
        return (gradient / max(1, norms[sign][-1])).numpy()

    brute = sum(clipped(inputs[units.owner == unit], 1) for unit in np.unique(units.owner))
    blocks = -(-1300 // scale.SAMPLED_BLOCK)
    public = torch.cat([asked.public(3, block) for block in range(blocks)]).double()
    brute += 200 / len(public) * sum(clipped(fake[None], -1) for fake in public)
    assert min(norms[-1]) < 1 < max(norms[-1])  # clipped and not
    assert min(norms[1]) > 1
    assert np.linalg.norm(ours - brute) < 1e-5 * np.linalg.norm(brute)


class Scripted(ZeroNoise):
    """Answers every sum with the next of its own, whatever the rows say."""

    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.default_rng(0)

    def add(self, value: np.ndarray, variance: int, context: bytes) -> np.ndarray:
        return self._rng.integers(-(2**32), 2**32, value.size)


def check_the_learner_knows_sums_only() -> None:
    """The same sums over other rows give the same answer, bit for bit; other sums give another."""
    of = few(math.inf)
    sent = []
    for units in (persons(0), persons(1), Units(rows(0), np.zeros(0, dtype=np.int64))):
        mechanism = Metered(Scripted(), b"", shares=1, capacity=1300, max_rows_per_unit=5)
        noised = Gan(of).answer(training(of), units, mechanism)
        sent.append(open_noised(noised, mechanism, Gan(of).claim(training(of)).size).tobytes())
    assert len(set(sent)) == 1
    assert answer(of, Gan(of), training(of), persons(0)).tobytes() != sent[0]


def check_what_the_gate_lets_out_is_noised_as_planned() -> None:
    """A round through a real gate: it leaves only where every sum had the planned noise, and the ledger says so."""
    of, noised = few(), []

    class Spy(SystemNoise):
        def add(self, value: np.ndarray, variance: int, context: bytes) -> np.ndarray:
            with_noise = super().add(value, variance, context)
            noised.append(np.square((with_noise - value) / scale.SUM_GRID).mean())
            return with_noise

    half, task = Gan(of), training(of)
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite")
        gate = Gate(just_this(of), ledger, Spy())
        gate.approve(of, of.roster[0])
        try:
            for release, asked in enumerate((engine.CountOneWays(), task)):
                noised.clear()
                request = Request(of.digest, release, 0, bytes(16), engine.take_apart(asked))
                permit = gate.permit(of, request, half.claim(asked))
                sealed = gate.seal(permit, half.answer(asked, persons(), permit.mechanism))
        except (Refused, ValueError) as error:
            raise AssertionError("the gate keeps it in") from error
        finally:
            ledger.close()
    assert np.isfinite(engine.unpacked(sealed.vector, engine.shape(of, task.coarsening).size)).all()
    gradient = engine.step_of(of, engine.GRADIENT)
    assert len(noised) == gradient.repeats
    # The mean of more than 1,000 squares: 8 standard deviations.
    assert np.allclose(np.array(noised) / float(gradient.multiplier) ** 2, 1, atol=8 * math.sqrt(2 / 1000))


def check_the_plan_pays_for_every_round() -> None:
    """The whole study by another accountant (dp-accounting's losses): within 2 % of what it says it spends."""
    of = few(3.0, steps=20, local_steps=5)
    counts, rounds = of.plan
    (gradient,) = rounds.within
    sampled = privacy_loss_distribution.from_gaussian_mechanism(
        float(gradient.multiplier), value_discretization_interval=1e-3, sampling_prob=float(gradient.rate)
    )
    one = privacy_loss_distribution.from_gaussian_mechanism(
        float(counts.multiplier), value_discretization_interval=1e-3
    )
    whole = sampled.self_compose(20 * 5).compose(one)
    assert abs(whole.get_epsilon_for_delta(1e-5) / 3.0 - 1) < 0.02
