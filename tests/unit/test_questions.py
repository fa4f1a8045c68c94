"""Questions made of synthetic rows: cuts, outcomes, and models in integers that score as scikit-learn's do."""

import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
from engine_fixtures import SCHEMA, rows
from heldout_made import asking

from silosynth.common.column import Column, Kind
from silosynth.common.engines import heldout
from silosynth.common.engines.forest import LEAF, UNIT
from silosynth.common.errors import NotPossible
from silosynth.server import questions

pytest.importorskip("sklearn")


class Rows:
    """A generator that gives rows of the fixture."""

    def sample(self, many, rng):
        return rows(many, seed=int(rng.integers(1 << 30)))


@pytest.fixture(scope="module")
def study():
    return asking()


@pytest.fixture(scope="module")
def made(study):
    return questions.made(study, Rows(), 7)


def test_questions_are_tasks_of_the_study(study, made):
    for task in made.tasks:
        assert heldout.put_together(study, heldout.take_apart(task)) == task
    assert tuple(heldout.kind_of(task) for task in made.tasks) == heldout.KINDS


def test_synthetic_shares_add_up_to_one_in_every_table(study, made):
    for task, shares in zip(made.tasks, made.synthetic, strict=True):
        offsets = heldout.layout(study, task).offsets
        assert np.add.reduceat(shares, offsets[:-1]) == pytest.approx(np.ones(offsets.size - 1))


def test_columns_are_cut_as_finely_as_they_are_asked(study, made):
    fine, coarse = made.tasks[0].coarsening, made.tasks[1].coarsening
    for column, own, merged in zip(SCHEMA.columns, fine.sizes, coarse.sizes, strict=True):
        assert own == column.size if column.coded else own <= questions.FINE_BINS + 1
        assert merged <= questions.COARSE_BINS + 1


def test_the_same_seed_asks_the_same(study, made):
    again, other = (questions.made(study, Rows(), seed) for seed in (7, 8))
    assert again.tasks == made.tasks
    assert other.tasks != made.tasks


def test_subgroups_are_asked_with_the_first_model_in_fewer_bins(study, made):
    scores, groups = made.tasks[2:]
    assert replace(groups.model, cuts=()) == replace(scores.models[0], cuts=())
    assert groups.model.bins <= questions.GROUP_BINS
    assert 0 in groups.model.cuts
    assert groups.columns == heldout.grouped(study)


@pytest.fixture(scope="module")
def fitted(study):
    codes = rows(4000, seed=1)
    target = SCHEMA.names.index("smoker")
    labels = questions.outcome(SCHEMA.columns[target], np.bincount(codes[:, target], minlength=SCHEMA.sizes[target]))
    label = labels[codes[:, target]]
    coarsening = questions._for_models(study, codes, target, label)
    return codes, questions._Rows(coarsening, coarsening.bins(codes), label)


def test_boosting_in_integers_scores_as_it_does_in_floats(fitted, monkeypatch):
    from sklearn import ensemble  # noqa: PLC0415

    made = []
    true = ensemble.GradientBoostingClassifier
    monkeypatch.setattr(ensemble, "GradientBoostingClassifier", lambda **how: made.append(true(**how)) or made[-1])
    codes, of = fitted
    forest = questions.boosted(of, 3)
    replace(forest, cuts=(0,)).check(SCHEMA.sizes)
    assert forest.score(codes) / UNIT == pytest.approx(made[0].decision_function(of.bins), abs=61 / UNIT)
    assert LEAF in forest.feature


def test_regression_in_integers_scores_as_it_does_in_floats(fitted, monkeypatch):
    from sklearn import linear_model  # noqa: PLC0415

    made = []
    true = linear_model.LogisticRegression
    monkeypatch.setattr(linear_model, "LogisticRegression", lambda **how: made.append(true(**how)) or made[-1])
    codes, of = fitted
    forest = questions.regressed(of)
    sizes = of.coarsening.sizes
    indicators = np.zeros((len(codes), sum(sizes)))
    indicators[np.arange(len(codes))[:, None], of.bins + np.cumsum([0, *sizes[:-1]])] = 1
    assert forest.score(codes) / UNIT == pytest.approx(made[0].decision_function(indicators), abs=9 / UNIT)


