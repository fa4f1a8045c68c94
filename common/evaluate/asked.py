"""What held-out units were asked, and what came back: all that their scores are computed from. Values only."""

from dataclasses import dataclass, field

import numpy as np

from silosynth.common.arrays import Index, Real, Vector
from silosynth.common.engines import heldout

_PRIOR = 50.0
"""Rows by which the shape of a subgroup is drawn to that of all rows."""


@dataclass(frozen=True)
class Shape:
    """How synthetic rows lie within the bins of a model's score, so that a count of a bin can be spread over it.

    `bin`: of each finer cell, by rising score, shape (fine,). `predicted`: the mean probability that the model gives to
    rows in it. `rows`: of each subgroup, without and with the outcome, shape (subgroups, fine, 2); one of all rows
    where there are none.
    """

    bin: Index = field(repr=False)
    predicted: Real = field(repr=False)
    rows: Real = field(repr=False)

    def within(self, subgroup: int) -> Real:
        """Of a unit of the subgroup, given its bin and outcome: the chance of each finer cell, shape (fine, 2).

        Few rows are drawn to all rows of that outcome, and those to all rows; where there are none, cells are as likely
        as each other.
        """
        everybody = self.rows.sum(axis=0)
        either = np.repeat(everybody.sum(axis=1, keepdims=True), 2, axis=1)
        chance: Real = np.ones(everybody.shape)
        for rows in (either, everybody, self.rows[subgroup]):
            chance = self._of_bin(rows + _PRIOR * self._of_bin(chance))
        return chance

    def _of_bin(self, rows: Real) -> Real:
        """Shares of the rows of each bin and outcome."""
        total = np.zeros((int(self.bin.max()) + 1, 2))
        np.add.at(total, self.bin, rows)
        shares: Real = rows / total[self.bin]
        return shares


@dataclass(frozen=True)
class Questions:
    """The tasks, in the plan's order, and what so many synthetic `rows` say to them.

    `synthetic`: their shares in the cells of each task. `shapes`: of the models that are asked about, task after task;
    empty where none is.
    """

    tasks: tuple[heldout.Task, ...]
    synthetic: tuple[Real, ...] = field(repr=False)
    shapes: tuple[Shape, ...] = field(repr=False)
    rows: int


@dataclass(frozen=True)
class Heard:
    """The questions, and the sums over sites for each, in grid units of a histogram."""

    questions: Questions
    totals: tuple[Vector, ...] = field(repr=False)
