"""The marginals engine: its tasks, how they travel, its hyper-parameters and how it divides a budget.

Nothing but histograms: the fine 1-ways; tables of all pairs of columns in a few coarse bins, and of the target with
every two others, by which the coordinator chooses; then twice those tables that it has chosen, in nearly all bins. The
choice is post-processing of noisy totals, hence free; how many tables are chosen changes their noise, never the price.
The target with each other column is always among the first of them. Everything else is fixed before the start.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeAlias

from silosynth.common.engine import Parts
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import OneWays
from silosynth.common.engines.marginals_tables import Table, Tables, all_pairs, with_target
from silosynth.common.engines.settle import settled
from silosynth.common.engines.share import Share
from silosynth.common.errors import InvalidStudy, MalformedFrame
from silosynth.common.study import Step, Study

ONE_WAYS, PAIRS, TARGET, MARGINALS = "one-ways", "pairs", "target", "marginals"

WIDEST_WITH_TRIPLES: Final = 32
"""Columns beyond which the target is counted with each other column, and up to which with every two of them."""

_FEWEST_WITH_SCREEN = 3  # of two columns there is one pair, and nothing to choose


@dataclass(frozen=True)
class CountOneWays:
    """Count every fine cell of every column."""


@dataclass(frozen=True)
class CountTables:
    """Count tables over bins: all pairs, those with the target, or chosen ones, as `kind` says."""

    kind: str
    coarsening: Coarsening
    tables: tuple[Table, ...]

    @property
    def layout(self) -> Tables:
        """How rows fall into them."""
        return Tables(self.coarsening, self.tables)


Task: TypeAlias = CountOneWays | CountTables


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters; a study overrides them by name under [engine]."""

    bins: int = 24
    """About as many for an ordered column, at most for a coded one, where the noise affords them (affordable_bins)."""
    pair_bins: int = 6
    """About as many for a column where all pairs are counted."""
    triple_bins: int = 4
    """About as many where triples with the target are."""
    rounds: int = 2
    """In which chosen tables are counted."""
    usefulness: float = 5.0
    """Deviations of its noise that a cell of two columns holds on average: bins get no finer (affordable_bins)."""
    cells: int = 100_000
    """Of all tables of the junction tree, at most."""
    iterations: int = 450
    """Of the fit after each round; twice as many after the last."""
    components: int = 800
    """Products that the second head mixes."""
    products: int = 0
    """1 for a mixture of products. 0 for a graphical model: better wherever both were measured, up to 182 columns."""
    tilt: float = 0.3
    """Trust in the graphical model beside counts that it does not hold, times the units; 0: its rows as they are."""
    share_one_ways: float = 0.2
    """Of the budget, in mu^2; what these shares leave pays for the chosen tables."""
    share_pairs: float = 0.08
    share_target: float = 0.05


_MOST = Settings(256, 64, 32, 10, 1000.0, 10_000_000, 10_000, 10_000, 1, 1000.0, 0.9, 0.9, 0.9)
_MAY_BE_NONE = ("products", "share_target", "tilt")


def settings(study: Study) -> Settings:
    """The study's hyper-parameters. Raises InvalidStudy for a name or value that means nothing."""
    found = settled(study, _by_epsilon(study.budget.epsilon), _MOST, _MAY_BE_NONE)
    if found.share_one_ways + found.share_pairs + found.share_target >= 1:
        raise InvalidStudy("engine settings 'share_one_ways', 'share_pairs', 'share_target' must be less than 1")
    if min(found.bins, found.pair_bins, found.triple_bins) == 1:
        raise InvalidStudy("engine settings 'bins', 'pair_bins' and 'triple_bins' must be at least 2")
    return found


def _by_epsilon(epsilon: float) -> Settings:
    """Defaults as measured: a large budget pays for a larger model. Finer bins than these only fill it sooner."""
    ample = 3
    return Settings() if epsilon < ample else Settings(cells=400_000)


