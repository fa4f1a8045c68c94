"""Singling out: do predicates that hold for one synthetic row hold for exactly one real person?

After Cohen, Nissim 2020 and Giomi et al. 2023 (anonymeter). A predicate is made from a synthetic row that is the only
one to fulfil it: one extreme or unique value (univariate), or values and bounds in several columns (multivariate). It
singles out if exactly one person of a real table fulfils it. Many do by chance: the same predicates are tried on
equally large tables of members and of held-out persons.

Predicates that hold for the same person are one discovery. So they are taken in random order, and one that touches a
person who was touched before is left out; the rest are independent trials.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index
from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.attacks.chance import Flags, Lead, mcnemar, paired, rate
from silosynth.common.evaluate.attacks.outcome import Attack
from silosynth.common.evaluate.attacks.scene import Budget, Scene
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.tables import Table

UNIVARIATE: Final = "singling_out_univariate"
MULTIVARIATE: Final = "singling_out_multivariate"

TRIES: Final = 5
"""Predicates made for each that is wanted: not every one holds for one synthetic row only."""

_METHOD = (
    "predicates true of one synthetic row; a hit is true of one real person, in equally large tables of members and of "
    "held-out persons; each person counted once; McNemar's exact test"
)

Operator: TypeAlias = Literal["==", "<=", ">="]
Term: TypeAlias = tuple[int, Operator, float]  # column, operator, value; for codes their position, -1 for missing
Predicate: TypeAlias = tuple[Term, ...]


def univariate(scene: Scene, rng: np.random.Generator) -> Attack:
    """One column at a time."""
    says = "How often an extreme or unique value of the synthetic table belongs to exactly one real person."
    return _attack(scene, rng, (UNIVARIATE, says), multivariate=False)


def multivariate(scene: Scene, rng: np.random.Generator) -> Attack:
    """Several columns together."""
    says = "How often a combination of values that one synthetic row has describes exactly one real person."
    return _attack(scene, rng, (MULTIVARIATE, says), multivariate=True)


@dataclass(frozen=True)
class _Real:
    """Equally many persons of both sides, stacked. `owner`: in [0, 2 * persons), the members' first."""

    rows: Table
    owner: Index = field(repr=False)
    persons: int


def _attack(scene: Scene, rng: np.random.Generator, words: tuple[str, str], *, multivariate: bool) -> Attack:
    real = _real(scene, rng)
    made = _some(scene.attacked, scene.budget, rng)
    members, control = _hits(_predicates(made, scene.budget.predicates, rng, multivariate=multivariate), real)
    if not len(members):
        raise NotPossible("no combination of values belongs to one synthetic row alone")
    own = real.rows.take(np.flatnonzero(real.owner < real.persons))
    best = _hits(_predicates(own, scene.budget.published, rng, multivariate=multivariate), real)
    ceiling = float(best[0].mean() - best[1].mean()) if len(best[0]) else 0.0
    chance = mcnemar(int((members & ~control).sum()), int((control & ~members).sum()))
    ahead = Lead(float(members.mean() - control.mean()), paired(members, control), chance, ceiling)
    return Attack(*words, _METHOD, "predicates", rate(members), rate(control), ahead)


def _real(scene: Scene, rng: np.random.Generator) -> _Real:
    sides = [(side, np.unique(side.units, return_inverse=True)[1]) for side in (scene.train, scene.holdout)]
    persons = min(int(owner.max()) + 1 for _, owner in sides)
    affordable = [len(owner) / (int(owner.max()) + 1) for _, owner in sides]
    persons = min(persons, max(1, int(scene.budget.predicate_rows / max(affordable))))
    tables, owners = zip(*(_first(side, owner, persons, rng) for side, owner in sides), strict=True)
    columns = tuple(np.concatenate(pair) for pair in zip(*(table.columns for table in tables), strict=True))
    return _Real(
        Table(columns, sum(table.rows for table in tables)), np.append(owners[0], owners[1] + persons), persons
    )


def _first(side: Grouped, owner: Index, persons: int, rng: np.random.Generator) -> tuple[Table, Index]:
    number = rng.permutation(int(owner.max()) + 1)[owner]
    kept = np.flatnonzero(number < persons)
    return side.table.take(kept), number[kept]


def _some(table: Table, budget: Budget, rng: np.random.Generator) -> Table:
    return table.take(rng.permutation(table.rows)[: budget.predicate_rows])


def _hits(predicates: Iterator[Predicate], real: _Real) -> tuple[Flags, Flags]:
    """Whether each kept predicate singles out a member, and a held-out person: (predicates,) each."""
    touched = np.zeros(2 * real.persons, dtype=np.bool_)
    members: list[bool] = []
    control: list[bool] = []
    for predicate in predicates:
        persons = np.unique(real.owner[holds(predicate, real.rows)])
        if touched[persons].any():
            continue
        touched[persons] = True
        split = int(np.searchsorted(persons, real.persons))
        members.append(split == 1)
        control.append(len(persons) - split == 1)
    return np.array(members, dtype=np.bool_), np.array(control, dtype=np.bool_)


def holds(predicate: Predicate, table: Table) -> Index:
    """Positions of the rows for which it is true. A missing value fulfils no bound, and equals missing only."""
    rows = np.flatnonzero(_meets(predicate[0], table.columns[predicate[0][0]]))
    for term in predicate[1:]:
        rows = rows[_meets(term, table.columns[term[0]][rows])]
    return rows


def _meets(term: Term, values: NDArray[Any]) -> Flags:
    _, operator, value = term
    if operator == "==":
        return np.isnan(values) if np.isnan(value) else np.asarray(values == value)
    return np.asarray(values <= value if operator == "<=" else values >= value)


def _predicates(made: Table, wanted: int, rng: np.random.Generator, *, multivariate: bool) -> Iterator[Predicate]:
    """At most `wanted` predicates, each true of one row of `made`, in random order."""
    if not multivariate:
        alone = _alone(made)
        yield from ((alone[at],) for at in rng.permutation(len(alone))[:wanted])
        return
    middles = [_middle(made, at) for at in range(len(made.columns))]
    most, found = len(made.columns), 0
    for _ in range(TRIES * wanted if most > 1 else 0):
        row = int(rng.integers(made.rows))
        columns = rng.permutation(most)[: int(rng.integers(2, most + 1))]
        predicate = tuple(_term(made, int(at), row, middles[at]) for at in columns)
        if len(holds(predicate, made)) == 1:
            found += 1
            yield predicate
        if found == wanted:
            return


def _middle(made: Table, at: int) -> float | None:
    column = made.columns[at]
    if column.dtype != np.float64 or np.isnan(column).all():
        return None
    return float(np.nanmedian(column))


def _term(made: Table, at: int, row: int, middle: float | None) -> Term:
    """The row's own code, or all values as extreme as its own, seen from the middle."""
    value = float(made.columns[at][row])
    if middle is None or np.isnan(value):
        return at, "==", value
    return at, ">=" if value > middle else "<=", value


def _alone(made: Table) -> list[Term]:
    """Values that one row alone has, missing included, and the bounds that only one row meets."""
    terms: list[Term] = []
    for at, column in enumerate(made.columns):
        values, counts = np.unique(column, return_counts=True)  # one NaN for all
        terms += [(at, "==", float(value)) for value in values[counts == 1]]
        if column.dtype == np.float64 and not np.isnan(column).all():
            low, high = float(np.nanmin(column)), float(np.nanmax(column))
            terms += [(at, "<=", low)] if (column == low).sum() == 1 else []
            terms += [(at, ">=", high)] if (column == high).sum() == 1 else []
    return terms
