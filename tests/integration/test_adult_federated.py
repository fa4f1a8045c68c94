"""The federated evaluation of Adult's 20 % hold-out at five unlike sites: one trained generator, asked fifty times.

Real mechanism, real noise, epsilon 1, one colluder. Exact scores are those of the rows and models themselves, without
bins. Noise cannot be seeded: of fifty 95 % intervals, twelve or more miss with probability below 1e-5. Measured, fifty
runs, exact value, mean, standard deviation and largest of the errors, coverage: 1-ways .011, .000, .001, .004, 100 %;
2-ways .019, -.002, .002, .004, 88 %; area under the curve of boosting .902, -.003, .002, .008, 88 %, of regression
.903, -.002, .003, .007, 88 % (with a quarter of doubt about what lies within a bin, where now a third is); that of
women (a third, 350 with the outcome) .927, -.010, .020, 100 %, of men .877, -.002, .007, 100 %.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from test_adult_quality import DATA, SITES, TARGET, Adult, dirichlet_sites, trained

from silosynth.client.engines.heldout import HeldOut
from silosynth.client.mechanism import Metered, SystemNoise, open_noised
from silosynth.common.engine import Parted, Units
from silosynth.common.engines import heldout
from silosynth.common.evaluate import ranked
from silosynth.common.evaluate.asked import Heard
from silosynth.common.evaluate.federated import federated
from silosynth.common.plan import resolve
from silosynth.common.study import Budget, Member, Study
from silosynth.server import questions
from silosynth.simulations.exact import exactly

RUNS = int(os.environ.get("SILOSYNTH_RUNS", "50"))
LEAST_COVERED = 0.76  # of the runs
WITHIN = 0.01

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not DATA.exists(), reason="needs the adult folder of the shared data (SILOSYNTH_DATA)"),
]


def asked(study, site, heard):
    """What one round of the evaluation says, with noise of the system at every site."""
    totals = []
    for at, task in enumerate(heard.questions.tasks):
        total = np.zeros(heldout.answer_size(study, task), dtype=np.int64)
        for name, own in site.items():
            mechanism = Metered(SystemNoise(), name.encode(), shares=study.shares, capacity=1, max_rows_per_unit=64)
            answer = HeldOut(study).answer(task, own.holdout, mechanism)
            total += open_noised(answer, mechanism, total.size)
        totals.append(total)
        assert at < len(heldout.KINDS)
    return replace(heard, totals=tuple(totals))


def asking():
    """A function of a run's number: what is said in it, beside the exact scores."""
    adult = Adult()
    site = dirichlet_sites(adult.train[TARGET].to_numpy(), 0)
    generator, _ = trained(adult, 1.0, 0, site)
    held = adult.schema.encode(adult.schema.conform(adult.test.astype(str), source="adult").frame)
    where = dirichlet_sites(adult.test[TARGET].to_numpy(), 1)
    none = Units(held[:0], np.zeros(0, dtype=np.int64))
    sites = {f"s{k}": Parted(none, Units(held[where == k], np.arange((where == k).sum()))) for k in range(SITES)}
    plain = Study("adult", adult.schema, Budget(1.0, 1e-5, 1), target=TARGET)
    study = resolve(plain, tuple(Member(name, len(held)) for name in sites))
    heard = Heard(questions.made(study, generator, 0), ())
    answers = [SITES] * len(heard.questions.tasks)
    exact = exactly(study, heard, sites, 0)
    return lambda run: federated(study, asked(study, sites, heard), answers, seed=run).beside(exact)


@pytest.fixture(scope="module")
def ask():
    return asking()


@pytest.fixture(scope="module")
def runs(ask):
    return [ask(run) for run in range(RUNS)]


def errors(runs, name):
    return np.array([one.scores[name].value - one.scores[name].exact for one in runs])


def covered(runs, name):
    """The share of runs whose interval holds the exact score."""
    ends = [(*one.scores[name].interval, one.scores[name].exact) for one in runs]
    return np.mean([low <= exact <= high for low, high, exact in ends])


@pytest.mark.parametrize("name", ["tvd1", "tvd2"])
def test_distances_are_within_a_hundredth(runs, name):
    assert np.abs(errors(runs, name)).max() <= WITHIN


@pytest.mark.parametrize("name", ["boosting_auc", "regression_auc"])
def test_areas_are_within_a_hundredth(runs, name):
    """All of them: their standard deviation is a quarter of that."""
    assert np.abs(errors(runs, name)).max() <= WITHIN


def test_intervals_hold_the_exact_scores_as_often_as_they_say(runs):
    shares = {name: covered(runs, name) for name in runs[0].scores}
    assert min(shares.values()) >= LEAST_COVERED, shares


def test_intervals_of_subgroups_and_codes_hold_the_exact_ones_as_often_as_they_say(runs):
    told = {
        f"{kind} {name}": np.mean([low <= one.exact <= high for one in found for low, high in [one.interval]])
        for kind, many in (("subgroup", subgroups(runs)), ("code", codes(runs)))
        for name, found in many.items()
    }
    print({name: round(float(share), 2) for name, share in told.items() if name.startswith("subgroup")})
    assert len(told) > 100
    assert min(told.values()) >= LEAST_COVERED - 0.04  # of a hundred such, twice as far out
    assert np.mean(list(told.values())) >= 0.93


def subgroups(runs):
    """What is said of each score of each subgroup, run after run, wherever anything is."""
    found = {}
    for one in (one for run in runs for one in run.subgroups):
        for name, score in one.scores.items():
            if np.isfinite(score.value):
                found.setdefault(f"{name} {one.column} {one.code}", []).append(score)
    return {name: many for name, many in found.items() if len(many) > len(runs) / 2}


def codes(runs):
    found = {}
    for one in (one for run in runs for one in run.codes):
        found.setdefault(f"{one.column} {one.code}", []).append(one.share)
    return found


def test_what_is_said_of_large_subgroups_tells_something(runs):
    """Women are a third of Adult, 350 of them with the outcome."""
    for name in ("auc sex 0", "auc sex 1"):
        said = subgroups(runs)[name]
        spread = np.sqrt(np.mean([(one.value - one.exact) ** 2 for one in said]))
        print(name, said[0].exact, spread)
        assert spread < 0.05


def test_no_code_is_said_to_be_lost_that_synthetic_rows_have(runs):
    """It is as said without noise, too. Of 5,000 counts two are above the threshold by noise with probability .001."""
    wrong = [
        code
        for code in (code for run in runs for code in run.codes)
        if (code.state == "lost" and code.synthetic >= code.share.exact)
        or (code.state == "invented" and code.share.exact >= code.synthetic)
    ]
    assert len(wrong) <= 2


def widths(runs, name):
    return np.array([np.diff(one.scores[name].interval)[0] for one in runs])


def test_intervals_are_no_wider_than_they_must_be(ask, runs, monkeypatch):
    """As wide as noise makes them, and doubt about what lies within a bin, which no spread over runs shows.

    Noise alone is 3.9 standard deviations wide, which a hundred runs tell to 7 %: 2.8 or 6 by chance with
    probability below 1e-6. With doubt, three generators had widths of .0123 to .0130, alike within .0003 over runs.
    """
    monkeypatch.setattr(ranked, "_DOUBT", 0.0)
    noisy = [ask(run) for run in range(2 * RUNS)]
    for name in ("boosting_auc", "regression_auc"):
        assert 2.8 * errors(noisy, name).std() < widths(noisy, name).mean() < 6 * errors(noisy, name).std()
        assert widths(noisy, name).mean() < widths(runs, name).mean() < 1.6 * WITHIN
