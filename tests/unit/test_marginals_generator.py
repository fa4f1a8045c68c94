"""A generator of the marginals engine in a file: only what fits its study is taken back."""

import numpy as np
import pytest
from engine_fixtures import rows
from marginals_made import marginals_study, run

from silosynth.common.engines.marginals_generator import freeze, thaw
from silosynth.common.errors import MalformedFrame

OF = marginals_study(3.0)
MIXED = marginals_study(3.0, products=1)


def frozen(of):
    half, state = run(of, rows(600))
    return {name: array.copy() for name, array in freeze(half.finish(state)).items()}


TREE, PRODUCTS = frozen(OF), frozen(MIXED)


def changed(arrays, **others):
    return {name: array.copy() for name, array in (arrays | others).items() if array is not None}


def test_what_was_frozen_is_thawed():
    for of, arrays in ((OF, TREE), (MIXED, PRODUCTS)):
        again = freeze(thaw(of, arrays))
        assert again.keys() == arrays.keys()
        assert all(np.array_equal(again[name], arrays[name]) for name in arrays)


def test_a_file_is_compact():
    assert sum(array.nbytes for array in TREE.values()) < 50_000


@pytest.mark.parametrize(
    "others",
    [
        {"potentials": None},
        {"more": np.zeros(1)},
        {"maps": TREE["maps"][:-1]},
        {"maps": TREE["maps"].astype(np.int32)},
        {"maps": TREE["maps"] + np.int16(1)},
        {"within": -TREE["within"]},
        {"within": TREE["within"] * np.nan},
        {"misfit": np.zeros(2)},
        {"misfit": np.array([np.inf])},
        {"potentials": TREE["potentials"][:-1]},
        {"potentials": TREE["potentials"] * np.nan},
        {"potentials": np.full_like(TREE["potentials"], np.inf)},
        {"cliques": TREE["cliques"].ravel()},
        {"cliques": TREE["cliques"][:, :2]},
        {"cliques": TREE["cliques"][:-1]},
        {"cliques": TREE["cliques"] + np.int16(7)},
        {"cliques": np.concatenate([TREE["cliques"], TREE["cliques"][:1]])},
        {"cliques": np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]], dtype=np.int16)},
    ],
)
def test_what_does_not_fit_is_refused(others):
    with pytest.raises(MalformedFrame):
        thaw(OF, changed(TREE, **others))


@pytest.mark.parametrize(
    "others",
    [
        {"logits": PRODUCTS["logits"][:, :-1]},
        {"logits": PRODUCTS["logits"][:0]},
        {"logits": PRODUCTS["logits"].ravel()},
        {"logits": PRODUCTS["logits"] * np.float32(np.nan)},
        {"logits": PRODUCTS["logits"].astype(np.float64)},
    ],
)
def test_a_mixture_that_does_not_fit_is_refused(others):
    with pytest.raises(MalformedFrame):
        thaw(MIXED, changed(PRODUCTS, **others))


def test_a_model_larger_than_its_study_allows_is_not_built():
    small = marginals_study(3.0, cells=1)
    with pytest.raises(MalformedFrame, match="too many"):
        thaw(small, TREE)


def test_impossible_cells_stay_impossible():
    arrays = changed(TREE)
    generator = thaw(OF, arrays)
    tree = generator.model.fitted.tree
    at = tree.cliques[0]
    arrays["potentials"][tree.offsets[0]] = -np.inf  # the first cell of the first clique
    bins = thaw(OF, arrays).model.bins(20_000, np.random.default_rng(0))
    assert not np.all([bins[column] == 0 for column in at], axis=0).any()
    before = generator.model.bins(20_000, np.random.default_rng(0))
    assert np.all([before[column] == 0 for column in at], axis=0).any()


def test_rows_have_bins_as_often_as_expected_and_values_within():
    generator, rng = thaw(OF, TREE), np.random.default_rng(0)
    codes = generator.sample(20_000, rng)
    assert codes.shape == (20_000, 4)
    for column, bin_of in enumerate(generator.coarsening.arrays):
        held = np.bincount(bin_of[codes[:, column]], minlength=generator.coarsening.sizes[column])
        cells = np.bincount(codes[:, column], minlength=bin_of.size)
        expected = held[bin_of] * generator.within[column]
        assert np.abs(cells - expected).max() <= 2 + 1e-6  # two blocks, each within one


def test_no_rows_are_no_rows():
    assert thaw(OF, TREE).sample(0, np.random.default_rng(0)).shape == (0, 4)
