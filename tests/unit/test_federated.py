"""Scores from noisy totals: exact where there is no noise, and intervals that hold what they claim."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows
from heldout_made import asking

from silosynth.common import scale
from silosynth.common.engine import Parted, Units
from silosynth.common.engines import heldout
from silosynth.common.engines.forest import UNIT
from silosynth.common.evaluate.asked import Heard
from silosynth.common.evaluate.deconvolved import Tables, distances
from silosynth.common.evaluate.federated import MODELS, Federated, Measure, _state, federated, noise
from silosynth.common.evaluate.ranked import OF_SUBGROUPS, SCORES, Ranked, estimated
from silosynth.common.evaluate.scores import Scores
from silosynth.server import questions
from silosynth.simulations.exact import counted, exactly

ROWS, RUNS = 4000, 20
RNG = np.random.default_rng


class Near:
    """A generator that is not quite right."""

    def sample(self, many, rng):
        codes = rows(many, seed=int(rng.integers(1 << 30)))
        codes[: many // 10, 1] = 0
        return codes


@pytest.fixture(scope="module")
def study():
    pytest.importorskip("sklearn")
    return asking()


@pytest.fixture(scope="module")
def sites():
    """Held-out units of three."""
    codes = rows(ROWS, seed=5)
    none = Units(codes[:0], np.zeros(0, dtype=np.int64))
    return {f"s{k}": Parted(none, Units(own, np.arange(len(own)))) for k, own in enumerate(np.array_split(codes, 3))}


@pytest.fixture(scope="module")
def exact(study, sites):
    """Questions, and exact totals over all held-out units."""
    return counted(study, Heard(questions.made(study, Near(), 0), ()), sites)


def noisy(study, heard, rng):
    totals = [
        total + np.rint(scale.HISTOGRAM_GRID * noise(study, task, 3) * rng.standard_normal(total.size)).astype(np.int64)
        for task, total in zip(heard.questions.tasks, heard.totals, strict=True)
    ]
    return replace(heard, totals=tuple(totals))


def test_without_noise_scores_are_exact(study, exact):
    said = federated(study, exact, [3] * 4, seed=0, exact=True)
    assert said.units.value == pytest.approx(ROWS)
    synthetic, totals = exact.questions.synthetic[1], exact.totals[1] / scale.HISTOGRAM_GRID / ROWS
    offsets = heldout.layout(study, exact.questions.tasks[1]).offsets
    by_hand = np.mean([np.abs(synthetic[a:b] - totals[a:b]).sum() / 2 for a, b in pairwise(offsets)])
    assert said.scores["tvd2"].value == pytest.approx(by_hand)
    assert said.scores["tvd2"].interval == pytest.approx((by_hand, by_hand))
    assert all(np.ptp(one.interval) == pytest.approx(0) for one in said.scores.values())


def test_exact_scores_are_scikit_learn_s(study, exact, sites):
    """Of the models' scores themselves, not of bins."""
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score  # noqa: PLC0415

    said = exactly(study, exact, sites, 0)
    task, codes = exact.questions.tasks[2], rows(ROWS, seed=5)
    label = np.array(task.labels)[codes[:, SCHEMA.names.index("smoker")]]
    for name, model in zip(MODELS, task.models, strict=True):
        score = model.score(codes)
        for scored, true in {
            "auc": roc_auc_score(label, score),
            "average_precision": average_precision_score(label, score),
            "accuracy": accuracy_score(label, score >= 0),
            "f1": f1_score(label, score >= 0),
            "calibration": np.mean(1 / (1 + np.exp(-score / UNIT))) - label.mean(),
        }.items():
            assert said.scores[f"{name}_{scored}"].value == pytest.approx(true), scored


def test_exact_scores_of_subgroups_are_scikit_learn_s(study, exact, sites):
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    said, codes, task = exactly(study, exact, sites, 0), rows(ROWS, seed=5), exact.questions.tasks[3]
    label = np.array(task.labels)[codes[:, SCHEMA.names.index("smoker")]]
    score = task.model.score(codes)
    for one in said.subgroups:
        column = SCHEMA.names.index(one.column)
        own = codes[:, column] == SCHEMA.columns[column].labels.index(one.code)
        assert one.share.value == pytest.approx(own.mean())
        if len(np.unique(label[own])) > 1:
            assert one.scores["auc"].value == pytest.approx(roc_auc_score(label[own], score[own]))
            assert one.scores["error"].value == pytest.approx(np.mean((score[own] >= 0) != label[own]))
    assert {one.column for one in said.subgroups} == {SCHEMA.names[at] for at in heldout.grouped(study)}


