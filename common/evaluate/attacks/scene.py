"""Who is attacked with what: members, an equally large control group, and the table that the attacker holds."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np

from silosynth.common.arrays import Index, Real
from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.attacks.space import Points, Space, nearest, space, width
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.tables import Table

LEAST: Final = 30
"""Persons in a group below which no attack is run: nothing could be told from chance."""

LEAST_AFFORDED: Final = 200
"""Persons in a group that large tables are attacked for, whatever it costs."""

NEIGHBOURS: Final = 5


@dataclass(frozen=True)
class Budget:
    """How much is attacked. What was sampled is said in `Attacks.rows`."""

    persons: int = 2_000  # in each group
    rows_of_person: int = 4
    published: int = 500  # persons in each group, where the real rows stand in for the synthetic ones
    reference: int = 10_000  # real rows that tell an attacker what is common
    predicates: int = 1_000
    predicate_rows: int = 20_000  # of each table
    work: float = 2e11  # rows of both groups, times synthetic rows, times width of a point


@dataclass(frozen=True)
class Group:
    """Some rows of each of some persons. `owner`: whose each is, in [0, persons)."""

    rows: Table
    owner: Index = field(repr=False)
    persons: int

    @cached_property
    def one_each(self) -> Table:
        """The first row of each person."""
        return self.rows.take(np.unique(self.owner, return_index=True)[1])

    def first(self, persons: int) -> "Group":
        """The first so many persons."""
        kept = np.flatnonzero(self.owner < persons)
        return Group(self.rows.take(kept), self.owner[kept], min(persons, self.persons))


@dataclass(frozen=True)
class Near:
    """Distances from a group's rows to the nearest rows of the attacked table, and of the reference; (rows, <= 5)."""

    attacked: Real = field(repr=False)
    reference: Real = field(repr=False)


@dataclass(frozen=True)
class Scene:
    """All that an attack needs. `members` and `control` are equally many persons."""

    train: Grouped
    holdout: Grouped
    attacked: Table
    levels: tuple[int, ...]
    members: Group
    control: Group
    reference: Table  # held-out rows of other persons than the control group's
    released: Table  # training rows, the members' among them: no more than synthetic ones, if that holds the members
    budget: Budget

    @cached_property
    def space(self) -> Space:
        """Fitted to the attacked table."""
        return space(self.attacked, self.levels)

    @cached_property
    def points(self) -> Points:
        """The attacked rows."""
        return self.space.points(self.attacked)

    @cached_property
    def near(self) -> tuple[Near, Near]:
        """Of members and of the control group: what several attacks share."""
        among = self.space.points(self.reference)
        members, control = (self._near(group, among) for group in (self.members, self.control))
        return members, control

    def _near(self, group: Group, reference: Points) -> Near:
        own = self.space.points(group.rows)
        return Near(*(nearest(own, others, NEIGHBOURS)[0] for others in (self.points, reference)))

    @cached_property
    def published(self) -> "Scene":
        """The same for fewer persons, with training rows published in place of the synthetic ones: the ceiling."""
        persons = min(self.budget.published, self.members.persons)
        members, control = self.members.first(persons), self.control.first(persons)
        return replace(self, attacked=self.released, members=members, control=control)


def scene(train: Grouped, holdout: Grouped, synthetic: Table, rng: np.random.Generator, budget: Budget) -> Scene:
    """Persons drawn at random: equally many members and controls, and a reference from the rest of the hold-out.

    Raises:
        NotPossible: with fewer than LEAST persons to train on, or twice as many held out, or without synthetic rows.
    """
    if not synthetic.rows:
        raise NotPossible("no synthetic rows to attack with")
    trained, held = (len(np.unique(side.units)) for side in (train, holdout))
    if trained < LEAST or held < 2 * LEAST:
        raise NotPossible(
            f"attacks need {LEAST} trained and {2 * LEAST} held-out persons or more: there are {trained} and {held}"
        )
    levels = tuple(
        0 if column.dtype == np.float64 else 1 + max(int(other.columns[at].max(initial=-1)) for other in tables)
        for tables in [(train.table, holdout.table, synthetic)]
        for at, column in enumerate(synthetic.columns)
    )
    cost = 2 * synthetic.rows * sum(width(size) for size in levels) * min(budget.rows_of_person, _rows_each(train))
    persons = min(budget.persons, max(LEAST_AFFORDED, int(budget.work / cost)), trained, held // 2)
    members, own, others = _drawn(train, persons, budget, rng)
    control, _, rest = _drawn(holdout, persons, budget, rng)
    reference = holdout.table.take(rest[: budget.reference])
    released = train.table.take(np.concatenate([own, others[: max(0, synthetic.rows - len(own))]]))
    return Scene(train, holdout, synthetic, levels, members, control, reference, released, budget)


def _rows_each(side: Grouped) -> float:
    return side.table.rows / len(np.unique(side.units))


def _drawn(side: Grouped, persons: int, budget: Budget, rng: np.random.Generator) -> tuple[Group, Index, Index]:
    """Some persons with some rows of each, in random order; the positions of these rows, and of everybody else's."""
    names, whose = np.unique(side.units, return_inverse=True)
    number = np.empty(len(names), dtype=np.int64)
    number[rng.permutation(len(names))] = np.arange(len(names))
    owner = number[whose]
    order = np.lexsort((rng.random(len(owner)), owner))
    starts = np.searchsorted(owner[order], owner[order])
    nth = np.arange(len(order)) - starts  # row of its person
    kept = order[(owner[order] < persons) & (nth < budget.rows_of_person)]
    return Group(side.table.take(kept), owner[kept], persons), kept, order[owner[order] >= persons]
