"""Adult, as in the research notes: coded copy, split by RandomState(0), five sites by Dirichlet .5 on the label.

The real mechanism with real noise, one colluder among five sites (so 5/4 of the variance of one curator), delta 1e-5.
Noise cannot be seeded, so scores vary: measured means (of three runs) .9064 AUC, .0260 2-way TVD, .9752 pair trends at
epsilon 1, with .0008, .0004 and .0025 between runs; .9182 and .0154 at epsilon 10.
"""

import json
import math
import os
import time
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from silosynth.client.engines import ENGINES as SITE_HALVES
from silosynth.client.mechanism import Metered, SystemNoise, open_noised
from silosynth.common.engine import Units
from silosynth.common.plan import resolve
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Study
from silosynth.server.engines import ENGINES as COORDINATOR_HALVES
from silosynth.simulations.noiseless import ZeroNoise

DATA = Path(os.environ.get("SILOSYNTH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "adult"
NUMBERS = ["age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
TARGET = "income>50K"
SITES = 5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not DATA.exists(), reason="needs the adult folder of the shared data (SILOSYNTH_DATA)"),
]


class Adult:
    def __init__(self):
        self.sizes = json.loads((DATA / "pgm_adult-domain.json").read_text())
        table = pd.read_csv(DATA / "pgm_adult.csv.gz")[list(self.sizes)]
        shuffled = np.random.RandomState(0).permutation(len(table))  # the split of the notes
        cut = int(0.8 * len(table))
        self.train, self.test = (table.iloc[part].reset_index(drop=True) for part in np.split(shuffled, [cut]))
        self.schema = Schema(tuple(self._column(name, size) for name, size in self.sizes.items()))
        self.codes = self.schema.encode(self.schema.conform(self.train.astype(str), source="adult").frame)

    @staticmethod
    def _column(name, size):
        if name in NUMBERS:
            return Column(name, Kind.INTEGER, low=0, high=size - 1)
        return Column(name, Kind.CATEGORICAL, codes=tuple(map(str, range(size))))

    def table(self, codes):
        """Codes as the coded copy has them; the few in cells it does not know, OTHER and MISSING, become code 0."""
        return pd.DataFrame(
            {name: np.where(codes[:, at] < size, codes[:, at], 0) for at, (name, size) in enumerate(self.sizes.items())}
        )


@pytest.fixture(scope="module")
def adult():
    return Adult()


def dirichlet_sites(labels, seed, sites=SITES, concentration=0.5):
    """The site of each row: each label's rows are dealt out in proportions of their own."""
    rng = np.random.default_rng(seed)
    site = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        ends = np.rint(np.cumsum(rng.dirichlet(np.full(sites, concentration))) * len(rows))
        site[rows] = np.searchsorted(ends[:-1], np.arange(len(rows)), side="right")
    return site


def trained(adult, epsilon, seed, site, engine="autoregressive"):
    """A generator, and the CPU seconds it took all sites and the coordinator together, on one core."""
    units = [Units(adult.codes[site == k], np.arange((site == k).sum())) for k in range(site.max() + 1)]
    colluders = 1 if len(units) > 1 else 0
    asked = Study("adult", adult.schema, Budget(epsilon, 1e-5, colluders), target=TARGET, engine=engine)
    study = resolve(asked, tuple(Member(f"s{k}", len(own.owner) + 1) for k, own in enumerate(units)))
    half, answering = COORDINATOR_HALVES[study.engine](study, seed), SITE_HALVES[study.engine](study)
    began, state, release = time.process_time(), half.start(), 0
    while (task := half.next(state)) is not None:
        summed = np.zeros(answering.claim(task).size, dtype=np.int64)
        for own, member in zip(units, study.roster, strict=True):
            noise = ZeroNoise() if math.isinf(epsilon) else SystemNoise()
            context = f"{seed} {release} {member.name}".encode()
            mechanism = Metered(
                noise, context, shares=study.shares, capacity=member.capacity, max_rows_per_unit=study.max_rows_per_unit
            )
            summed += open_noised(answering.answer(task, own, mechanism), mechanism, summed.size)
        state, release = half.absorb(state, task, summed), release + 1
    return half.finish(state), time.process_time() - began


def pair_distance(adult, made):
    """Mean total variation distance of all pairs of columns, numbers in <= 20 bins of equal frequency."""
    bins = {}
    for name, size in adult.sizes.items():
        edges = np.unique(np.quantile(adult.train[name], np.linspace(0, 1, 21)[1:-1]))
        bins[name] = np.searchsorted(edges, np.arange(size)) if name in NUMBERS else np.arange(size)
    real, synthetic = ([bins[name][table[name]] for name in adult.sizes] for table in (adult.train, made))
    distances = []
    for i, j in combinations(range(len(bins)), 2):
        wide = int(real[j].max()) + 1
        tables = [
            np.bincount(t[i] * wide + t[j], minlength=(int(real[i].max()) + 1) * wide) / len(t[i])
            for t in (real, synthetic)
        ]
        distances.append(np.abs(tables[0] - tables[1]).sum() / 2)
    return float(np.mean(distances))


def auc(adult, made):
    """Of gradient boosting with defaults, trained on synthetic rows and tested on real ones."""
    ensemble, metrics = pytest.importorskip("sklearn.ensemble"), pytest.importorskip("sklearn.metrics")
    features = [name for name in adult.sizes if name != TARGET]
    coded = [name not in NUMBERS for name in features]
    model = ensemble.HistGradientBoostingClassifier(random_state=0, categorical_features=coded)
    chance = model.fit(made[features], made[TARGET]).predict_proba(adult.test[features])[:, 1]
    return metrics.roc_auc_score(adult.test[TARGET], chance)


def pair_trends(adult, made):
    kinds = {name: {"sdtype": "numerical" if name in NUMBERS else "categorical"} for name in adult.sizes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it will move, and about pandas
        report = pytest.importorskip("sdmetrics.reports.single_table").QualityReport()
        report.generate(adult.train, made, {"columns": kinds}, verbose=False)
        return report.get_properties().set_index("Property")["Score"]["Column Pair Trends"]


def scores(adult, epsilon, seed, sites=SITES, engine="autoregressive"):
    site = dirichlet_sites(adult.train[TARGET].to_numpy(), seed, sites)
    generator, seconds = trained(adult, epsilon, seed, site, engine)
    made = adult.table(generator.sample(len(adult.train), np.random.default_rng(seed)))
    found = {"auc": auc(adult, made), "tvd2": pair_distance(adult, made), "seconds": seconds}
    if epsilon == 1.0:
        found["pairs"] = pair_trends(adult, made)
    print(f"epsilon {epsilon} seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
    return found


def mean_scores(adult, epsilon, seeds=(0, 1, 2), engine="autoregressive"):
    return pd.DataFrame([scores(adult, epsilon, seed, engine=engine) for seed in seeds]).mean()


def test_epsilon_1(adult):
    mean = mean_scores(adult, 1.0)
    assert mean.auc >= 0.905
    assert mean.pairs >= 0.97
    assert mean.tvd2 <= 0.030
    assert mean.seconds <= 60


def test_epsilon_10(adult):
    mean = mean_scores(adult, 10.0)
    assert mean.auc >= 0.914
    assert mean.tvd2 <= 0.017
    assert mean.seconds <= 60


@pytest.mark.parametrize(("epsilon", "bar"), [(0.3, 0.85), (1.0, 0.895), (3.0, 0.905), (10.0, 0.91)])
def test_marginals(adult, epsilon, bar):
    mean = mean_scores(adult, epsilon, engine="marginals")
    assert mean.auc >= bar
    assert mean.seconds <= 30
