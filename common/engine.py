"""An engine learns a generator from sums over sites. It has two halves that share only tasks.

The coordinator's half never sees a row; the site's half never sees another site, cannot make noise, cannot state a
sensitivity and cannot send. Between them stand the gate (client/gate.py) and the sum.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Codes, Index, Real, Vector, Weights
from silosynth.common.privacy import Event, Part


@dataclass(frozen=True)
class Units:
    """The rows one site answers with, as fine cells, and whose they are.

    `owner[r]` is the unit (person) of row r, in [0, units); a unit's rows share its weight of one. Nothing about this
    object but its type may leave the site: not its length, not its shape.
    """

    codes: Codes = field(repr=False)  # (rows, columns)
    owner: Index = field(repr=False)  # (rows,)


@dataclass(frozen=True)
class Parted:
    """The rows of one site for one study, each unit wholly in one of its parts."""

    train: Units
    holdout: Units

    @classmethod
    def none_held_out(cls, units: Units) -> "Parted":
        """All units to learn from."""
        return cls(units, Units(units.codes[:0], units.owner[:0]))

    def of(self, part: Part) -> Units:
        """The units that answer steps of a part."""
        match part:
            case Part.TRAIN:
                return self.train
            case Part.HOLDOUT:
                return self.holdout

    @property
    def rows(self) -> int:
        """Rows of both."""
        return self.train.owner.size + self.holdout.owner.size


@dataclass(frozen=True)
class Claim:
    """What answering a task will cost and how long the answer is, stated before any row is read."""

    event: Event
    size: int


@dataclass(frozen=True)
class Parts:
    """A task taken apart for the wire: a kind, lists of integers, one flat tensor (maybe empty)."""

    kind: str
    lists: tuple[tuple[int, ...], ...] = ()
    tensor: Weights = field(default_factory=lambda: np.zeros(0, dtype=np.float32), repr=False)


class Layout(Protocol):
    """How rows fall into the cells of a histogram. Pure: knows the schema and the task, never the site."""

    @property
    def offsets(self) -> Index:
        """Where each table begins in the vector, and the end: shape (groups + 1,), rising from 0 to the size."""
        ...

    def cells(self, codes: Codes) -> Index:
        """The cell of each row in each table, shape (rows, groups): [r, g] lies in [offsets[g], offsets[g + 1])."""
        ...


class Terms(Protocol):
    """Per-row vectors g_r of one micro-batch, dense or in closed form (never materialised), on an integer grid.

    Contract, on which exactness and the privacy bound rest. For weights w_r >= 0 there are integer vectors q_r with
    |q_r|_2 <= scale.SUM_GRID * w_r * sqrt(squared_norms()[r]), each a function of its own row, of w_r and of public
    values only, and `weighted_sum(w)` is exactly their sum. A closed form keeps it by rounding one factor of each outer
    product to the grid before norms are taken and truncating the other, weighted, factor towards zero:
    q = alpha (x) trunc(w * delta * 2^s) with alpha = rint(a * 2^p), p + s = scale.SUM_GRID_BITS and norms taken of
    alpha / 2^p. All factors and products are integers below 2^53, so float64 matrix products add them without rounding,
    in any order.
    """

    def squared_norms(self) -> Real:
        """|g_r|^2 in float64, shape (slots,); not finite where g_r is not finite."""
        ...

    def weighted_sum(self, weights: Real) -> Real:
        """Sum of the q_r, integers in float64, shape (size,); a row of weight 0 adds exactly 0, whatever it holds."""
        ...


class TermsOf(Protocol):
    """The per-row query of a clipped sum. Rows must not influence each other: no operation across axis 0."""

    @property
    def size(self) -> int:
        """Length of each g_r."""
        ...

    def __call__(self, codes: Codes) -> Terms:
        """Terms of a micro-batch of fixed shape (slots, columns)."""
        ...


class RowGradients(Protocol):
    """Gradients of rows and of public rows (fakes) at fixed weights, computed together, in blocks of a fixed shape.

    Rows must not influence each other, nor be remembered: the same block of the same codes gives the same numbers.
    """

    @property
    def size(self) -> int:
        """Length of a gradient."""
        ...

    @property
    def public_weight(self) -> float:
        """What each public row counts for, where a unit counts for one."""
        ...

    def __call__(self, block: int, codes: Codes) -> tuple[Weights, Weights]:
        """Of rows, shape (slots, size), and of the public rows of block number `block`, shape (any, size)."""
        ...


class Noised(Protocol):
    """An answer that carries its noise. Opaque: an engine can hand it to the gate and do nothing else with it."""


class Mechanism(Protocol):
    """The only source of noise at a site. It bounds every unit itself and remembers what it did.

    No verb takes a sensitivity: it follows from what the verb bounded. `multiplier` None asks for no noise, which only
    a simulation's source of noise grants.
    """

    def histogram(self, units: Units, layout: Layout, *, multiplier: Fraction | None) -> Noised:
        """Noisy counts over `layout`, in grid units of `scale.HISTOGRAM_GRID` a unit.

        Formal guarantee: a unit's rows weigh floor(grid / rows of the unit) each, so it moves every table by at most
        `grid` in L1, hence the vector by at most grid * sqrt(groups) in L2, in integers, whatever its rows hold.
        """
        ...

    def clipped_sum(self, units: Units, terms: TermsOf, *, multiplier: Fraction | None) -> Noised:
        """Noisy sum of rows' vectors, each scaled to L2 norm <= 1 and weighted 1 / rows of its unit, on `scale`'s grid.

        Formal guarantee: see client/mechanism.py; the integer sensitivity is `scale.clipped_sum_sensitivity`.
        """
        ...

    def sampled_sum(
        self, units: Units, gradients: RowGradients, *, rate: Fraction, multiplier: Fraction | None
    ) -> Noised:
        """Noisy sum over a fresh Poisson sample of units: a unit's rows are averaged, then clipped to L2 norm <= 1.

        Public rows are clipped alike and added, times their weight; on `scale`'s grid. Only where a site adds all of
        the noise itself. Formal guarantee: see client/mechanism.py.
        """
        ...

    def learn(self, learner: "Learner[Ask]", perform: "Callable[[Ask], Noised]") -> Noised:
        """What `learner` makes of the noised sums that it asks `perform` for, one after the other.

        Only where a site adds all of the noise itself. Formal guarantee: the answer is post-processing of the sums,
        each of which is remembered as an event; the learner is told nothing else.
        """
        ...


Ask = TypeVar("Ask")


class Learner(Protocol[Ask]):
    """What learns at a site, by itself, from that site's noised sums. It is never handed a row, nor anything exact."""

    def next(self) -> Ask | None:
        """The next sum it wants, or None when it has learnt what the task asks."""
        ...

    def absorb(self, ask: Ask, total: Vector) -> None:
        """Take in the noised sum for `ask`, shape as the verb gives it."""
        ...

    def answer(self) -> Vector:
        """The integers that leave."""
        ...


