"""What a report can show beside scores, as values: each part is optional, and the page is whole without it.

`Sections` is filled by whoever measured a part, stored in metrics.json, and drawn by report.py. Nothing here computes.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

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
class Subgroup:
    """Rows that share one value, or a site: how many, and how useful synthetic rows are for them.

    `column` is empty where `value` says it all.
    `train` and `synthetic`: share of rows on each side. `distance`: mean two-way distance; its ceiling: of real rows.
    """

    column: str
    value: str
    train: float | None = None
    synthetic: float | None = None
    score: float | None = None
    interval: Interval | None = None
    floor: float | None = None
    ceiling: float | None = None
    rows: int | None = None
    distance: float | None = None
    distance_ceiling: float | None = None


@dataclass(frozen=True)
class Subgroups:
    """All subgroups; `what` says in words what their score is."""

    what: str
    rows: tuple[Subgroup, ...]


@dataclass(frozen=True)
class RareCode:
    """A code that few rows have. `suppressed`: it lies under the noise, so nobody can say whether it was kept."""

    column: str
    code: str
    train: float | None
    synthetic: float
    interval: Interval | None = None
    suppressed: bool = False


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
    says: str = ""


@dataclass(frozen=True)
class FederatedScores:
    """What held-out units answered, at a privacy cost of their own; epsilon is None where the certificate says it."""

    epsilon: float | None
    delta: float | None
    rows: tuple[FederatedScore, ...]
    notes: tuple[str, ...] = ()


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
    subgroups: Subgroups | None = field(default=None, repr=False)
    rare: tuple[RareCode, ...] = field(default=(), repr=False)
    attacks: AttackTable | None = field(default=None, repr=False)
    federated: FederatedScores | None = field(default=None, repr=False)
    audit: Audit | None = None
