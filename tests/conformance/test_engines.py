"""What every engine must keep, whoever wrote it: one suite over the registries.

A new engine is added to the registries, to FEW and, where its plan needs rows of another shape, to `engine_fixtures`.
"""

import inspect
import math
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from engine_fixtures import SCHEMA, SITES, rows, shards, study, total

from silosynth.client.engines import ENGINES as SITE_HALVES
from silosynth.client.mechanism import Metered, open_noised
from silosynth.common.engine import Parts, Units
from silosynth.common.engines import CODECS, SPLITS
from silosynth.common.errors import MalformedFrame
from silosynth.common.generator import load, save
from silosynth.common.plan import resolve
from silosynth.common.privacy import Composed, NoPrivacy, View, mu_squared
from silosynth.common.wire import Request, decode_request, encode_request
from silosynth.server.engines import ENGINES as COORDINATOR_HALVES
from silosynth.simulations.noiseless import SeededNoise, ZeroNoise

ENGINES = sorted(CODECS)
CODES = rows(1200, seed=3)
FEW = {  # settings that make a study short
    "autoregressive": {"steps": 3},
    "gan": {"steps": 3},
    "marginals": {"iterations": 50},
}


def of(engine, epsilon=1.0):
    asked = study(epsilon, capacity=1300)
    settings = tuple(FEW[engine].items())
    return resolve(replace(asked, engine=engine, settings=settings, target="smoker", plan=()), asked.roster)


class Played:
    """A study played to its end, with everything that passed."""

    def __init__(self, engine, epsilon, units):
        self.study = of(engine, epsilon)
        self.half, self.site = COORDINATOR_HALVES[engine](self.study, 5), SITE_HALVES[engine](self.study)
        self.tasks, self.totals, self.states = [], [], [self.half.start()]
        while (task := self.half.next(self.states[-1])) is not None:
            self.tasks.append(task)
            self.totals.append(total(self.study, self.site, task, units))
            self.states.append(self.half.absorb(self.states[-1], task, self.totals[-1]))


@pytest.fixture(scope="module", params=ENGINES)
def noisy(request):
    return Played(request.param, 1.0, shards(CODES))


@pytest.fixture(scope="module", params=ENGINES)
def exact(request):
    return Played(request.param, math.inf, shards(CODES))


def same(engine, one, other):
    """Whether two tasks of an engine are the same, arrays included."""
    one, other = CODECS[engine].take_apart(one), CODECS[engine].take_apart(other)
    return one.kind == other.kind and one.lists == other.lists and np.array_equal(one.tensor, other.tensor)


def test_registries_name_the_same_engines():
    assert set(CODECS) == set(SPLITS) == set(SITE_HALVES) == set(COORDINATOR_HALVES)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0, math.inf])
def test_shares_are_positive_and_add_up_to_one(engine, epsilon):
    shares = SPLITS[engine](of(engine, epsilon))
    assert sum((share.share for share in shares), Fraction(0)) == 1
    assert all(share.share > 0 and share.repeats >= 1 for share in shares)
    assert len({share.kind for share in shares}) == len(shares)


def test_tasks_come_in_the_plan_s_order_and_end_with_it(noisy):
    assert len(noisy.tasks) == noisy.study.releases
    kinds = [CODECS[noisy.study.engine].take_apart(task).kind for task in noisy.tasks]
    assert kinds == [noisy.study.step_of(release).kind for release in range(noisy.study.releases)]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_held_out_units_are_asked_changes_nothing_for_an_engine(engine):
    """Steps of the hold-out stand at the plan's end: an engine that counted them would lose its place."""
    alone = of(engine)
    asked = resolve(replace(alone, evaluate=True, plan=()), alone.roster)
    assert asked.releases > alone.releases
    site, units, played = SITE_HALVES[engine](alone), shards(CODES), []
    for study_asked in (alone, asked):
        half, tasks = COORDINATOR_HALVES[engine](study_asked, 5), []
        state = half.start()
        while (task := half.next(state)) is not None:
            tasks.append(task)
            state = half.absorb(state, task, total(alone, site, task, units))
        played.append((tasks, half.finish(state).sample(20, np.random.default_rng(0))))
    (tasks, codes), (others, other_codes) = played
    assert len(tasks) == len(others) == alone.releases
    assert all(map(partial(same, engine), tasks, others))
    assert np.array_equal(codes, other_codes)


def test_tasks_survive_the_codec_and_the_wire(noisy):
    codec = CODECS[noisy.study.engine]
    for release, task in enumerate(noisy.tasks):
        sent = encode_request(Request(noisy.study.digest, release, 0, bytes(16), codec.take_apart(task)))
        arrived = codec.put_together(noisy.study, decode_request(sent).parts)
        assert same(noisy.study.engine, arrived, task)
        assert noisy.site.claim(arrived) == noisy.site.claim(task)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("parts", [Parts(""), Parts("no such kind"), Parts("one-ways", ((),) * 4)])
