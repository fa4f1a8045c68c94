"""Clipped gradients in closed form: against Opacus and torch.func, row by row, exact, and under hostile weights."""

import warnings

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from torch import nn
from torch.func import functional_call, grad, vmap

from silosynth.common import scale
from silosynth.common.engines import autoregressive_terms
from silosynth.common.engines.autoregressive_net import initial, layers, logits, zeros
from silosynth.common.engines.autoregressive_shape import Shape
from silosynth.common.engines.autoregressive_terms import Gradients

BINS = (2, 3, 4, 7, 5, 6)
ROWS = 64


class Reference(nn.Module):
    """The same network from ordinary layers, one a column; padding does not exist here."""

    def __init__(self, shape, flat):
        super().__init__()
        weights = layers(shape, flat)
        self.shape = shape
        columns = range(1, len(shape.bins))
        self.embeddings = nn.ModuleList(
            nn.Embedding.from_pretrained(weights.embedding[shape.span(c)].clone(), freeze=False)
            for c in range(len(shape.bins) - 1)
        )
        self.hidden = nn.ModuleList(
            self._linear(weights.hidden[shape.units(c), self._seen(c)], weights.hidden_bias[shape.units(c)])
            for c in columns
        )
        self.heads = nn.ModuleList(
            self._linear(weights.head[shape.span(c)], weights.head_bias[shape.span(c)]) for c in columns
        )
        self.first = self._linear(weights.head_bias[shape.span(0)][:, None], None)

    def _seen(self, column):
        return slice(max(0, column - self.shape.parents) * self.shape.width, column * self.shape.width)

    @staticmethod
    def _linear(weight, bias):
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        made.weight.data = weight.clone()
        if bias is not None:
            made.bias.data = bias.clone()
        return made

    def forward(self, bins):
        embedded = torch.cat([table(bins[:, c]) for c, table in enumerate(self.embeddings)], dim=1)
        loss = nn.functional.cross_entropy(self.first(torch.ones(len(bins), 1)), bins[:, 0], reduction="none")
        for c, (hidden, head) in enumerate(zip(self.hidden, self.heads, strict=True), start=1):
            scores = head(torch.relu(hidden(embedded[:, self._seen(c)])))
            loss = loss + nn.functional.cross_entropy(scores, bins[:, c], reduction="none")
        return loss

    def flat(self, gradients):
        """Gradients by parameter name, each (rows, ...), as rows of our flat vector."""
        shape = self.shape
        rows = len(gradients["first.weight"])
        out = []
        for row in range(rows):
            padded, views = zeros(shape, torch.float64)
            views.head_bias[shape.span(0)] = gradients["first.weight"][row, :, 0].double()
            for c in range(1, len(shape.bins)):
                views.hidden[shape.units(c), self._seen(c)] = gradients[f"hidden.{c - 1}.weight"][row].double()
                views.hidden_bias[shape.units(c)] = gradients[f"hidden.{c - 1}.bias"][row].double()
                views.head[shape.span(c)] = gradients[f"heads.{c - 1}.weight"][row].double()
                views.head_bias[shape.span(c)] = gradients[f"heads.{c - 1}.bias"][row].double()
                views.embedding[shape.span(c - 1)] = gradients[f"embeddings.{c - 1}.weight"][row].double()
            out.append(padded.numpy()[shape.trainable])
        return np.array(out)


def network(seed=0, parents=48, bins=BINS):
    rng = np.random.default_rng(seed)
    shape = Shape(bins, width=5, tall=6, parents=parents)
    flat = initial(shape, tuple(rng.dirichlet(np.ones(size)) for size in bins), rng)
    flat += rng.normal(0, 0.3, shape.size).astype(np.float32)
    embeddings = slice(shape.width * sum(bins[:-1]))
    flat[embeddings] = (
        np.rint(flat[embeddings] * 2**10) / 2**10
    )  # on the grid of activations, where rounding moves nothing
    codes = np.stack([rng.integers(0, size, ROWS) for size in bins], axis=1).astype(np.int32)
    return shape, flat, codes


