"""The coordinator's half of a whole study: the engine, then the questions, in a state that can be put away."""

import numpy as np
import pytest
from heldout_made import study, tasks
from small_study import Half

from silosynth.common.engines import heldout
from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.asked import Questions, Shape
from silosynth.server import heldout as whole_study
from silosynth.server.heldout import WholeStudy

STUDY = study()
SHAPES = tuple(
    Shape(np.array([0, 0, 1, 2, 3]), np.linspace(0.1, 0.9, 5), np.arange(10.0 * many).reshape(many, 5, 2))
    for many in (1, 1, 4)
)


class Engine(Half):
    """Counts how often it was asked for its generator."""

    finished = 0

    def finish(self, state):
        type(self).finished += 1
        return super().finish(state)


@pytest.fixture
def half(monkeypatch):
    shares = tuple(np.linspace(0, 1, heldout.answer_size(STUDY, task)) for task in tasks())
    made = Questions(tasks(), shares, SHAPES, 500)
    monkeypatch.setattr(whole_study.questions, "made", lambda _study, _generator, _seed: made)
    monkeypatch.setattr(Engine, "finished", 0)
    return WholeStudy(STUDY, Engine(STUDY.training, 3), 3)


def states(half):
    """The state before each release and after the last one, put away and taken out each time."""
    state = half.start()
    yield state
    while (task := half.next(state)) is not None:
        size = 4 if isinstance(task, int) else heldout.answer_size(STUDY, task)
        state = half.absorb(state, task, np.arange(size))
        state = half.thaw({name: array.copy() for name, array in half.freeze(state).items()})
        yield state


def test_the_engine_comes_first_then_the_questions_in_the_plan_s_order(half):
    asked = [half.next(state) for state in states(half)]
    assert asked == [0, *tasks(), None]
    assert len(asked) == STUDY.releases + 1


def test_a_state_comes_back_to_the_same_bits(half):
    for state in states(half):
        frozen = half.freeze(state)
        again = half.freeze(half.thaw(frozen))
        assert {name: array.tobytes() for name, array in frozen.items()} == {
            name: array.tobytes() for name, array in again.items()
        }


def test_what_was_heard_is_what_was_asked_and_said(half):
    *before, last = states(half)
    assert [half.heard(state) is None for state in before] == [True, False, False, False, False]
    heard = half.heard(last)
    assert heard.questions.tasks == tasks()
    assert heard.questions.rows == 500
    assert [vars(one).keys() for one in heard.questions.shapes] == [vars(one).keys() for one in SHAPES]
    for one, true in zip(heard.questions.shapes, SHAPES, strict=True):
        assert all(np.array_equal(array, getattr(true, name)) for name, array in vars(one).items())
    assert [total.tolist() for total in heard.totals] == [
        list(range(heldout.answer_size(STUDY, task))) for task in tasks()
    ]


def test_the_generator_is_made_once_for_questions_and_product(half):
    state = half.start()
    while (task := half.next(state)) is not None:
        size = 4 if isinstance(task, int) else heldout.answer_size(STUDY, task)
        state = half.absorb(state, task, np.arange(size))
    assert half.finish(state) is half.finish(state)
    assert Engine.finished == 1
    assert half.units(state) == 3.0


def test_a_total_of_another_size_is_refused(half):
    state = list(states(half))[1]
    with pytest.raises(ValueError, match="size"):
        half.absorb(state, half.next(state), np.arange(3))


def test_a_study_that_asks_nothing_is_its_engine():
    plain = study(plan=STUDY.plan[:1])
    half = WholeStudy(plain, Engine(plain, 3), 3)
    state = half.absorb(half.start(), 0, np.arange(4))
    assert half.next(state) is None
    assert half.heard(state) is None
    assert all(name.startswith("engine.") for name in half.freeze(state))
    assert half.finish(half.thaw(half.freeze(state))).totals == ((0, 1, 2, 3),)


def test_what_models_need_is_missed_at_the_start(monkeypatch):
    monkeypatch.setattr(whole_study.questions.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotPossible, match="scikit-learn"):
        WholeStudy(STUDY, Engine(STUDY.training, 3), 3)
