"""Attacks on Adult: an independent sample of the same people's kind is left alone, copied rows are found."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attack_made import each, planted

from silosynth.common.evaluate.attacks import Attacks, attack_all
from silosynth.common.evaluate.tables import Table

pytest.importorskip("sklearn")

DATA = Path(os.environ.get("SILOSYNTH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "adult"
SEEDS = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3_000),
    pytest.mark.skipif(not DATA.exists(), reason="needs the adult folder of the shared data (SILOSYNTH_DATA)"),
]


@pytest.fixture(scope="module")
def adult() -> Table:
    """All 48,842 rows: six numbers, nine columns of codes, three of them with gaps."""
    read = {"header": None, "skipinitialspace": True, "na_values": "?", "comment": "|"}
    rows = pd.concat([pd.read_csv(DATA / f"adult.{part}.gz", **read) for part in ("data", "test")])
    rows[14] = rows[14].str.rstrip(".")
    columns = tuple(
        rows[name].to_numpy(np.float64)
        if pd.api.types.is_numeric_dtype(rows[name])
        else pd.Categorical(rows[name]).codes.astype(np.int32)
        for name in rows
    )
    return Table(columns, len(rows))


def attacked(adult: Table, share: float) -> Iterator[Attacks]:
    """20,000 rows trained on, 5,000 held out, 20,000 more published, a share of them replaced by trained ones."""
    for seed in range(SEEDS):
        train, held, clean = np.split(np.random.default_rng(seed).permutation(adult.rows)[:45_000], [20_000, 25_000])
        made = planted(adult.take(train), adult.take(clean), share, seed)
        yield attack_all(each(adult.take(train)), each(adult.take(held)), made, np.random.default_rng(seed))


def test_an_independent_sample_is_not_flagged(adult: Table) -> None:
    """Each seed is flagged with probability .001 at most: three of twenty with 1.1e-6."""
    found = list(attacked(adult, 0.0))
    assert sum(bool(one.found) for one in found) <= 2
    assert all(one.reduction is not None and one.reduction.percent > 97 for one in found)


def test_one_copied_row_in_twenty_is_found_every_time(adult: Table) -> None:
    for one in attacked(adult, 0.05):
        assert {"copies", "dcr", "nndr", "membership"} <= set(one.found)
        copies = next(iter(one))
        assert copies.lead.value == pytest.approx(0.05, abs=0.015)
        assert copies.reduction is not None
        assert copies.reduction.interval[0] < 97
