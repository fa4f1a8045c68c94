"""Who answers what: held-out units the evaluation and nothing else, trained-on units the training and nothing else.

Without noise, so that an answer tells whose rows it was made of. Each mutant breaks one thing, and is seen.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from heldout_made import FOREST, study, tasks

from silosynth.client.engines.heldout import HeldOut
from silosynth.client.gate import Gate
from silosynth.client.ledger import Ledger
from silosynth.client.mechanism import Metered, open_noised
from silosynth.client.policy import just_this
from silosynth.client.refusal import Reason, Refused
from silosynth.client.site import Site
from silosynth.common import scale
from silosynth.common.engine import Claim, Parted, Parts, Units
from silosynth.common.engines import TaskCodec, heldout
from silosynth.common.engines.layouts import OneWays
from silosynth.common.privacy import Part
from silosynth.common.study import Budget, Step
from silosynth.common.wire import Request
from silosynth.simulations.noiseless import ZeroNoise

BARE = tuple(replace(step, multiplier=None) for step in study().plan)
STUDY = study(plan=BARE, budget=Budget(math.inf, 1e-5, 1))
TRAIN, HELD = 3, 5
"""Rows of the two parts: those learnt from are f, those held out m."""


def rows(number, sex):
    return Units(np.array([[sex, age % 4] for age in range(number)], dtype=np.int32), np.arange(number))


UNITS = Parted(rows(TRAIN, 0), rows(HELD, 1))


class Fake:
    """A training engine of one kind of task: the 1-ways."""

    def __init__(self, of):
        self.step = of.plan[0]
        self.shares = of.shares

    def claim(self, task):
        return Claim(self.step.event(self.shares), 9)

    def answer(self, task, units, mechanism):
        return mechanism.histogram(units, OneWays((4, 5)), multiplier=self.step.multiplier)


@pytest.fixture(autouse=True)
def fake_engine(monkeypatch):
    monkeypatch.setattr("silosynth.client.engines.ENGINES", {"fake": Fake})
    codec = TaskCodec(lambda task: task, lambda _study, parts: parts, lambda _study, _task: 9)
    monkeypatch.setattr("silosynth.common.engines.CODECS", {"fake": codec})


def policy(of=STUDY):
    return replace(just_this(of), allow_no_privacy=True, allow_plain_sums=True)


@pytest.fixture
def site(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    opened = Site("a", Gate(policy(), ledger, ZeroNoise()), lambda _: UNITS)
    opened.approve(STUDY)
    yield opened
    ledger.close()


def ask(site, release, parts):
    return site.answer(Request(STUDY.digest, release, 0, bytes(16), parts))


def sexes(sealed):
    """How many f and m are counted in an answer that begins with the 1-way of sex."""
    return (sealed.vector[:2] // scale.HISTOGRAM_GRID).tolist()


def played(site):
    """Training, then every question, as planned; the counts of sex in the first two answers."""
    answers = [ask(site, 0, Parts("count"))]
    answers += [ask(site, at, heldout.take_apart(task)) for at, task in enumerate(tasks(), start=1)]
    assert [sealed.refusal for sealed in answers] == [None] * 5
    return [sexes(sealed) for sealed in answers[:2]]


def test_each_part_answers_its_own_steps(site):
    assert played(site) == [[TRAIN, 0], [0, HELD]]


def test_a_site_that_answers_with_the_other_part_is_seen(site, monkeypatch):
    true = Parted.of
    monkeypatch.setattr(Parted, "of", lambda self, part: true(self, next(one for one in Part if one is not part)))
    assert played(site) == [[0, HELD], [TRAIN, 0]]


def test_a_site_that_evaluates_with_training_units_is_seen(site, monkeypatch):
    monkeypatch.setattr(Parted, "of", lambda self, _part: self.train)
    assert played(site)[1] == [TRAIN, 0] != [0, HELD]


def test_a_unit_in_both_parts_is_seen(site, monkeypatch):
    both = Units(np.concatenate([UNITS.train.codes, UNITS.holdout.codes]), np.arange(TRAIN + HELD))
    monkeypatch.setattr(Parted, "of", lambda _self, _part: both)
    train, held = played(site)
    assert sum(train) + sum(held) > TRAIN + HELD


@pytest.mark.parametrize("task", tasks(), ids=heldout.KINDS)
def test_a_question_in_training_s_place_is_refused(site, task):
    assert ask(site, 0, heldout.take_apart(task)).refusal is Reason.OUT_OF_PLAN


def test_a_task_of_training_in_a_question_s_place_is_refused(site):
    ask(site, 0, Parts("count"))
    assert ask(site, 1, Parts("count")).refusal is Reason.BAD_TASK


def test_questions_in_another_order_are_refused(site):
    ask(site, 0, Parts("count"))
    assert ask(site, 1, heldout.take_apart(tasks()[1])).refusal is Reason.OUT_OF_PLAN
    assert ask(site, 2, heldout.take_apart(tasks()[1])).refusal is Reason.OUT_OF_ORDER


def test_questions_before_training_is_over_are_refused(site):
    assert ask(site, 1, heldout.take_apart(tasks()[0])).refusal is Reason.OUT_OF_ORDER


def test_a_question_twice_is_the_same_answer_and_another_one_is_refused(site):
    played(site)
    again = ask(site, 4, heldout.take_apart(tasks()[3]))
    assert again.refusal is None
    other = replace(tasks()[3], model=replace(FOREST, cuts=(0,)))
    assert ask(site, 4, heldout.take_apart(other)).refusal is Reason.ANSWERED_DIFFERENTLY


def test_a_release_outside_the_plan_is_refused(site):
    assert ask(site, 5, heldout.take_apart(tasks()[0])).refusal is Reason.OUT_OF_PLAN


@pytest.mark.parametrize(
    "plan",
    [
        STUDY.plan[1:],
        (replace(STUDY.plan[0], part=Part.HOLDOUT), *STUDY.plan[1:]),
        (STUDY.plan[0], replace(STUDY.plan[1], part=Part.TRAIN)),
        (*STUDY.plan, Step("more", 1, part=Part.HOLDOUT)),
        (*STUDY.plan, STUDY.plan[1]),
    ],
    ids=["no training", "held out and trained on", "trained on and asked", "another question", "a question twice"],
)
def test_a_plan_that_mixes_parts_is_refused(plan):
    of = replace(STUDY, plan=plan)
    with pytest.raises(Refused, match=f"^{Reason.BAD_PLAN.value}$"):
        policy(of).check(of)


def test_more_held_out_rows_than_the_capacity_are_refused(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for units in (Parted(rows(2, 0), rows(1025, 1)), Parted(rows(1025, 0), rows(2, 1))):
        site = Site("a", Gate(policy(), ledger, ZeroNoise()), lambda _, units=units: units)
        with pytest.raises(Refused, match=f"^{Reason.CAPACITY.value}$"):
            site.approve(STUDY)
    ledger.close()


@pytest.mark.parametrize("task", tasks(), ids=heldout.KINDS)
@pytest.mark.parametrize("most", [1, 3])
def test_one_unit_moves_an_answer_by_no_more_than_its_bound_and_reaches_it(task, most):
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, 4, 40), rng.integers(0, 5, 40)], axis=1).astype(np.int32)
    owner = np.arange(40) // most
    tables, moved = heldout.layout(STUDY, task).offsets.size - 1, []
    for unit in np.unique(owner):
        answers = []
        for keep in (np.ones(40, dtype=bool), owner != unit):
            mechanism = Metered(ZeroNoise(), b"", shares=2, capacity=64, max_rows_per_unit=most)
            noised = HeldOut(STUDY).answer(task, Units(codes[keep], owner[keep]), mechanism)
            answers.append(open_noised(noised, mechanism, heldout.answer_size(STUDY, task)))
        moved.append(int(((answers[0] - answers[1]) ** 2).sum()))
    assert max(moved) <= scale.histogram_sensitivity(tables).squared
    assert most > 1 or max(moved) == scale.histogram_sensitivity(tables).squared


def test_a_layout_that_counts_a_unit_in_two_subgroups_is_refused_by_the_mechanism(monkeypatch):
    """The mutant puts every row in the next subgroup's cells, too: one more table than its offsets say."""
    true = heldout.GroupBins.cells
    task = tasks()[3]
    monkeypatch.setattr(
        heldout.GroupBins, "cells", lambda self, codes: np.hstack([true(self, codes), true(self, codes) + self.each])
    )
    mechanism = Metered(ZeroNoise(), b"", shares=2, capacity=64, max_rows_per_unit=1)
    with pytest.raises((RuntimeError, ValueError)):
        HeldOut(STUDY).answer(task, rows(8, 0), mechanism)


def test_a_layout_that_counts_outside_its_tables_is_refused_by_the_mechanism(monkeypatch):
    true = heldout.GroupBins.cells
    monkeypatch.setattr(heldout.GroupBins, "cells", lambda self, codes: true(self, codes) + 4 * self.each)
    mechanism = Metered(ZeroNoise(), b"", shares=2, capacity=64, max_rows_per_unit=1)
    with pytest.raises((RuntimeError, ValueError)):
        HeldOut(STUDY).answer(tasks()[3], rows(8, 0), mechanism)
