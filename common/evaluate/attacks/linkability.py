"""Linkability: can two sources that each know half of the columns be joined through the synthetic table?

After Giomi et al. 2023 (anonymeter): somebody has a target's values in half of the columns, somebody else those in the
other half. They look for the nearest synthetic rows, each in its own half; if any row is found by both, they link their
records. The columns are split at random, anew for each quarter of the targets.
"""

from typing import Final

import numpy as np

from silosynth.common.arrays import Index
from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.attacks.chance import Flags, lead, rate
from silosynth.common.evaluate.attacks.outcome import Attack
from silosynth.common.evaluate.attacks.scene import NEIGHBOURS, Scene
from silosynth.common.evaluate.attacks.space import Points, nearest
from silosynth.common.evaluate.tables import Table

NAME: Final = "linkability"
SPLITS: Final = 4

_SAYS = "How often two holders of half a record each can tell, through the synthetic table, that they mean one person."
_METHOD = (
    f"one row a person; {SPLITS} random splits of the columns; {NEIGHBOURS} nearest in each half; Fisher's exact test"
)


def linkability(scene: Scene, rng: np.random.Generator) -> Attack:
    """Raises NotPossible for fewer than two columns."""
    columns = len(scene.levels)
    if columns <= 1:
        raise NotPossible("one column cannot be split between two")
    splits = [rng.permutation(columns) for _ in range(SPLITS)]
    members, control = (rate(_linked(scene, group.one_each, splits)) for group in (scene.members, scene.control))
    real = scene.published
    ceiling = rate(_linked(real, real.members.one_each, splits)), rate(_linked(real, real.control.one_each, splits))
    return Attack(NAME, _SAYS, _METHOD, "persons", members, control, lead(members, control, ceiling))


def _linked(scene: Scene, targets: Table, splits: list[Index]) -> Flags:
    linked, points = np.zeros(targets.rows, dtype=np.bool_), scene.space.points(targets)
    for at, order in enumerate(splits):
        own = np.arange(at, targets.rows, len(splits))
        middle = len(order) // 2
        left, right = (_found(scene, points[own], half.tolist()) for half in (order[:middle], order[middle:]))
        linked[own] = (left[:, :, None] == right[:, None, :]).any(axis=(1, 2))
    return linked


def _found(scene: Scene, points: Points, columns: list[int]) -> Index:
    of = scene.space.of
    return nearest(of(points, columns), of(scene.points, columns), NEIGHBOURS)[1]
