"""What a report costs: the tables it is measured on, and the rows that say it."""

import numpy as np
import pytest

from silosynth.common.progress import silent
from silosynth.simulations.bench import report
from silosynth.simulations.bench.report import Cost


def test_a_table_has_what_real_ones_have():
    of = report.schema(10)
    made = report.table(of, 400, 1)
    assert list(made.columns) == list(of.names)
    assert 0.05 < made["c0"].isna().mean() < 0.15
    assert made["c4"].isna().all()
    assert set(made["c6"]) == {3.0}
    assert [len(column.codes) for column in of.columns if column.coded] == [2, 12, 40, 300, 2]
    assert set(of.encode(of.conform(made.astype("string"), source="t").frame)[:, 1]) == {0, 1}
    assert made.equals(report.table(of, 400, 1))
    assert abs(np.corrcoef(made["c2"], made["c1"].cat.codes)[0, 1]) < 0.2  # of unlike latent ones


@pytest.mark.parametrize("slow", [False, True])
def test_a_bar_that_is_missed_is_said(monkeypatch, slow):
    monkeypatch.setattr(report, "measured", lambda rows, columns: Cost(400.0 if slow else 10.0, 900.0, 45, 8, 1000))
    rows = list(report.report(silent))
    assert [row.name for row in rows] == [
        "40,000 x 15, CPU", "40,000 x 15, memory", "100,000 x 50, CPU", "100,000 x 50, memory",
    ]  # fmt: skip
    assert [row.passed for row in rows] == [not slow, True, not slow, True]
    assert [row.bar for row in rows] == [60, 2000, 300, 2000]
