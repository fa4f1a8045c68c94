"""What an evaluation says: every number between its floor and its ceiling, with an interval. Values only.

A score means nothing alone: columns shuffled independently reach .99 on "column shapes" while a model trained on
them is a coin toss. So each score stands beside its floor (the training rows with every column shuffled apart from the
others: what is reached without learning how columns hang together) and its ceiling (real held-out rows in the place of
the synthetic ones: what sampling alone allows).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from silosynth.common.evaluate.federated import Federated
from silosynth.common.evaluate.sections import Sections

FORMAT = 1

Better: TypeAlias = Literal["higher", "lower"]

LEAST_GAP = 0.01
"""Where floor and ceiling lie closer than this, or the wrong way round, a score cannot tell useful from useless."""

WIDEST = 300.0
"""Nor can it where the interval of its place between them is wider than three times the way, in percent."""


@dataclass(frozen=True)
class Matched:
    """A size-biased score taken again on samples of one size, so that its three numbers can be compared."""

    rows: int
    value: float
    floor: float
    ceiling: float


@dataclass(frozen=True)
class Score:
    """One number and its frame of reference. `ceiling` is None where there are too few held-out rows.

    `between` is the 95 % interval of `rescaled`, in percent: floor and ceiling are estimates too, which it counts.
    """

    value: float
    floor: float | None
    ceiling: float | None
    interval: tuple[float, float] | None
    better: Better
    method: str
    matched: Matched | None = None
    between: tuple[float, float] | None = None

    @property
    def frame(self) -> tuple[float, float | None, float | None]:
        """Value, floor and ceiling on samples of one size: the numbers to compare with each other."""
        if self.matched:
            return self.matched.value, self.matched.floor, self.matched.ceiling
        return self.value, self.floor, self.ceiling

    @property
    def rescaled(self) -> float | None:
        """Percent of the way from floor to ceiling; None where that way is too short to mean anything."""
        value, floor, ceiling = self.frame
        if floor is None or ceiling is None:
            return None
        way = ceiling - floor if self.better == "higher" else floor - ceiling
        if way < LEAST_GAP or (self.between and self.between[1] - self.between[0] > WIDEST):
            return None
        return 100 * (value - floor) / (ceiling - floor)

    def to_json(self) -> dict[str, Any]:
        """As in metrics.json."""
        out: dict[str, Any] = {
            "value": _rounded(self.value),
            "floor": _rounded(self.floor),
            "ceiling": _rounded(self.ceiling),
            "interval": None if self.interval is None else [_rounded(end) for end in self.interval],
            "better": self.better,
            "interval_method": self.method,
            "rescaled": None if self.rescaled is None else round(self.rescaled, 2),
            "rescaled_interval": None,
        }
        if self.rescaled is not None and self.between is not None:
            out["rescaled_interval"] = [round(end, 2) for end in self.between]
        if self.matched:
            value, floor, ceiling = (_rounded(number) for number in self.frame)
            out["matched"] = {"rows": self.matched.rows, "value": value, "floor": floor, "ceiling": ceiling}
        return out


@dataclass(frozen=True)
class Bar:
    """One bar of a column's overlay plot: shares of training and of synthetic rows."""

    label: str
    train: float
    synthetic: float


@dataclass(frozen=True)
class ColumnDetail:
    """How one column came out. `lost`: codes of training rows that no synthetic row has, with their share of rows."""

    name: str
    kind: str
    shape: float | None
    tvd: float
    tvd_ceiling: float | None
    missing: tuple[float, float]
    bars: tuple[Bar, ...]
    lost: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class PairDetail:
    """Total variation distance of one 2-way marginal, for columns at these positions."""

    first: int
    second: int
    tvd: float
    floor: float


@dataclass(frozen=True)
class GroupDetail:
    """How a subgroup or a site came out: mean two-way distance, and AUC of the synthetic and of the real model."""

    kind: str
    name: str
    rows: int
    tvd2: float | None
    tvd2_ceiling: float | None
    auc: float | None
    auc_real: float | None


@dataclass(frozen=True)
class Scores:
    """A whole evaluation. A score that could not be computed is absent, and `notes` says why.

    No note is made of what a table plainly does not ask for: missing values, constants, rare codes, orders, visits.
    """

    scores: Mapping[str, Score]
    rows: Mapping[str, int]
    notes: tuple[str, ...] = ()
    target: str | None = None
    outcome: str | None = None
    columns: tuple[ColumnDetail, ...] = field(default=(), repr=False)
    pairs: tuple[PairDetail, ...] = field(default=(), repr=False)
    groups: tuple[GroupDetail, ...] = field(default=(), repr=False)
    sections: Sections = field(default_factory=Sections, repr=False)
    federated: Federated | None = None
    """What held-out units said under differential privacy, where they were asked."""

    def to_json(self) -> dict[str, Any]:
        """The content of metrics.json; the caller adds `seconds` and `peak_memory_mb`."""
        said = {} if self.federated is None else {"federated": self.federated.to_json()}
        return said | {
            "format": FORMAT,
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "rows": dict(self.rows),
            "target": self.target,
            "outcome": self.outcome,
            "notes": list(self.notes),
            "columns": {
                column.name: {
                    "shape": _rounded(column.shape),
                    "tvd": _rounded(column.tvd),
                    "tvd_ceiling": _rounded(column.tvd_ceiling),
                    "codes_lost": len(column.lost),
                }
                for column in self.columns
            },
            "groups": [
                {
                    "kind": group.kind,
                    "name": group.name,
                    "rows": group.rows,
                    "tvd2": _rounded(group.tvd2),
                    "tvd2_ceiling": _rounded(group.tvd2_ceiling),
                    "auc": _rounded(group.auc),
                    "auc_real": _rounded(group.auc_real),
                }
                for group in self.groups
            ],
        }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(float(number), 6)


_HEADLINES = {
    "tstr_signal_kept": "signal kept",
    "pair_trends": "pair trends",
    "tvd2": "2-way distance",
    "detection_auc": "detection AUC",
}


def summary(scores: Scores) -> list[str]:
    """The four numbers that matter, each with floor and ceiling, as lines for a terminal of 80 columns."""
    lines = [f"{'':<15}{'value':>8}   {'95 % interval':<16}{'floor':>7}{'ceiling':>9}   of the way"]
    for name, title in _HEADLINES.items():
        score = scores.scores.get(name)
        if score is None:
            lines.append(f"{title:<15}{'-':>8}   not measured: metrics.json says why")
            continue
        between = "-" if score.interval is None else f"{score.interval[0]:.3f} to {score.interval[1]:.3f}"
        floor, ceiling = ("-" if number is None else f"{number:.3f}" for number in (score.floor, score.ceiling))
        lines.append(f"{title:<15}{score.value:>8.3f}   {between:<16}{floor:>7}{ceiling:>9}   {way(score) or '-'}")
    if scores.scores:
        lines.append("floor: columns shuffled independently; ceiling: held-out real rows")
    matched = next((score.matched for score in scores.scores.values() if score.matched), None)
    if matched:
        lines.append(f"of the way from floor to ceiling: on samples of {matched.rows:,} rows each")
    return lines


def way(score: Score) -> str | None:
    """How far from floor to ceiling, in words that do not boast; None where that means nothing."""
    at = score.rescaled
    if at is None:
        return None
    return "below floor" if at < 0 else "past ceiling" if at > 100 else f"{at:.0f} %"  # noqa: PLR2004 - percent
