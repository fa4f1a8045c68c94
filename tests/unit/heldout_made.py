"""A small study whose held-out units are asked, a forest by hand, and questions that fit."""

from dataclasses import replace
from fractions import Fraction

import engine_fixtures
import numpy as np

from silosynth.common.engines import heldout
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.forest import LEAF, UNIT, Forest
from silosynth.common.plan import resolve
from silosynth.common.privacy import Part
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study

SCHEMA = Schema((Column("sex", Kind.CATEGORICAL, codes=("f", "m")), Column("age", Kind.INTEGER, low=0, high=3)))
"""Cells of sex: f, m, OTHER, missing; of age: 0 to 3, missing."""

LABELS = (0, 0, 1, 1, 2)
MAPS = ((0, 0, 0, 0), (0, 1, 2, 3, 3))
FOREST = Forest(
    Coarsening(MAPS),
    weights=(UNIT, 0, 0, 0, 0),
    feature=(1, LEAF, 1, LEAF, LEAF),
    threshold=(0, 0, 2, 0, 0),
    children=(1, 2, 0, 0, 3, 4, 0, 0, 0, 0),
    value=(0, -3 * UNIT, 0, 2 * UNIT, 5 * UNIT),
    roots=(0,),
    cuts=(-UNIT, 0, 4 * UNIT),
)
"""Log odds 1 for all; then -3 for age 0, 2 for 1 and 2, 5 for 3 and missing: scores -2, 3 and 6 in bins 0, 2 and 3."""


def study(**changes):
    """A study of one training release and four of evaluation, of three sites, at multiplier 20."""
    plan = (
        Step("count", 1, Fraction(20)),
        *(Step(kind, 1, Fraction(20), part=Part.HOLDOUT) for kind in heldout.KINDS),
    )
    of = Study("held out", SCHEMA, Budget(1.0, 1e-5, 1), target="age", engine="fake", plan=plan)
    return replace(of, roster=tuple(Member(name, 1024) for name in "abc"), **changes)


def tasks():
    """One task of each kind."""
    coarse = Coarsening(((0, 1, 1, 1), (0, 0, 1, 1, 2)))
    fine = Coarsening(((0, 1, 2, 3), (0, 1, 2, 3, 4)))
    return (
        heldout.CountOneWays(fine),
        heldout.CountPairs(coarse, ((0, 1),)),
        heldout.CountScores(LABELS, (FOREST, FOREST)),
        heldout.CountGroups(LABELS, FOREST, (0,)),
    )


def asking(engine="autoregressive", epsilon=1.0, **changes):
    """A resolved study of the engines' fixture whose held-out units are asked."""
    plain = engine_fixtures.study(epsilon, steps=3, capacity=1300)
    asked = replace(plain, engine=engine, plan=(), evaluate=True, target="smoker", settings=())
    return resolve(replace(asked, **changes), plain.roster)


def every_row():
    """One row in each of the small schema's cells, shape (20, 2)."""
    return np.stack(np.meshgrid(range(4), range(5), indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int32)
