"""What every engine must keep where nobody is trusted: sites answer one by one, with all of the noise themselves."""

from dataclasses import replace

import numpy as np
import pytest
from engine_fixtures import SCHEMA, answer, rows, shards, study

from silosynth.client.engines import ENGINES as SITE_HALVES
from silosynth.client.mechanism import Metered
from silosynth.common.engine import Each, Units
from silosynth.common.engines import CODECS, SPLITS
from silosynth.common.generator import load, save
from silosynth.common.plan import resolve
from silosynth.common.privacy import Composed, View, mu_squared
from silosynth.common.study import Trust
from silosynth.common.wire import Request, decode_request, encode_request
from silosynth.server.engines import ENGINES as COORDINATOR_HALVES
from silosynth.simulations.noiseless import SeededNoise

CODES = rows(900, seed=3)
SEED = 5
FEW = {  # settings that make a study short; an engine joins in when it can
    "autoregressive": {"steps": 3},
    "gan": {"steps": 2, "local_steps": 2, "fakes": 64, "components": 30, "batch": 100},
}


def of(engine):
    asked = study(1.0, capacity=1024, trust=Trust.LOCAL)
    return resolve(replace(asked, engine=engine, settings=tuple(FEW[engine].items()), plan=()), asked.roster)


def tasks_of(asked, names):
    """The task of each site, whether all are asked the same or not."""
    return asked.tasks if isinstance(asked, Each) else dict.fromkeys(names, asked)


class Played:
    """A study played to its end, with everything that passed."""

    def __init__(self, engine):
        self.study, units = of(engine), shards(CODES)
        self.names = [member.name for member in self.study.roster]
        self.half, self.site = COORDINATOR_HALVES[engine](self.study, SEED), SITE_HALVES[engine](self.study)
        self.asked, self.tasks, self.answers, self.states = [], [], [], [self.half.start()]
        while (asked := self.half.next(self.states[-1])) is not None:
            self.asked.append(asked)
            self.tasks.append(tasks_of(asked, self.names))
            self.answers.append(
                {
                    n: answer(self.study, self.site, self.tasks[-1][n], u, n)
                    for n, u in zip(self.names, units, strict=True)
                }
            )
            self.states.append(self.absorbed(self.states[-1], asked, self.answers[-1]))

    def absorbed(self, state, asked, answers):
        if isinstance(asked, Each):
            return self.half.absorb_each(state, asked.tasks, answers)
        return self.half.absorb(state, asked, sum(answers.values()))


@pytest.fixture(scope="module", params=sorted(FEW))
def played(request):
    return Played(request.param)


def parts(engine, task):
    taken = CODECS[engine].take_apart(task)
    return taken.kind, taken.lists, taken.tensor.tobytes()


def test_plans_differ_from_those_of_sums(played):
    engine = played.study.engine
    assert SPLITS[engine](played.study) != SPLITS[engine](replace(played.study, trust=Trust.SECURE_SUM))
    assert any(isinstance(asked, Each) for asked in played.asked)


def test_everybody_is_asked_in_the_plan_s_order_to_its_end(played):
    assert len(played.tasks) == played.study.releases
    for release, tasks in enumerate(played.tasks):
        assert list(tasks) == played.names
        kinds = {CODECS[played.study.engine].take_apart(task).kind for task in tasks.values()}
        assert kinds == {played.study.step_of(release).kind}


def test_tasks_survive_the_codec_and_the_wire(played):
    engine, codec = played.study.engine, CODECS[played.study.engine]
    for release, tasks in enumerate(played.tasks):
        for task in tasks.values():
            sent = encode_request(Request(played.study.digest, release, 0, bytes(16), codec.take_apart(task)))
            arrived = codec.put_together(played.study, decode_request(sent).parts)
            assert parts(engine, arrived) == parts(engine, task)
            assert played.site.claim(arrived) == played.site.claim(task)


def test_what_is_performed_is_what_is_claimed_whatever_the_rows(played):
    none = Units(CODES[:0], np.zeros(0, dtype=np.int64))
    for tasks in played.tasks:
        task = tasks[played.names[0]]
        assert answer(played.study, played.site, task, none).shape == (played.site.claim(task).size,)


def test_the_claims_of_a_site_are_the_plan(played):
    claims = [played.site.claim(tasks[played.names[1]]).event for tasks in played.tasks]
    planned = Composed(tuple(step.event(1) for step in played.study.plan for _ in range(step.repeats)))
    assert Composed(tuple(claims)) == planned
    assert mu_squared(planned, View.LOCAL) == mu_squared(planned, View.AGGREGATE)


def test_an_answer_is_a_function_of_rows_and_task(played):
    """A half that has answered nothing before gives the same bytes: nothing is kept between releases."""
    engine, units = played.study.engine, shards(CODES)
    for tasks, answers in zip(played.tasks, played.answers, strict=True):
        for name, own in zip(played.names, units, strict=True):
            fresh = SITE_HALVES[engine](played.study)
            assert np.array_equal(answer(played.study, fresh, tasks[name], own, name), answers[name])


def test_learning_needs_all_of_the_noise(played):
    for tasks, step in zip(played.tasks, played.study.plan, strict=False):
        if step.within:
            mechanism = Metered(SeededNoise(0, "a"), b"", shares=2, capacity=1024, max_rows_per_unit=64)
            with pytest.raises(ValueError, match="all of the noise"):
                played.site.answer(tasks[played.names[0]], shards(CODES)[0], mechanism)


def test_states_freeze_and_thaw_to_the_same_bits(played):
    engine = played.study.engine
    for at, state in enumerate(played.states):
        frozen = played.half.freeze(state)
        thawed = COORDINATOR_HALVES[engine](played.study, SEED).thaw({k: v.copy() for k, v in frozen.items()})
        again = played.half.freeze(thawed)
        assert frozen.keys() == again.keys()
        assert all(frozen[name].tobytes() == again[name].tobytes() for name in frozen)
        if at < len(played.tasks):
            tasks = tasks_of(played.half.next(thawed), played.names)
            assert {n: parts(engine, t) for n, t in tasks.items()} == {
                n: parts(engine, t) for n, t in played.tasks[at].items()
            }


def test_absorbing_leaves_the_state_before_as_it_was(played):
    before = {name: array.copy() for name, array in played.half.freeze(played.states[-2]).items()}
    played.absorbed(played.states[-2], played.asked[-1], played.answers[-1])
    after = played.half.freeze(played.states[-2])
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_generator_gives_cells_of_the_schema_and_survives_its_file(played):
    generator = played.half.finish(played.states[-1])
    codes = generator.sample(777, np.random.default_rng(0))
    assert codes.dtype == np.int32
    assert codes.shape == (777, len(SCHEMA.columns))
    assert ((codes >= 0) & (codes < np.array(SCHEMA.sizes))).all()
    again = load(save(generator, played.study, {})).generator
    assert np.array_equal(again.sample(777, np.random.default_rng(0)), codes)
    assert save(played.half.finish(played.states[-1]), played.study, {}) == save(generator, played.study, {})
