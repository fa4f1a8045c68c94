"""Studies in which nobody is trusted, two sites included, from rows to certificate; and a site that lies."""

import importlib.util

import numpy as np
import pytest
from made import STUDY, content, silosynth, table, totals

from silosynth.client.engines import autoregressive_local
from silosynth.common.engines import heldout
from silosynth.common.errors import AnswerRejected
from silosynth.common.generator import load
from silosynth.common.study_file import read_study
from silosynth.server.bundle import verified
from silosynth.simulations import simulate
from silosynth.simulations.telling import PHASE

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `flower`)")

TEXT = STUDY.format(epsilon="1.0", steps=4).replace("[privacy]", 'trust = "local"\n[privacy]')


def a_study(text=TEXT):
    return read_study(text, source="study")


def two_sites():
    frame = table().drop(columns="clinic")
    here = frame["person"].str[1:].astype(int) % 3 == 0
    return {"here": frame[here], "there": frame[~here]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    told = []
    out = tmp_path_factory.mktemp("local") / "run"
    result = simulate(a_study(), two_sites(), out=out, seed=3, progress=lambda *where: told.append(where))
    return result, told


def test_two_sites_make_a_mixture_by_their_sizes(finished):
    result, _ = finished
    shares = load((result.path / "generator.safetensors").read_bytes()).generator.shares
    assert shares.sum() == pytest.approx(1)
    assert 0.1 < shares[0] < 0.6  # a third of the rows, by counts at epsilon 1
    assert len(result.table) > 100


def test_its_certificate_states_one_epsilon_against_everybody(finished):
    paper = finished[0].certificate
    assert paper["epsilon"]["aggregate"] == paper["epsilon"]["local"] <= 1.0
    assert paper["epsilon"]["local"] > 0.99
    assert paper["assumptions"]["trust"] == "local"
    assert "everybody" in paper["holds_against"]["aggregate"]
    assert verified(finished[0].path).epsilon.local == pytest.approx(paper["epsilon"]["local"])
    assert [event["kind"] for event in paper["events"]] == ["one-ways", "learn", *heldout.KINDS]


def test_a_site_that_learns_tells_a_simulation_how_far_it_is(finished):
    _, told = finished
    for site in ("here", "there"):
        steps = [(done, of) for phase, done, of, *note in told if phase == PHASE and note == [site]]
        assert steps == [(done, 10) for done in range(1, 11)]  # the 1-ways, the pairs, four gradients, four questions


def test_a_lying_site_ends_the_study_with_its_name_and_nothing_is_published(tmp_path, monkeypatch):
    honest, answered = autoregressive_local.NetworkLearner.answer, []
    sick = np.float32(np.nan).view(np.int32).astype(np.int64)
    with monkeypatch.context() as lying:

        def answer(self):
            answered.append(honest(self))
            answered[-1][-1] = answered[-1][-1] if len(answered) == 1 else sick  # "here" answers first
            return answered[-1]

        lying.setattr(autoregressive_local.NetworkLearner, "answer", answer)
        with pytest.raises(AnswerRejected, match=r"site there .*no learning leads to"):
            simulate(a_study(), two_sites(), out=tmp_path / "run", seed=3, evaluate=False, seeded_noise=True)
    assert not (tmp_path / "run" / "certificate.json").exists()
    assert len((tmp_path / "run" / "journal.jsonl").read_text().splitlines()) == 2  # the head, the 1-ways
    with pytest.raises(AnswerRejected, match="site there"):  # an answer that was given is given again
        simulate(a_study(), two_sites(), out=tmp_path / "run", seed=3, evaluate=False, seeded_noise=True, resume=True)


def test_an_interrupted_study_goes_on_where_it_stood(tmp_path):
    class Stop(Exception):
        pass

    def stopping(phase, *_):
        if phase == "learn":
            raise Stop

    options = {"seed": 3, "evaluate": False, "seeded_noise": True}
    whole = simulate(a_study(), two_sites(), out=tmp_path / "whole", **options)
    with pytest.raises(Stop):
        simulate(a_study(), two_sites(), out=tmp_path / "run", progress=stopping, **options)
    again = simulate(a_study(), two_sites(), out=tmp_path / "run", resume=True, **options)
    assert totals(again.path) == totals(whole.path)
    assert (again.path / "synthetic.csv").read_bytes() == (whole.path / "synthetic.csv").read_bytes()


def test_a_network_that_runs_away_is_still_a_network(tmp_path):
    """Learning rates at their limit: weights stay finite and within what a step can move, the study ends well."""
    wild = TEXT.replace("steps = 4", "steps = 40\nlearning_rate = 1.0")
    result = simulate(a_study(wild), two_sites(), out=tmp_path / "wild", evaluate=False)
    assert len(result.table) > 100


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
    assert totals(tmp_path / "memory") == totals(tmp_path / "flower")
    assert content(tmp_path / "memory" / "certificate.json")["events"][1]["kind"] == "learn"