def terms_of(shape, flat, codes):
    return Gradients(shape, flat, range(len(shape.bins)), [np.arange(size) for size in shape.bins])(codes)


def clip_weights(terms):
    norms = np.sqrt(terms.squared_norms())
    return np.where(np.isfinite(norms), 1 / np.maximum(norms, 1), 0) * (1 - 2.0**-30)


def by_torch_func(shape, flat, codes):
    reference = Reference(shape, flat)
    one = grad(lambda parameters, row: functional_call(reference, parameters, (row[None],))[0])
    parameters = {name: value.detach() for name, value in reference.named_parameters()}
    return reference.flat(vmap(one, in_dims=(None, 0))(parameters, torch.from_numpy(codes.astype(np.int64))))


def by_opacus(shape, flat, codes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about hooks on every call
        model = GradSampleModule(Reference(shape, flat), loss_reduction="sum")
        model(torch.from_numpy(codes.astype(np.int64))).sum().backward()
    named = {name.removeprefix("_module."): value.grad_sample for name, value in model.named_parameters()}
    return model._module.flat(named)


@pytest.mark.parametrize("oracle", [by_torch_func, by_opacus])
@pytest.mark.parametrize("parents", [48, 2])
def test_norms_and_clipped_sum_equal_those_of_an_oracle(oracle, parents, monkeypatch):
    shape, flat, codes = network(parents=parents)
    gradients = oracle(shape, flat, codes)
    norms = np.linalg.norm(gradients, axis=1)
    assert (norms > 1).all()  # or clipping would not be tested
    expected = (gradients / np.maximum(norms, 1)[:, None]).sum(0)

    coarse = terms_of(shape, flat, codes)
    np.testing.assert_allclose(np.sqrt(coarse.squared_norms()), norms, rtol=1e-3)
    error = coarse.weighted_sum(clip_weights(coarse)) / scale.SUM_GRID - expected
    assert np.linalg.norm(error) < 1e-3 * np.linalg.norm(expected)  # activations are rounded to 2^-10

    monkeypatch.setattr(autoregressive_terms, "_GRID", 2.0**46)
    monkeypatch.setattr(autoregressive_terms, "_ACTIVATION_GRID", 2.0**20)
    monkeypatch.setattr(autoregressive_terms, "_ERROR_GRID", 2.0**26)
    terms = terms_of(shape, flat, codes)
    np.testing.assert_allclose(np.sqrt(terms.squared_norms()), norms, rtol=1e-5)
    assert np.abs(terms.weighted_sum(clip_weights(terms)) / 2.0**46 - expected).max() < 2e-5


def test_every_row_adds_an_integer_vector_within_its_norm_and_sums_are_exact():
    shape, flat, codes = network(1)
    terms = terms_of(shape, flat, codes)
    weights, norms = clip_weights(terms), np.sqrt(terms.squared_norms())
    alone = np.array([terms.weighted_sum(np.where(np.arange(ROWS) == row, weights, 0)) for row in range(ROWS)])
    assert (alone == np.rint(alone)).all()
    assert np.abs(alone).max() > 1000  # rounding to the grid has not swallowed the gradient
    lengths = np.array([sum(int(value) ** 2 for value in row) for row in alone], dtype=object)
    assert all(
        float(length) <= (scale.SUM_GRID * w * n) ** 2 for length, w, n in zip(lengths, weights, norms, strict=True)
    )
    assert np.array_equal(terms.weighted_sum(weights), alone.sum(0))


def test_a_row_of_weight_zero_adds_nothing_whatever_it_holds():
    shape, flat, codes = network(2)
    padded, views = zeros(shape, torch.float32)
    padded.numpy()[shape.trainable] = flat
    views.embedding[1] = torch.inf  # the second bin of the first column
    views.embedding[3] = torch.nan  # the second bin of the second column
    terms = terms_of(shape, padded.numpy()[shape.trainable], codes)
    sick = (codes[:, 0] == 1) | (codes[:, 1] == 1)
    assert not np.isfinite(terms.squared_norms()[sick]).any()
    summed = terms.weighted_sum(np.where(sick, 0.0, clip_weights(terms)))
    assert np.isfinite(summed).all()
    replaced = np.where(sick[:, None], codes[~sick][0], codes)
    healthy = terms_of(shape, padded.numpy()[shape.trainable], replaced)
    assert np.array_equal(summed, healthy.weighted_sum(np.where(sick, 0.0, clip_weights(healthy))))


def hostile(kind, shape, rng):
    if kind == "huge":
        return rng.standard_normal(shape.size) * 1e30
    if kind == "cancelling":  # equal columns with opposite signs, so that a last bit decides
        padded, views = zeros(shape, torch.float32)
        views.embedding[:] = torch.from_numpy(rng.standard_normal(views.embedding.shape))
        views.hidden[:, ::2] = 1e30
        views.hidden[:, 1::2] = -1e30
        views.head[:] = torch.from_numpy(rng.standard_normal(views.head.shape) * 1e3)
        return padded.numpy()[shape.trainable]
    if kind == "tiny":
        return rng.standard_normal(shape.size) * 1e-30
    return np.full(shape.size, {"largest": np.finfo(np.float32).max, "zero": 0.0}[kind])


@pytest.mark.parametrize("kind", ["huge", "cancelling", "largest", "tiny", "zero"])
def test_hostile_weights_leave_every_row_within_the_clip_norm(kind):
    shape, _, codes = network()
    with np.errstate(over="ignore"):
        flat = hostile(kind, shape, np.random.default_rng(3)).astype(np.float32)
    terms = terms_of(shape, flat, codes)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = clip_weights(terms)
    for row in range(ROWS):
        alone = terms.weighted_sum(np.where(np.arange(ROWS) == row, weights, 0))
        assert sum(int(value) ** 2 for value in alone) <= scale.SUM_GRID**2
    assert np.isfinite(terms.weighted_sum(weights)).all()


def test_a_row_knows_nothing_of_the_others():
    shape, flat, codes = network(4)
    many = np.tile(codes, (scale.MICRO_BATCH // ROWS, 1))
    others = np.random.default_rng(5).permutation(many)
    others[100] = many[7]
    here, there = terms_of(shape, flat, many), terms_of(shape, flat, others)
    for one, other in zip(here.factors, there.factors, strict=True):
        assert np.array_equal(one.numpy()[:, 7], other.numpy()[:, 100])
    assert here.squared_norms()[7] == there.squared_norms()[100]


@pytest.mark.parametrize("bins", [(3,), (2, 3), BINS, (3,) * 12])
@pytest.mark.parametrize("parents", [1, 3, 48])
def test_flat_weights_survive_the_layers_and_only_real_parameters_are_flat(bins, parents):
    shape, flat, codes = network(6, parents, bins)
    padded, views = zeros(shape, torch.float32)
    for view, layer in zip(views, layers(shape, flat), strict=True):
        view.copy_(layer)
    assert np.array_equal(padded.numpy()[shape.trainable], flat)
    seen = sum(min(c, parents) for c in range(len(bins)))
    expected = sum(bins[:-1]) * 5 + seen * 30 + (len(bins) - 1) * 6 + sum(bins[1:]) * 6 + sum(bins)
    assert shape.size == expected
    if len(bins) > 1:  # every parameter is touched by some row
        terms = terms_of(shape, np.abs(flat) + 0.01, codes)
        assert (terms.weighted_sum(clip_weights(terms)) != 0).mean() > 0.95


def test_one_column_at_a_time_predicts_what_the_network_was_trained_on():
    shape, flat, codes = network(7)
    net = layers(shape, flat)
    embedded = torch.cat([net.embedding[shape.span(c)][codes[:, c]].t() for c in range(len(BINS) - 1)])
    errors = terms_of(shape, flat, codes).errors
    for c in range(len(BINS)):
        predicted = torch.softmax(logits(shape, net, c, embedded), 0).numpy()
        predicted[codes[:, c], np.arange(ROWS)] -= 1
        np.testing.assert_allclose(errors[shape.span(c)].numpy(), predicted, atol=1e-6)
