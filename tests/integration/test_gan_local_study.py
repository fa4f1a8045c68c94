"""The GAN where nobody is trusted, from rows to certificate: two sites, an interruption, a site that runs away."""

import importlib.util

import numpy as np
import pytest
from made import STUDY, content, silosynth, table

from silosynth.client.engines import gan_local
from silosynth.client.ledger import Ledger
from silosynth.common.errors import Diverged
from silosynth.common.generator import load
from silosynth.common.privacy import View
from silosynth.common.sampled import epsilon_of
from silosynth.common.study_file import read_study
from silosynth.server.bundle import verified
from silosynth.simulations import simulate
from silosynth.simulations.telling import PHASE

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `flower`)")

TEXT = STUDY.format(epsilon="3.0", steps=3).replace("[privacy]", 'engine = "gan"\ntrust = "local"\n[privacy]')
TEXT = TEXT.replace("steps = 3", "steps = 3\nlocal_steps = 2\nsample = 60\nfakes = 64\ncomponents = 40\nbatch = 100")


def a_study(text=TEXT):
    return read_study(text, source="study")


def two_sites():
    frame = table().drop(columns="clinic")
    here = frame["person"].str[1:].astype(int) % 3 == 0
    return {"here": frame[here], "there": frame[~here]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    told = []
    out = tmp_path_factory.mktemp("gan") / "run"
    result = simulate(a_study(), two_sites(), out=out, seed=3, progress=lambda *where: told.append(where))
    return result, told


def test_two_sites_make_a_mixture_by_their_sizes(finished):
    result, _ = finished
    artefact = load((result.path / "generator.safetensors").read_bytes())
    assert 0.1 < artefact.generator.shares[0] < 0.6  # a third of the rows
    assert len(result.table) > 100
    assert "tvd2" in result.metrics["scores"]


def test_its_certificate_states_the_epsilon_of_the_whole_plan_by_its_losses(finished):
    result, _ = finished
    paper = result.certificate
    study = load((result.path / "generator.safetensors").read_bytes()).study
    whole = epsilon_of(study.history, 1e-5)
    assert paper["epsilon"]["aggregate"] == paper["epsilon"]["local"] == pytest.approx(whole, rel=1e-9)
    assert 2.99 < whole <= 3.0
    assert verified(result.path).epsilon.local == pytest.approx(whole, rel=1e-9)
    counts, rounds, *held_out = paper["events"]
    assert {event["part"] for event in held_out} == {"holdout"}
    assert (counts["kind"], rounds["kind"], rounds["count"]) == ("one-ways", "discriminator", 3)
    assert [(inner["mechanism"], inner["count"]) for inner in rounds["within"]] == [("sampled gaussian", 2)]


def test_every_ledger_holds_the_certified_price(finished):
    result, _ = finished
    study = load((result.path / "generator.safetensors").read_bytes()).study
    price = 1 / study.plan[0].multiplier ** 2 + study.plan[1].certified
    for site in ("here", "there"):
        ledger = Ledger(result.path / "sites" / site / "ledger.sqlite")
        assert ledger.spent(View.LOCAL) == ledger.spent(View.AGGREGATE) == price
        ledger.close()


def test_a_site_that_trains_tells_a_simulation_how_far_it_is(finished):
    _, told = finished
    for site in ("here", "there"):
        steps = [(done, of) for phase, done, of, *note in told if phase == PHASE and note == [site]]
        assert steps == [(done, 11) for done in range(1, 12)]  # the 1-ways, three rounds of two steps, four questions


def test_an_interrupted_study_goes_on_where_it_stood(tmp_path):
    class Stop(Exception):
        pass

    def stopping(phase, done, *_):
        if (phase, done) == ("discriminator", 2):
            raise Stop

    options = {"seed": 3, "evaluate": False, "seeded_noise": True}
    whole = simulate(a_study(), two_sites(), out=tmp_path / "whole", **options)
    with pytest.raises(Stop):
        simulate(a_study(), two_sites(), out=tmp_path / "run", progress=stopping, **options)
    again = simulate(a_study(), two_sites(), out=tmp_path / "run", resume=True, **options)
    assert (again.path / "synthetic.csv").read_bytes() == (whole.path / "synthetic.csv").read_bytes()


def test_a_site_whose_training_runs_away_ends_the_study_with_cause_and_spent_budget(tmp_path, monkeypatch):
    honest = gan_local.DiscriminatorLearner.absorb

    def absorb(self, ask, total):
        honest(self, ask, total)
        if ask.step == 3:
            self._network.weights[0] = np.nan

    monkeypatch.setattr(gan_local.DiscriminatorLearner, "absorb", absorb)
    with pytest.raises(Diverged, match=r"round 2: site here sent.*3 of 4 releases.*epsilon of [0-9.]+"):
        simulate(a_study(), two_sites(), out=tmp_path / "run", seed=3, evaluate=False)
    assert not (tmp_path / "run" / "certificate.json").exists()


@pytest.mark.flower
@needs_ray
def test_both_runtimes_learn_the_same_at_two_sites(tmp_path):
    frame = table()
    frame["clinic"] = np.where(frame["clinic"] == "North", "North", "South")
    (tmp_path / "study.toml").write_text(TEXT)
    frame.to_csv(tmp_path / "table.csv", index=False)
    common = ("simulate", tmp_path / "study.toml", "--data", tmp_path / "table.csv", "--sites", "clinic", "--no-scores")
    for runtime in ("memory", "flower"):
        run = silosynth(*common, "--seeded-noise", "--out", tmp_path / runtime, "--runtime", runtime)
        assert run.returncode == 0, run.stderr
    assert (tmp_path / "memory" / "synthetic.csv").read_bytes() == (tmp_path / "flower" / "synthetic.csv").read_bytes()
    assert content(tmp_path / "memory" / "certificate.json")["events"][1]["kind"] == "discriminator"
