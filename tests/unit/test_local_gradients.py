"""Per-sample gradients by Opacus: what they are, and that nothing stays behind."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from sampled_checks import WIDTHS, little_network, little_weights
from torch import nn

from silosynth.client import local_gradients
from silosynth.client.local_gradients import OpacusGradients, check_rows_do_not_meet, perceptron
from silosynth.client.mechanism import Metered, SystemNoise, open_noised
from silosynth.common.engine import Units
from silosynth.common.errors import NotPossible
from silosynth.common.scale import SAMPLED_BLOCK

CODES = np.random.default_rng(0).integers(0, 6, (SAMPLED_BLOCK, 2)).astype(np.int32)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _dict_of(module):
    return [sorted(layer.__dict__) for layer in module.modules()] + [dir(one) for one in module.parameters()]


def _hooks_of(module):
    return [
        hook
        for layer in module.modules()
        for hooks in (layer._forward_hooks, layer._backward_hooks, layer._backward_pre_hooks, layer._forward_pre_hooks)
        for hook in hooks.values()
    ]


def test_are_those_of_one_row_at_a_time():
    network = little_network(little_weights())
    rows, fakes = network(0, CODES)
    assert rows.dtype == fakes.dtype == np.float32
    module, inputs = network._module, torch.cat([network._encode(CODES), network._public(0)])
    for number, found in enumerate(np.concatenate([rows, fakes])):
        loss = network._losses(module(inputs[number : number + 1]), int(number < SAMPLED_BLOCK))
        alone = torch.autograd.grad(loss.sum(), list(module.parameters()))
        assert np.allclose(found, torch.cat([one.flatten() for one in alone]).numpy(), rtol=1e-4, atol=1e-6)


def test_leave_no_trace():
    network = little_network(little_weights())
    before = _dict_of(network._module)
    network(0, CODES)
    assert _dict_of(network._module) == before
    assert _hooks_of(network._module) == []
    assert all(one.grad is None for one in network._module.parameters())


def test_leave_no_trace_where_the_loss_breaks_off():
    network = little_network(little_weights())
    before = _dict_of(network._module)
    network._losses = lambda outputs, rows: 1 // 0
    with pytest.raises(ZeroDivisionError):
        network(0, CODES)
    assert _dict_of(network._module) == before
    assert _hooks_of(network._module) == []


def test_hooks_that_stay_on_would_be_noticed(monkeypatch):
    monkeypatch.setattr(local_gradients, "_leave_no_trace", lambda hooked: None)
    network = little_network(little_weights())
    network(0, CODES)
    assert _hooks_of(network._module) != []
    with pytest.raises(ValueError, match="hooks twice"):
        network(0, CODES)


def test_a_generator_s_step_between_two_blocks_changes_nothing():
    network = little_network(little_weights())
    before = network(0, CODES)
    network._module(torch.rand(10, WIDTHS[0])).sum().backward()
    after = network(0, CODES)
    assert all((one == other).all() for one, other in zip(before, after, strict=True))


def test_weights_that_are_not_finite_give_zeros_and_no_exception():
    for poison in (np.nan, np.inf, np.finfo(np.float32).max):
        weights = little_weights()
        weights[:] = poison
        used = Metered(SystemNoise(), b"", shares=1, capacity=100, max_rows_per_unit=3)
        network = little_network(weights)
        noised = used.sampled_sum(
            Units(CODES, np.arange(SAMPLED_BLOCK)), network, rate=Fraction(1, 2), multiplier=Fraction(1, 1000)
        )
        assert np.abs(open_noised(noised, used, network.size)).max() < 100 * 2**30 / 1000


def test_an_empty_sample_is_an_answer_of_fakes_and_noise():
    used = Metered(SystemNoise(), b"", shares=1, capacity=100, max_rows_per_unit=3)
    network = little_network(little_weights(), public_weight=0.0)
    for units in (Units(CODES[:0], np.arange(0)), Units(CODES, np.arange(SAMPLED_BLOCK))):
        noised = used.sampled_sum(units, network, rate=Fraction(1, 10**6), multiplier=Fraction(1, 1000))
        assert 0 < np.abs(open_noised(noised, used, network.size)).max() < 100 * 2**30 / 1000


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)),
        nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False)),
        nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)),
        nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=0)),
        nn.Sequential(nn.Flatten(0), nn.Linear(2, 2)),
        nn.ModuleList([nn.Linear(2, 2)]),
    ],
)
def test_refuse_layers_in_which_rows_might_meet(module):
    with pytest.raises(ValueError, match="rows keep apart"):
        OpacusGradients(module, None, None, None, 1.0)


def test_a_perceptron_has_its_weights_in_order():
    weights = np.arange(2 * 3 + 3 + 3 + 1, dtype=np.float32)
    module = perceptron((2, 3, 1), 0.2, weights)
    assert [type(layer) for layer in module] == [nn.Linear, nn.LeakyReLU, nn.Linear]
    assert (torch.cat([one.flatten() for one in module.parameters()]).detach().numpy() == weights).all()
    module[0].weight.data[:] = 0
    assert weights[1] == 1  # a copy
    for wrong in (weights[1:], weights[None]):
        with pytest.raises(ValueError, match="not the weights"):
            perceptron((2, 3, 1), 0.2, wrong)


def test_rows_do_not_meet_here():
    check_rows_do_not_meet(little_network, little_weights(), (6, 6))


def test_rows_that_meet_are_noticed():
    class Meeting(OpacusGradients):
        def __call__(self, block, codes):
            rows, public = super().__call__(block, codes)
            return rows, public + np.float32(1e-7) * codes.sum()

    def meeting(weights):
        network = little_network(weights)
        network.__class__ = Meeting
        return network

    with pytest.raises(NotPossible, match="influence each other"):
        check_rows_do_not_meet(meeting, little_weights(), (6, 6))
