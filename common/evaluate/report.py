"""report.html: one self-contained page of what metrics.json, certificate.json and study.toml say, and of nothing else.

The same three files give the same bytes, whenever and wherever they are drawn, by this version of the software. In a
simulation, and at a site, it shows real rows' distributions: it says so at its top.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from silosynth.common.evaluate.cards import cards
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.page import document, element, section, text
from silosynth.common.evaluate.scores import Scores
from silosynth.common.evaluate.sections import Scope
from silosynth.common.evaluate.sections_data import column_plots, pair_map, score_tables
from silosynth.common.evaluate.sections_risk import attack_table, promise
from silosynth.common.evaluate.sections_study import cite, manifest, study_facts
from silosynth.common.evaluate.sections_use import curve_plots, federated_table, rare_table, subgroup_table
from silosynth.common.evaluate.words import limits, no_privacy
from silosynth.common.study import Study

FOR_ONE_SITE: Final = "For this institution's eyes: exact figures, not private"
"""Stands on every page of a report that a site makes from its own rows."""

_STAMPS: Final = {
    Scope.SIMULATION: """Simulation.
Real rows were pooled on one machine to compute these scores and plots; they are not covered by any epsilon. This page
must stay where the real rows may be.""",
    Scope.SITE: f"""{FOR_ONE_SITE}.
The released table is compared here with this site's own rows, without noise. Nothing of it was sent, and no epsilon
covers it: this page must not leave the institution.""",
    Scope.RELEASE: """Made without real rows.
Everything here follows from the study, from noisy sums that sites answered, and from the synthetic rows.""",
}
_SHORT: Final = {
    "limits": "Limits",
    "use": "Models",
    "federated": "Across sites",
    "pairs": "Pairs",
    "privacy": "Promise",
    "study": "Study",
    "cite": "Cite",
}
"""Names of sections in the page's list of them, where they are shorter than their headings."""

_HEADING: Final = re.compile(r'<h2 id="([a-z]+)">(.*?)</h2>')


def render(metrics: Metrics, certificate: Mapping[str, Any], study: Study | None = None) -> str:
    """The report as HTML.

    Args:
        metrics: of metrics.json.
        certificate: of certificate.json; hashes of the files beside it are shown, but for the report's own.
        study: the study as resolved; adds its columns and plan.
    """
    scores = metrics.scores
    name = study.name if study else str(certificate.get("name", "study"))
    parts = (
        cards(metrics, certificate, study),
        _limits(scores),
        score_tables(scores),
        curve_plots(scores),
        federated_table(scores),
        column_plots(scores),
        pair_map(scores),
        subgroup_table(scores),
        rare_table(scores),
        attack_table(scores),
        promise(certificate, scores.sections.audit),
        study_facts(certificate, study, metrics),
        cite(certificate, study, metrics),
        manifest(certificate),
    )
    body = "".join(parts)
    page = (
        _eyes(metrics.scope),
        _header(name, metrics, certificate),
        _nav(body),
        element("main", body),
        _footer(certificate),
    )
    sheet = FOR_ONE_SITE if metrics.scope is Scope.SITE else ""
    return document(f"{name}: synthetic data report", "".join(page), sheet)


def _eyes(scope: Scope) -> str:
    """On paper it stands on every sheet."""
    if scope is not Scope.SITE:
        return ""
    return element("aside", text(FOR_ONE_SITE), class_="eyes", aria_label="Who may read this")


def _header(name: str, metrics: Metrics, certificate: Mapping[str, Any]) -> str:
    scores, sites = metrics.scores, certificate.get("assumptions", {}).get("sites")
    bits = [f"{scores.rows['synthetic']:,} synthetic rows"] if "synthetic" in scores.rows else []
    bits += [f"{len(scores.columns)} columns"] if scores.columns else []
    bits += [f"{sites} sites"] if sites else []
    bits += [f"predicting {scores.outcome}"] if scores.outcome else []
    broken = no_privacy(certificate)
    banner = ""
    if broken:
        said = text(f"{broken} Nothing in this folder is protected: treat it like the rows themselves.")
        banner = element("div", element("strong", "NO PRIVACY"), said, class_="alarm", role="alert")
    title, said = _STAMPS[metrics.scope].split("\n", 1)
    return element(
        "header",
        element("p", "silosynth · synthetic data report", class_="eyebrow"),
        element("h1", text(name)),
        element("p", text(" · ".join(bits)), class_="lead"),
        banner,
        element("p", element("strong", text(title)), " ", text(said), class_="stamp"),
    )


def _nav(body: str) -> str:
    links = (
        element("li", element("a", _SHORT.get(anchor, title), href=f"#{anchor}"))
        for anchor, title in _HEADING.findall(body)
    )  # titles are escaped already
    return element("nav", element("ul", *links), aria_label="Sections")


def _limits(scores: Scores) -> str:
    lines = element("ul", *(element("li", text(line)) for line in limits(scores)))
    return section("limits", "What the data cannot support", lines, kind="limits")


def _footer(certificate: Mapping[str, Any]) -> str:
    made = text(certificate.get("code", "silosynth"))
    return element(
        "footer",
        f"Made by {made} from metrics.json, certificate.json and study.toml in this folder; "
        "<code>silosynth report</code> makes it again.",
    )
