"""Questions to held-out units: how they travel, what they count, and what is no question."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from heldout_made import FOREST, LABELS, MAPS, SCHEMA, asking, every_row, study, tasks

from silosynth.common.engine import Parts
from silosynth.common.engines import heldout
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.forest import LEAF, MOST_DEPTH, UNIT, Forest
from silosynth.common.errors import InvalidStudy, MalformedFrame
from silosynth.common.privacy import Part
from silosynth.common.schema import Column, Kind
from silosynth.common.study import Step, Trust
from silosynth.common.study_file import read_study, write_study
from silosynth.common.wire import Request, decode_request, encode_request

STUDY = study()


@pytest.mark.parametrize("task", tasks(), ids=heldout.KINDS)
def test_tasks_survive_the_codec_and_the_wire(task):
    sent = encode_request(Request(STUDY.digest, 1, 0, bytes(16), heldout.take_apart(task)))
    assert heldout.put_together(STUDY, decode_request(sent).parts) == task


@pytest.mark.parametrize("task", tasks(), ids=heldout.KINDS)
def test_every_row_is_in_one_cell_of_each_table(task):
    layout = heldout.layout(STUDY, task)
    cells = layout.cells(every_row())
    assert cells.shape == (20, layout.offsets.size - 1)
    assert ((cells >= layout.offsets[:-1]) & (cells < layout.offsets[1:])).all()
    assert heldout.answer_size(STUDY, task) == layout.offsets[-1]
    assert layout.offsets[0] == 0


def test_a_forest_scores_as_it_says():
    ages = np.array([[0, age] for age in range(5)], dtype=np.int32)
    assert (FOREST.score(ages) / UNIT).tolist() == [-2, 3, 3, 6, 6]
    assert FOREST.bin(FOREST.score(ages)).tolist() == [0, 2, 2, 3, 3]
    assert FOREST.bin(np.array([-UNIT - 1, -UNIT, -1, 0, 4 * UNIT - 1, 4 * UNIT])).tolist() == [0, 1, 1, 2, 2, 3]


def test_scores_are_counted_by_label():
    layout = heldout.ScoreBins(heldout.CountScores(LABELS, (FOREST,)), 1)
    rows = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [0, 4]], dtype=np.int32)
    assert layout.cells(rows)[:, 0].tolist() == [0, 4, 5, 7, 8]


def test_scores_are_counted_by_subgroup():
    """In a subgroup's nine cells a row has the cell that it has among all rows."""
    task = heldout.CountGroups(LABELS, FOREST, (0,))
    layout, all_ = heldout.layout(STUDY, task), heldout.ScoreBins(heldout.CountScores(LABELS, (FOREST,)), 1)
    cells = layout.cells(every_row())[:, 0]
    assert np.array_equal(cells // 9, every_row()[:, 0])
    assert np.array_equal(cells % 9, all_.cells(every_row())[:, 0])
    assert heldout.answer_size(STUDY, task) == 4 * 9


def test_subgroups_are_the_codes_of_few_columns_with_few_codes():
    def coded(name, many):
        return Column(name, Kind.CATEGORICAL, codes=tuple(f"v{code}" for code in range(many)))

    many = (coded("a", 20), coded("b", 21), coded("c", 3), coded("d", 2), coded("one", 1), coded("e", 4))
    wide = replace(STUDY, schema=replace(STUDY.schema, columns=(*many, *SCHEMA.columns)))
    assert [wide.schema.names[at] for at in heldout.grouped(wide)] == ["c", "d", "sex"]
    assert [wide.schema.names[at] for at in heldout.grouped(replace(wide, target="sex"))] == ["c", "d", "e"]
    assert heldout.grouped(STUDY) == (0,)
    alone = replace(STUDY, target="sex")
    assert [share.kind for share in heldout.split(alone)] == list(heldout.KINDS[:3])


def test_a_row_s_score_does_not_depend_on_other_rows():
    rows = every_row()
    order = np.random.default_rng(0).permutation(len(rows))
    assert np.array_equal(FOREST.score(rows[order]), FOREST.score(rows)[order])
    assert [int(FOREST.score(row[None])[0]) for row in rows] == FOREST.score(rows).tolist()


def chain():
    """A model that only a row with the last bin of its columns walks down to its end."""
    levels = range(MOST_DEPTH)
    features = (*(one for level in levels for one in (level % 2, LEAF)), LEAF)
    children = (*(one for level in levels for one in (2 * level + 1, 2 * level + 2, 0, 0)), 0, 0)
    nothing = (0,) * len(features)
    trees = {"feature": features, "threshold": nothing, "children": children, "value": nothing, "roots": (0,) * 8}
    return replace(FOREST, **trees)


@pytest.mark.parametrize("rows", [1, 20, heldout.BLOCK, heldout.BLOCK + 1])
def test_a_model_with_one_deep_path_takes_as_many_steps_whoever_is_there(monkeypatch, rows):
    """Otherwise the time of an answer would tell whether the one row is there that goes deep, without any noise."""
    model, steps, shapes = chain(), [], []
    model.check(STUDY.schema.sizes)
    where, score = np.where, Forest.score

    def counted(*given):
        steps.append(given[0].shape)
        return where(*given)

    def scored(self, codes):
        shapes.append(codes.shape)
        return score(self, codes)

    monkeypatch.setattr(np, "where", counted)
    monkeypatch.setattr(Forest, "score", scored)
    layout, taken = heldout.ScoreBins(heldout.CountScores(LABELS, (model,)), 1), []
    for last in ((0, 0), (1, 3)):
        everybody = np.zeros((rows, 2), dtype=np.int32)
        everybody[-1] = last
        steps.clear()
        layout.cells(everybody)
        taken.append(tuple(steps))
    assert taken[0] == taken[1]
    assert len(taken[0]) >= 8 * MOST_DEPTH
    assert set(shapes) == {(heldout.BLOCK, 2)}


HOSTILE = {
    "a cycle": {"children": (1, 2, 0, 0, 0, 4, 0, 0, 0, 0)},
    "a node that is its own child": {"children": (0, 2, 0, 0, 3, 4, 0, 0, 0, 0)},
    "a child outside": {"children": (1, 5, 0, 0, 3, 4, 0, 0, 0, 0)},
    "a child before": {"children": (1, -1, 0, 0, 3, 4, 0, 0, 0, 0)},
    "a column outside": {"feature": (2, LEAF, 1, LEAF, LEAF)},
    "a column before": {"feature": (-2, LEAF, 1, LEAF, LEAF)},
    "a root outside": {"roots": (5,)},
    "a root before": {"roots": (-1,)},
    "too many trees": {"roots": (0,) * 257},
    "cuts that fall": {"cuts": (0, -1)},
    "cuts twice": {"cuts": (0, 0)},
    "no cuts": {"cuts": ()},
    "too many cuts": {"cuts": tuple(range(32))},
    "a weight too few": {"weights": (0, 0, 0, 0)},
    "a leaf too large": {"value": (0, 0, 0, 0, 1 << 41)},
    "a weight too large": {"weights": (0, 0, 0, 0, -(1 << 41))},
    "half a node": {"value": (0, 0, 0, 0)},
    "half a child": {"children": (1, 2, 0, 0, 3, 4, 0, 0, 0)},
    "bins with a gap": {"coarsening": Coarsening(((0, 0, 0, 2), MAPS[1]))},
    "a cell without a bin": {"coarsening": Coarsening((MAPS[0], (0, 1, 2, 3)))},
    "a chain too deep": {
        "feature": (*[0] * (MOST_DEPTH + 1), LEAF),
        "threshold": (0,) * (MOST_DEPTH + 2),
        "children": (*tuple(k for at in range(MOST_DEPTH + 1) for k in (at + 1, at + 1)), 0, 0),
        "value": (0,) * (MOST_DEPTH + 2),
    },
    "too many nodes": {
        "feature": (LEAF,) * 8193, "threshold": (0,) * 8193, "children": (0,) * 16386, "value": (0,) * 8193,
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_model_is_refused(changes):
    model = replace(FOREST, **changes)
    for task in (heldout.CountScores(LABELS, (FOREST, model)), heldout.CountGroups(LABELS, model, (0,))):
        with pytest.raises(MalformedFrame):
            heldout.put_together(STUDY, heldout.take_apart(task))


def test_the_deepest_tree_there_may_be_is_followed_to_its_end():
    depth = MOST_DEPTH
    chain = Forest(
        Coarsening(MAPS),
        (0,) * 5,
        feature=(*[0] * depth, LEAF),
        threshold=(0,) * (depth + 1),
        children=(*tuple(k for at in range(depth) for k in (at + 1, at + 1)), 0, 0),
        value=(*[0] * depth, 7),
        roots=(0,),
        cuts=(0,),
    )
    chain.check(STUDY.schema.sizes)
    assert set(chain.score(every_row()).tolist()) == {7}


PARTS = {kind: heldout.take_apart(task) for kind, task in zip(heldout.KINDS, tasks(), strict=True)}
ONE_WAYS, PAIRS, SCORES, GROUPS = (PARTS[kind].lists for kind in heldout.KINDS)
NO_QUESTIONS = {
    "another kind": Parts("one-ways", ONE_WAYS),
    "a kind of training": Parts("count"),
    "a tensor": Parts(heldout.ONE_WAYS, ONE_WAYS, np.zeros(1, dtype=np.float32)),
    "a list too many": Parts(heldout.ONE_WAYS, (*ONE_WAYS, ())),
    "no pairs": Parts(heldout.PAIRS, ONE_WAYS),
    "an empty list of pairs": Parts(heldout.PAIRS, (*PAIRS[:2], ())),
    "half a pair": Parts(heldout.PAIRS, (*PAIRS[:2], (0,))),
    "a pair with itself": Parts(heldout.PAIRS, (*PAIRS[:2], (1, 1))),
    "a pair backwards": Parts(heldout.PAIRS, (*PAIRS[:2], (1, 0))),
    "a pair outside": Parts(heldout.PAIRS, (*PAIRS[:2], (0, 2))),
    "a pair twice": Parts(heldout.PAIRS, (*PAIRS[:2], (0, 1, 0, 1))),
    "no labels": Parts(heldout.SCORES),
    "labels for some": Parts(heldout.SCORES, ((0, 1, 1, 0), *SCORES[1:])),
    "a fourth label": Parts(heldout.SCORES, ((0, 1, 1, 0, 3), *SCORES[1:])),
    "no model": Parts(heldout.SCORES, SCORES[:1]),
    "half a model": Parts(heldout.SCORES, SCORES[:-1]),
    "three models": Parts(heldout.SCORES, (*SCORES, *SCORES[1:10])),
    "subgroups without labels": Parts(heldout.GROUPS, ((0, 1), *GROUPS[1:])),
    "subgroups without a model": Parts(heldout.GROUPS, (GROUPS[0], GROUPS[-1])),
    "subgroups of nothing": Parts(heldout.GROUPS, (*GROUPS[:-1], ())),
    "subgroups of a column with many values": Parts(heldout.GROUPS, (*GROUPS[:-1], (1,))),
    "subgroups of a column twice": Parts(heldout.GROUPS, (*GROUPS[:-1], (0, 0))),
    "subgroups of a column outside": Parts(heldout.GROUPS, (*GROUPS[:-1], (2,))),
    "subgroups of two models": Parts(heldout.GROUPS, (*GROUPS[:-1], *GROUPS[1:-1], (0,))),
    "subgroups and nothing else": Parts(heldout.GROUPS),
}


@pytest.mark.parametrize("parts", NO_QUESTIONS.values(), ids=NO_QUESTIONS)
def test_what_is_no_question_is_malformed(parts):
    with pytest.raises(MalformedFrame):
        heldout.put_together(STUDY, parts)


def test_a_kind_is_asked_only_where_it_is_planned_for_held_out_units():
    trained_on = tuple(replace(step, part=Part.TRAIN) for step in STUDY.plan)
    for plan in (STUDY.plan[:1], trained_on):
        with pytest.raises(MalformedFrame):
            heldout.put_together(replace(STUDY, plan=plan), PARTS[heldout.ONE_WAYS])


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, heldout.KINDS),
        ({"target": None}, heldout.KINDS[:2]),
        ({"holdout": 0.0}, ()),
        ({"evaluate": False}, ()),
        ({"trust": Trust.LOCAL}, heldout.KINDS),
    ],
)
def test_what_is_planned_for_held_out_units(changes, kinds):
    of = asking(**changes)
    held = [step for step in of.plan if step.part is Part.HOLDOUT]
    assert tuple(step.kind for step in held) == kinds
    assert of.plan[: len(of.plan) - len(kinds)] == of.training.plan
    assert not kinds or sum(share.share for share in heldout.split(of)) == 1


