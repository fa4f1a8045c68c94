"""Distance to the closest record: do people who were trained on lie nearer to the synthetic rows than others do?

Averages and shares over all rows miss a table that repeats one row in twenty; so the attacker accuses only the nearest,
as many as cost one false accusation in a hundred of the control group. Distances: space.py.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from silosynth.common.arrays import Real
from silosynth.common.evaluate.attacks.chance import Ranking, lead, per_person, ranking, rate
from silosynth.common.evaluate.attacks.outcome import Attack
from silosynth.common.evaluate.attacks.scene import Near, Scene

DCR: Final = "dcr"
NNDR: Final = "nndr"

AT: Final = 0.01

Score = Callable[[Near], Real]
"""Of rows, shape (rows,); higher for whoever looks more like a member."""

_METHOD = "accused: those above the control group's highest 1 %; exact test of that share, and Mann-Whitney's of all"


def dcr(scene: Scene, rng: np.random.Generator) -> Attack:
    """Distance to the closest record."""
    says = "How many people stand nearer to a synthetic row than the nearest 1 % of those who were not in the data."
    return _accused(scene, rng, lambda near: -near.attacked[:, 0], AT, (DCR, says, _METHOD))


def nndr(scene: Scene, rng: np.random.Generator) -> Attack:
    """Nearest neighbour distance ratio: the closest record's over the second closest's, which tells crowds apart."""
    says = "How many people have one synthetic row much nearer than any other, as a copied row would be."
    return _accused(scene, rng, _ratio, AT, (NNDR, says, _METHOD))


def _ratio(near: Near) -> Real:
    first, second = near.attacked[:, 0], near.attacked[:, min(1, near.attacked.shape[1] - 1)]
    return -np.divide(first, second, out=np.ones_like(first), where=second > 0)


def _accused(scene: Scene, rng: np.random.Generator, score: Score, at: float, words: tuple[str, str, str]) -> Attack:
    """The lead among the accused; `words`: name, what it says, method."""
    name, says, method = words
    found, best = rankings(scene, rng, score, at)
    members, control = rate(found.members), rate(found.control)
    ahead = lead(members, control, (rate(best.members), rate(best.control)))
    return Attack(name, says, method, "persons", members, control, replace(ahead, p_value=found.p_value), found)


def rankings(scene: Scene, rng: np.random.Generator, score: Score, at: float) -> tuple[Ranking, Ranking]:
    """Of persons, by the highest score among their rows: with the synthetic rows, and with the real ones published."""
    return _ranking(scene, rng, score, at), _ranking(scene.published, rng, score, at)


def _ranking(scene: Scene, rng: np.random.Generator, score: Score, at: float) -> Ranking:
    groups = zip((scene.members, scene.control), scene.near, strict=True)
    members, control = (per_person(score(near), group.owner, group.persons) for group, near in groups)
    return ranking(members, control, at, rng)
