"""Where nobody is trusted: a site learns by itself, the coordinator checks, keeps and mixes what it has learnt."""

import math
from dataclasses import replace

import numpy as np
import pytest
from engine_fixtures import SCHEMA, answer, each, rows, shards, study, total, tvd_of_pairs

from silosynth.client.engines.autoregressive import Autoregressive as SiteHalf
from silosynth.client.engines.autoregressive_local import NetworkLearner
from silosynth.common import scale
from silosynth.common.engine import Each, Parts, Units
from silosynth.common.engines import autoregressive as engine
from silosynth.common.engines.autoregressive_fit import Descent, Schedule, unpacked
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import Pairs
from silosynth.common.errors import AnswerRejected, MalformedFrame
from silosynth.common.generator import load, save
from silosynth.common.privacy import Composed, Gaussian, NoPrivacy, Repeated
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Trust
from silosynth.server.engines import ENGINES
from silosynth.server.engines.autoregressive import Autoregressive
from silosynth.server.engines.autoregressive_local import AutoregressiveLocal

COARSENING = Coarsening(tuple(tuple(cell % 3 for cell in range(size)) for size in SCHEMA.sizes))


def local(epsilon=1.0, **options):
    return study(epsilon, trust=Trust.LOCAL, **options)


def none_of(codes):
    return Units(codes[:0], np.zeros(0, dtype=np.int64))


def run(of, units, seed=0, stop=None):
    half, site = AutoregressiveLocal(of, seed), SiteHalf(of)
    states = [half.start()]
    while len(states) - 1 != stop and (asked := half.next(states[-1])) is not None:
        states.append(half.absorb_each(states[-1], asked.tasks, each(of, site, asked.tasks, units, seed)))
    return half, states


def learn_task(of, seed=0, units=300.0):
    size = engine.shape(of, COARSENING).size
    return engine.Learn(COARSENING, units, np.random.default_rng(seed).normal(0, 0.3, size).astype(np.float32))


def test_the_plan_has_one_release_of_counts_and_one_of_learning():
    of = local(steps=7)
    counts, learning = of.plan
    assert (counts.kind, counts.repeats) == ("one-ways", 1)
    assert (learning.kind, learning.repeats, learning.multiplier) == ("learn", 1, None)
    assert [(step.kind, step.repeats) for step in learning.within] == [("pairs", 1), ("gradient", 7)]
    assert isinstance(ENGINES["autoregressive"](of, 0), AutoregressiveLocal)
    assert isinstance(ENGINES["autoregressive"](study(), 0), Autoregressive)


def test_a_claim_is_the_whole_history_of_what_is_learnt_from():
    of = local(steps=7)
    pairs, gradient = (Gaussian(step.multiplier, 1) for step in of.plan[1].within)
    claim = SiteHalf(of).claim(learn_task(of))
    assert claim.event == Composed((Repeated(1, pairs), Repeated(7, gradient)))
    assert claim.size == Pairs(COARSENING).offsets[-1] + engine.shape(of, COARSENING).size
    assert SiteHalf(local(math.inf, steps=7)).claim(learn_task(of)).event == Composed((Repeated(8, NoPrivacy()),))


def test_a_learner_is_told_study_and_task_and_what_it_asked_for():
    """It asks for the pairs, then for gradients where it stands; equal sums make equal learners."""
    of = local(steps=3)
    rng, learners = np.random.default_rng(0), [NetworkLearner(of, learn_task(of)) for _ in range(2)]
    asked = []
    while (ask := learners[0].next()) is not None:
        asked.append(ask)
        noise = rng.integers(-(2**34), 2**34, engine.answer_size(of, ask))
        for learner in learners:
            learner.absorb(learner.next(), noise)
    assert [engine.kind_of(ask) for ask in asked] == ["pairs", "gradient", "gradient", "gradient"]
    assert np.array_equal(asked[1].weights, learn_task(of).weights)
    assert not np.array_equal(asked[2].weights, asked[3].weights)
    assert np.array_equal(learners[0].answer(), learners[1].answer())
    assert learners[1].next() is None


