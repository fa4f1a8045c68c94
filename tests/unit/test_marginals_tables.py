"""Layouts of chosen tables against counting row by row, and how bins are merged to look at many tables."""

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows
from marginals_made import SIZES, as_they_are

from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import OneWays, Pairs
from silosynth.common.engines.marginals_tables import Tables, all_pairs, screen, whole, with_target
from silosynth.common.engines.preparation import prepare

TABLES = ((1,), (0, 2), (1, 2, 4), (3, 4))


def random_bins(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, count) for size in SIZES], axis=1)


def test_cells_are_those_of_ravelled_tables():
    layout, bins = Tables(as_they_are(SIZES), TABLES), random_bins(50)
    cells = layout.cells(bins.astype(np.int32))
    for at, table in enumerate(TABLES):
        shape = [SIZES[column] for column in table]
        expected = np.ravel_multi_index([bins[:, column] for column in table], shape)
        assert np.array_equal(cells[:, at] - layout.offsets[at], expected)
        assert layout.offsets[at + 1] - layout.offsets[at] == np.prod(shape)


def test_coarsened_cells_are_those_of_merged_bins():
    maps = tuple(tuple(cell // 2 for cell in range(size)) for size in SIZES)
    layout, bins = Tables(Coarsening(maps), TABLES), random_bins(50)
    assert np.array_equal(layout.cells(bins.astype(np.int32)), layout.cells_of_bins(bins // 2))


def test_all_pairs_are_the_layout_of_pairs():
    coarsening = as_they_are(SIZES)
    one, other = Tables(coarsening, all_pairs(len(SIZES))), Pairs(coarsening)
    assert np.array_equal(one.offsets, other.offsets)
    assert np.array_equal(one.cells_of_bins(random_bins(20)), other.cells_of_bins(random_bins(20)))


@pytest.mark.parametrize("target", range(4))
def test_triples_hold_the_target_and_every_two_others_once(target):
    triples = with_target(4, target, 2)
    assert len(set(triples)) == len(triples) == 3
    assert all(target in table and list(table) == sorted(table) for table in triples)


def prepared(count=5000):
    codes = rows(count)
    counts = np.bincount(OneWays(SCHEMA.sizes).cells(codes).ravel(), minlength=sum(SCHEMA.sizes)).astype(float)
    return prepare(SCHEMA, counts, 2.0, 24), codes


@pytest.mark.parametrize("most", [2, 3, 6, 24])
def test_a_screen_is_a_coarsening_of_the_bins(most):
    ready, codes = prepared()
    merged = screen(SCHEMA, ready, most)
    merged.coarsening.check(SCHEMA.sizes)
    assert max(merged.coarsening.sizes) <= 2 * most
    bins = ready.coarsening.bins(codes)
    for column, merge in enumerate(merged.merges):
        assert np.array_equal(merge[bins[:, column]], merged.coarsening.bins(codes)[:, column])


def test_neighbours_of_an_ordered_column_merge_to_about_equal_mass():
    ready, _ = prepared()
    (merge, *_) = screen(SCHEMA, ready, 6).merges
    assert (np.diff(merge) >= 0).all()
    mass = np.bincount(merge, weights=ready.marginals[0])
    assert 4 <= mass.size <= 8
    assert mass.max() < 2 / 6 + max(ready.marginals[0])


def test_the_most_frequent_codes_stay_and_missing_stays_alone():
    ready, _ = prepared()
    colour = screen(SCHEMA, ready, 2).merges[1]
    assert np.bincount(colour, weights=ready.marginals[1]).argmax() in colour
    alone = int(colour[ready.marginals[1].argmax()])
    assert (colour == alone).sum() == 1


def test_a_missing_cell_that_matters_is_no_neighbour():
    counts = np.concatenate([np.full(100, 50.0), [400.0], np.full(4, 100.0), [0.0]])
    schema = type(SCHEMA)(SCHEMA.columns[:2])
    ready = prepare(schema, counts[: sum(schema.sizes)], 1.0, 24)
    (merge, _) = screen(schema, ready, 4).merges
    assert (merge == merge[-1]).sum() == 1


def test_whole_merges_nothing():
    ready, _ = prepared()
    assert whole(ready).coarsening == ready.coarsening
