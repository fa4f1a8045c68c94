"""Whole studies whose held-out units are asked, of every engine: real gates, ledgers, masks, and what comes of it."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from engine_fixtures import SCHEMA, rows, shards
from heldout_made import asking

from silosynth.client.app import client_app
from silosynth.client.entries import Committed, Planned
from silosynth.client.ledger import listing
from silosynth.common import scale, verify_words
from silosynth.common.engine import Parted
from silosynth.common.errors import NotCertified, QuorumLost
from silosynth.common.evaluate.federated import federated, noise
from silosynth.common.privacy import Part, View, mu_squared
from silosynth.common.progress import silent
from silosynth.common.study import Budget, Study, Trust
from silosynth.server import questions
from silosynth.server.bundle import verified
from silosynth.server.certificate import Noise
from silosynth.server.coordinator import run
from silosynth.server.journal import Journal
from silosynth.server.sites import GridSites
from silosynth.simulations.exact import counted
from silosynth.simulations.grid import LocalGrid
from silosynth.simulations.homes import Homes, with_keys
from silosynth.simulations.local import simulate

pytest.importorskip("sklearn")

TRAIN, HELD = rows(1500, seed=1), rows(2500, seed=2)
SYNTHETIC = 4000  # rows that questions are made of: enough here, and quick
FEW = {"autoregressive": (("steps", 3.0),), "gan": (("steps", 2.0),)}


@pytest.fixture(autouse=True, scope="module")
def few_synthetic_rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "ROWS", SYNTHETIC)
        yield


class Sites(GridSites):
    """Sites that fail at a release, once."""

    def __init__(self, grid, dies_at=None):
        super().__init__(grid, silent)
        self.dies_at = dies_at

    def total(self, study, release, parts, attempts):
        if release == self.dies_at:
            self.dies_at = None
            raise QuorumLost("gone")
        return super().total(study, release, parts, attempts)


def study_of(folder, engine="autoregressive", trust=Trust.SECURE_SUM, epsilon=1.0, *, masked=True):
    study = asking(engine, epsilon, trust=trust, settings=FEW[engine] if trust is Trust.SECURE_SUM else ())
    kind = Noise.NONE if math.isinf(epsilon) else Noise.SYSTEM
    return replace(study, roster=with_keys(folder / "sites", study.roster, kind, 0)) if masked else study


def units_of(study):
    parts = zip(shards(TRAIN, len(study.roster)), shards(HELD, len(study.roster)), strict=True)
    return {member.name: Parted(*both) for member, both in zip(study.roster, parts, strict=True)}


def played(folder, study, dies_at=()):
    """The study run to its end, through as many interruptions; what it learnt."""
    kind = Noise.NONE if any(step.noiseless for step in study.plan) else Noise.SYSTEM
    homes = Homes(folder / "sites", study, kind, 0)
    with homes.opened(units_of(study), silent) as sites:
        grid = LocalGrid(client_app(lambda context: sites[int(context.node_config["partition-id"])]), len(sites))
        for release in dies_at:
            with pytest.raises(QuorumLost):
                run(study, Sites(grid, release), Journal(folder, study, str(kind)), 0, silent)
        return run(study, Sites(grid), Journal(folder, study, str(kind)), 0, silent)


@pytest.mark.parametrize("engine", sorted(FEW))
def test_totals_without_noise_are_the_counts_of_held_out_units(tmp_path, engine):
    study = study_of(tmp_path, engine, epsilon=math.inf)
    heard = played(tmp_path, study).heard
    for total, true in zip(heard.totals, counted(study, heard, units_of(study)).totals, strict=True):
        assert np.array_equal(total, true)
    assert heard.totals[0][: SCHEMA.sizes[0]].sum() > 0


@pytest.mark.parametrize("trust", Trust)
def test_the_noise_of_the_totals_is_that_which_is_stated(tmp_path, trust):
    """Also where every site adds all of it. A ratio of variances over so many cells is within .5 of 1: below 1e-5."""
    study = study_of(tmp_path, trust=trust)
    heard = played(tmp_path, study).heard
    true = counted(study, heard, units_of(study))
    residuals = np.concatenate([
        (total - exact) / scale.HISTOGRAM_GRID / noise(study, task, len(study.roster))
        for task, total, exact in zip(heard.questions.tasks, heard.totals, true.totals, strict=True)
    ])  # fmt: skip
    assert residuals.size > 100
    assert residuals.var() == pytest.approx(1, abs=6 * math.sqrt(2 / residuals.size))
    said = federated(study, heard, [len(study.roster)] * 4, seed=0)
    exact = federated(study, true, [len(study.roster)] * 4, seed=0, exact=True)
    low, high = said.units.interval
    assert exact.units.value == pytest.approx(len(HELD))
    assert low - (high - low) < len(HELD) < high + (high - low)  # six standard deviations


@pytest.mark.parametrize("masked", [True, False])
def test_an_interrupted_evaluation_goes_on_in_the_same_words(tmp_path, masked):
    study = study_of(tmp_path, masked=masked)
    first = study.training.releases
    learnt = played(tmp_path, study, dies_at=(1, first, first + 1, first + 2, first + 3))
    assert len(learnt.heard.totals) == 4
    ledger = listing(tmp_path / "sites" / study.roster[0].name / "ledger.sqlite")
    answered = [entry.record.release for entry in ledger if isinstance(entry.record, Committed)]
    assert answered == list(range(study.releases))
    (planned,) = [entry.record for entry in ledger if isinstance(entry.record, Planned)]
    assert mu_squared(planned.event(), View.AGGREGATE) == max(
        sum(step.repeats / step.multiplier**2 for step in study.plan if step.part is part) for part in Part
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "run"
    asked = Study("t", SCHEMA, Budget(1.0, 1e-5, 1), target="smoker", settings=FEW["autoregressive"])
    frame = SCHEMA.present(SCHEMA.decode(rows(1200, seed=4), np.random.default_rng(0))).astype(str)
    parts = np.array_split(np.arange(1200), 3)
    simulate(asked, {name: pd.DataFrame(frame.iloc[own]) for name, own in zip("abc", parts, strict=True)}, out=folder)
    return folder


def test_what_is_published_verifies_and_shows_exact_scores_beside_the_noisy_ones(published):
    said = json.loads((published / "metrics.json").read_text())["federated"]
    assert set(said["scores"]) >= {"tvd1", "tvd2", "boosting_auc", "regression_auc"}
    assert all(score["exact"] is not None for score in said["scores"].values())
    assert 150 < said["units"]["exact"] < 330  # .2 of 1200, six standard deviations
    proved = verified(published)
    assert proved.epsilon.aggregate <= 1
    events = json.loads((published / "certificate.json").read_text())
    assert [event.get("part") for event in events["events"]][-3:] == ["holdout"] * 3
    assert "parts" in events["assumptions"]
    assert any("held-out persons" in line for line in verify_words.proved(proved))
    assert any("held-out persons apart" in line for line in verify_words.not_proved(proved))


SPOILT = {
    "a part left out": lambda paper: paper["events"][-1].pop("part"),
    "an event left out": lambda paper: paper["events"].pop(),
    "no word of parts": lambda paper: paper["assumptions"].pop("parts"),
    "the price of one part": lambda paper: paper["epsilon"].update(aggregate=paper["epsilon"]["aggregate"] * 0.99),
    "a part for another": lambda paper: paper["events"][-1].update(part="train"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_certificate_that_says_another_part_is_refused(published, spoil):
    path = published / "certificate.json"
    whole = path.read_text()
    paper = json.loads(whole)
    spoil(paper)
    try:
        path.write_text(json.dumps(paper))
        with pytest.raises(NotCertified):
            verified(published)
    finally:
        path.write_text(whole)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('part = "holdout"\n', ""),
        ('part = "holdout"', 'part = "train"'),
        ('kind = "gradient"', 'part = "holdout"\nkind = "gradient"'),
    ],
)
def test_a_study_that_says_another_part_is_refused(published, old, new):
    path = published / "study.toml"
    whole = path.read_text()
    assert old in whole
    try:
        path.write_text(whole.replace(old, new))
        with pytest.raises(NotCertified):
            verified(published)
    finally:
        path.write_text(whole)