TaskIn = TypeVar("TaskIn", contravariant=True)
Task = TypeVar("Task")
TaskOut = TypeVar("TaskOut", covariant=True)


@dataclass(frozen=True)
class Each(Generic[TaskOut]):
    """A task for each site, by its name: only with `trust = "local"`, where each answer may be seen by itself."""

    tasks: Mapping[str, TaskOut] = field(repr=False)


State = TypeVar("State")


class SiteHalf(Protocol[TaskIn]):
    """What runs beside the rows."""

    def claim(self, task: TaskIn) -> Claim:
        """The price of a task: depends on task and study only, never on rows. Raises MalformedFrame on a bad task."""
        ...

    def answer(self, task: TaskIn, units: Units, mechanism: Mechanism) -> Noised:
        """The task's answer, as the mechanism returned it."""
        ...


class Generator(Protocol):
    """A finished model: the product of a study."""

    def sample(self, rows: int, rng: np.random.Generator) -> Codes:
        """Fine cells of synthetic rows, shape (rows, columns)."""
        ...


@runtime_checkable
class Diagnosed(Protocol):
    """A generator that knows how well it fits the noisy counts it was learnt from: free, and private like they are."""

    @property
    def misfit(self) -> float:
        """Chi-square per counted cell: about 1 where nothing is missed but noise."""
        ...


class CoordinatorHalf(Protocol[State, Task]):
    """What learns from totals. Pure: no clock, no file, no network; its state is data, so a study can resume."""

    def start(self) -> State:
        """The state before the first task."""
        ...

    def next(self, state: State) -> Task | Each[Task] | None:
        """The next task for all sites, or one for each, or None when enough is known."""
        ...

    def absorb(self, state: State, task: Task, total: Vector) -> State:
        """The state after the sum over all sites for `task` is known."""
        ...

    def absorb_each(self, state: State, tasks: Mapping[str, Task], answers: Mapping[str, Vector]) -> State:
        """The state after each site's own answer to its task is known."""
        ...

    def finish(self, state: State) -> Generator:
        """The generator: post-processing of noisy totals, free of charge."""
        ...

    def units(self, state: State) -> float:
        """About how many units all sites have together, by the noisy totals."""
        ...

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """The state as named arrays, for the journal."""
        ...

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """The state that `freeze` gave."""
        ...