def test_a_model_does_not_see_its_target(study, made):
    target = SCHEMA.names.index("smoker")
    for model in made.tasks[2].models:
        assert set(model.coarsening.maps[target]) == {0}


def test_a_model_predicts_what_it_was_trained_for(study, made):
    codes, (boosting, _) = rows(3000, seed=9), made.tasks[2].models
    label = np.array(made.tasks[2].labels)[codes[:, SCHEMA.names.index("smoker")]]
    score = boosting.score(codes)
    assert score[label == 1].mean() > score[label == 0].mean() + UNIT / 2


def test_one_cut_is_at_even_odds_and_no_bin_is_mostly_everything(study, made):
    for model in made.tasks[2].models:
        assert 0 in model.cuts
        assert model.bins <= questions.SCORE_BINS


def test_shapes_are_those_of_rows_that_no_model_has_learnt_from(study, made):
    """Each says where rows of a bin lie: they are in one finer cell of it each, and as many as were drawn."""
    models = [*made.tasks[2].models, made.tasks[3].model]
    assert len(made.shapes) == len(models)
    for model, shape in zip(models, made.shapes, strict=True):
        assert set(shape.bin.tolist()) == set(range(model.bins))
        assert (np.diff(shape.bin) >= 0).all()
        assert ((shape.predicted > 0) & (shape.predicted < 1)).all()
        assert (np.diff(shape.predicted[shape.rows.sum(axis=(0, 2)) > 0]) > 0).all()
        per_bin = np.zeros((model.bins, 2))
        np.add.at(per_bin, shape.bin, shape.within(0))
        assert per_bin == pytest.approx(1)
    columns = made.tasks[3].columns
    assert len(made.shapes[2].rows) == sum(SCHEMA.sizes[at] for at in columns)
    labelled = made.shapes[0].rows.sum()
    assert [shape.rows.sum() for shape in made.shapes] == [labelled, labelled, len(columns) * labelled]
    assert labelled <= made.rows


CODED = Column("c", Kind.CATEGORICAL, codes=("a", "b", "c"))
NUMBER = Column("n", Kind.INTEGER, low=0, high=4)


@pytest.mark.parametrize(
    ("column", "counts", "labels"),
    [
        (CODED, [5, 9, 1, 0, 4], [1, 0, 1, 1, 2]),
        (CODED, [0, 0, 0, 0, 9], [0, 1, 1, 1, 2]),
        (NUMBER, [1, 2, 3, 2, 1, 4], [0, 0, 0, 1, 1, 2]),
        (NUMBER, [9, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 2]),
        (NUMBER, [1, 0, 0, 0, 9, 0], [0, 0, 0, 0, 1, 2]),
        (NUMBER, [0, 0, 0, 0, 0, 3], [1, 1, 1, 1, 1, 2]),
    ],
)
def test_the_outcome_of_a_target(column, counts, labels):
    assert questions.outcome(column, np.array(counts)).tolist() == labels


@pytest.mark.parametrize("value", [0, 1])
def test_a_target_of_one_class_is_asked_about_all_the_same(study, value):
    class One:
        def sample(self, many, rng):
            codes = rows(many)
            codes[:, SCHEMA.names.index("smoker")] = value
            return codes

    task = questions.made(study, One(), 0).tasks[2]
    assert heldout.put_together(study, heldout.take_apart(task)) == task
    assert len(task.models) == 1
    assert len(set(task.models[0].score(rows(10)).tolist())) == 1


def test_missing_values_have_a_bin_where_there_are_enough_of_them():
    few, many = (questions._ordered(NUMBER, np.array([5, 5, 5, 5, 5, count]), 5) for count in (1, 5))
    assert few.tolist() == [0, 1, 2, 3, 4, 4]
    assert many.tolist() == [0, 1, 2, 3, 4, 5]
    assert questions._ordered(NUMBER, np.zeros(6, dtype=np.int64), 5).max() <= 1


def test_what_is_not_installed_is_said_at_the_start(study, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotPossible, match="evaluate = false"):
        questions.check_installed(study)
    questions.check_installed(asking(target=None))
    assert math.isfinite(UNIT)
