"""What the report says in words: names of scores, what the data cannot support, what an epsilon means."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from silosynth.common.evaluate.scores import ColumnDetail, Scores


@dataclass(frozen=True)
class Meaning:
    """A score's name for people, and what it measures."""

    title: str
    says: str


GROUPS: Mapping[str, tuple[str, ...]] = {
    "Use: train on synthetic rows, test on real held-out rows": (
        "tstr_signal_kept",
        "tstr_auc_gb",
        "tstr_ap_gb",
        "tstr_f1_gb",
        "tstr_auc_lr",
        "tstr_ap_lr",
        "tstr_f1_lr",
    ),
    "Dependence between columns": ("pair_trends", "pair_trends_all", "tvd2", "tvd3"),
    "Whole rows": ("detection_auc", "copies"),
    "Columns one by one": ("column_shapes", "tvd1"),
}

MEANINGS: Mapping[str, Meaning] = {
    "tstr_signal_kept": Meaning("Signal kept", "(AUC - .5) of the synthetic model over (AUC - .5) of the real one"),
    "tstr_auc_gb": Meaning("AUC, gradient boosting", "chance that a case is ranked above a non-case"),
    "tstr_ap_gb": Meaning("Average precision, gradient boosting", "the score to read for rare outcomes"),
    "tstr_f1_gb": Meaning("F1, gradient boosting", "at the likeliest class; low for rare outcomes"),
    "tstr_auc_lr": Meaning("AUC, logistic regression", "chance that a case is ranked above a non-case"),
    "tstr_ap_lr": Meaning("Average precision, logistic regression", "the score to read for rare outcomes"),
    "tstr_f1_lr": Meaning("F1, logistic regression", "at the likeliest class; low for rare outcomes"),
    "pair_trends": Meaning("Pair trends", "SDMetrics' Column Pair Trends, over strongly associated pairs"),
    "pair_trends_all": Meaning("Pair trends, all pairs", "the same over every pair of columns"),
    "tvd2": Meaning("Two-way distance", "mean total variation distance of two-way tables; lower is better"),
    "tvd3": Meaning("Three-way distance", "the same for three-way tables; lower is better"),
    "detection_auc": Meaning(
        "Detection AUC", "of a model that tells synthetic from real rows; .5 is chance, lower is better"
    ),
    "copies": Meaning(
        "Exact copies", "share of synthetic rows equal to a training row; beside the hold-out's own rate"
    ),
    "column_shapes": Meaning("Column shapes", "SDMetrics' Column Shapes"),
    "tvd1": Meaning("One-way distance", "mean total variation distance of single columns; lower is better"),
}

ATTACKS: Mapping[str, str] = {
    "copies": "Exact copies",
    "dcr": "Distance to the closest record",
    "nndr": "Nearest neighbour distance ratio",
    "membership": "Membership inference",
    "singling_out": "Singling out",
    "singling_out_univariate": "Singling out, one attribute",
    "singling_out_multivariate": "Singling out, several attributes",
    "linkability": "Linkability",
    "inference": "Attribute inference",
}
"""Attacks, by name: their names for people."""

_NOT_COMPARED = (
    "Nobody has compared this table with real rows yet: draw no conclusion from it before an institution that took "
    "part has (silosynth site report), or before it was measured across sites."
)
_FAR = 0.05
_WELL = 80.0
_SMALL_HOLDOUT = 1_000
_NAMED = 6


def limits(scores: Scores) -> list[str]:
    """What the synthetic table cannot support, most serious first."""
    if not scores.scores:
        return [_NOT_COMPARED]
    said = [*_of_use(scores), *_of_rows(scores), *_of_columns(scores.columns)]
    held = scores.rows.get("holdout", 0)
    if scores.scores and held < _SMALL_HOLDOUT:
        said.append(
            f"Ceilings and model scores rest on {held:,} held-out rows only: they are uncertain, whatever their digits."
        )
    said += [f"{note[0].upper()}{note[1:]}." for note in scores.notes]
    said.append(
        "Intervals cover the luck of sampling rows. A second study with fresh noise would differ by more: repeat a "
        "conclusion that matters on several syntheses, and confirm it on real rows at a site."
    )
    return said


