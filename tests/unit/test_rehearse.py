"""A rehearsal: made-up rows within the schema, the whole plan, and nothing of it the study itself."""

from dataclasses import replace

import numpy as np
import pytest
import site_made
from small_study import SCHEMA

from silosynth.common.plan import resolve
from silosynth.common.privacy import View
from silosynth.common.progress import silent
from silosynth.common.study import Trust
from silosynth.simulations import rehearse as module
from silosynth.simulations.rehearse import fake_rows, rehearse


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    _, request = site_made.made(tmp_path_factory.mktemp("site"))
    asked = site_made.study_of(request, settings=(("steps", 2.0),))
    return resolve(asked, asked.roster)


def test_rows_are_made_up_from_the_schema_alone(study):
    rows = fake_rows(study, np.random.default_rng(1), 2000)
    assert rows.codes.shape == (2000, 2)
    assert rows.codes.min(axis=0).tolist() == [0, 0]
    assert (rows.codes.max(axis=0) < SCHEMA.sizes).all()
    assert len(np.unique(rows.owner)) == 2000


@pytest.fixture
def seen(monkeypatch):
    """The study that is really run."""
    studies = []
    run = module._run
    monkeypatch.setattr(
        module, "_run", lambda path, study, *more: (studies.append((path, study)), run(path, study, *more))
    )
    return studies


@pytest.mark.parametrize("trust", list(Trust))
def test_a_rehearsal_runs_the_whole_plan_of_another_study(study, seen, trust):
    asked = study if trust is Trust.SECURE_SUM else resolve(replace(study, trust=trust, plan=()), study.roster)
    done = rehearse(asked, "b", silent)
    assert len(done.left) == asked.releases
    assert done.epsilon(View.AGGREGATE) <= 1
    assert done.octets == sum(line.octets for line in done.left)
    ((path, run),) = seen
    assert not path.exists()
    assert run.digest != asked.digest
    assert (run.plan, run.schema, run.budget, run.trust) == (asked.plan, asked.schema, asked.budget, asked.trust)
    assert [member.name for member in run.roster] == [member.name for member in asked.roster]
    assert not {member.key for member in run.roster} & {member.key for member in asked.roster} - {""}
    assert {line.study for line in done.left} == {run.digest}


def test_answers_that_are_alike_are_told_together(study):
    done = rehearse(study, "a", silent)
    words = done.in_words
    assert words[0].startswith("  1 answer of ")
    assert any(line.startswith("  2 answers, each") for line in words)
    assert all("Noise: Gaussian" in line for line in words)
