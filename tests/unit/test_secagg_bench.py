"""The benchmark of secure sums times what it says: both contestants' sums are exact."""

import numpy as np
import pytest
from secagg_made import R32

from silosynth.common.progress import silent
from silosynth.simulations.bench import secagg

SITES, SIZE = 4, 50


@pytest.fixture(scope="module")
def values():
    return list(np.random.default_rng(1).integers(-1000, 1000, (SITES, SIZE)))


def test_flower_s_functions_are_called_as_they_sum(values):
    theirs = secagg.Flower(SITES, np.random.default_rng(2))
    total = theirs.total([theirs.masked(i, value) for i, value in enumerate(values)])
    assert R32.decode(total.astype(np.uint32)).tolist() == sum(values).tolist()


def test_what_is_summed_is_what_was_signed():
    ours = secagg.Ours.made(SITES, np.random.default_rng(2), R32)
    payloads = [np.full(SIZE, i, dtype="<u4").tobytes() for i in (1, 10)]
    assert ours.summing(payloads, SIZE)().tolist() == [22] * SIZE


def test_what_is_timed_at_a_site_is_a_whole_round(values):
    ours = secagg.Ours.made(SITES, np.random.default_rng(2), R32)
    masking = ours.masking(values[0])
    tally = ours.coordinator.tally(ours.round(0, SIZE))
    assert tally.accept(masking()) == 0
    assert masking() != masking()  # another attempt each time


def test_rows():
    rows = list(secagg.secagg((0,), 2, silent, bars_ms={3: (1e6, 0.0)}, size=100))
    assert [row.passed for row in rows] == [True, None, False, None, False]
    assert all(row.value > 0 for row in rows)
    assert [row.name.split(": ")[1] for row in rows] == [
        "a site",
        "Flower, a site / ours",
        "coordinator",
        "Flower, coordinator / ours",
        "upload over the vector",
    ]
