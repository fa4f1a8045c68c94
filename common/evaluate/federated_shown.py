"""What held-out units said, as the report shows it: scores with error bars, and codes that are lost or unknown."""

import math
from typing import Final

from silosynth.common.evaluate.federated import Code, Federated, Measure, says
from silosynth.common.evaluate.sections import FederatedScore, FederatedScores, RareCode
from silosynth.common.privacy import Composed, Part, View
from silosynth.common.sampled import epsilon_of
from silosynth.common.study import Study

_COSTS_NOTHING_MORE: Final = (
    "A held-out person is never trained on, so these answers cost it what training costs the others, and no more."
)
_INTERVAL: Final = "Intervals say where the exact scores of these very persons lie, by the known noise of the sums."


def shown(study: Study, said: Federated) -> tuple[FederatedScores, tuple[RareCode, ...]]:
    """Of a study with a plan: its federated evaluation, and what it says of codes."""
    scores = tuple(_score(name, one) for name, one in said.scores.items() if math.isfinite(one.value))
    columns = sorted(said.columns.items(), key=lambda named: -named[1].value)
    worst = tuple(_score(f"1-way distance of {name}", one) for name, one in columns[:3] if math.isfinite(one.value))
    notes = (_COSTS_NOTHING_MORE, _INTERVAL)
    return FederatedScores(_epsilon(study), study.budget.delta, scores + worst, notes), tuple(map(_code, said.codes))


def _epsilon(study: Study) -> float | None:
    """Of the held-out part of the plan alone, against whoever sees only totals."""
    steps = [step for step in study.plan if step.part is Part.HOLDOUT]
    if any(step.noiseless for step in steps):
        return None
    return epsilon_of(Composed(tuple(step.history(study.shares) for step in steps)), study.budget.delta, View.AGGREGATE)


def _score(name: str, one: Measure) -> FederatedScore:
    model = next((f", {model}" for model in ("boosting", "regression") if name.startswith(f"{model}_")), "")
    try:
        said = f"{says(name)}{model}"
    except KeyError:
        said = name
    return FederatedScore(said, one.value, one.interval, one.exact)


def _code(one: Code) -> RareCode:
    unknown = one.state == "under the noise"
    share = None if unknown else one.share.value
    return RareCode(one.column, one.code, share, one.synthetic, one.share.interval, suppressed=unknown)
