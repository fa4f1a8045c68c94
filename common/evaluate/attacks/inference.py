"""Attribute inference: does the nearest synthetic row tell a secret of somebody whose other columns are known?

After Giomi et al. 2023 (anonymeter), with one addition: the attacker speaks only about the tenth of all targets that
have the nearest synthetic rows, because whoever means harm acts where the table seems sure. Every column that varies is
the secret of some of the targets, in turn.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Real
from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.attacks.chance import Flags, Rate, lead, rate
from silosynth.common.evaluate.attacks.outcome import Attack
from silosynth.common.evaluate.attacks.scene import Scene
from silosynth.common.evaluate.attacks.space import nearest
from silosynth.common.evaluate.tables import Table

NAME: Final = "inference"
SUREST: Final = 0.1
TOLERANCE: Final = 0.05
"""Of the spread between the 5th and the 95th percentile: how near a guessed number must be."""

_SAYS = "How often a value unknown about a person is guessed right from the rest, by one who guesses only when sure."
_METHOD = (
    "one row a person; guess: the nearest synthetic row's; counted: right guesses among the tenth of all targets with "
    "the nearest rows; numbers within 5 % of the column's spread; Fisher's exact test"
)


@dataclass(frozen=True)
class _Guess:
    """Of each target: whether the guess was right, and how far the row was that it came from."""

    right: Flags
    distance: Real


def inference(scene: Scene, rng: np.random.Generator) -> Attack:
    """Raises NotPossible for fewer than two columns, or where none of them varies."""
    secrets = [at for at, column in enumerate(scene.attacked.columns) if _varies(column)]
    if len(scene.levels) <= 1 or not secrets:
        raise NotPossible("a secret needs a column that varies, and another one to guess it from")
    order = [int(at) for at in rng.permutation(secrets)]
    members, control = _rates(scene, order)
    ahead = lead(members, control, _rates(scene.published, order))
    return Attack(NAME, _SAYS, _METHOD, "persons", members, control, ahead)


def _rates(scene: Scene, secrets: list[int]) -> tuple[Rate, Rate]:
    """Right guesses among the surest tenth of both groups together, of all members and of all controls."""
    members, control = (_guesses(scene, group.one_each, secrets) for group in (scene.members, scene.control))
    sure = float(np.quantile(np.concatenate([members.distance, control.distance]), SUREST))
    spoken = (rate(group.right & (group.distance <= sure)) for group in (members, control))
    first, second = spoken
    return first, second


def _guesses(scene: Scene, targets: Table, secrets: list[int]) -> _Guess:
    right, distance = np.zeros(targets.rows, dtype=np.bool_), np.zeros(targets.rows)
    points, among = scene.space.points(targets), scene.points.copy()
    for at, secret in enumerate(secrets):
        own = np.arange(at, targets.rows, len(secrets))
        if not len(own):
            continue
        span, column = scene.space.spans[secret], scene.attacked.columns[secret]
        points[own, span] = among[:, span] = 0  # nobody knows it
        far, found = nearest(points[own], among, 1)
        among[:, span] = scene.points[:, span]
        right[own] = _alike(column[found[:, 0]], targets.columns[secret][own], column)
        distance[own] = far[:, 0]
    return _Guess(right, distance)


def _alike(guessed: NDArray[Any], true: NDArray[Any], column: NDArray[Any]) -> Flags:
    if column.dtype != np.float64:
        return np.asarray(guessed == true)
    low, high = np.nanquantile(column, [0.05, 0.95])
    near = np.abs(guessed - true) <= TOLERANCE * (high - low)
    return np.asarray(near | (np.isnan(guessed) & np.isnan(true)))


def _varies(column: NDArray[Any]) -> bool:
    if column.dtype == np.float64 and np.isnan(column).all():
        return False
    return len(np.unique(column)) > 1
