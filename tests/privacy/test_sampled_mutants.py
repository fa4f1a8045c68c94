"""Sampling and learning broken on purpose, as in test_mutants.py: each must fail the check that guards it."""

from dataclasses import replace

import numpy as np
import pytest
import sampled_checks as checks
import torch
from opacus import GradSampleModule

from silosynth.client import local_gradients, mechanism, sampling
from silosynth.client.mechanism import Metered, SystemNoise
from silosynth.common import scale

MUTANTS = []

true_put, true_coins, true_clipped, true_collect, true_add, true_runs, true_call = (
    sampling.put, sampling.coins, sampling._clipped, sampling._collect, SystemNoise.add, mechanism.in_runs,
    local_gradients.OpacusGradients.__call__,
)  # fmt: skip


def caught_by(check):
    """Registers a mutant: a function that breaks something, and the check that must notice."""

    def register(mutate):
        MUTANTS.append(pytest.param(mutate, check, id=mutate.__name__))
        return mutate

    return register


# Who takes part


@caught_by(checks.check_coins_are_secret)
def coins_that_anybody_can_throw(patch):
    patch.setattr(SystemNoise, "coins", lambda self, context: mechanism.Csprng((context * 32)[:32]))


@caught_by(checks.check_coins_are_of_poisson)
def coins_from_a_seed(patch):
    patch.setattr(sampling, "coins", lambda rate, units, stream: np.random.default_rng(0).random(units) < rate)


@caught_by(checks.check_coins_are_secret)
def coins_from_the_stream_of_slots(patch):
    patch.setattr(SystemNoise, "coins", SystemNoise.slots)


@caught_by(checks.check_coins_are_of_poisson)
def the_same_sample_in_every_sum(patch):
    patch.setattr(Metered, "_own_context", lambda self: self._context)


def _fixed_size(rate, units, stream):
    heads = np.zeros(units, dtype=bool)
    heads[mechanism.random_injection(units, round(rate * units), stream)] = True
    return heads


@caught_by(checks.check_coins_are_of_poisson)
def samples_of_a_fixed_size(patch):
    patch.setattr(sampling, "coins", _fixed_size)


@caught_by(checks.check_coins_are_of_poisson)
def a_higher_rate_than_paid_for(patch):
    patch.setattr(sampling, "coins", lambda rate, units, stream: true_coins(rate * 11 / 10, units, stream))


