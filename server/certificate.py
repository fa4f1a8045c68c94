"""What a study cost its units, recomputed from the releases that were performed and from nothing else."""

import importlib.metadata
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from silosynth.common.accounting import epsilon
from silosynth.common.privacy import Composed, Event, Gaussian, NoPrivacy, Repeated, View, mu_squared
from silosynth.common.study import Step, Study, Trust

FORMAT: Final = 1
AGGREGATION: Final = "plain-sum"


class Noise(StrEnum):
    """Where the noise of a study came from, as its certificate says it."""

    SYSTEM = "discrete Gaussian from the operating system's randomness"
    NONE = "none: NO PRIVACY"
    SEEDED = "seeded: NO PRIVACY"


@dataclass(frozen=True)
class Prices:
    """Epsilon at the study's delta, against the adversaries of both views; inf without noise."""

    aggregate: float
    local: float


def performed(study: Study, releases: int) -> Composed:
    """The events of the first `releases` sums of the plan, in order."""
    return Composed(tuple(_event(study, step, count) for step, count in _steps(study, releases)))


def prices(study: Study, releases: int) -> Prices:
    """What the first `releases` sums cost a unit."""
    if any(step.multiplier is None for step, _ in _steps(study, releases)):
        return Prices(math.inf, math.inf)
    events, delta = performed(study, releases), study.budget.delta
    return Prices(*(epsilon(mu_squared(events, view), delta) for view in (View.AGGREGATE, View.LOCAL)))


def certificate(study: Study, releases: int, noise: Noise, receipts: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The content of certificate.json: enough to recompute both epsilons by hand.

    Noise that somebody can predict protects nobody, whatever its size: then epsilon is "inf", and what the same plan
    would cost with real noise stands under "epsilon_with_real_noise".
    """
    computed = prices(study, releases)
    claimed = computed if noise is Noise.SYSTEM else Prices(math.inf, math.inf)
    content = {
        "format": FORMAT,
        "study": study.digest,
        "name": study.name,
        "unit": f"person: {study.unit}" if study.unit else "row",
        "delta": study.budget.delta,
        "epsilon": _pair(claimed),
        "holds_against": holds_against(study),
        "assumptions": {
            "sites": len(study.roster),
            "colluders": study.budget.colluders,
            "threshold": len(study.roster),
            "trust": str(study.trust),
        },
        "events": [_described(study, step, count) for step, count in _steps(study, releases)],
        "aggregation": AGGREGATION,
        "noise": str(noise),
        "receipts": dict(receipts),
        "code": f"silosynth {importlib.metadata.version('silosynth')}",
    }
    if noise is Noise.SEEDED:
        content["epsilon_with_real_noise"] = _pair(computed)
    return content


def holds_against(study: Study) -> dict[str, str]:
    """The adversary of each epsilon, in words."""
    if study.trust is Trust.LOCAL:
        everybody = "everybody, all other sites and the coordinator together included"
        return {"aggregate": everybody, "local": everybody}
    return {
        "aggregate": (
            f"everybody who sees only totals and what follows from them, with at most {study.budget.colluders} of "
            f"{len(study.roster)} sites; sums were plain here, so the coordinator itself falls under the other figure"
        ),
        "local": "the coordinator and all other sites together",
    }


def _steps(study: Study, releases: int) -> list[tuple[Step, int]]:
    found = []
    for step in study.plan:
        count = min(step.repeats, releases)
        releases -= count
        if count:
            found.append((step, count))
    return found


def _event(study: Study, step: Step, count: int) -> Event:
    return Repeated(count, NoPrivacy() if step.multiplier is None else Gaussian(step.multiplier, study.shares))


def _described(study: Study, step: Step, count: int) -> dict[str, Any]:
    if step.multiplier is None:
        return {"kind": step.kind, "count": count, "mechanism": "none"}
    event = _event(study, step, count)
    return {
        "kind": step.kind,
        "count": count,
        "mechanism": "gaussian",
        "multiplier": str(step.multiplier),
        "shares": study.shares,
        "mu_squared": {str(view): str(mu_squared(event, view)) for view in View},
    }


def _pair(both: Prices) -> dict[str, float | str]:
    return {
        name: value if math.isfinite(value) else "inf"
        for name, value in (("aggregate", both.aggregate), ("local", both.local))
    }