def test_held_out_units_have_the_whole_budget_for_themselves():
    of = asking()
    spent = {part: sum(step.repeats / step.multiplier**2 for step in of.plan if step.part is part) for part in Part}
    assert float(spent[Part.HOLDOUT]) == pytest.approx(float(spent[Part.TRAIN]), rel=1e-4)


@pytest.mark.parametrize(
    ("step", "sound"),
    [
        (Step("gradient", 1, Fraction(1)), True),
        (Step("gradient", 1, Fraction(1), part=Part.HOLDOUT), False),
        (Step(heldout.SCORES, 1, Fraction(1), part=Part.HOLDOUT), True),
        (Step(heldout.SCORES, 1, Fraction(1)), False),
        (Step(heldout.SCORES, 1, Fraction(1), Fraction(1, 2), part=Part.HOLDOUT), False),
        (Step(heldout.SCORES, 1, within=(Step("a", 1, Fraction(1)),), part=Part.HOLDOUT), False),
    ],
)
def test_who_may_answer_what(step, sound):
    assert heldout.is_sound(step) == sound


def wide_study():
    """With more pairs of columns than are asked for."""
    columns = tuple(replace(STUDY.schema.columns[1], name=f"c{at}") for at in range(12))
    return replace(STUDY, schema=replace(STUDY.schema, columns=columns), target="c3")


