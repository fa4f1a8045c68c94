"""What held-out units said, as the report shows it: scores with error bars, subgroups, codes on one side only."""

import math
from collections.abc import Iterator
from typing import Final, Literal

from silosynth.common.evaluate.federated import Code, Federated, Measure, says
from silosynth.common.evaluate.sections import FederatedScore, FederatedScores, RareCode

_TOLD: Final = ("lost", "invented", "under the noise")
_MOST_NAMED: Final = 12
_NO_TRIPLES: Final = (
    "Tables of three columns were not asked for: most of their cells would lie under the noise, and the budget that "
    "they would take is that of all other scores."
)
_INTERVAL: Final = "Intervals say where the exact scores of these very persons lie, by the known noise of the sums."


def shown(said: Federated, epsilon: float | None, delta: float) -> tuple[FederatedScores, tuple[RareCode, ...]]:
    """A federated evaluation, and what it says of codes. `epsilon`: of all that was asked in it; None: no bound."""
    scores = tuple(_score(name, one) for name, one in said.scores.items() if math.isfinite(one.value))
    columns = sorted(said.columns.items(), key=lambda named: -named[1].value)
    worst = tuple(_score(f"1-way distance of {name}", one) for name, one in columns[:3] if math.isfinite(one.value))
    notes = (_INTERVAL, *_coverage(said), *_unknown(said), _NO_TRIPLES)
    codes = tuple(_code(one) for state in _TOLD for one in said.codes_that_are(state))
    return FederatedScores(epsilon, delta, scores + worst, notes, tuple(_within(said))), codes


def _coverage(said: Federated) -> Iterator[str]:
    """Which codes are on both sides, in one sentence."""
    if said.codes:
        many = {state: len(said.codes_that_are(state)) for state in ("kept", *_TOLD)}
        yield (
            f"Of {len(said.codes):,} codes, synthetic rows keep {many['kept']:,} that real rows have, lose "
            f"{many['lost']:,} and invent {many['invented']:,}; {many['under the noise']:,} lie under the noise."
        )


def _unknown(said: Federated) -> Iterator[str]:
    """Subgroups of which nothing can be said."""
    names = [f"{one.column} = {one.code}" for one in said.subgroups if not one.known]
    if names:
        more = f" and {len(names) - _MOST_NAMED} more" if names[_MOST_NAMED:] else ""
        yield f"Too few persons with and without the outcome, under the noise: {', '.join(names[:_MOST_NAMED])}{more}."


def _within(said: Federated) -> Iterator[FederatedScore]:
    """Scores of subgroups, the worst area under the curve first."""
    known = [one for one in said.subgroups if one.known]
    for one in sorted(known, key=lambda one: one.scores["auc"].value):
        yield from (_score(f"{name}, {one.column} = {one.code}", score) for name, score in one.scores.items())


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
    came_out: Literal["lost", "invented"] | None = (
        "lost" if one.state == "lost" else "invented" if one.state == "invented" else None
    )
    return RareCode(one.column, one.code, share, one.synthetic, one.share.interval, unknown, came_out)
