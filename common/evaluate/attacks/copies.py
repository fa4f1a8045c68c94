"""Exact copies: whose rows stand in the synthetic table, to the last digit?

Real tables hold twins, so some people are found who never were in the data; the control group says how many.
"""

from typing import Final

import numpy as np

from silosynth.common.evaluate.attacks.chance import Flags, lead, rate
from silosynth.common.evaluate.attacks.outcome import Attack
from silosynth.common.evaluate.attacks.scene import Scene
from silosynth.common.evaluate.detection import Grouped, copied
from silosynth.common.evaluate.tables import Table

NAME: Final = "copies"

_SAYS = "How many people have a row that stands in the synthetic table unchanged."
_METHOD = "all held-out persons and as many members; equal in every column; Fisher's exact test"


def copies(scene: Scene, rng: np.random.Generator) -> Attack:
    """All of the smaller group, and as many of the other one; of every person all rows."""
    published = scene.train.table

    def persons(among: Table) -> tuple[Flags, Flags]:
        return _found(scene.train, among), _found(scene.holdout, among)

    (trained, held), (own, twins) = persons(scene.attacked), persons(published)
    size = min(len(trained), len(held))
    some, others = rng.permutation(len(trained))[:size], rng.permutation(len(held))[:size]
    members, control = rate(trained[some]), rate(held[others])
    ahead = lead(members, control, (rate(own[some]), rate(twins[others])))
    return Attack(NAME, _SAYS, _METHOD, "persons", members, control, ahead)


def _found(side: Grouped, among: Table) -> Flags:
    """Whether any row of a person stands among those rows, (persons,)."""
    owner = np.unique(side.units, return_inverse=True)[1]
    return np.bincount(owner, weights=copied(side.table, among, spans(among))) > 0


def spans(table: Table) -> tuple[float, ...]:
    """The largest absolute value of each column; 1 for codes."""
    return tuple(
        float(np.nanmax(np.abs(column), initial=0.0)) if column.dtype == np.float64 else 1.0 for column in table.columns
    )