def test_what_is_no_task_is_malformed(engine, parts):
    with pytest.raises(MalformedFrame):
        CODECS[engine].put_together(of(engine), parts)


def test_claims_depend_on_task_and_study_only(noisy):
    assert list(inspect.signature(noisy.site.claim).parameters) == ["task"]
    another = SITE_HALVES[noisy.study.engine](noisy.study)  # has never seen a row
    assert [another.claim(task) for task in noisy.tasks] == [noisy.site.claim(task) for task in noisy.tasks]


def test_what_is_performed_is_what_is_claimed_and_as_long(noisy):
    none = Units(CODES[:0], np.zeros(0, dtype=np.int64))
    for task in noisy.tasks:
        claim = noisy.site.claim(task)
        for units in (shards(CODES)[0], none):
            mechanism = Metered(
                SeededNoise(0, "a"), b"", shares=noisy.study.shares, capacity=1300, max_rows_per_unit=64
            )
            answer = noisy.site.answer(task, units, mechanism)
            assert mechanism.events == (claim.event,)
            assert open_noised(answer, mechanism, claim.size).shape == (claim.size,)


def test_the_plan_is_priced_by_its_claims(noisy):
    performed = Composed(tuple(noisy.site.claim(task).event for task in noisy.tasks))
    planned = sum(step.repeats / step.multiplier**2 for step in noisy.study.plan)
    assert mu_squared(performed, View.AGGREGATE) == planned
    assert mu_squared(performed, View.LOCAL) == planned * noisy.study.shares


def test_without_noise_the_price_is_none(exact):
    assert {exact.site.claim(task).event for task in exact.tasks} == {NoPrivacy()}


@pytest.mark.parametrize("sites", [2, 5])
def test_sites_together_give_the_totals_of_one_pooled_site_exactly(exact, sites):
    (pooled,) = shards(CODES, 1)
    for task, summed in zip(exact.tasks, exact.totals, strict=True):
        assert np.array_equal(summed, total(exact.study, exact.site, task, [pooled]))
        assert np.array_equal(summed, total(exact.study, exact.site, task, shards(CODES, sites, seed=sites)))


def test_slots_do_not_matter(exact):
    (pooled,) = shards(CODES, 1)
    for task in exact.tasks:
        answers = []
        for context in (b"one", b"other"):  # another context, another secret placing of rows
            mechanism = Metered(ZeroNoise(), context, shares=exact.study.shares, capacity=1300, max_rows_per_unit=64)
            answers.append(
                open_noised(exact.site.answer(task, pooled, mechanism), mechanism, exact.site.claim(task).size)
            )
        assert np.array_equal(*answers)


def test_a_unit_s_rows_share_its_weight(exact):
    twice = [Units(np.repeat(units.codes, 2, axis=0), np.repeat(units.owner, 2)) for units in shards(CODES[:600])]
    once = shards(CODES[:600])
    for task in exact.tasks:
        halves, wholes = (total(exact.study, exact.site, task, units) for units in (twice, once))
        # Truncation of halves loses less than one grid unit times an activation in each row.
        assert np.abs(halves - wholes).max() <= 600 * 2**14
        assert np.corrcoef(halves, wholes)[0, 1] > 0.999999


def test_states_freeze_and_thaw_to_the_same_bits(noisy):
    for at, state in enumerate(noisy.states):
        frozen = noisy.half.freeze(state)
        thawed = COORDINATOR_HALVES[noisy.study.engine](noisy.study, 5).thaw({k: v.copy() for k, v in frozen.items()})
        again = noisy.half.freeze(thawed)
        assert all(frozen[name].tobytes() == again[name].tobytes() for name in frozen)
        if at < len(noisy.tasks):
            assert same(noisy.study.engine, noisy.half.next(thawed), noisy.tasks[at])


def test_absorbing_leaves_the_state_before_as_it_was(noisy):
    before = {name: array.copy() for name, array in noisy.half.freeze(noisy.states[-2]).items()}
    noisy.half.absorb(noisy.states[-2], noisy.tasks[-1], noisy.totals[-1])
    after = noisy.half.freeze(noisy.states[-2])
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_generator_gives_cells_of_the_schema_and_survives_its_file(noisy):
    generator = noisy.half.finish(noisy.states[-1])
    codes = generator.sample(777, np.random.default_rng(0))
    assert codes.dtype == np.int32
    assert codes.shape == (777, len(SCHEMA.columns))
    assert ((codes >= 0) & (codes < np.array(SCHEMA.sizes))).all()
    again = load(save(generator, noisy.study, {})).generator
    assert np.array_equal(again.sample(777, np.random.default_rng(0)), codes)


def test_finishing_twice_gives_the_same_generator(noisy):
    one, other = (COORDINATOR_HALVES[noisy.study.engine](noisy.study, 5).finish(noisy.states[-1]) for _ in range(2))
    assert save(one, noisy.study, {}) == save(other, noisy.study, {})


def test_the_fixture_has_several_sites():
    assert SITES >= 3  # or the sums over sites would show nothing
