"""Training at a site broken on purpose, as in test_mutants.py: each must fail the check that guards it."""

from dataclasses import replace
from fractions import Fraction

import gan_local_checks as checks
import numpy as np
import pytest
import torch
from gan_local_made import local_study
from opacus import GradSampleModule

from silosynth.client import local_gradients, sampling
from silosynth.client.engines import gan_local
from silosynth.client.mechanism import Metered, SystemNoise
from silosynth.common import study

MUTANTS = []

true_put, true_sum, true_trained, true_add = (
    sampling.put, Metered.sampled_sum, gan_local.trained, SystemNoise.add,
)  # fmt: skip


def caught_by(check):
    """Registers a mutant: a function that breaks something, and the check that must notice."""

    def register(mutate):
        MUTANTS.append(pytest.param(mutate, check, id=mutate.__name__))
        return mutate

    return register


@caught_by(checks.check_a_sum_is_that_of_brute_force)
def rows_clipped_one_by_one(patch):
    def put(codes, owner, places, slots):
        batch = true_put(codes, owner, places, slots)
        filled = (batch.share > 0) | (batch.unit >= 0)
        return replace(batch, share=filled.astype(float), unit=np.full_like(batch.unit, -1))

    patch.setattr(sampling, "put", put)


@caught_by(checks.check_a_sum_is_that_of_brute_force)
def fakes_in_a_pass_of_their_own(patch):
    """Two passes through one hooked module: what the second finds has the first's in it."""

    def call(self, block, codes):
        hooked = GradSampleModule(self._module, loss_reduction="sum")
        real, fakes = self._encode(codes), self._public(block)
        for inputs, rows in ((fakes, 0), (real, len(real))):
            self._losses(hooked(inputs.requires_grad_()), rows).sum().backward()
        found = [[part.flatten(1) for part in parameter.grad_sample] for parameter in self._module.parameters()]
        of_fakes, of_rows = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        of_rows[: len(of_fakes)] += of_fakes[: len(of_rows)]
        hooked.to_standard_module()
        return of_rows.numpy(), of_fakes.numpy()

    patch.setattr(local_gradients.OpacusGradients, "__call__", call)


@caught_by(checks.check_a_sum_is_that_of_brute_force)
def fakes_left_unclipped(patch):
    true = sampling._clipped

    def clipped(vectors, share, weight):
        return true(vectors / 100, share, weight * 100) if weight != 1.0 else true(vectors, share, weight)

    patch.setattr(sampling, "_clipped", clipped)


@caught_by(checks.check_a_sum_is_that_of_brute_force)
def fakes_that_look_real(patch):
    patch.setattr(gan_local, "_losses", lambda outputs, rows: torch.nn.functional.softplus(-outputs[:, 0]))


@caught_by(checks.check_a_sum_is_that_of_brute_force)
def the_same_fakes_in_every_block(patch):
    true = gan_local.Round.public
    patch.setattr(
        gan_local.Round, "gradients",
        lambda self, ask: gan_local._gradients(
            self.shape, self.task.coarsening, ask.weights, lambda block: true(self, ask.step, 0),
            self.expected / (self.fakes * self.blocks),
        ),
    )  # fmt: skip


@caught_by(checks.check_the_learner_knows_sums_only)
def a_learner_that_peeks_at_rows(patch):
    def trained(of, task, units, used):
        task.discriminator[0, 0] += np.float32(units.codes.sum())
        return true_trained(of, task, units, used)

    patch.setattr("silosynth.client.engines.gan.trained", trained)


@caught_by(checks.check_the_learner_knows_sums_only)
def a_sum_that_remembers_the_rows_before_noise(patch):
    true = gan_local.DiscriminatorLearner.absorb

    def absorb(self, ask, total):
        true(self, ask, total + checks.persons.seen)

    def trained(of, task, units, used):
        checks.persons.seen = len(units.owner) << 24
        return true_trained(of, task, units, used)

    patch.setattr("silosynth.client.engines.gan.trained", trained)
    patch.setattr(gan_local.DiscriminatorLearner, "absorb", absorb)


def _asking(**changed):
    def sampled_sum(self, units, gradients, *, rate, multiplier):
        asked = {"rate": rate, "multiplier": multiplier}
        return true_sum(self, units, gradients, **(asked | {name: of(asked[name]) for name, of in changed.items()}))

    return sampled_sum


@caught_by(checks.check_what_the_gate_lets_out_is_noised_as_planned)
def noise_off_at_one_site(patch):
    patch.setattr(Metered, "sampled_sum", _asking(multiplier=lambda _: None))


@caught_by(checks.check_what_the_gate_lets_out_is_noised_as_planned)
def noise_that_a_hacked_source_leaves_out(patch):
    patch.setattr(SystemNoise, "add", lambda self, value, variance, context: value)


@caught_by(checks.check_what_the_gate_lets_out_is_noised_as_planned)
def less_noise_than_planned(patch):
    patch.setattr(Metered, "sampled_sum", _asking(multiplier=lambda planned: planned * Fraction(9, 10)))


@caught_by(checks.check_what_the_gate_lets_out_is_noised_as_planned)
def a_higher_rate_than_planned(patch):
    patch.setattr(Metered, "sampled_sum", _asking(rate=lambda planned: planned * 2))


@caught_by(checks.check_what_the_gate_lets_out_is_noised_as_planned)
def a_step_more_than_planned(patch):
    patch.setattr(gan_local.Round, "__init__", _longer(gan_local.Round.__init__))


def _longer(true):
    def init(self, *given):
        true(self, *given)
        self.steps += 1

    return init


@caught_by(checks.check_what_the_gate_lets_out_is_noised_as_planned)
def the_sums_of_all_rows_clipped_but_not_sampled(patch):
    def sampled_sum(self, units, gradients, *, rate, multiplier):
        return true_sum(self, units, gradients, rate=Fraction(1), multiplier=multiplier)

    patch.setattr(Metered, "sampled_sum", sampled_sum)


@caught_by(checks.check_the_plan_pays_for_every_round)
def an_accountant_that_restarts_every_round(patch):
    true = study.Step.history
    patch.setattr(study.Step, "history", lambda self, shares: true(replace(self, repeats=1), shares))


@caught_by(checks.check_the_plan_pays_for_every_round)
def an_accountant_that_sees_one_step_of_a_round(patch):
    true = study.Step.event

    def event(self, shares):
        return true(replace(self, within=tuple(replace(one, repeats=1) for one in self.within)), shares)

    patch.setattr(study.Step, "event", event)


@pytest.mark.parametrize(("mutate", "check"), MUTANTS)
def test_a_broken_engine_is_caught(mutate, check, monkeypatch):
    mutate(monkeypatch)
    local_study.cache_clear()
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize("check", [getattr(checks, name) for name in dir(checks) if name.startswith("check_")])
def test_the_engine_as_it_is_passes(check):
    local_study.cache_clear()
    check()
