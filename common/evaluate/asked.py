"""What held-out units were asked, and what came back: all that their scores are computed from. Values only."""

from dataclasses import dataclass, field

from silosynth.common.arrays import Real, Vector
from silosynth.common.engines import heldout


@dataclass(frozen=True)
class Questions:
    """The tasks, in the plan's order, and what so many synthetic `rows` say to them.

    `synthetic`: their shares in the cells of each task. `predicted`: the mean probability that a model gives to those
    in each bin of its score, model after model; empty where none is asked about.
    """

    tasks: tuple[heldout.Task, ...]
    synthetic: tuple[Real, ...] = field(repr=False)
    predicted: Real = field(repr=False)
    rows: int


@dataclass(frozen=True)
class Heard:
    """The questions, and the sums over sites for each, in grid units of a histogram."""

    questions: Questions
    totals: tuple[Vector, ...] = field(repr=False)
