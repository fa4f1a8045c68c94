"""The tilt moves rows towards measured pairs, leaves them where the network is trusted, and resamples fairly."""

import numpy as np
import pytest

from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import OneWays, Pairs
from silosynth.common.engines.tilt import BinsAndPairs, Measured, Tilt, effective_share, fit, misfit, resample, serving

COARSENING = Coarsening((tuple(range(3)), tuple(range(4)), tuple(range(2))))
LAYOUT = BinsAndPairs(COARSENING)
ROWS = 20_000


def frequencies(bins):
    """Of bins, then of pairs; `bins` (columns, rows)."""
    own = np.bincount(OneWays(COARSENING.sizes).cells(bins.T).ravel(), minlength=sum(COARSENING.sizes))
    pairs = Pairs(COARSENING)
    crossed = np.bincount(pairs.cells_of_bins(bins.T).ravel(), minlength=pairs.offsets[-1])
    return np.concatenate([own, crossed]) / bins.shape[1]


def worlds():
    """Rows of a network that knows the marginals only, and of the truth, both (columns, rows)."""
    rng = np.random.default_rng(0)
    independent = np.stack([rng.integers(0, size, ROWS) for size in COARSENING.sizes])
    truth = independent.copy()
    follows = rng.random(ROWS) < 0.5
    truth[1] = np.where(follows, truth[0], truth[1])
    truth[2] = np.where(follows, truth[0] == 2, truth[2])
    return independent, truth


def weighted(bins, weights):
    layout = Pairs(COARSENING)
    cells = layout.cells_of_bins(bins.T).ravel()
    return np.bincount(cells, np.repeat(weights / weights.sum(), 3), layout.offsets[-1])


def test_the_tilt_fits_pairs_and_the_network_holds_it_back():
    network, truth = worlds()
    wanted = frequencies(truth)
    measured = Measured(wanted, np.full(wanted.size, 0.002))
    pairs = wanted[sum(COARSENING.sizes) :]
    distances, kept = [], []
    for pull in (1.0, 1e3, 1e5, 1e9):
        scores = fit(network, LAYOUT, measured, pull).log_weights(network)
        distances.append(np.abs(weighted(network, np.exp(scores)) - pairs).sum())
        kept.append(effective_share(scores))
    untouched = np.abs(frequencies(network)[sum(COARSENING.sizes) :] - pairs).sum()
    assert distances[0] < 0.05 * untouched
    assert distances == sorted(distances)
    assert kept == sorted(kept)
    assert kept[-1] > 0.999
    assert distances[-1] == pytest.approx(untouched, rel=0.02)


def test_at_the_optimum_the_residual_is_the_ridge():
    network, truth = worlds()
    wanted = frequencies(truth)
    measured, pull = Measured(wanted, np.full(wanted.size, 0.01)), 3e3
    tilt = fit(network, LAYOUT, measured, pull)
    weights = np.exp(tilt.log_weights(network))
    own = np.concatenate(
        [np.bincount(network[c], weights, size) / weights.sum() for c, size in enumerate(COARSENING.sizes)]
    )
    held = np.concatenate([own, weighted(network, weights)])
    np.testing.assert_allclose(wanted - held, pull * 0.01**2 * tilt.duals, atol=2e-4)


def test_wild_counts_are_told_by_the_effective_share():
    network, _ = worlds()
    wild = np.random.default_rng(1).normal(0, 1, frequencies(network).size)
    scores = fit(network, LAYOUT, Measured(wild, np.full(wild.size, 1e-3)), 1.0).log_weights(network)
    assert effective_share(scores) < 0.5


def test_weights_that_few_rows_carry_do_not_serve():
    network, truth = worlds()
    fresh, size = np.random.default_rng(4).permuted(network, axis=1), frequencies(network).size
    wanted = Measured(frequencies(truth), np.full(size, 0.002))
    assert serving(network, fresh, LAYOUT, wanted, 1e5) is not None
    wild = Measured(np.random.default_rng(1).normal(0, 1, size), np.full(size, 1e-3))
    assert serving(network, fresh, LAYOUT, wild, 1.0) is None


def test_weights_that_only_fit_the_rows_they_were_learnt_from_do_not_serve():
    coarsening = Coarsening((tuple(range(10)),) * 4)
    layout, rng = BinsAndPairs(coarsening), np.random.default_rng(0)
    few, fresh = rng.integers(0, 10, (4, 1_000)), rng.integers(0, 10, (4, 50_000))
    exact = Measured(np.repeat([0.1, 0.01], [40, 600]), np.full(640, 1e-4))  # the truth: there is nothing to learn
    weights = fit(few, layout, exact, 1_000.0).log_weights(fresh)
    assert effective_share(weights) > 0.9  # so it is not for few rows that they do not serve
    assert misfit(fresh, layout, exact, weights) > 10 * misfit(fresh, layout, exact, np.zeros(50_000))
    assert serving(few, fresh, layout, exact, 1_000.0) is None


def test_systematic_resampling_gives_every_row_its_worth_rounded_either_way():
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 1, 500) + 300  # far beyond what exp can hold
    worth = np.exp(scores - scores.max())
    worth *= 1000 / worth.sum()
    times = np.bincount(resample(scores, 1000, rng), minlength=500)
    assert times.sum() == 1000
    assert (np.abs(times - worth) < 1 + 1e-9).all()


def test_equal_weights_keep_every_row_once():
    kept = resample(np.zeros(1000), 1000, np.random.default_rng(3))
    assert np.array_equal(np.sort(kept), np.arange(1000))
    assert not np.array_equal(kept, np.arange(1000))


def test_no_duals_no_weights():
    network, _ = worlds()
    assert not Tilt(LAYOUT, np.zeros(frequencies(network).size)).log_weights(network).any()