def test_one_site_learns_by_itself_what_a_coordinator_learns_of_it():
    """Without noise, to the last bit: the same first weights, the same sums, the same steps."""
    settings = {"steps": 6, "learning_rate": 0.03}  # by default, a site alone takes larger steps
    of, apart, (own,) = study(math.inf, **settings), local(math.inf, **settings), shards(rows(800), 1)
    half, site = Autoregressive(of, 0), SiteHalf(of)
    state, first = half.start(), None
    while (task := half.next(state)) is not None:
        first = first or (task if isinstance(task, engine.SumGradients) else None)
        state = half.absorb(state, task, total(of, site, task, [own]))
    asked = engine.Learn(first.coarsening, half.units(state), first.weights)
    pairs, weights = unpacked(apart, asked, answer(apart, SiteHalf(apart), asked, own))
    assert np.array_equal(pairs, state.pairs)
    assert weights.tobytes() == state.descent.average.astype(np.float32).tobytes()


def test_every_site_has_a_task_of_its_own_from_its_own_answer():
    of = local(steps=2)
    half, states = run(of, shards(rows(900)), stop=1)
    asked = half.next(states[-1])
    assert isinstance(asked, Each)
    assert list(asked.tasks) == ["site0", "site1", "site2"]
    parts = [engine.take_apart(task) for task in asked.tasks.values()]
    assert len({part.lists for part in parts}) == len({part.tensor.tobytes() for part in parts}) == 3
    for task in asked.tasks.values():
        again = engine.put_together(of, engine.take_apart(task))
        assert (again.coarsening, again.weights.tobytes()) == (task.coarsening, task.weights.tobytes())
        assert again.units == pytest.approx(task.units, rel=1e-6)
        assert 150 < task.units < 500


