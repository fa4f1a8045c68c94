"""The GAN's generator: frequencies of its samples, and its file, hostile ones included."""

import numpy as np
import pytest
from engine_fixtures import SCHEMA
from gan_made import gan_study

from silosynth.common.engines import gan as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_generator import GanGenerator, freeze, thaw
from silosynth.common.engines.gan_net import fakes, initial_generator
from silosynth.common.errors import MalformedFrame
from silosynth.common.generator import load, save

STUDY = gan_study()
COARSENING = Coarsening(
    tuple(tuple(min(cell * 4 // size, size - 1) for cell in range(size)) for size in SCHEMA.sizes[:1])
    + tuple(tuple(range(size)) for size in SCHEMA.sizes[1:])
)
SHAPE = engine.shape(STUDY, COARSENING)


def made(seed=0):
    rng = np.random.default_rng(seed)
    marginals = tuple(rng.dirichlet(np.ones(size)) for size in COARSENING.sizes)
    weights = initial_generator(SHAPE, marginals, 2.0, rng)
    within = []
    for column in COARSENING.arrays:
        share = rng.random(column.size)
        within.append(share / np.bincount(column, share)[column])
    return GanGenerator(SHAPE, COARSENING, weights, tuple(within))


def test_rows_have_the_generator_s_joint_frequencies_of_bins_and_fine_cells_their_shares():
    generator_, rows = made(), 16_000
    codes = generator_.sample(rows, np.random.default_rng(1))
    bins, others = COARSENING.bins(codes), fakes(SHAPE, generator_.weights, rows, np.random.default_rng(2))
    pair = np.array([1, COARSENING.sizes[0]])
    one, other = (np.bincount(table[:, :2] @ pair, minlength=40) / rows for table in (bins, others))
    # 20 cells, each a difference of two proportions of 16,000: 5 sd of the largest is .028; false alarms below 1e-5
    assert np.abs(one - other).max() < 0.028
    held = np.bincount(bins[:, 0], minlength=COARSENING.sizes[0])
    fine = np.bincount(codes[:, 0], minlength=SCHEMA.sizes[0])
    # by systematic sampling: within one row of the share
    assert np.abs(fine - generator_.within[0] * held[COARSENING.arrays[0]]).max() <= 1 + 1e-6


def test_samples_are_a_function_of_the_seed_and_of_any_length():
    one, other = (made().sample(5000, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, other)
    assert one.dtype == np.int32
    assert ((one >= 0) & (one < np.array(SCHEMA.sizes))).all()
    for rows in (0, 1):
        assert made().sample(rows, np.random.default_rng(0)).shape == (rows, 4)


def test_a_generator_survives_its_file():
    generator_ = made(4)
    again = load(save(generator_, STUDY, {})).generator
    assert np.array_equal(*(g.sample(300, np.random.default_rng(5)) for g in (generator_, again)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("maps", lambda a: a + 1),
        ("maps", lambda a: a[:-1]),
        ("maps", lambda a: a.astype(np.int32)),
        ("weights", lambda a: a[:-1]),
        ("weights", lambda a: a * np.float32(np.nan)),
        ("weights", lambda a: a.astype(np.float64)),
        ("within", lambda a: -a),
        ("within", lambda a: a[:-1]),
        ("more", lambda a: np.zeros(1)),
    ],
)
def test_what_is_not_a_generator_is_refused(name, change):
    arrays = dict(freeze(made()))
    arrays[name] = change(arrays.get(name))
    with pytest.raises(MalformedFrame):
        thaw(STUDY, arrays)