def test_spread_over_synthetic_rows_a_few_bins_lose_next_to_nothing(study, exact, sites):
    """The mutant spreads them evenly: it loses ten times as much."""
    few, true = federated(study, exact, [3] * 4, seed=0, exact=True), exactly(study, exact, sites, 0)
    shapes = tuple(replace(one, rows=np.zeros_like(one.rows)) for one in exact.questions.shapes)
    mutant = replace(exact, questions=replace(exact.questions, shapes=shapes))
    flat = federated(study, mutant, [3] * 4, seed=0, exact=True)
    for name in ("boosting_auc", "regression_auc"):
        lost = abs(few.scores[name].value - true.scores[name].value)
        assert lost < 0.002
        assert abs(flat.scores[name].value - true.scores[name].value) > 5 * lost


@pytest.fixture(scope="module")
def said(study, exact, sites):
    rng = RNG(11)
    true = exactly(study, exact, sites, 0)
    return [federated(study, noisy(study, exact, rng), [3] * 4, seed=run).beside(true) for run in range(RUNS)]


def test_intervals_hold_the_exact_scores(said):
    """Of 20 intervals of 95 %, eight or more miss with probability below 1e-5."""
    for name in said[0].scores:
        held = [one.scores[name].interval[0] <= one.scores[name].exact <= one.scores[name].interval[1] for one in said]
        assert np.mean(held) >= 0.65, name


def test_intervals_of_codes_and_subgroups_hold_the_exact_shares(said):
    """Of N independent intervals of 95 %, a tenth of all and four more miss with probability below 1e-5."""
    measures = [measure for one in said for measure in of_codes(one)]
    assert len(measures) > 100
    missed = sum(not low <= one.exact <= high for one in measures for low, high in [one.interval])
    assert missed <= 0.1 * len(measures) + 4


def test_intervals_of_subgroups_hold_the_exact_scores(said):
    """Of 20 intervals of 95 %, eight or more miss with probability below 1e-5."""
    for at, one in enumerate(said[0].subgroups):
        for name in one.scores:
            measures = [run.subgroups[at].scores[name] for run in said]
            held = [one.interval[0] <= one.exact <= one.interval[1] for one in measures if math.isfinite(one.exact)]
            assert sum(not inside for inside in held) < 8, (one, name)


def of_codes(one):
    return [code.share for code in one.codes] + [subgroup.share for subgroup in one.subgroups]


def test_noise_alone_does_not_make_distances_large(said, exact, study):
    """The mutant is no deconvolution: it is off by ten times as much."""
    naive = []
    for run in range(5):
        heard = noisy(study, exact, RNG(run))
        tables = heard.totals[1] / scale.HISTOGRAM_GRID / ROWS
        offsets = heldout.layout(study, exact.questions.tasks[1]).offsets
        naive.append(np.add.reduceat(np.abs(tables - exact.questions.synthetic[1]), offsets[:-1]).mean() / 2)
    true = said[0].scores["tvd2"].exact
    ours = np.mean([one.scores["tvd2"].value for one in said])
    assert abs(ours - true) < abs(np.mean(naive) - true) / 4


def test_population_intervals_hold_those_of_noise(said):
    for one in said[:5]:
        for name, score in one.scores.items():
            if score.population is not None:
                assert score.population[0] <= score.interval[0] <= score.value, name
                assert score.value <= score.interval[1] <= score.population[1], name


def test_the_noise_is_that_of_the_sites_that_answered(study):
    task = heldout.CountScores((0, 1, 1, 2), ())
    step = heldout.step_of(study, task)
    one = replace(task, models=questions.made(study, Near(), 0).tasks[2].models)
    assert noise(study, one, 3) == pytest.approx(
        float(step.multiplier) * math.sqrt(2) * math.sqrt(3 / study.shares), rel=1e-6
    )


