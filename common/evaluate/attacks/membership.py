"""Membership inference by density ratio: is a place denser in the synthetic table than among people in general?

The score of van Breugel et al. 2023 (DOMIAS), log p_synthetic(x) - log p_reference(x), with both densities from a
narrow kernel on the five nearest rows of each table, the mean of 1 / distance: a copy outweighs its neighbours. The
attacker has a sample of people of the same kind, none of them members: half of the hold-out. What is reported is who is
recognised at one false accusation in a thousand (Carlini et al. 2022), beside the whole AUC.
"""

from typing import Final

import numpy as np

from silosynth.common.arrays import Real
from silosynth.common.evaluate.attacks.chance import Lead, rate
from silosynth.common.evaluate.attacks.distance import rankings
from silosynth.common.evaluate.attacks.outcome import Attack
from silosynth.common.evaluate.attacks.scene import Near, Scene

NAME: Final = "membership"
AT: Final = 0.001

_FINEST = 0.001  # of the median distance: nearer is the same place
_SAYS = "How many people can be recognised as members by somebody who falsely accuses 1 in 1,000 of the others."
_METHOD = (
    "density ratio from five nearest neighbours, half of the hold-out as reference; accused: those above the control "
    "group's highest 0.1 %; lead: 2 AUC - 1, because at so few false accusations twins among real people decide; exact "
    "test of the accused, and Mann-Whitney's of all"
)


def membership(scene: Scene, rng: np.random.Generator) -> Attack:
    """Persons by the highest ratio among their rows."""
    finest = _FINEST * float(np.median(np.concatenate([near.reference[:, 0] for near in scene.near]))) or 1e-9

    def score(near: Near) -> Real:
        attacked, reference = (np.log((1 / (side + finest)).mean(axis=1)) for side in (near.attacked, near.reference))
        return np.asarray(attacked - reference)

    found, best = rankings(scene, rng, score, AT)
    low, high = found.auc_interval
    ahead = Lead(2 * found.auc - 1, (2 * low - 1, 2 * high - 1), found.p_value, 2 * best.auc - 1)
    return Attack(NAME, _SAYS, _METHOD, "persons", rate(found.members), rate(found.control), ahead, found)