def _of_use(scores: Scores) -> list[str]:
    said = []
    kept = scores.scores.get("tstr_signal_kept")
    if kept and kept.value < _WELL / 100:
        said.append(
            f"Models learnt from these rows keep {kept.value:.0%} of the signal of models learnt from real rows: do "
            "not deploy such a model, and do not conclude from its weakness that the outcome is unpredictable."
        )
    pairs = scores.scores.get("pair_trends")
    if pairs and pairs.rescaled is not None and pairs.rescaled < _WELL:
        said.append(
            f"Dependence between columns is kept to {max(0, pairs.rescaled):.0f} % of what held-out rows show: effect "
            "sizes and regression coefficients are biased, mostly towards zero."
        )
    three = scores.scores.get("tvd3")
    if three and three.rescaled is not None and three.rescaled < _WELL:
        said.append("Interactions of three columns are blurred: do not analyse subgroups of subgroups.")
    return said


def _of_rows(scores: Scores) -> list[str]:
    said = []
    detection, copied = scores.scores.get("detection_auc"), scores.scores.get("copies")
    if detection and detection.rescaled is not None and detection.rescaled < _WELL:
        said.append(
            f"A model tells synthetic from real rows with AUC {detection.value:.2f}: single rows and rules that must "
            "hold within a row are not to be trusted."
        )
    if copied and copied.ceiling is not None and copied.interval and copied.interval[0] > copied.ceiling:
        said.append(
            f"{copied.value:.2%} of synthetic rows equal a training row, more than the {copied.ceiling:.2%} of "
            "held-out rows that do: look for a cause before anything is published."
        )
    return said


def _of_columns(columns: tuple[ColumnDetail, ...]) -> list[str]:
    said = []
    far = [one for one in columns if one.tvd > max(_FAR, 2 * (one.tvd_ceiling or 0))]
    if far:
        worst = sorted(far, key=lambda one: -one.tvd)[:_NAMED]
        named = ", ".join(f"{one.name} ({one.tvd:.2f})" for one in worst)
        more = f" and {len(far) - len(worst)} more" if len(far) > len(worst) else ""
        said.append(f"Columns whose own distribution is off (distance in brackets): {named}{more}.")
    lost = [one for one in columns if one.lost]
    if lost:
        worst = sorted(lost, key=lambda one: -sum(share for _, share in one.lost))[:_NAMED]
        named = "; ".join(f"{one.name}: {_codes(one)}" for one in worst)
        more = f"; and codes of {len(lost) - len(worst)} more columns" if len(lost) > len(worst) else ""
        said.append(f"Rare codes that no synthetic row has (share of training rows): {named}{more}.")
    return said


def _codes(column: ColumnDetail) -> str:
    named = ", ".join(f"{code} ({share:.2%})" for code, share in column.lost[:_NAMED])
    more = f" and {len(column.lost) - _NAMED} more" if len(column.lost) > _NAMED else ""
    return named + more


def best_guess(certificate: Mapping[str, Any], view: str) -> float | None:
    """Chance that the best possible attacker of a view guesses rightly whether one person's records were used.

    From a prior of one half it is Phi(mu / 2) (Dong, Roth, Su 2019). None where the certificate has no finite mu^2.
    """
    squared = Fraction(0)
    for event in certificate.get("events", ()):
        price = event.get("mu_squared")
        if price is None:
            return None
        squared += Fraction(price[view])
    return (1 + math.erf(math.sqrt(squared) / math.sqrt(8))) / 2


def no_privacy(certificate: Mapping[str, Any]) -> str | None:
    """Why a study promises nothing, or None if it promises something."""
    noise = str(certificate.get("noise", ""))
    epsilons = certificate.get("epsilon", {}).values()
    if "NO PRIVACY" in noise:
        source = noise.split(":", maxsplit=1)[0]
        return "This study was run without noise." if source == "none" else f"The noise of this study was {source}."
    if any(not math.isfinite(float(value)) for value in epsilons) or not epsilons:
        return "The study's epsilon is infinite."
    return None
