"""Typed rows and whose they are."""

import numpy as np
import pandas as pd
from made import silosynth  # noqa: F401  # as every test of this package

from silosynth.simulations.cohort import Typed

IDS = ["b", "a", "b", "c", "b"]
ROWS = Typed(pd.DataFrame({"visit": range(5)}), pd.Series(IDS))


def test_one_row_of_everybody():
    seen = set()
    for seed in range(50):
        some = ROWS.one_each(seed)
        assert sorted(some.ids) == ["a", "b", "c"]
        assert [IDS[at] for at in some.frame["visit"]] == list(some.ids)
        seen |= set(some.frame["visit"])
    assert seen == set(range(5))  # each of b's three is missed fifty times with a chance of (2/3)^50: below 1e-8


def test_where_everybody_has_one_row_nothing_changes():
    alone = Typed(ROWS.frame, pd.Series(list("edcba")))
    pd.testing.assert_frame_equal(alone.one_each(0).frame, alone.frame)
    none = ROWS.where(np.zeros(5, dtype=bool))
    assert len(none.one_each(0).frame) == 0
