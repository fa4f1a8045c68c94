"""The site's half: prices, the right verb for each task, and a machine that cannot be trusted with rows."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_fixtures import SCHEMA, rows, shards, study, total

from silosynth.client.engines import autoregressive as site_module
from silosynth.client.engines.autoregressive import Autoregressive, check_rows_do_not_meet
from silosynth.common import scale
from silosynth.common.engine import Parts
from silosynth.common.engines import autoregressive as engine
from silosynth.common.engines import autoregressive_terms as terms_module
from silosynth.common.engines.autoregressive_shape import Shape
from silosynth.common.engines.autoregressive_terms import Gradients
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import OneWays, Pairs
from silosynth.common.errors import MalformedFrame, NotPossible
from silosynth.common.privacy import Gaussian, NoPrivacy

COARSENING = Coarsening(tuple(tuple(cell % 3 for cell in range(size)) for size in SCHEMA.sizes))


def gradient_task(of, seed=0):
    size = engine.shape(of, COARSENING).size
    return engine.SumGradients(COARSENING, np.random.default_rng(seed).normal(0, 0.3, size).astype(np.float32))


def test_a_claim_is_the_plan_s_price_and_the_layout_s_size():
    of = study(1.0)
    half = Autoregressive(of)
    for task, step in zip(
        (engine.CountOneWays(), engine.CountPairs(COARSENING), gradient_task(of)), of.plan, strict=True
    ):
        assert half.claim(task).event == Gaussian(step.multiplier, 2)
    assert half.claim(engine.CountOneWays()).size == sum(SCHEMA.sizes)
    assert half.claim(engine.CountPairs(COARSENING)).size == 6 * 9
    assert half.claim(gradient_task(of)).size == gradient_task(of).weights.size
    assert Autoregressive(study(math.inf)).claim(engine.CountOneWays()).event == NoPrivacy()


def test_a_task_outside_the_plan_has_no_price():
    of = study(1.0)
    with pytest.raises(MalformedFrame):
        Autoregressive(replace(of, plan=of.plan[:1])).claim(engine.CountPairs(COARSENING))


def test_counts_are_counts():
    of, codes = study(math.inf), rows(700)
    half, units = Autoregressive(of), shards(codes)
    one_ways = total(of, half, engine.CountOneWays(), units)
    assert np.array_equal(
        one_ways,
        scale.HISTOGRAM_GRID * np.bincount(OneWays(SCHEMA.sizes).cells(codes).ravel(), minlength=one_ways.size),
    )
    pairs = total(of, half, engine.CountPairs(COARSENING), units)
    assert np.array_equal(
        pairs, scale.HISTOGRAM_GRID * np.bincount(Pairs(COARSENING).cells(codes).ravel(), minlength=pairs.size)
    )


def test_gradients_are_those_of_the_task_s_weights_in_the_network_s_order():
    of, codes = study(math.inf), rows(300)
    task = gradient_task(of)
    summed = total(of, Autoregressive(of), task, shards(codes))
    order = engine.order(COARSENING)
    terms = Gradients(engine.shape(of, COARSENING), task.weights, order, [COARSENING.arrays[c] for c in order])(codes)
    norms = np.sqrt(terms.squared_norms())
    expected = terms.weighted_sum(1 / np.maximum(norms, 1) * (1 - 2.0**-30))
    # In a block of another shape a kernel may add in another order, so a last bit may differ: not more.
    assert np.abs(summed - expected).max() <= 300 * 2**12


@pytest.mark.parametrize(
    "parts",
    [
        Parts("anything"),
        Parts("one-ways", ((1,),)),
        Parts("one-ways", (), np.zeros(1, dtype=np.float32)),
        Parts("pairs"),
        Parts("pairs", COARSENING.maps[:3]),
        Parts("pairs", COARSENING.maps, np.zeros(1, dtype=np.float32)),
        Parts("gradient", COARSENING.maps),
        Parts("gradient", COARSENING.maps, np.zeros(10, dtype=np.float32)),
        Parts("gradient", COARSENING.maps, np.full(engine.shape(study(), COARSENING).size, np.nan, dtype=np.float32)),
    ],
)
def test_a_malformed_task_is_refused(parts):
    with pytest.raises(MalformedFrame):
        engine.put_together(study(1.0), parts)


def test_this_machine_keeps_rows_apart():
    check_rows_do_not_meet(Shape((2, 3, 5, 9, 24), 8, 32, 48))


@pytest.mark.parametrize("layer", ["_softmax_less_truth", "_hidden"])
def test_a_machine_whose_kernels_depend_on_the_slot_is_refused(layer, monkeypatch):
    honest = getattr(terms_module, layer)

    def by_slot(*arguments):
        result = honest(*arguments)
        result[:, ::7] = torch.nextafter(result[:, ::7], torch.tensor(torch.inf))
        return result

    monkeypatch.setattr(terms_module, layer, by_slot)
    with pytest.raises(NotPossible, match="influence each other"):
        check_rows_do_not_meet.__wrapped__(Shape((2, 3, 4), 4, 8, 48))


def test_a_machine_whose_kernels_mix_rows_is_refused(monkeypatch):
    honest = terms_module._hidden
    monkeypatch.setattr(terms_module, "_hidden", lambda *a: (h := honest(*a)) + 1e-6 * h.mean(1, keepdim=True))
    with pytest.raises(NotPossible):
        check_rows_do_not_meet.__wrapped__(Shape((2, 3, 4), 4, 8, 48))


def test_the_machine_is_checked_before_gradients_are_summed(monkeypatch):
    def refuse(shape):
        raise NotPossible("this machine")

    monkeypatch.setattr(site_module, "check_rows_do_not_meet", refuse)
    of = study(math.inf)
    with pytest.raises(NotPossible):
        total(of, Autoregressive(of), gradient_task(of), shards(rows(10)))
