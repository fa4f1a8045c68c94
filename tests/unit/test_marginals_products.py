"""The mixture of products: its chi-square by two ways and by hand, what it learns, and its systematic rows."""

import numpy as np
import pytest
import torch
from marginals_made import SIZES, as_they_are

from silosynth.common.engines import marginals_products as products
from silosynth.common.engines.marginals_learning import Counted
from silosynth.common.engines.marginals_products import Products
from silosynth.common.engines.marginals_tables import Screen, all_pairs
from silosynth.common.engines.preparation import Preparation

UNITS = 5000.0


def mixture(seed=0, components=3):
    rng = np.random.default_rng(seed)
    return Products(SIZES, rng.normal(0, 1.5, (components, sum(SIZES))).astype(np.float32))


def by_hand(model):
    """The whole distribution, shape SIZES."""
    return np.mean(
        [np.einsum("a,b,c,d,e->abcde", *(table[k] for table in model.tables)) for k in range(len(model.logits))], axis=0
    )


def preparation(whole):
    marginals = tuple(whole.sum(axis=tuple(a for a in range(5) if a != at)) for at in range(5))
    return Preparation(
        UNITS, as_they_are(SIZES), marginals, tuple(np.ones(s) for s in SIZES), tuple(np.full(s, 1e-3) for s in SIZES)
    )


def counted(whole, tables, merges=None, deviation=5.0):
    screen = Screen(as_they_are(SIZES), tuple(np.arange(size) for size in SIZES) if merges is None else merges)
    parts = []
    for table in tables:
        cut = whole.sum(axis=tuple(at for at in range(5) if at not in table))
        for axis, column in enumerate(table):
            merge = screen.merges[column]
            cut = np.stack([cut.take(np.flatnonzero(merge == b), axis).sum(axis) for b in range(merge.max() + 1)], axis)
        parts.append(UNITS * cut.ravel())
    return Counted(tuple(tables), screen, np.concatenate(parts), deviation)


COARSE = tuple(np.arange(size) // 2 for size in SIZES)


@pytest.mark.parametrize("merges", [None, COARSE])
def test_all_pairs_at_once_are_the_pairs_one_by_one(merges):
    model, truth = mixture(0), by_hand(mixture(1))
    pairs = counted(truth, all_pairs(5), merges)
    columns = [torch.from_numpy(table).float() for table in model.tables]
    one, other = (chi(pairs, preparation(truth))(columns).item() for chi in (products._gram, products._each))
    assert one == pytest.approx(other, rel=1e-4)
    expected = counted(by_hand(model), all_pairs(5), merges).counts - pairs.counts
    assert one == pytest.approx(np.square(expected / pairs.deviation).sum(), rel=1e-3)


def test_triples_are_those_of_the_distribution():
    model, truth = mixture(0), by_hand(mixture(1))
    triples = counted(truth, ((0, 1, 2), (1, 3, 4)))
    columns = [torch.from_numpy(table).float() for table in model.tables]
    expected = counted(by_hand(model), triples.tables).counts - triples.counts
    found = products._each(triples, preparation(truth))(columns).item()
    assert found == pytest.approx(np.square(expected / triples.deviation).sum(), rel=1e-3)


def test_a_mixture_is_learnt_from_its_tables_and_then_nothing_more():
    truth = by_hand(mixture(1))
    prepared, pairs = preparation(truth), counted(truth, all_pairs(5), deviation=20.0)
    start = products.begun(prepared, 40, np.random.default_rng(0))
    done = products.fitted(start, prepared, [pairs], 400)
    off = [np.abs(counted(by_hand(model), all_pairs(5)).counts - pairs.counts).max() / UNITS for model in (start, done)]
    assert off[0] > 0.03
    assert off[1] < 0.02
    assert np.array_equal(products.fitted(done, prepared, [pairs], 400).logits, done.logits)  # it fits: no more to do


def test_rows_are_those_of_the_components_within_one():
    model = mixture(2, components=4)
    bins = model.bins(4000, np.random.default_rng(0))
    for column, table in enumerate(model.tables):
        held = np.bincount(bins[column], minlength=SIZES[column])
        assert np.abs(held - 1000 * table.sum(0)).max() <= 4 + 1e-6  # each component's counts within one
    whole = by_hand(model)
    pair = np.bincount(bins[0] * SIZES[2] + bins[2], minlength=12) / 4000
    assert np.abs(pair - whole.sum(axis=(1, 3, 4)).ravel()).max() < 6 * 0.5 / np.sqrt(4000)
