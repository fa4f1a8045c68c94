"""The graphical model against brute force on a domain of 144 cells, and exactness of its systematic rows."""

from itertools import combinations

import numpy as np
import pytest
import torch
from marginals_made import SIZES, TABLES, brute, small_tree, summed

from silosynth.common.engines.marginals_tree import Tree, carried, drawn, eliminate, maximal, systematic


@pytest.mark.parametrize("seed", range(3))
def test_log_z_and_marginals_are_those_of_brute_force(seed):
    tree, flat, whole = small_tree(seed)
    log_z = float(tree.log_normaliser(torch.from_numpy(flat)))
    first = sum(flat[begin] for begin in tree.offsets[:-1])  # of the row of zeros
    assert np.isclose(log_z, first - np.log(whole[(0,) * len(SIZES)]), rtol=1e-12)
    expected = np.concatenate([summed(whole, clique) for clique in tree.cliques])
    assert np.allclose(tree.marginals(flat), expected, rtol=1e-10, atol=1e-14)


def test_columns_in_no_table_and_parts_without_a_link_are_held():
    tree = Tree((2, 3, 4), maximal(3, ((0, 2),)))
    flat = np.random.default_rng(0).normal(size=int(tree.offsets[-1]))
    assert tree.cliques == ((0, 2), (1,))
    expected = np.concatenate([summed(brute(tree, flat), clique) for clique in tree.cliques])
    assert np.allclose(tree.marginals(flat), expected)


def test_conditionals_multiply_to_the_distribution():
    tree, flat, whole = small_tree()
    product = np.ones(SIZES)
    for scope, table in zip(tree.elimination.scopes, tree.conditionals(flat), strict=True):
        shaped = table.reshape([SIZES[column] for column in scope])
        axes = np.argsort(scope)
        product *= shaped.transpose(axes).reshape([size if at in scope else 1 for at, size in enumerate(SIZES)])
    assert np.allclose(product, whole, rtol=1e-10)


def test_elimination_counts_its_cells_and_is_small_on_a_chain():
    chain = eliminate((5,) * 10, tuple((at, at + 1) for at in range(9)))
    assert chain.cells == 9 * 25 + 5
    assert {scope[-1] for scope in chain.scopes} == set(range(10))
    every = eliminate((2,) * 6, tuple(combinations(range(6), 2)))
    assert every.cells == sum(2**k for k in range(1, 7))


def test_maximal_tables_hold_all_tables_once():
    assert maximal(5, TABLES) == ((0, 1, 3), (0, 2), (2, 4))
    assert maximal(2, ()) == ((0,), (1,))


def test_carried_potentials_are_the_same_distribution():
    old = Tree(SIZES, maximal(len(SIZES), TABLES[:2]))
    flat = np.random.default_rng(3).normal(size=int(old.offsets[-1]))
    new = Tree(SIZES, maximal(len(SIZES), TABLES))
    assert np.allclose(brute(new, carried(old, flat, new)), brute(old, flat))


def test_a_table_without_a_home_is_an_error():
    tree, _, _ = small_tree()
    with pytest.raises(ValueError, match="no clique"):
        tree.home((3, 4))


def test_draws_are_within_one_of_what_is_expected_in_every_line():
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(7, 0.5), 20)
    given = rng.integers(0, 20, 5000)
    cells = systematic(given, table, rng)
    for line in range(20):
        held = np.bincount(cells[given == line], minlength=7)
        assert np.abs(held - table[line] * held.sum()).max() <= 1 + 1e-9


def test_what_has_no_probability_is_never_drawn():
    table = np.array([[0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0], [1 / 3, 0.0, 1 / 3, 1 / 3, 0.0]])
    given = np.random.default_rng(1).integers(0, 3, 100_000)
    for seed in range(3):
        cells = systematic(given, table, np.random.default_rng(seed))
        assert (table[given, cells] > 0).all()


def test_which_rows_get_what_is_random_and_each_has_the_line_s_distribution():
    table = np.array([[0.2, 0.3, 0.5]])
    draws = np.stack([systematic(np.zeros(5, dtype=np.int64), table, np.random.default_rng(s)) for s in range(20_000)])
    for row in range(5):  # false alarm below 1e-6: deviations are at most .0036
        assert np.abs(np.bincount(draws[:, row], minlength=3) / 20_000 - table[0]).max() < 5.5 * 0.0036


def test_no_rows_are_no_draws():
    assert systematic(np.zeros(0, dtype=np.int64), np.ones((1, 2)) / 2, np.random.default_rng(0)).shape == (0,)


def test_rows_have_the_model_s_marginals():
    tree, flat, whole = small_tree()
    bins = drawn(tree, tree.conditionals(flat), 200_000, np.random.default_rng(0))
    assert bins.shape == (len(SIZES), 200_000)
    for table in combinations(range(len(SIZES)), 2):
        shape = [SIZES[column] for column in table]
        held = np.bincount(np.ravel_multi_index([bins[c] for c in table], shape), minlength=np.prod(shape)) / 200_000
        assert np.abs(held - summed(whole, table)).max() < 6 * 0.5 / np.sqrt(200_000)
    first = tree.elimination.scopes[-1][-1]  # drawn first: exact but for rounding
    held = np.bincount(bins[first], minlength=SIZES[first])
    assert np.abs(held - 200_000 * summed(whole, (first,))).max() <= 1


def test_impossible_rows_are_never_drawn():
    tree, flat, _ = small_tree()
    flat = flat.copy()
    at = tree.cliques.index((0, 1, 3))
    flat[tree.offsets[at]] = -np.inf  # the row of zeros in columns 0, 1 and 3
    bins = drawn(tree, tree.conditionals(flat), 50_000, np.random.default_rng(0))
    assert not ((bins[0] == 0) & (bins[1] == 0) & (bins[3] == 0)).any()
    assert ((bins[0] == 0) & (bins[1] == 0)).any()