def test_pairs_are_few_and_those_with_the_target_come_first():
    wide = wide_study()
    pairs = heldout.pairs_of(wide)
    assert len(pairs) == heldout.MOST_PAIRS
    assert sum(3 in pair for pair in pairs) == 11
    assert list(pairs) == sorted(set(pairs))
    assert heldout.pairs_of(replace(wide, name="another")) != pairs
    assert heldout.pairs_of(STUDY) == ((0, 1),)


def test_a_coordinator_does_not_choose_the_pairs():
    wide = wide_study()
    drawn = heldout.pairs_of(wide)
    coarse = Coarsening((tuple(range(5)),) * 12)
    asked = heldout.CountPairs(coarse, drawn)
    assert heldout.put_together(wide, heldout.take_apart(asked)) == asked
    left_out = next(pair for pair in combinations(range(12), 2) if pair not in drawn)
    for others in (drawn[:1], drawn[1:], tuple(sorted([*drawn[1:], left_out])), drawn[::-1]):
        with pytest.raises(MalformedFrame):
            heldout.put_together(wide, heldout.take_apart(replace(asked, pairs=others)))


def test_a_study_with_questions_is_written_and_read():
    of = asking()
    text = write_study(of)
    assert text.count('part = "holdout"') == 4
    assert read_study(text, source="t") == of
    assert "evaluate" not in text
    silent = asking(evaluate=False)
    assert "evaluate = false" in write_study(silent)
    assert read_study(write_study(silent), source="t") == silent


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('part = "holdout"', 'part = "both"', "must be one of train, holdout"),
        ('part = "holdout"', "", "key 'part': must be 'holdout'"),
        ('kind = "gradient"', 'kind = "gradient"\npart = "holdout"', "for no others"),
        ("holdout = 0.2", "holdout = 0.2\nevaluate = 1", "must be true or false"),
    ],
)
def test_a_wrong_part_is_refused_in_words(old, new, says):
    text = write_study(asking()).replace(old, new)
    with pytest.raises(InvalidStudy, match=says):
        read_study(text, source="t")


def test_a_schema_too_wide_for_two_models_is_asked_for_no_scores(monkeypatch):
    assert [share.kind for share in heldout.split(STUDY)] == list(heldout.KINDS)
    monkeypatch.setattr(heldout, "MOST_CELLS", sum(STUDY.schema.sizes) - 1)
    assert [share.kind for share in heldout.split(STUDY)] == list(heldout.KINDS[:2])
