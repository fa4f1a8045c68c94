"""The demo, as the README promises it."""

import importlib.util

import pytest
from made import content, silosynth

from silosynth.simulations import demo

needs_table = pytest.mark.skipif(importlib.util.find_spec("statsmodels") is None, reason="needs the extra `demo`")


@needs_table
def test_its_table_fits_its_study_without_a_remark():
    """No value outside the public bounds and codes, at any site."""
    study = demo.study()
    for name, rows in demo.sites().items():
        for counts in study.schema.conform(rows, source=name).counts:
            assert (counts.out_of_bounds, counts.unknown) == (0, 0)
    assert not study.schema.unreviewed
    assert len(demo.sites()) == 6


@pytest.mark.slow
@needs_table
def test_it_runs_from_a_bare_command_to_a_report(tmp_path):
    run = silosynth("demo", "--out", tmp_path / "demo")
    assert run.returncode == 0, run.stderr
    for word in ("signal kept", "pair trends", "2-way distance", "detection AUC", "epsilon at delta", "files:"):
        assert word in run.stdout
    scores = content(tmp_path / "demo" / "metrics.json")["scores"]
    assert scores["tstr_signal_kept"]["value"] > 0.6  # measured .82 to .88 over five runs
    assert content(tmp_path / "demo" / "certificate.json")["epsilon"]["aggregate"] <= 1.0