def test_codes_on_one_side_only_are_named_and_those_under_the_noise_are_not_judged(study, exact):
    synthetic = list(exact.questions.synthetic)
    offset = int(heldout.layout(study, exact.questions.tasks[0]).offsets[SCHEMA.names.index("colour")])
    synthetic[0] = synthetic[0].copy()
    synthetic[0][offset + 1] = 0.0
    synthetic[0][offset + 3] = 0.4  # OTHER, which nobody has
    lost = replace(exact, questions=replace(exact.questions, synthetic=tuple(synthetic)))
    said = federated(study, lost, [3] * 4, seed=0)
    label = SCHEMA.columns[SCHEMA.names.index("colour")].labels
    states = {(code.column, code.code): code.state for code in said.codes}
    assert [states["colour", one] for one in label] == ["kept", "lost", "kept", "invented"]
    assert "under the noise" in states.values()
    assert len(states) == sum(len(column.labels) for column in SCHEMA.columns if column.coded)


def test_what_it_says_is_json_and_in_metrics(said):
    content = json.loads(json.dumps(said[0].to_json(), allow_nan=False))
    assert set(content["scores"]["boosting_auc"]) == {"value", "interval", "population_interval", "exact", "says"}
    assert [one["kind"] for one in content["sums"]] == list(heldout.KINDS)
    assert Scores({}, {}, federated=said[0]).to_json()["federated"] == said[0].to_json()
    assert "federated" not in Scores({}, {}).to_json()


def test_a_study_without_a_target_has_distances_alone():
    of = asking(target=None)
    heard = Heard(questions.made(of, Near(), 0), ())
    totals = tuple(np.zeros(heldout.answer_size(of, task), dtype=np.int64) for task in heard.questions.tasks)
    said = federated(of, replace(heard, totals=totals), [3, 3], seed=0)
    assert set(said.scores) == {"tvd1", "tvd2"}


def test_undefined_scores_are_null():
    assert Measure(math.nan, (math.nan, math.inf)).to_json()["interval"] == [None, None]
    of = Ranked(np.zeros((3, 2)), np.arange(3), np.ones((3, 2)), np.full(3, 0.5), 1, 1.0)
    assert math.isnan(estimated("auc", of).value)
    assert estimated("auc", of).interval == (0, 1)


def test_slopes_are_those_of_the_scores(monkeypatch):
    """The deviation that is claimed is that of scores under noise, for every score; doubt about shapes comes on top."""
    rng = RNG(3)
    counts = np.array([[900.0, 30], [500, 100], [200, 300], [50, 700]])
    predicted = np.array([0.02, 0.08, 0.15, 0.25, 0.55, 0.65, 0.8, 0.95])
    within = np.tile([[0.6, 0.4], [0.4, 0.6]], (4, 1))
    of = Ranked(counts, np.repeat(np.arange(4), 2), within, predicted, 2, 8.0)
    assert np.diff(estimated("auc", replace(of, deviation=1e-9)).interval)[0] > 0.005
    monkeypatch.setattr("silosynth.common.evaluate.ranked._DOUBT", 0.0)
    for name, score in (SCORES | OF_SUBGROUPS).items():
        drawn = [score(replace(of, counts=counts + 8 * rng.standard_normal(counts.shape))) for _ in range(2000)]
        claimed = np.diff(estimated(name, of).interval)[0] / 2 / 1.96
        assert np.std(drawn) == pytest.approx(claimed, rel=0.1), name


def test_a_table_that_is_silent_may_be_right():
    """No difference at all is never excluded by noise."""
    low = []
    for run in range(8):
        rng = RNG(run)
        synthetic = np.array([0.25, 0.75, 0.5, 0.5])
        tables = Tables(1000 * synthetic + 20 * rng.standard_normal(4), synthetic, np.array([0, 2, 4]), 20.0, 30_000)
        low.append(distances(tables, rng).low)
    assert np.mean(np.array(low) == 0) > 0.8


def test_all_that_is_said_stays_as_it_was_said(said):
    assert isinstance(said[0], Federated)
    with pytest.raises(AttributeError):
        said[0].codes_kept = 3


@pytest.mark.parametrize(
    ("share", "synthetic", "state"),
    [
        (0.3, 0.2, "kept"),
        (0.3, 0.01, "lost"),
        (0.3, 0.0, "lost"),
        (0.0, 0.2, "under the noise"),
        (0.0, 0.8, "invented"),
        (-0.1, 0.02, "under the noise"),  # by noise alone: nobody can say
        (0.05, 0.05, "under the noise"),
    ],
)
def test_what_is_said_of_a_code_is_not_said_by_noise(share, synthetic, state):
    measure = Measure(share, (share - 0.05, share + 0.05))
    assert _state(measure, synthetic, told=0.11) == state
