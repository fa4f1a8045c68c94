"""What a study cost its units, recomputed from the releases that were performed and from nothing else."""

import importlib.metadata
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from silosynth.common.accounting import epsilon
from silosynth.common.privacy import Composed, Event, Repeated, View, mu_squared
from silosynth.common.sampled import epsilon_of, is_sampled
from silosynth.common.study import Step, Study, Trust

FORMAT: Final = 1
AGGREGATION: Final = "plain-sum"
SAMPLING: Final = "Poisson: a person takes part in a sampled sum by a secret coin of its own, thrown anew for each sum"
ACCOUNTANT: Final = "privacy loss distributions, in both directions, of all releases together"


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
    """The events of the first `releases` of the plan, in order; a certified step is charged whole once it was begun."""
    return Composed(tuple(_event(study, step, count) for step, count in _steps(study, releases)))


def prices(study: Study, releases: int) -> Prices:
    """What the first `releases` cost a unit, if this study is all that the unit is in."""
    if any(step.noiseless for step, _ in _steps(study, releases)):
        return Prices(math.inf, math.inf)
    events, delta = performed(study, releases), study.budget.delta
    return Prices(*(epsilon_of(events, delta, view) for view in (View.AGGREGATE, View.LOCAL)))


def certificate(study: Study, releases: int, noise: Noise, receipts: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The content of certificate.json: enough to recompute both epsilons by hand.

    Noise that somebody can predict protects nobody, whatever its size: then epsilon is "inf", and what the same plan
    would cost with real noise stands under "epsilon_with_real_noise".
    """
    computed = prices(study, releases)
    claimed = computed if noise is Noise.SYSTEM else Prices(math.inf, math.inf)
    content: dict[str, Any] = {
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
    events = performed(study, releases)
    if is_sampled(events):
        content["assumptions"] |= {"sampling": SAMPLING}
        content["accountant"] = ACCOUNTANT
        if math.isfinite(computed.local):
            content["charged_in_ledgers"] = _charged(events, study.budget.delta)
    return content


def _charged(events: Composed, delta: float) -> dict[str, Any]:
    """What sites' ledgers hold for it: more than the study's own epsilon, because it must compose with any other."""
    price = mu_squared(events, View.LOCAL)
    return {"mu_squared": str(price), "epsilon": epsilon(price, delta)}


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
    if step.certified is not None:
        return step.history(study.shares)
    return Repeated(count, step.event(study.shares))


def _described(study: Study, step: Step, count: int) -> dict[str, Any]:
    """A step of the plan, `count` releases of which were performed; a certified one is charged as all `planned`."""
    content = _mechanism(study, step, count)
    if not step.noiseless:
        event = _event(study, step, count)
        content["mu_squared"] = {str(view): str(mu_squared(event, view)) for view in View}
    if step.certified is not None:
        content["planned"] = step.repeats
    return content


def _mechanism(study: Study, step: Step, count: int) -> dict[str, Any]:
    content: dict[str, Any] = {"kind": step.kind, "count": count}
    if step.within:
        inner = [_mechanism(study, sums, sums.repeats) for sums in step.within]
        return content | {"mechanism": "learnt at the site, from these sums each time", "within": inner}
    if step.multiplier is None:
        return content | {"mechanism": "none"}
    noise = {"mechanism": "gaussian", "multiplier": str(step.multiplier), "shares": study.shares}
    return content | noise | ({} if step.rate is None else {"mechanism": "sampled gaussian", "rate": str(step.rate)})


def _pair(both: Prices) -> dict[str, float | str]:
    return {
        name: value if math.isfinite(value) else "inf"
        for name, value in (("aggregate", both.aggregate), ("local", both.local))
    }
