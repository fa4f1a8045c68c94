"""All attacks on one table, in order; what cannot be run says why."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from silosynth.common.errors import NotPossible
from silosynth.common.evaluate.attacks import copies, distance, inference, linkability, membership, singling_out
from silosynth.common.evaluate.attacks.outcome import Attack, Attacks, Skipped
from silosynth.common.evaluate.attacks.scene import Budget, Scene, scene
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.tables import Table
from silosynth.common.progress import Progress, silent

ATTACKS: Final[Mapping[str, Callable[[Scene, np.random.Generator], Attack]]] = MappingProxyType(
    {
        copies.NAME: copies.copies,
        distance.DCR: distance.dcr,
        distance.NNDR: distance.nndr,
        membership.NAME: membership.membership,
        singling_out.UNIVARIATE: singling_out.univariate,
        singling_out.MULTIVARIATE: singling_out.multivariate,
        linkability.NAME: linkability.linkability,
        inference.NAME: inference.inference,
    }
)


def attack_all(
    train: Grouped,
    holdout: Grouped,
    synthetic: Table,
    rng: np.random.Generator,
    *,
    budget: Budget | None = None,
    progress: Progress = silent,
) -> Attacks:
    """Every attack on `synthetic` by one who has it and knows the people, members (trained on) or not (held out).

    Pure: the same arguments give the same outcome. Raises ValueError for tables of unlike columns.
    """
    if not len(train.table.columns) == len(holdout.table.columns) == len(synthetic.columns):
        raise ValueError("training, held-out and synthetic rows must have the same columns")
    try:
        on = scene(train, holdout, synthetic, rng, budget or Budget())
    except NotPossible as why:
        return Attacks((), tuple(Skipped(name, str(why)) for name in ATTACKS), _rows(train, holdout, synthetic, None))
    done: list[Attack] = []
    skipped: list[Skipped] = []
    for at, (name, attack) in enumerate(ATTACKS.items(), 1):
        try:
            done.append(attack(on, rng))
        except NotPossible as why:
            skipped.append(Skipped(name, str(why)))
        progress("attack", at, len(ATTACKS), name)
    return Attacks(tuple(done), tuple(skipped), _rows(train, holdout, synthetic, on))


def _rows(train: Grouped, holdout: Grouped, synthetic: Table, on: Scene | None) -> tuple[tuple[str, int], ...]:
    rows = [("train", train.table.rows), ("holdout", holdout.table.rows), ("synthetic", synthetic.rows)]
    if on is not None:
        rows += [("attacked_persons", on.members.persons), ("reference", on.reference.rows)]
        rows += [("published", on.released.rows), ("published_persons", on.published.members.persons)]
    return tuple(rows)
