"""A study in words, for the person who has to approve it: what would leave a site, how noisy, at what epsilon."""

from dataclasses import dataclass, replace
from typing import Any

from silosynth.common.column import Column
from silosynth.common.plan import resolve
from silosynth.common.study import Member, Step, Study
from silosynth.server.certificate import Prices, holds_against, prices

_CAPACITY = 1024


@dataclass(frozen=True)
class Described:
    """A study, its plan and its price for a number of sites."""

    study: Study
    price: Prices

    @property
    def lines(self) -> list[str]:
        """For a terminal."""
        study, budget = self.study, self.study.budget
        who = f"persons, by {study.unit!r}" if study.unit else "rows"
        against = holds_against(study)
        return [
            f"{study.name}" + (f": {study.purpose}" if study.purpose else ""),
            f"digest {replace(study, roster=(), plan=()).digest}",
            f"engine {study.engine}, trust {study.trust}, target {study.target or 'none'}",
            f"{study.holdout:.0%} of {who} held back to score with",
            "",
            f"{len(study.schema.columns)} columns:",
            *(f"  {_column(column)}" for column in study.schema.columns),
            "",
            f"with {len(study.roster)} sites, each would answer {study.releases} times, with noisy integer sums:",
            *(f"  {_step(step)}" for step in study.plan),
            "",
            f"price at delta {budget.delta:g}, for adding or removing one of the {who}:",
            f"  epsilon {self.price.aggregate:.3g} against {against['aggregate']}",
            f"  epsilon {self.price.local:.3g} against {against['local']}",
        ]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        study = self.study
        return {
            "name": study.name,
            "unit": study.unit,
            "target": study.target,
            "columns": [{"name": column.name, "type": str(column.kind)} for column in study.schema.columns],
            "sites": len(study.roster),
            "releases": [{"kind": s.kind, "repeats": s.repeats, "multiplier": _number(s)} for s in study.plan],
            "delta": study.budget.delta,
            "epsilon": {"aggregate": str(self.price.aggregate), "local": str(self.price.local)},
        }


def described(study: Study, sites: int) -> Described:
    """The study as if `sites` sites took part; a resolved one as it is. Raises InvalidInput where no plan fits."""
    if not study.plan:
        study = resolve(study, tuple(Member(f"site-{number + 1}", _CAPACITY) for number in range(sites)))
    return Described(study, prices(study, study.releases))


def _column(column: Column) -> str:
    what = f"{len(column.codes)} codes" if column.coded else f"{column.low:g} to {column.high:g} {column.unit}".rstrip()
    marked = f"  NOT REVIEWED: {', '.join(column.unreviewed)}" if column.unreviewed else ""
    return f"{column.name}: {column.kind}, {what}{marked}"


def _step(step: Step) -> str:
    noise = (
        "NO NOISE" if step.multiplier is None else f"noise {float(step.multiplier):.3g} times one unit's largest effect"
    )
    return f"{step.repeats} x {step.kind}: {noise}"


def _number(step: Step) -> str:
    return "none" if step.multiplier is None else str(step.multiplier)
