"""The optional parts of a report, from what those who measured them wrote into metrics.json."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from silosynth.common.evaluate.sections import (
    AttackRow,
    AttackTable,
    FederatedScore,
    FederatedScores,
    RareCode,
    Reduction,
    Risk,
    Sections,
    Subgroup,
    Subgroups,
)


def with_found(sections: Sections, content: Mapping[str, Any]) -> Sections:
    """`sections` with those parts that it lacks and that stand in metrics.json under names of their own.

    Raises KeyError, TypeError, ValueError where they are not what they should be.
    """
    if "attacks" in content and sections.attacks is None:
        sections = replace(sections, attacks=attacks_of(content["attacks"]))
    if content.get("groups") and sections.subgroups is None:
        sections = replace(sections, subgroups=subgroups_of(content["groups"]))
    if "federated" in content:
        if sections.federated is None:
            sections = replace(sections, federated=federated_of(content["federated"]))
        if not sections.rare:
            sections = replace(sections, rare=codes_of(content["federated"]["codes"]))
    return sections


def federated_of(content: Mapping[str, Any]) -> FederatedScores:
    """Scores over held-out units; those that are undefined are left out."""
    rows = [
        FederatedScore(name, float(one["value"]), _pair(one["interval"]), _number(one["exact"]), str(one["says"]))
        for name, one in content["scores"].items()
        if one["value"] is not None and None not in one["interval"]
    ]
    left = [name for name, one in content["scores"].items() if one["value"] is None]
    notes = (f"not defined, or lost in the noise: {', '.join(left)}",) if left else ()
    return FederatedScores(None, None, tuple(rows), notes)


def codes_of(content: Mapping[str, Any]) -> tuple[RareCode, ...]:
    """Codes that synthetic rows have lost, then those of which nothing can be said."""
    lost = [
        RareCode(
            str(one["column"]),
            str(one["code"]),
            _number(one["share"]["value"]),
            float(one["synthetic"] or 0),
            None if None in one["share"]["interval"] else _pair(one["share"]["interval"]),
        )
        for one in content["lost"]
    ]
    unsaid = [RareCode(str(column), str(code), None, 0.0, None, True) for column, code in content["under_the_noise"]]
    return (*lost, *unsaid)


def subgroups_of(content: list[Mapping[str, Any]]) -> Subgroups:
    """Subgroups and sites: AUC between a coin and a model learnt from real rows, and the two-way distance."""
    rows = tuple(
        Subgroup(
            "" if one["kind"] == "subgroup" else str(one["kind"]),
            str(one["name"]),
            score=_number(one["auc"]),
            floor=None if one["auc"] is None else 0.5,
            ceiling=_number(one["auc_real"]),
            rows=int(one["rows"]),
            distance=_number(one["tvd2"]),
            distance_ceiling=_number(one["tvd2_ceiling"]),
        )
        for one in content
    )
    return Subgroups("AUC of gradient boosting learnt from synthetic rows, beside one learnt from real rows", rows)


def attacks_of(content: Mapping[str, Any]) -> AttackTable:
    """All attacks, each with its control group."""
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
    return Risk(float(content["value"]), _pair(content["interval"]))


def _reduction(content: Mapping[str, Any] | None) -> Reduction | None:
    if content is None:
        return None
    return Reduction(float(content["value"]), _pair(content["interval"]))


def _pair(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    return float(low), float(high)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
