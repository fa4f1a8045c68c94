"""Fitting the graphical model to measured tables, against a solver that knows the whole distribution."""

import numpy as np
import pytest
from marginals_made import SIZES, TABLES, brute, small_tree, summed
from scipy.optimize import minimize

from silosynth.common.engines.marginals_fit import Fitted, MeasuredTable, Misfit, fitted, independent
from silosynth.common.engines.marginals_tree import Tree, maximal

IDENTITY = [np.arange(size) for size in SIZES]


def measured(whole, tables, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    for at, table in enumerate(tables):
        frequencies = summed(whole, table)
        deviations = np.full(frequencies.size, 0.01 * (1 + at % 3))
        noisy = frequencies + noise * deviations * rng.standard_normal(frequencies.size)
        yield MeasuredTable(table, tuple(IDENTITY[column] for column in table), noisy, deviations)


def uniform(tree):
    return Fitted(tree, np.zeros(int(tree.offsets[-1])))


def test_what_is_exact_and_consistent_is_fitted_exactly():
    _, _, whole = small_tree()
    tree = Tree(SIZES, maximal(len(SIZES), TABLES))
    misfit = Misfit.of(tree, [*measured(whole, TABLES)])
    found = brute(tree, fitted(uniform(tree), misfit, 1500).potentials)
    for table in TABLES:
        assert np.abs(summed(found, table) - summed(whole, table)).max() < 2e-4


def test_noisy_tables_are_fitted_as_well_as_any_distribution_can():
    """Against projected least squares over all 144 cells: the model's family reaches the optimum of the misfit."""
    _, _, whole = small_tree(1)
    tables = [*measured(whole, TABLES, noise=1.0)]
    tree = Tree(SIZES, maximal(len(SIZES), TABLES))
    ours = fitted(uniform(tree), Misfit.of(tree, tables), 1500)
    best, _ = Misfit.of(tree, tables)(tree.marginals(ours.potentials))

    def objective(logits):
        p = np.exp(logits - logits.max())
        p /= p.sum()
        value, slope = 0.0, np.zeros(SIZES)
        for one in tables:
            distance = (summed(p.reshape(SIZES), one.table) - one.frequencies) / one.deviations
            value += distance @ distance / 2
            shape = [size if at in one.table else 1 for at, size in enumerate(SIZES)]
            slope = slope + (distance / one.deviations).reshape(shape)
        slope = np.broadcast_to(slope, SIZES).ravel()
        return value, p * (slope - p @ slope)

    solved = minimize(objective, np.zeros(whole.size), jac=True, method="L-BFGS-B", options={"maxiter": 5000})
    assert best == pytest.approx(solved.fun, rel=1e-3)


def test_of_all_distributions_that_fit_the_model_has_the_most_entropy():
    tree = Tree((2, 2, 2), maximal(3, ((0, 1), (1, 2))))
    rng = np.random.default_rng(0)
    whole = rng.dirichlet(np.ones(8)).reshape(2, 2, 2)
    tables = [
        MeasuredTable(t, (np.arange(2), np.arange(2)), summed(whole, t), np.full(4, 0.01)) for t in ((0, 1), (1, 2))
    ]
    found = brute(tree, fitted(uniform(tree), Misfit.of(tree, tables), 1000).potentials)
    one, other = (summed(whole, table).reshape(2, 2) for table in ((0, 1), (1, 2)))
    chain = one[:, :, None] * other[None] / other.sum(1)[None, :, None]  # 0 and 2 independent given 1
    assert np.abs(found - chain).max() < 2e-4


def test_the_misfit_s_gradient_is_that_of_differences():
    _, _, whole = small_tree()
    tree = Tree(SIZES, maximal(len(SIZES), TABLES))
    misfit = Misfit.of(tree, [*measured(whole, TABLES, noise=1.0)])
    at = np.random.default_rng(0).random(int(tree.offsets[-1]))
    value, gradient = misfit(at)
    for cell in (0, 3, at.size - 1):
        moved = at.copy()
        moved[cell] += 1e-6
        assert (misfit(moved)[0] - value) / 1e-6 == pytest.approx(gradient[cell], rel=1e-3, abs=1e-2)


def test_coarse_tables_are_sums_of_the_model_s_cells():
    _, _, whole = small_tree()
    tree = Tree(SIZES, maximal(len(SIZES), TABLES))
    merge = np.array([0, 0, 1, 1])
    one = MeasuredTable((2, 4), (merge, IDENTITY[4]), np.zeros(6), np.ones(6))
    expected = np.add.reduceat(summed(whole, (2, 4)).reshape(4, 3), [0, 2], axis=0).ravel()
    flat = np.concatenate([summed(whole, clique) for clique in tree.cliques])
    assert np.allclose(Misfit.of(tree, [one]).sums @ flat, expected)


def test_exact_cells_of_a_larger_clique_in_any_place():
    one = MeasuredTable((1, 3), (IDENTITY[1], IDENTITY[3]), np.zeros(4), np.ones(4))
    cells = one.cells((0, 1, 3), SIZES).reshape(3, 2, 2)
    assert np.array_equal(cells, np.tile(np.arange(4).reshape(2, 2), (3, 1, 1)))


def test_the_fit_begins_with_independent_columns_and_never_gets_worse():
    _, _, whole = small_tree()
    ones = [summed(whole, (column,)) for column in range(len(SIZES))]
    start = independent(SIZES, ones, 1e-6)
    assert np.allclose(np.concatenate(ones), start.tree.marginals(start.potentials), atol=1e-5)
    tree = Tree(SIZES, maximal(len(SIZES), TABLES))
    misfit = Misfit.of(tree, [*measured(whole, TABLES, noise=1.0)])
    values = [misfit(tree.marginals(fitted(uniform(tree), misfit, steps).potentials))[0] for steps in (0, 5, 50, 500)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0] / 10
