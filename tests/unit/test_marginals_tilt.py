"""Weights for a model that cannot hold all that was counted: they help, they stay away, they come back from a file."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows, tvd_of_pairs
from marginals_made import marginals_study, run

from silosynth.common.engines import marginals_tilt
from silosynth.common.engines.marginals_generator import freeze, thaw
from silosynth.common.engines.marginals_tilt import Looked
from silosynth.common.engines.tilt import Grouped, effective_share
from silosynth.common.errors import MalformedFrame

CODES = rows(6000)
SMALL = marginals_study(30.0, target=None, cells=20)  # two of six pairs, others visibly missed


def made(of, codes=CODES):
    half, state = run(of, codes)
    return half.finish(state)


WEIGHTED = made(SMALL)
ARRAYS = freeze(WEIGHTED)


def distance(generator):
    return tvd_of_pairs(generator.sample(20_000, np.random.default_rng(0)), CODES, SCHEMA.sizes)


def test_weights_bring_back_what_a_small_model_misses():
    assert distance(WEIGHTED) < 0.85 * distance(replace(WEIGHTED, tilt=None))  # .108 and .149


def test_they_lean_on_the_one_ways_and_on_all_that_the_screen_counted():
    layout = WEIGHTED.tilt.layout
    assert isinstance(layout, Grouped)
    assert [len(group.tables) for group in layout.groups] == [4, 6]
    assert sum(layout.sizes) == WEIGHTED.tilt.duals.size


def test_cells_are_those_of_the_tables_the_screen_counted():
    bins = WEIGHTED.model.bins(300, np.random.default_rng(2))
    found = [*WEIGHTED.tilt.layout.cells(bins)]
    begin = 0
    for group in WEIGHTED.tilt.layout.groups:
        expected = group.cells_of_bins(group.coarsening.bins(bins.T.astype(np.int32))) - group.offsets[:-1]
        assert np.array_equal(np.stack(found[begin : begin + len(group.tables)], axis=1), expected)
        begin += len(group.tables)
    assert begin == len(found)


def test_no_weights_where_the_model_holds_everything_or_the_study_wants_none():
    assert made(replace(SMALL, settings=(*SMALL.settings, ("tilt", 0.0)))).tilt is None
    assert made(marginals_study(30.0, target=None)).tilt is None
    independent = np.random.default_rng(0).integers(0, SCHEMA.sizes, (6000, 4)).astype(np.int32)
    assert made(SMALL, independent).tilt is None


def test_the_more_trust_in_the_model_the_more_even_the_weights():
    shares = []
    for trust in (0.03, 0.1, 0.3):
        found = made(replace(SMALL, settings=(*SMALL.settings, ("tilt", trust)))).tilt
        bins = WEIGHTED.model.bins(10_000, np.random.default_rng(1))
        shares.append(effective_share(found.log_weights(bins)))
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] - 0.01


def test_a_file_has_weights_only_where_its_study_does():
    with pytest.raises(MalformedFrame):
        thaw(replace(SMALL, settings=(*SMALL.settings, ("tilt", 0.0))), ARRAYS)


def test_few_units_and_many_tables_get_no_weights(monkeypatch):
    assert made(SMALL, CODES[:4000]).tilt is None
    monkeypatch.setattr(marginals_tilt, "_MOST_CELLS", 8000 * 10)
    assert made(SMALL).tilt is None


def test_a_table_is_missed_where_no_clique_holds_it_and_the_counts_show_it(monkeypatch):
    seen = []
    monkeypatch.setattr(marginals_tilt, "serving", lambda *_: None)
    monkeypatch.setattr(Looked, "missed", lambda look, model, units: seen.append(look) or ())
    assert made(SMALL).tilt is None  # nothing missed, nothing asked
    (look,) = seen
    monkeypatch.undo()
    missed = look.missed(WEIGHTED.model, 6000.0)
    assert missed
    assert not set(missed) & set(WEIGHTED.model.fitted.tree.cliques)
    wrong = replace(look, frequencies=np.roll(look.frequencies, 1))
    assert len(wrong.missed(WEIGHTED.model, 6000.0)) == 6 - 2  # all but those in cliques
    right = replace(look, frequencies=look.counted.counts / 6000.0)
    assert right.missed(WEIGHTED.model, 6000.0) == ()


def test_weights_do_not_depend_on_threads():
    """BLAS adds in another order with more threads: a study would end in another generator on another machine."""
    program = (
        "import hashlib, numpy as np; from silosynth.common.engines.coarsening import Coarsening;"
        "from silosynth.common.engines.tilt import *;"
        "rng = np.random.default_rng(0); own = BinsAndPairs(Coarsening((tuple(range(120)),) * 3));"
        "bins = rng.integers(0, 120, (3, 4000)); size = sum(own.sizes);"
        "measured = Measured(rng.dirichlet(np.ones(size)), np.full(size, 1e-3));"
        "print(hashlib.sha256(fit(bins, own, measured, 100.0).duals.tobytes()).hexdigest())"
    )
    found = set()
    for threads in ("1", "2"):
        alone = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", program], env=alone, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


def test_what_was_frozen_is_thawed():
    again = thaw(SMALL, ARRAYS)
    assert again.tilt.layout == WEIGHTED.tilt.layout
    for name, array in freeze(again).items():
        assert array.tobytes() == ARRAYS[name].tobytes()
    one, other = (of.sample(500, np.random.default_rng(0)) for of in (again, WEIGHTED))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "others",
    [
        {"tilt": ARRAYS["tilt"][:-1]},
        {"tilt": ARRAYS["tilt"] * np.nan},
        {"tilt": np.zeros(0)},
        {"tilt": ARRAYS["tilt"] + 1e7},
        {"merges": ARRAYS["merges"][:0]},
        {"merges": np.zeros((0, 1), dtype=np.int16), "tilt": np.zeros(0)},
        {"merges": ARRAYS["merges"][:, :-1]},
        {"merges": ARRAYS["merges"].ravel()},
        {"merges": ARRAYS["merges"] + np.int16(1)},
        {"merges": np.concatenate([ARRAYS["merges"], ARRAYS["merges"][:1]])},
    ],
)
def test_what_does_not_fit_is_refused(others):
    with pytest.raises(MalformedFrame):
        thaw(SMALL, dict(ARRAYS) | others)
