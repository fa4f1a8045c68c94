"""What a report can show beside scores, as values: each part is optional, and the page is whole without it.

`Sections` is filled by whoever measured a part, stored in metrics.json, and drawn by report.py. Nothing here computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

Interval: TypeAlias = tuple[float, float]
"""95 %, low and high."""


class Scope(StrEnum):
    """Where the numbers of a report come from, which decides who may read it."""

    SIMULATION = "simulation"
    """Real rows were pooled on one machine: no epsilon covers the scores."""

    SITE = "site"
    """One institution's own rows: exact, for its eyes only."""

    RELEASE = "release"
    """No real row but through the noisy sums of the study."""


@dataclass(frozen=True)
class Curve:
    """A ROC curve on held-out rows, from (0, 0) to (1, 1): false positive rate, true positive rate."""

    learnt_from: Literal["synthetic", "real", "floor"]
    model: str
    auc: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RareCode:
    """A code that few rows have. `suppressed`: it lies under the noise, so nobody can say whether it was kept.

    `came_out`: where it is on one side only, but for a tenth.
    """

    column: str
    code: str
    train: float | None
    synthetic: float
    interval: Interval | None = None
    suppressed: bool = False
    came_out: Literal["lost", "invented"] | None = None


@dataclass(frozen=True)
class Risk:
    """How often an attack succeeds."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Reduction:
    """How much less an attack gains than from the real rows, in percent."""

    percent: float
    interval: Interval


@dataclass(frozen=True)
class AttackRow:
    """One attack: members (trained on) against a control group of equal size (held out).

    `lead`: members less control; `ceiling`: the same lead if the real rows were published.
    """

    name: str
    says: str
    method: str
    tried_on: str
    members: Risk
    control: Risk
    lead: Risk
    ceiling: float
    found: bool
    reduction: Reduction | None = None


@dataclass(frozen=True)
class AttackTable:
    """All attacks on one table; `skipped`: name and reason."""

    rows: tuple[AttackRow, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    reduction: Reduction | None = None
    false_alarm_rate: float | None = None


@dataclass(frozen=True)
class FederatedScore:
    """A score from noisy counts over sites' held-out units; `exact` is known in a simulation only."""

    name: str
    value: float
    interval: Interval
    exact: float | None = None


@dataclass(frozen=True)
class FederatedScores:
    """What held-out units answered, at a privacy cost of their own."""

    epsilon: float | None
    """None where nothing bounds it: there was no noise."""
    delta: float
    rows: tuple[FederatedScore, ...]
    notes: tuple[str, ...] = ()
    subgroups: tuple[FederatedScore, ...] = ()
    """Scores of the first model within subgroups."""


@dataclass(frozen=True)
class Audit:
    """What planted records gave away: a lower bound of epsilon, to be read beside the accounted upper bound."""

    lower: float
    upper: float
    confidence: float
    view: Literal["aggregate", "local"] = "local"
    says: str = ""


@dataclass(frozen=True)
class Sections:
    """Everything optional."""

    curves: tuple[Curve, ...] = field(default=(), repr=False)
    rare: tuple[RareCode, ...] = field(default=(), repr=False)
    attacks: AttackTable | None = field(default=None, repr=False)
    federated: FederatedScores | None = field(default=None, repr=False)
    audit: Audit | None = None


def attacks_of(content: Mapping[str, Any]) -> AttackTable:
    """From the JSON of the attacks (`Attacks.to_json`). Raises KeyError or TypeError where it is none."""
    rows = tuple(
        AttackRow(
            name=name,
            says=one["says"],
            method=one["method"],
            tried_on=one["tried_on"],
            members=_risk(one["members"]),
            control=_risk(one["control"]),
            lead=_risk(one["lead"]),
            ceiling=float(one["lead"]["ceiling"]),
            found=bool(one["found"]),
            reduction=_reduction(one["reduction_percent"]),
        )
        for name, one in content["attacks"].items()
    )
    skipped = tuple((name, str(why)) for name, why in content["skipped"].items())
    return AttackTable(rows, skipped, _reduction(content["reduction_percent"]), content["false_alarm_rate"])


def _risk(content: Mapping[str, Any]) -> Risk:
    low, high = content["interval"]
    return Risk(float(content["value"]), (float(low), float(high)))


def _reduction(content: Mapping[str, Any] | None) -> Reduction | None:
    if content is None:
        return None
    low, high = content["interval"]
    return Reduction(float(content["value"]), (float(low), float(high)))
