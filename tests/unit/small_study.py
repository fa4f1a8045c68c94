"""A study of two columns, and an engine that only counts: enough for the runtime, which must not care."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from silosynth.common.engine import Parts
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study

SCHEMA = Schema(
    (
        Column("sex", Kind.CATEGORICAL, codes=("f", "m")),
        Column("age", Kind.INTEGER, low=0.0, high=99.0),
    )
)


def study(name="small", *, releases=4, sites=("a", "b", "c"), multiplier=Fraction(20)):
    """A resolved study: one count, then `releases` - 1 more of another kind."""
    plan = (Step("first", 1, multiplier), Step("more", releases - 1, multiplier))
    roster = tuple(Member(site, 1024) for site in sites)
    return Study(name, SCHEMA, Budget(1.0, 1e-5, 1), roster=roster, plan=plan)


class Codec:
    """A task is its own number."""

    def take_apart(self, task):
        return Parts("count", ((task,),))


@dataclass(frozen=True)
class Sum:
    """What the counting engine makes."""

    totals: tuple


class Half:
    """A coordinator's half that adds totals up and asks for as many as the study plans."""

    def __init__(self, study, seed):
        self.study, self.seed = study, seed

    def start(self):
        return ()

    def next(self, state):
        return len(state) if len(state) < self.study.releases else None

    def absorb(self, state, task, total):
        assert task == len(state)
        return (*state, tuple(total.tolist()))

    def finish(self, state):
        return Sum(state)

    def units(self, state):
        return 3.0

    def freeze(self, state):
        return {"count": np.asarray(len(state)), "totals": np.array(state, dtype=np.int64)}

    def thaw(self, arrays):
        assert arrays["count"].shape == ()
        return tuple(map(tuple, arrays["totals"].tolist()))
