"""A whole study of the marginals engine, from rows at three sites to report and certificate, in both ways of trust."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from made import STUDY, content, table

from silosynth.client.ledger import listing
from silosynth.common import accounting
from silosynth.common.generator import load
from silosynth.common.study import Trust
from silosynth.common.study_file import read_study
from silosynth.server.publish import load_artefact
from silosynth.simulations import simulate
from silosynth.simulations.chosen import chosen


def clinics():
    return {name: rows.drop(columns="clinic") for name, rows in table().groupby("clinic")}


def a_study(trust=Trust.SECURE_SUM, epsilon="1.0"):
    study = read_study(STUDY.format(epsilon=epsilon, steps=3), source="study")
    return replace(chosen(study, engine="marginals")[0], trust=trust, settings=(("iterations", 60.0),))


@pytest.fixture(scope="module", params=list(Trust))
def finished(request, tmp_path_factory):
    return simulate(a_study(request.param), clinics(), out=tmp_path_factory.mktemp("m") / "run", seed=3, evaluate=False)


def test_the_plan_is_spent_to_its_end_and_no_further(finished):
    study = load_artefact(finished.path / "generator.safetensors").study
    affordable = accounting.mu_squared_for(1.0, 1e-5)
    spent = sum((step.repeats / step.multiplier**2 for step in study.plan), Fraction(0))
    assert Fraction(99999, 100000) * affordable < spent <= affordable
    certificate = content(finished.path / "certificate.json")
    assert certificate["study"] == study.digest
    kinds = [json.loads(line).get("kind") for line in (finished.path / "journal.jsonl").read_text().splitlines()[1:]]
    absorbed = [kind for kind in kinds if kind]
    assert absorbed == ["one-ways", "pairs", "target", "marginals", "marginals"]
    for site in ("North", "South", "West"):
        assert listing(finished.path / "sites" / site / "ledger.sqlite")


def test_the_report_says_how_well_the_counts_are_fitted(finished):
    artefact = load((finished.path / "generator.safetensors").read_bytes())
    said = f"{artefact.generator.misfit:.2f} (about 1"
    assert said in (finished.path / "report.html").read_text()
    assert 0.3 < artefact.generator.misfit < 3


def test_rows_come_from_the_artefact_alone(finished):
    one, other = (
        load((finished.path / "generator.safetensors").read_bytes()).generator.sample(500, np.random.default_rng(1))
        for _ in range(2)
    )
    assert np.array_equal(one, other)
    assert len(finished.table) > 200


def test_a_study_that_was_stopped_goes_on_to_the_same_totals(tmp_path):
    """Without noise, a study interrupted within its rounds ends in the bytes of one that was not."""

    class StopError(Exception):
        pass

    def stop(phase, done, of, note=""):
        if phase == "marginals" and done == 4:
            raise StopError

    study = a_study(epsilon="inf")
    whole = simulate(study, clinics(), out=tmp_path / "whole", evaluate=False)
    with pytest.raises(StopError):
        simulate(study, clinics(), out=tmp_path / "stopped", evaluate=False, progress=stop)
    resumed = simulate(study, clinics(), out=tmp_path / "stopped", evaluate=False, resume=True)
    one, other = (load((run.path / "generator.safetensors").read_bytes()).generator for run in (whole, resumed))
    assert np.array_equal(*(made.sample(300, np.random.default_rng(0)) for made in (one, other)))
