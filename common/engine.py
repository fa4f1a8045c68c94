"""An engine learns a generator from sums over sites. It has two halves that share only tasks.

The coordinator's half never sees a row; the site's half never sees another site, cannot make noise, cannot state a
sensitivity and cannot send. Between them stand the gate (client/gate.py) and the sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Codes, Index, Real, Vector, Weights
from silosynth.common.privacy import Event


@dataclass(frozen=True)
class Units:
    """The rows one site answers with, as fine cells, and whose they are.

    `owner[r]` is the unit (person) of row r, in [0, units); a unit's rows share its weight of one. Nothing about this
    object but its type may leave the site: not its length, not its shape.
    """

    codes: Codes = field(repr=False)  # (rows, columns)
    owner: Index = field(repr=False)  # (rows,)


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
    def size(self) -> int:
        """Cells in all."""
        ...

    @property
    def groups(self) -> int:
        """Tables measured together: each row falls into one cell of each."""
        ...

    def cells(self, codes: Codes) -> Index:
        """The cell of each row in each table, shape (rows, groups), values in [0, size); tables do not share cells."""
        ...


class Terms(Protocol):
    """Per-row vectors g_r of one micro-batch, dense or in closed form (never materialised)."""

    def squared_norms(self) -> Real:
        """|g_r|^2 in float64, shape (slots,); not finite where g_r is not finite."""
        ...

    def weighted_sum(self, weights: Real) -> Real:
        """Sum over r of weights[r] * g_r in float64, shape (size,); a row of weight 0 adds exactly 0, whatever it holds."""
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


class Noised(Protocol):
    """An answer that carries its noise. Opaque: an engine can hand it to the gate and do nothing else with it."""


class Mechanism(Protocol):
    """The only source of noise at a site. It bounds every unit itself and remembers what it did.

    No verb takes a sensitivity: it follows from what the verb bounded.
    """

    def histogram(self, units: Units, layout: Layout, *, multiplier: Fraction) -> Noised:
        """Noisy counts over `layout`, in grid units of `scale.HISTOGRAM_GRID` a unit.

        Formal guarantee: a unit's rows weigh floor(grid / rows of the unit) each, so it moves every table by at most
        `grid` in L1, hence the vector by at most grid * sqrt(groups) in L2, in integers, whatever its rows hold.
        """
        ...

    def clipped_sum(self, units: Units, terms: TermsOf, *, multiplier: Fraction) -> Noised:
        """Noisy sum of rows' vectors, each scaled to L2 norm <= 1 and weighted 1 / rows of its unit, on `scale`'s grid.

        Formal guarantee: see client/mechanism.py; the integer sensitivity is `scale.clipped_sum_sensitivity`.
        """
        ...


TaskIn = TypeVar("TaskIn", contravariant=True)
Task = TypeVar("Task")
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


class CoordinatorHalf(Protocol[State, Task]):
    """What learns from totals. Pure: no clock, no file, no network; its state is data, so a study can resume."""

    def start(self) -> State:
        """The state before the first task."""
        ...

    def next(self, state: State) -> Task | None:
        """The next task, or None when enough is known."""
        ...

    def absorb(self, state: State, task: Task, total: Vector) -> State:
        """The state after the sum over all sites for `task` is known."""
        ...

    def finish(self, state: State) -> Generator:
        """The generator: post-processing of noisy totals, free of charge."""
        ...

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """The state as named arrays, for the journal."""
        ...

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """The state that `freeze` gave."""
        ...
