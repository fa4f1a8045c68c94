"""What held-out units said, as the report shows it: scores with error bars, and codes that are lost or unknown."""

import math
from typing import Final

from silosynth.common.evaluate.federated import Code, Federated, Measure, says
from silosynth.common.evaluate.sections import FederatedScore, FederatedScores, RareCode

_INTERVAL: Final = "Intervals say where the exact scores of these very persons lie, by the known noise of the sums."


def shown(said: Federated, epsilon: float | None, delta: float) -> tuple[FederatedScores, tuple[RareCode, ...]]:
    """A federated evaluation, and what it says of codes. `epsilon`: of all that was asked in it; None: no bound."""
    scores = tuple(_score(name, one) for name, one in said.scores.items() if math.isfinite(one.value))
    columns = sorted(said.columns.items(), key=lambda named: -named[1].value)
    worst = tuple(_score(f"1-way distance of {name}", one) for name, one in columns[:3] if math.isfinite(one.value))
    return FederatedScores(epsilon, delta, scores + worst, (_INTERVAL,)), tuple(map(_code, said.codes))


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
