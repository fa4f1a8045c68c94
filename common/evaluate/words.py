"""What the report says in words: names of scores, what the data cannot support, what an epsilon means."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from silosynth.common.evaluate.scores import ColumnDetail, GroupDetail, Scores


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
        "tstr_brier_gb",
        "tstr_ece_gb",
        "tstr_auc_lr",
        "tstr_ap_lr",
        "tstr_f1_lr",
        "tstr_brier_lr",
        "tstr_ece_lr",
        "ci_overlap",
        "coefficient_difference",
    ),
    "Dependence between columns": (
        "pair_trends",
        "pair_trends_all",
        "tvd2",
        "tvd3",
        "k_marginal",
        "sample_equivalence",
        "correlation_difference",
        "association_difference",
    ),
    "Whole rows": (
        "detection_auc",
        "alpha_precision",
        "beta_recall",
        "structural_zeros",
        "order_violations",
        "copies",
    ),
    "The few: rare codes, subgroups, sites": (
        "rare_code_coverage",
        "subgroup_auc",
        "subgroup_tvd2",
        "subgroup_tvd1",
        "site_auc",
        "site_tvd2",
        "site_tvd1",
    ),
    "Persons with several rows": ("visit_counts", "visit_gaps", "lag1_difference", "person_summaries"),
    "Columns one by one": (
        "column_shapes",
        "tvd1",
        "mean_error",
        "sd_error",
        "quantile_error",
        "missing_value_similarity",
        "boundary_adherence",
        "range_coverage",
        "category_adherence",
        "category_coverage",
        "validity",
        "constants_kept",
    ),
}

MEANINGS: Mapping[str, Meaning] = {
    "tstr_signal_kept": Meaning("Signal kept", "(AUC - .5) of the synthetic model over (AUC - .5) of the real one"),
    "tstr_auc_gb": Meaning("AUC, gradient boosting", "chance that a case is ranked above a non-case"),
    "tstr_ap_gb": Meaning("Average precision, gradient boosting", "the score to read for rare outcomes"),
    "tstr_f1_gb": Meaning("F1, gradient boosting", "at the likeliest class; low for rare outcomes"),
    "tstr_auc_lr": Meaning("AUC, logistic regression", "chance that a case is ranked above a non-case"),
    "tstr_ap_lr": Meaning("Average precision, logistic regression", "the score to read for rare outcomes"),
    "tstr_f1_lr": Meaning("F1, logistic regression", "at the likeliest class; low for rare outcomes"),
    "tstr_brier_gb": Meaning(
        "Brier score, gradient boosting", "mean squared error of predicted chances; lower is better"
    ),
    "tstr_brier_lr": Meaning(
        "Brier score, logistic regression", "mean squared error of predicted chances; lower is better"
    ),
    "tstr_ece_gb": Meaning(
        "Calibration error, gradient boosting", "mean gap between predicted and observed frequency; lower is better"
    ),
    "tstr_ece_lr": Meaning(
        "Calibration error, logistic regression", "mean gap between predicted and observed frequency; lower is better"
    ),
    "ci_overlap": Meaning(
        "Overlap of intervals", "of a regression's coefficients, fitted to synthetic and to training rows"
    ),
    "coefficient_difference": Meaning(
        "Difference of coefficients", "of the same regression, in standard errors; lower is better"
    ),
    "pair_trends": Meaning("Pair trends", "SDMetrics' Column Pair Trends, over strongly associated pairs"),
    "pair_trends_all": Meaning("Pair trends, all pairs", "the same over every pair of columns"),
    "tvd2": Meaning("Two-way distance", "mean total variation distance of two-way tables; lower is better"),
    "tvd3": Meaning("Three-way distance", "the same for three-way tables; lower is better"),
    "k_marginal": Meaning("k-marginal score", "NIST's score of two-way tables, from 0 to 1000"),
    "sample_equivalence": Meaning(
        "As good as a sample", "share of the training rows of which a sample has the same two-way distance to all"
    ),
    "correlation_difference": Meaning(
        "Correlation difference", "mean difference of Pearson correlations of numbers and dates; lower is better"
    ),
    "association_difference": Meaning(
        "Association difference", "mean difference of bias-corrected Cramer's V of all pairs; lower is better"
    ),
    "structural_zeros": Meaning(
        "Impossible pairs", "share of rows with two values that no training row combines; lower is better"
    ),
    "order_violations": Meaning(
        "Order broken", "share of rows that break an order of two columns all training rows keep; lower is better"
    ),
    "detection_auc": Meaning(
        "Detection AUC", "of a model that tells synthetic from real rows; .5 is chance, lower is better"
    ),
    "alpha_precision": Meaning("Alpha-precision", "whether synthetic rows lie where training rows lie; 1 is best"),
    "beta_recall": Meaning(
        "Beta-recall", "whether they lie near all training rows; about .5 for fresh real rows of the same number"
    ),
    "copies": Meaning(
        "Exact copies", "share of synthetic rows equal to a training row; beside the hold-out's own rate"
    ),
    "rare_code_coverage": Meaning(
        "Rare codes kept", "share of codes of under 1 % of training rows that some synthetic row has"
    ),
    "subgroup_auc": Meaning(
        "AUC within subgroups", "of gradient boosting, mean over subgroups; metrics.json lists them"
    ),
    "subgroup_tvd2": Meaning(
        "Two-way distance within subgroups", "between training and synthetic rows of one code; lower is better"
    ),
    "subgroup_tvd1": Meaning("One-way distance within subgroups", "the same for single columns; lower is better"),
    "site_auc": Meaning("AUC within sites", "of gradient boosting on each site's held-out rows, mean over sites"),
    "site_tvd2": Meaning(
        "Two-way distance to sites", "from the whole synthetic table to one site's training rows; lower is better"
    ),
    "site_tvd1": Meaning("One-way distance to sites", "the same for single columns; lower is better"),
    "visit_counts": Meaning("Numbers of visits", "Kolmogorov-Smirnov distance over persons; lower is better"),
    "visit_gaps": Meaning("Gaps between visits", "Kolmogorov-Smirnov distance over successive rows; lower is better"),
    "lag1_difference": Meaning(
        "Lag-1 dependence", "difference of how a row depends on the person's row before; lower is better"
    ),
    "person_summaries": Meaning(
        "Persons' summaries", "distance of persons' means and of their numbers of codes; lower is better"
    ),
    "column_shapes": Meaning("Column shapes", "SDMetrics' Column Shapes"),
    "tvd1": Meaning("One-way distance", "mean total variation distance of single columns; lower is better"),
    "mean_error": Meaning("Error of means", "in standard deviations of training rows; lower is better"),
    "sd_error": Meaning("Error of standard deviations", "as a share of those of training rows; lower is better"),
    "quantile_error": Meaning(
        "Error of quantiles", "mean over all quantiles, in standard deviations of training rows; lower is better"
    ),
    "missing_value_similarity": Meaning(
        "Missing rate", "SDMetrics' MissingValueSimilarity: 1 less the difference of missing rates"
    ),
    "boundary_adherence": Meaning(
        "Values in range", "SDMetrics' BoundaryAdherence: share of numbers within the range of training rows"
    ),
    "range_coverage": Meaning(
        "Range covered", "SDMetrics' RangeCoverage: share of the range of training rows that synthetic numbers reach"
    ),
    "category_adherence": Meaning(
        "Known codes", "SDMetrics' CategoryAdherence: share of synthetic codes that some training row has"
    ),
    "category_coverage": Meaning(
        "Codes covered", "SDMetrics' CategoryCoverage: share of the codes of training rows that some synthetic row has"
    ),
    "validity": Meaning("Valid values", "share of values within the schema's bounds and codes"),
    "constants_kept": Meaning(
        "Constants kept", "share of rows that hold what all training rows hold, in constant and in empty columns"
    ),
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
    said = [*_of_use(scores), *_of_rows(scores), *_of_groups(scores.groups), *_of_columns(scores.columns)]
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


def _of_groups(groups: tuple[GroupDetail, ...]) -> list[str]:
    lost = [(one.auc_real - one.auc, one) for one in groups if one.auc is not None and one.auc_real is not None]
    worst = sorted((pair for pair in lost if pair[0] > _FAR), key=lambda pair: -pair[0])[:_NAMED]
    if not worst:
        return []
    named = ", ".join(f"{one.name} ({one.auc:.2f} for {one.auc_real:.2f})" for _, one in worst)
    return [
        f"Subgroups and sites whose predictions suffer most (AUC of the synthetic model for the real one): {named}."
    ]


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