def split(study: Study) -> tuple[Share, ...]:
    """How the budget is divided, from public facts only; the shares add up to 1."""
    settled, columns = settings(study), len(study.schema.columns)
    if columns == 1:
        return (Share(ONE_WAYS, 1, Fraction(1)),)
    shares = [Share(ONE_WAYS, 1, Fraction(settled.share_one_ways))]
    if columns >= _FEWEST_WITH_SCREEN:
        shares.append(Share(PAIRS, 1, Fraction(settled.share_pairs)))
    if columns >= _FEWEST_WITH_SCREEN and study.target is not None and settled.share_target:
        shares.append(Share(TARGET, 1, Fraction(settled.share_target)))
    left = 1 - sum((share.share for share in shares), Fraction(0))
    return (*shares, Share(MARGINALS, settled.rounds, left))


def step_of(study: Study, kind: str) -> Step:
    """The plan's step of a kind. Raises MalformedFrame where the study plans none."""
    for step in study.plan:
        if step.kind == kind:
            return step
    raise MalformedFrame("a task must be of a kind that the study plans")


def has_products(study: Study) -> bool:
    """Whether its generator is a mixture of products, because the study says so."""
    return bool(settings(study).products)


def has_triples(study: Study) -> bool:
    """Whether the target is counted with every two other columns, and not with each by itself."""
    return len(study.schema.columns) <= WIDEST_WITH_TRIPLES


def screens_of(study: Study) -> tuple[str, ...]:
    """The kinds of the plan's steps whose tables are counted in order to choose, in its order."""
    return tuple(step.kind for step in study.plan if step.kind in (PAIRS, TARGET))


def screened(study: Study, kind: str) -> tuple[Table, ...]:
    """The tables that are counted in order to choose. Raises MalformedFrame for a kind whose tables are chosen."""
    columns = len(study.schema.columns)
    if kind == PAIRS:
        return all_pairs(columns)
    if kind == TARGET and study.target is not None:
        return with_target(columns, study.schema.index(study.target), 2 if has_triples(study) else 1)
    raise MalformedFrame("tables that must be named")


def with_each(study: Study) -> tuple[Table, ...]:
    """The target with each other column: always counted, in the first round of chosen tables; none without a target.

    A weak but useful predictor is never far off in L1, so a choice by distance would leave it out: on 57,000 patients
    with a target of 11 %, 44 other columns and epsilon 1, AUC .54 of .67 without them, .63 with. Two thousand rows of
    Adult, three seeds: .777 without, .851 with.
    """
    if study.target is None:
        return ()
    return with_target(len(study.schema.columns), study.schema.index(study.target), 1)


def answer_size(study: Study, task: Task) -> int:
    """Length of a task's answer."""
    match task:
        case CountOneWays():
            return int(OneWays(study.schema.sizes).offsets[-1])
        case CountTables():
            return int(task.layout.offsets[-1])


def kind_of(task: Task) -> str:
    """The plan's word for a task."""
    match task:
        case CountOneWays():
            return ONE_WAYS
        case CountTables(kind):
            return kind


def take_apart(task: Task) -> Parts:
    """A task for the wire. Tables are named only where they were chosen."""
    match task:
        case CountOneWays():
            return Parts(ONE_WAYS)
        case CountTables(kind, coarsening, tables):
            return Parts(kind, (*coarsening.maps, *tables) if kind == MARGINALS else coarsening.maps)


def put_together(study: Study, parts: Parts) -> Task:
    """A task from the wire. Raises MalformedFrame unless it is one of this study's and well-formed."""
    if parts.kind not in {step.kind for step in study.plan}:
        raise MalformedFrame("a task must be of a kind that the study plans")
    if parts.tensor.size:
        raise MalformedFrame("a count takes no weights")
    if parts.kind == ONE_WAYS:
        if parts.lists:
            raise MalformedFrame("the 1-ways take no coarsening")
        return CountOneWays()
    columns = len(study.schema.columns)
    coarsening, named = Coarsening(parts.lists[:columns]), parts.lists[columns:]
    coarsening.check(study.schema.sizes)
    if parts.kind != MARGINALS and named:
        raise MalformedFrame("only chosen tables are named")
    task = CountTables(parts.kind, coarsening, named if parts.kind == MARGINALS else screened(study, parts.kind))
    task.layout.check()
    return task
