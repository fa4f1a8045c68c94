"""The marginals engine's half at a site: prices, and that every answer is the histogram its task names."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows, shards, total
from marginals_made import marginals_study

from silosynth.client.engines.marginals import Marginals
from silosynth.common import scale
from silosynth.common.engines import marginals as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.errors import MalformedFrame
from silosynth.common.privacy import Gaussian, NoPrivacy

COARSENING = Coarsening(tuple(tuple(cell % 3 if size > 2 else cell for cell in range(size)) for size in SCHEMA.sizes))
CHOSEN = engine.CountTables("marginals", COARSENING, ((0, 1), (3,), (0, 2, 3)))


def test_a_claim_is_the_plan_s_price_and_the_layout_s_size():
    of = marginals_study(1.0)
    half = Marginals(of)
    pairs = engine.CountTables("pairs", COARSENING, engine.screened(of, "pairs"))
    target = engine.CountTables("target", COARSENING, engine.screened(of, "target"))
    for task, step in zip((engine.CountOneWays(), pairs, target, CHOSEN), of.plan, strict=True):
        assert half.claim(task).event == Gaussian(step.multiplier, 2)
    sizes = [sum(SCHEMA.sizes), 6 * 9, 3 * 27, 9 + 3 + 27]
    assert [half.claim(task).size for task in (engine.CountOneWays(), pairs, target, CHOSEN)] == sizes
    assert Marginals(marginals_study(math.inf)).claim(engine.CountOneWays()).event == NoPrivacy()
    with pytest.raises(MalformedFrame):
        Marginals(replace(of, plan=of.plan[:1])).claim(pairs)


def test_answers_are_the_tables_counted():
    of, codes = marginals_study(math.inf), rows(500)
    summed = total(of, Marginals(of), CHOSEN, shards(codes)) / scale.HISTOGRAM_GRID
    bins = COARSENING.bins(codes)
    expected = [
        np.bincount(bins[:, 0] * 3 + bins[:, 1], minlength=9),
        np.bincount(bins[:, 3], minlength=3),
        np.bincount((bins[:, 0] * 3 + bins[:, 2]) * 3 + bins[:, 3], minlength=27),
    ]
    assert np.array_equal(summed, np.concatenate(expected))


def test_a_person_s_rows_count_as_one():
    of, codes = marginals_study(math.inf), rows(200)
    once = shards(codes)
    twice = [replace(own, codes=np.repeat(own.codes, 2, 0), owner=np.repeat(own.owner, 2)) for own in once]
    one, other = (total(of, Marginals(of), CHOSEN, units) for units in (once, twice))
    assert np.array_equal(one, other)