def test_unlike_sites_are_mixed_by_their_sizes():
    codes = rows(3600)
    at = np.digitize(codes[:, 0], [30, 45])  # by age: unlike sites of unlike sizes
    units = [Units(codes[at == k], np.arange((at == k).sum())) for k in range(3)]
    half, states = run(local(math.inf, capacity=4000), units)
    made = half.finish(states[-1])
    assert made.shares == pytest.approx(np.bincount(at) / len(codes), abs=1e-9)
    assert half.units(states[-1]) == pytest.approx(len(codes))
    coarse = np.array([20, 1, 1, 1])
    sizes = [size // by + 1 for size, by in zip(SCHEMA.sizes, coarse, strict=True)]
    table = made.sample(len(codes), np.random.default_rng(0))
    assert tvd_of_pairs(codes // coarse, table // coarse, sizes) < 0.03


def test_noise_costs_accuracy():
    codes, coarse = rows(3600), np.array([20, 1, 1, 1])
    sizes = [size // by + 1 for size, by in zip(SCHEMA.sizes, coarse, strict=True)]
    distance = []
    for epsilon in (10.0, 1.0, 0.1):
        half, states = run(local(epsilon, steps=30), shards(codes))
        table = half.finish(states[-1]).sample(len(codes), np.random.default_rng(0))
        distance.append(tvd_of_pairs(codes // coarse, table // coarse, sizes))
    assert distance[0] < distance[1] < distance[2]


def test_a_tilt_that_is_wrong_for_other_rows_is_not_used():
    """Sharp counts of few rows, and hardly any trust in the network: fitted weights alone gave distances up to .48."""
    units, coarse = shards(rows(3600)), np.array([20, 1, 1, 1])
    sizes = [size // by + 1 for size, by in zip(SCHEMA.sizes, coarse, strict=True)]
    half, states = run(local(10.0, steps=30, tilt=0.1), units)
    for component, own in zip(half.finish(states[-1]).components, units, strict=True):
        table = component.sample(5000, np.random.default_rng(0))
        assert tvd_of_pairs(own.codes // coarse, table // coarse, sizes) < 0.1


@pytest.mark.parametrize("few", [0, 1, 5])
def test_a_site_of_next_to_nobody_takes_part_and_weighs_next_to_nothing(few):
    codes = rows(2000)
    units = [Units(codes[few:], np.arange(2000 - few)), Units(codes[:few], np.arange(few))]
    of = local(1.0, steps=5, sites=2)
    half, states = run(of, units)
    made = half.finish(states[-1])
    assert made.shares[1] < 0.05
    assert made.sample(500, np.random.default_rng(0)).shape == (500, 4)
    assert load(save(made, of, {})).generator.sample(9, np.random.default_rng(1)).shape == (9, 4)


def test_nobody_at_all_still_makes_a_generator():
    of = local(0.5, steps=2, sites=2)
    half, states = run(of, [none_of(rows(1))] * 2)
    codes = half.finish(states[-1]).sample(50, np.random.default_rng(0))
    assert ((codes >= 0) & (codes < np.array(SCHEMA.sizes))).all()


def test_one_column_needs_no_learning():
    of = local(schema=Schema(SCHEMA.columns[:1]))
    assert [step.kind for step in of.plan] == ["one-ways"]
    assert isinstance(ENGINES["autoregressive"](of, 0), Autoregressive)  # a sum, of answers with all of the noise


def test_wide_tables_are_learnt_without_pairs():
    schema = Schema(tuple(Column(f"c{at}", Kind.BOOLEAN, codes=("no", "yes")) for at in range(51)))
    of = local(schema=schema, steps=2, sites=2, parents=4, capacity=1024)
    assert [step.kind for step in of.plan[1].within] == ["gradient"]
    codes = np.random.default_rng(0).integers(0, 2, (300, 51), dtype=np.int32)
    half, states = run(of, shards(codes, 2))
    made = half.finish(states[-1])
    assert made.components[0].tilt is None
    assert made.sample(10, np.random.default_rng(0)).shape == (10, 51)


def test_a_resumed_study_ends_in_the_same_bits():
    of, units = local(steps=3), shards(rows(600))
    half, states = run(of, units)
    whole = save(half.finish(states[-1]), of, {})
    for stop, state in enumerate(states):
        later, site = AutoregressiveLocal(of, 0), SiteHalf(of)
        thawed = later.thaw({name: array.copy() for name, array in half.freeze(state).items()})
        while (asked := later.next(thawed)) is not None:
            thawed = later.absorb_each(thawed, asked.tasks, each(of, site, asked.tasks, units))
        assert save(later.finish(thawed), of, {}) == whole, stop


@pytest.fixture(scope="module")
def asked_and_told():
    """A study before its last release: half, state, tasks, honest answers."""
    of, units = local(steps=3), shards(rows(600))
    half, states = run(of, units, stop=1)
    tasks = half.next(states[-1]).tasks
    return half, states[-1], tasks, each(of, SiteHalf(of), tasks, units)


def bits(value):
    return int(np.float32(value).view(np.int32))


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (-1, bits(np.nan), "no learning leads to"),
        (-1, bits(np.inf), "no learning leads to"),
        (-1, bits(-np.inf), "no learning leads to"),
        (-1, bits(1e4), "no learning leads to"),
        (-1, 2**31, "are no weights"),
        (-1, -(2**31) - 1, "are no weights"),
        (-1, 2**63 - 1, "are no weights"),
        (0, 2**40, "more units than the site may have"),
        (0, -(2**63), "more units than the site may have"),
    ],
)
def test_what_no_honest_site_learns_ends_the_study_and_names_the_site(asked_and_told, place, value, told):
    half, state, tasks, honest = asked_and_told
    poisoned = honest["site1"].copy()
    poisoned[place] = value
    with pytest.raises(AnswerRejected, match=rf"site site1 .*{told}") as caught:
        half.absorb_each(state, tasks, honest | {"site1": poisoned})
    assert caught.value.site == "site1"
    assert half.absorb_each(state, tasks, honest).learnt


def test_answers_of_another_length_are_rejected(asked_and_told):
    half, state, tasks, honest = asked_and_told
    for changed in (honest["site2"][1:], np.append(honest["site2"], 0), honest["site2"][:0]):
        with pytest.raises(AnswerRejected, match="not as long"):
            half.absorb_each(state, tasks, honest | {"site2": changed})
    counts = dict.fromkeys(tasks, engine.CountOneWays())
    for changed in (np.zeros(3, dtype=np.int64), np.full(sum(SCHEMA.sizes), 2**50)):
        answers = dict.fromkeys(tasks, np.zeros(sum(SCHEMA.sizes), dtype=np.int64)) | {"site0": changed}
        with pytest.raises(AnswerRejected, match="site0"):
            half.absorb_each(half.start(), counts, answers)


@pytest.mark.parametrize("rate", [0.01, 1.0])
def test_no_gradient_carries_weights_beyond_what_is_accepted(rate):
    """Tried: constant, alternating, growing and dying gradients, and the one that Cauchy-Schwarz calls worst."""
    rng, steps = np.random.default_rng(0), 200
    schedule = Schedule(steps, rate, 0.98)
    worst = 0.9 ** np.arange(steps)[::-1] / 0.999 ** np.arange(steps)[::-1]
    tried = [np.ones(steps), (-1.0) ** np.arange(steps), 10.0 ** np.arange(-100, 100), worst, worst[::-1]]
    tried += [rng.standard_cauchy(steps), np.eye(steps)[20] * 1e30]
    gradients = np.stack(tried, axis=1)
    descent = Descent.begun(np.zeros(len(tried), dtype=np.float32))
    for done in range(1, steps + 1):
        descent = descent.stepped(gradients[done - 1], done, schedule)
        assert np.abs(descent.average).max() < schedule.furthest
        assert np.abs(descent.weights).max() < schedule.furthest
    assert np.abs(descent.weights).max() > schedule.furthest / 20  # the bound is not idle


def test_honest_noise_of_a_tiny_budget_is_accepted():
    half, states = run(local(0.01, steps=4), shards(rows(60)))
    assert half.next(states[-1]) is None


@pytest.mark.parametrize(
    "parts",
    [
        Parts("pairs", COARSENING.maps),  # counted within the release, never asked for
        Parts("gradient", COARSENING.maps, learn_task(local()).weights),
        Parts("learn"),
        Parts("learn", COARSENING.maps),
        Parts("learn", COARSENING.maps, learn_task(local()).weights),  # without the number of units
        Parts("learn", COARSENING.maps, np.append(np.float32(0.5), learn_task(local()).weights)),
        Parts("learn", COARSENING.maps, np.append(np.float32(np.inf), learn_task(local()).weights)),
        Parts("learn", COARSENING.maps, np.append(np.float32(np.nan), learn_task(local()).weights)),
        Parts("learn", COARSENING.maps, np.append(np.float32(9), np.full_like(learn_task(local()).weights, np.nan))),
        Parts("learn", COARSENING.maps[:3], engine.take_apart(learn_task(local())).tensor),
    ],
)
def test_a_malformed_task_is_refused(parts):
    with pytest.raises(MalformedFrame):
        engine.put_together(local(), parts)


def test_a_study_of_sums_plans_no_learning():
    with pytest.raises(MalformedFrame):
        engine.put_together(study(), engine.take_apart(learn_task(local())))
    with pytest.raises(MalformedFrame):
        SiteHalf(study()).claim(learn_task(local()))


def test_a_mixture_s_file_fits_its_study_only():
    of, units = local(steps=2, sites=2), shards(rows(300), 2)
    half, states = run(of, units)
    made = half.finish(states[-1])
    assert load(save(made, of, {})).generator.shares == pytest.approx(made.shares)
    with pytest.raises(MalformedFrame):
        load(save(made, replace(of, roster=of.roster[:1]), {}))


def test_grid_units_of_an_answer_are_those_of_the_verbs():
    """Counts come in the grid of a histogram: without noise, the pairs of 300 rows add up to 300 units a table."""
    of, (own,) = local(math.inf, steps=1), shards(rows(300), 1)
    task = learn_task(of)
    pairs, weights = unpacked(of, task, answer(of, SiteHalf(of), task, own))
    assert pairs.sum() == 6 * 300 * scale.HISTOGRAM_GRID
    assert weights.shape == task.weights.shape