@caught_by(checks.check_an_answer_has_the_law_of_its_price)
def everybody_takes_part(patch):
    patch.setattr(sampling, "coins", lambda rate, units, stream: np.ones(units, dtype=bool))
    patch.setattr(scale, "sampled_slots", lambda rate, capacity, rows: -(-capacity // 64) * 64)


# What a unit adds


def _every_row_alone(batch):
    filled = (batch.share > 0) | (batch.unit >= 0)
    return replace(batch, share=filled.astype(float), unit=np.full_like(batch.unit, -1))


@caught_by(checks.check_sampled_sum_is_bounded)
def rows_clipped_one_by_one(patch):
    patch.setattr(sampling, "put", lambda *rows: _every_row_alone(true_put(*rows)))


@caught_by(checks.check_sampled_sum_is_that_of_brute_force)
def rows_clipped_one_by_one_then_averaged(patch):
    def put(codes, owner, places, slots):
        batch = _every_row_alone(true_put(codes, owner, places, slots))
        batch.share[places] = 1 / np.unique(owner, return_counts=True)[1][np.unique(owner, return_inverse=True)[1]]
        return batch

    def clipped(vectors, share, weight):
        return true_clipped(vectors / np.maximum(1, np.linalg.norm(vectors, axis=1))[:, None], share, weight)

    patch.setattr(sampling, "put", put)
    patch.setattr(sampling, "_clipped", clipped)


@caught_by(checks.check_sampled_sum_is_bounded)
def a_unit_of_several_rows_clipped_before_it_is_complete(patch):
    def put(*rows):
        batch = true_put(*rows)
        return replace(batch, share=np.where(batch.unit >= 0, 1, batch.share))

    patch.setattr(sampling, "put", put)


@caught_by(checks.check_sampled_sum_is_that_of_brute_force)
def clipping_off(patch):
    patch.setattr(
        sampling, "_clipped",
        lambda vectors, share, weight: np.trunc(share @ vectors * weight * scale.SUM_GRID).astype(np.int64),
    )  # fmt: skip


@caught_by(checks.check_sampled_sum_is_bounded)
def clipping_at_twice_the_norm(patch):
    patch.setattr(sampling, "_clipped", lambda vectors, share, weight: 2 * true_clipped(vectors / 2, share, weight))


@caught_by(checks.check_sampled_sum_is_bounded)
def gradients_that_are_not_finite_kept(patch):
    def clipped(vectors, share, weight):
        norms = np.nan_to_num(share * np.linalg.norm(vectors, axis=1), posinf=1)
        factors = weight * scale.SUM_GRID * share / np.maximum(norms, 1)
        return np.trunc(vectors * factors[:, None]).sum(axis=0).astype(np.int64)

    patch.setattr(sampling, "_clipped", clipped)


# Fakes


@caught_by(checks.check_sampled_sum_is_that_of_brute_force)
def fakes_left_unclipped(patch):
    def call(self, block, codes):
        rows, fakes = true_call(self, block, codes)
        return rows, fakes / np.float32(1000)

    patch.setattr(local_gradients.OpacusGradients, "__call__", call)
    patch.setattr(
        local_gradients.OpacusGradients, "public_weight", property(lambda _: 500.0, lambda *_: None), raising=False
    )


@caught_by(checks.check_sampled_sum_is_that_of_brute_force)
def fakes_in_a_pass_of_their_own(patch):
    """Two passes through one hooked module: what the second finds has the first's in it."""

    def call(self, block, codes):
        hooked = GradSampleModule(self._module, loss_reduction="sum")
        real, fakes = self._encode(codes), self._public(block)
        for inputs, rows in ((fakes, 0), (real, len(real))):
            self._losses(hooked(inputs.requires_grad_()), rows).sum().backward()
        found = [[part.flatten(1) for part in parameter.grad_sample] for parameter in self._module.parameters()]
        of_fakes, of_rows = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        of_rows[: len(of_fakes)] += of_fakes
        hooked.to_standard_module()
        return of_rows.numpy(), of_fakes.numpy()

    patch.setattr(local_gradients.OpacusGradients, "__call__", call)


@caught_by(checks.check_sampled_sum_is_that_of_brute_force)
def fakes_counted_twice(patch):
    def call(self, block, codes):
        rows, fakes = true_call(self, block, codes)
        return rows, np.concatenate([fakes, fakes])

    patch.setattr(local_gradients.OpacusGradients, "__call__", call)


# Noise, and who pays


def _quiet_for(n):
    """Noise left out at the n-th sum of a source."""

    def add(self, value, variance, context):
        return value if int.from_bytes(context[-8:]) == n else true_add(self, value, variance, context)

    return add


@caught_by(checks.check_every_sum_of_a_learner_is_noised_and_counted)
def noise_left_out_at_one_step(patch):
    patch.setattr(SystemNoise, "add", _quiet_for(7))


@caught_by(checks.check_noise_of_samples_has_the_claimed_size)
def noise_left_out_of_samples(patch):
    patch.setattr(SystemNoise, "add", _quiet_for(1))


@caught_by(checks.check_noise_of_samples_has_the_claimed_size)
def noise_scaled_by_the_rate(patch):
    patch.setattr(SystemNoise, "add", lambda self, x, v, context: true_add(self, x, int(v * checks.RATE), context))


@caught_by(checks.check_noise_of_samples_has_the_claimed_size)
def noise_five_percent_short(patch):
    patch.setattr(SystemNoise, "add", lambda self, x, v, context: true_add(self, x, v * 361 // 400, context))


@caught_by(checks.check_an_answer_has_the_law_of_its_price)
def no_noise_where_somebody_takes_part(patch):
    def add(self, value, variance, context):
        return np.where(value > scale.SUM_GRID / 2, value, true_add(self, value, variance, context))

    patch.setattr(SystemNoise, "add", add)


@caught_by(checks.check_an_answer_has_the_law_of_its_price)
def fakes_noised_twice(patch):
    true_release = Metered._release

    def release(self, value, sensitivity, multiplier, context, event):
        again = true_add(self._noise, np.zeros_like(value), scale.site_variance(sensitivity, multiplier, 1), b"again")
        return true_release(self, value + again, sensitivity, multiplier, context, event)

    patch.setattr(Metered, "_release", release)


@caught_by(checks.check_every_sum_of_a_learner_is_noised_and_counted)
def the_same_noise_at_every_step(patch):
    patch.setattr(Metered, "_own_context", lambda self: self._context)


@caught_by(checks.check_every_sum_of_a_learner_is_noised_and_counted)
def accountant_restarted_at_every_step(patch):
    patch.setattr(mechanism, "in_runs", lambda counted: true_runs(list(counted)[-1:]))


@caught_by(checks.check_every_sum_of_a_learner_is_noised_and_counted)
def repetitions_counted_once(patch):
    patch.setattr(mechanism, "in_runs", lambda counted: true_runs(dict.fromkeys(counted)))


@caught_by(checks.check_every_sum_of_a_learner_is_noised_and_counted)
def the_learner_is_told_the_exact_sum(patch):
    values = []

    def add(self, value, variance, context):
        values.append(value)
        return true_add(self, value, variance, context)

    true_absorb = checks.Recorder.absorb
    patch.setattr(SystemNoise, "add", add)
    patch.setattr(checks.Recorder, "absorb", lambda self, ask, total: true_absorb(self, ask, values[-1]))


@caught_by(checks.check_learning_needs_all_noise_here)
def a_share_of_the_noise_is_enough(patch):
    patch.setattr(Metered, "_check_all_noise_is_here", lambda self: None)


@caught_by(checks.check_no_sum_of_a_learner_can_be_sealed)
def sums_of_a_learner_kept(patch):
    kept, true_learn, true_release = [], Metered.learn, Metered._release

    def learn(self, learner, perform):
        try:
            return true_learn(self, learner, perform)
        finally:
            self._answers = [*self._answers, *kept]

    def release(self, *args):
        answer = true_release(self, *args)
        kept.append(self._answers[-1])
        return answer

    patch.setattr(Metered, "learn", learn)
    patch.setattr(Metered, "_release", release)


@pytest.mark.parametrize(("mutate", "check"), MUTANTS)
def test_a_broken_mechanism_is_caught(mutate, check, monkeypatch):
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        check()
