"""Rows from a network: the joint distribution of a tiny model, calibrated marginals, exact shares of fine cells."""

from itertools import product

import numpy as np
import torch
from scipy import stats

from silosynth.common.engines.autoregressive_net import initial, layers, logits
from silosynth.common.engines.autoregressive_shape import Shape
from silosynth.common.engines.sampling import ancestral, calibrated, fine_cells

BINS = (2, 3, 2)
SHAPE = Shape(BINS, width=4, tall=5, parents=48)


def weights(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    flat = initial(SHAPE, tuple(rng.dirichlet(np.ones(size)) for size in BINS), rng)
    return layers(SHAPE, flat + rng.normal(0, scale, SHAPE.size).astype(np.float32))


def no_shift(_, scores):
    return torch.zeros(len(scores), 1)


def exact(net):
    """Probability of every combination of bins, in the network's order, by enumeration."""
    combinations = np.array(list(product(*map(range, BINS))))
    embedded = torch.cat([net.embedding[SHAPE.span(c)][combinations[:, c]].t() for c in range(len(BINS) - 1)])
    chance = np.ones(len(combinations))
    for column in range(len(BINS)):
        predicted = torch.softmax(logits(SHAPE, net, column, embedded), 0).numpy()
        chance *= predicted[combinations[:, column], np.arange(len(combinations))]
    return chance


def test_joint_frequencies_are_those_of_the_model():
    net, rows = weights(), 60_000
    order = (2, 0, 1)  # the network's column t is the table's columns[t]
    bins = ancestral(SHAPE, net, order, rows, np.random.default_rng(1), no_shift)
    cell = (bins[order[0]] * BINS[1] + bins[order[1]]) * BINS[2] + bins[order[2]]
    expected = exact(net)
    assert abs(expected.sum() - 1) < 1e-5
    observed = np.bincount(cell, minlength=len(expected))
    # Stratified uniforms make frequencies vary less than independent draws would: the false-alarm rate is below 1e-6.
    assert stats.chisquare(observed, expected / expected.sum() * rows).pvalue > 1e-6


def test_a_column_of_one_bin_and_a_table_of_one_column():
    shape = Shape((3,), 4, 5, 48)
    net = layers(shape, np.log(np.array([0.5, 0.3, 0.2], dtype=np.float32)))
    bins = ancestral(shape, net, (0,), 1000, np.random.default_rng(0), no_shift)
    assert np.abs(np.bincount(bins[0]) - [500, 300, 200]).max() <= 1
    single = Shape((1, 2), 4, 5, 48)
    zero = layers(single, np.zeros(single.size, dtype=np.float32))
    assert not ancestral(single, zero, (0, 1), 10, np.random.default_rng(0), no_shift)[0].any()


def test_calibration_gives_the_wanted_marginals_and_survives_another_sample():
    net, rng = weights(3), np.random.default_rng(4)
    wanted = (np.array([0.9, 0.1]), np.array([0.2, 0.0, 0.8]), np.array([0.35, 0.65]))
    shifts, bins = calibrated(SHAPE, net, (0, 1, 2), wanted, 40_000, rng)

    def stored(column, _):
        return torch.from_numpy(shifts[SHAPE.span(column), None])

    for sampled in (bins, ancestral(SHAPE, net, (0, 1, 2), 40_000, rng, stored)):
        for column, marginal in enumerate(wanted):
            found = np.bincount(sampled[column], minlength=BINS[column]) / 40_000
            assert np.abs(found - marginal).max() < 0.015  # 6 standard deviations of independent draws: 1e-8


def test_fine_cells_get_their_shares_exactly():
    rng = np.random.default_rng(5)
    bin_of = np.array([0, 0, 1, 2, 1, 2, 2])
    share = np.array([0.25, 0.75, 1.0, 0.5, 0.0, 0.3, 0.2])
    bins = rng.permutation(np.repeat([0, 1, 2], [401, 7, 1000]))
    cells = fine_cells(bins, bin_of, share, rng)
    assert np.array_equal(bin_of[cells], bins)
    counted = np.bincount(cells, minlength=7)
    assert (np.abs(counted - share * np.bincount(bins)[bin_of]) < 1).all()
    assert counted[4] == 0


def test_fine_cells_of_two_columns_do_not_move_together():
    rng = np.random.default_rng(6)
    bin_of, share, bins = np.zeros(10, dtype=np.int64), np.full(10, 0.1), np.zeros(20_000, dtype=np.int64)
    one, other = (fine_cells(bins, bin_of, share, rng) for _ in range(2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(20_000)  # false alarms: 6e-7


def test_an_absent_bin_and_a_single_row_are_no_special_cases():
    rng = np.random.default_rng(7)
    bin_of, share = np.array([0, 1, 1]), np.array([1.0, 0.5, 0.5])
    assert fine_cells(np.array([0]), bin_of, share, rng).tolist() == [0]
    assert fine_cells(np.zeros(0, dtype=np.int64), bin_of, share, rng).size == 0
