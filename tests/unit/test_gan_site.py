"""The GAN's half at a site: prices, the right verb for each task, and a machine that cannot be trusted with rows."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_fixtures import SCHEMA, rows, shards, total
from gan_made import BINS, gan_study

from silosynth.client.engines import gan as site_module
from silosynth.client.engines.gan import Gan, check_rows_do_not_meet
from silosynth.common import scale
from silosynth.common.engine import Parts
from silosynth.common.engines import gan as engine
from silosynth.common.engines import gan_terms as terms_module
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_shape import Shape
from silosynth.common.engines.gan_terms import Gradients
from silosynth.common.engines.layouts import Pairs
from silosynth.common.errors import MalformedFrame, NotPossible
from silosynth.common.privacy import Gaussian, NoPrivacy

COARSENING = Coarsening(tuple(tuple(cell % 3 if size > 2 else cell for cell in range(size)) for size in SCHEMA.sizes))
SHAPE = Shape(BINS, 32, 4)


def gradient_task(of, seed=0):
    size = engine.shape(of, COARSENING).size
    return engine.SumGradients(COARSENING, np.random.default_rng(seed).normal(0, 0.3, size).astype(np.float32))


def test_a_claim_is_the_plan_s_price_and_the_layout_s_size():
    of = gan_study(1.0)
    half = Gan(of)
    tasks = (engine.CountOneWays(), engine.CountPairs(COARSENING), gradient_task(of))
    for task, step in zip(tasks, of.plan, strict=True):
        assert half.claim(task).event == Gaussian(step.multiplier, 2)
    sizes = [sum(SCHEMA.sizes), int(Pairs(COARSENING).offsets[-1]), engine.shape(of, COARSENING).size]
    assert [half.claim(task).size for task in tasks] == sizes
    assert Gan(gan_study(math.inf)).claim(engine.CountOneWays()).event == NoPrivacy()
    with pytest.raises(MalformedFrame):
        Gan(replace(of, plan=of.plan[:1])).claim(engine.CountPairs(COARSENING))


def test_gradients_are_those_of_real_rows_at_the_task_s_weights():
    of, codes = gan_study(math.inf), rows(300)
    task = gradient_task(of)
    summed = total(of, Gan(of), task, shards(codes))
    terms = Gradients(engine.shape(of, COARSENING), task.weights, COARSENING)(codes)
    norms = np.sqrt(terms.squared_norms())
    expected = terms.weighted_sum(1 / np.maximum(norms, 1) * (1 - 2.0**-30))
    # In a block of another shape a kernel may add in another order, so a last bit may differ: not more.
    assert np.abs(summed - expected).max() <= 300 * 2**12
    assert np.abs(summed).max() > 300 * 2**16


@pytest.mark.parametrize("amplified", [1e20, 3e38])
def test_a_diverged_discriminator_gets_a_finite_answer(amplified):
    of = gan_study(math.inf)
    task = gradient_task(of)
    with np.errstate(over="ignore"):
        weights = np.clip(task.weights * np.float32(amplified), np.finfo(np.float32).min, np.finfo(np.float32).max)
    task = replace(task, weights=weights)
    assert not total(of, Gan(of), task, shards(rows(100))).any()  # no row's gradient is a number, so none is added


@pytest.mark.parametrize(
    "parts",
    [
        Parts("anything"),
        Parts("pairs"),
        Parts("pairs", COARSENING.maps[:3]),
        Parts("pairs", (*COARSENING.maps, (1,))),
        Parts("pairs", COARSENING.maps, np.zeros(1, dtype=np.float32)),
        Parts("gradient", COARSENING.maps),
        Parts("gradient", (*COARSENING.maps, (1,)), gradient_task(gan_study()).weights),
        Parts("gradient", COARSENING.maps, gradient_task(gan_study()).weights[:-1]),
        Parts("gradient", COARSENING.maps, gradient_task(gan_study()).weights * np.float32(np.nan)),
        Parts("discriminator", COARSENING.maps),
    ],
)
def test_a_malformed_task_is_refused(parts):
    with pytest.raises(MalformedFrame):
        engine.put_together(gan_study(1.0), parts)


def test_this_machine_keeps_rows_apart():
    check_rows_do_not_meet(Shape((2, 3, 5, 9, 24), 64, 8, 3.0))


@pytest.mark.parametrize("by", ["slot", "others"])
def test_a_machine_whose_kernels_mix_rows_is_refused(by, monkeypatch):
    honest = terms_module.discriminator

    def spoilt(given):
        if by == "slot":
            given[::7] = torch.nextafter(given[::7], torch.tensor(torch.inf))
            return given
        return given + 1e-6 * given.mean(0)

    relu = terms_module.functional.leaky_relu
    monkeypatch.setattr(terms_module.functional, "leaky_relu", lambda given, slope: spoilt(relu(given, slope)))
    with pytest.raises(NotPossible, match="influence each other"):
        check_rows_do_not_meet.__wrapped__(SHAPE)
    assert honest is terms_module.discriminator


def test_the_machine_is_checked_before_gradients_are_summed(monkeypatch):
    def refuse(shape):
        raise NotPossible("this machine")

    monkeypatch.setattr(site_module, "check_rows_do_not_meet", refuse)
    of = gan_study(math.inf)
    with pytest.raises(NotPossible):
        total(of, Gan(of), gradient_task(of), shards(rows(10)))


def test_a_person_s_rows_count_as_one():
    of, codes = gan_study(math.inf), rows(200)
    once = shards(codes)
    twice = [replace(own, codes=np.repeat(own.codes, 2, 0), owner=np.repeat(own.owner, 2)) for own in once]
    one, other = (total(of, Gan(of), gradient_task(of), units) for units in (once, twice))
    assert np.linalg.norm(one - other) < 1e-3 * np.linalg.norm(one)
    assert np.linalg.norm(one) > 10 * scale.SUM_GRID
