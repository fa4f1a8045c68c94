"""report.html: one self-contained page with the same numbers as metrics.json and certificate.json.

It shows training rows' distributions, so it may be made only where real rows may be pooled: in a simulation, which it
says at its top, or for the eyes of one site.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from silosynth.common.evaluate.cards import cards
from silosynth.common.evaluate.citing import citation
from silosynth.common.evaluate.drawing import MOST_IN_HEAT, heat, key, overlay, scale
from silosynth.common.evaluate.figures import ABSENT, epsilon, number, span
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.page import document, element, table, text
from silosynth.common.evaluate.scores import ColumnDetail, Score, Scores, way
from silosynth.common.evaluate.words import GROUPS, MEANINGS, best_guess, limits, no_privacy
from silosynth.common.study import Study

_WORST_PAIRS = 8
_SHOWN_SHARE = 0.0005
_SECTIONS = (
    ("scores", "Scores"),
    ("limits", "What the data cannot support"),
    ("columns", "Columns"),
    ("pairs", "Pairs"),
    ("privacy", "Privacy"),
    ("study", "Study"),
    ("cite", "How to cite"),
)


def render(metrics: Metrics, certificate: Mapping[str, Any], study: Study | None = None) -> str:
    """The report as HTML. The same three inputs give the same bytes.

    Args:
        metrics: of metrics.json.
        certificate: of certificate.json; hashes of the files beside it are shown, but for the report's own.
        study: the study as resolved; adds its columns and plan.
    """
    scores, facts = metrics.scores, _facts(metrics)
    name = study.name if study else str(certificate.get("name", "study"))
    parts = (
        cards(scores, certificate, study, facts),
        _scores(scores),
        element("section", _title("limits"), _list(limits(scores))),
        _columns(scores),
        _pairs(scores),
        _privacy(certificate),
        _study(certificate, study, facts),
        _cite(certificate, study, metrics),
    )
    body = "".join(parts)
    page = (_header(name, scores, certificate, body), element("main", body), _footer(certificate))
    return document(f"{name}: synthetic data report", "".join(page))


def _facts(metrics: Metrics) -> list[tuple[str, str]]:
    """Lines of provenance."""
    facts = [] if metrics.seed is None else [("Seed of splits, network and sampling", str(metrics.seed))]
    facts += [("Seconds", f"{metrics.seconds['total']:.0f}")] if "total" in metrics.seconds else []
    return facts + [("Note on the input", note) for note in metrics.input_notes]


def _header(name: str, scores: Scores, certificate: Mapping[str, Any], body: str) -> str:
    sites = certificate.get("assumptions", {}).get("sites")
    bits = [f"{scores.rows[key]:,} synthetic rows" for key in ("synthetic",) if key in scores.rows]
    bits += [f"{len(scores.columns)} columns"] if scores.columns else []
    bits += [f"{sites} sites"] if sites else []
    bits += [f"predicting {scores.outcome}"] if scores.outcome else []
    broken = no_privacy(certificate)
    banner = ""
    if broken:
        banner = element(
            "div",
            element("strong", "NO PRIVACY"),
            text(f"{broken} Nothing in this folder is protected: treat it like the rows themselves."),
            class_="alarm",
            role="alert",
        )
    stamp = element(
        "p",
        element("strong", "Simulation. "),
        "Real rows were pooled on one machine to compute these scores and plots; they are not covered by any epsilon. "
        "This page must stay where the real rows may be.",
        class_="stamp",
    )
    there = [(anchor, title) for anchor, title in _SECTIONS if f'id="{anchor}"' in body]
    links = "".join(element("a", text(title), href=f"#{anchor}") for anchor, title in there)
    return element(
        "header",
        element("p", "silosynth · synthetic data report", class_="eyebrow"),
        element("h1", text(name)),
        element("p", text(" · ".join(bits)), class_="lead"),
        banner,
        stamp,
        element("nav", links, aria_label="Sections"),
    )


def _scores(scores: Scores) -> str:
    if not scores.scores:
        return element("section", _title("scores"), element("p", "This study was not scored."))
    tables = []
    for group, names in GROUPS.items():
        rows = [_score_row(name, scores.scores[name]) for name in names if name in scores.scores]
        if rows:
            head = ("Score", "Value", "95 % interval", "Floor to ceiling", "Floor", "Ceiling", "Of the way")
            tables.append(table(head, rows, group, "scores"))
    matched = scores.rows.get("matched")
    sized = (
        f" Distances shrink with the number of rows, so drawing and “of the way” compare samples of {matched:,} rows "
        "each, while value, floor and ceiling are of all rows."
        if matched
        else ""
    )
    intro = (
        "Floor: the training rows with every column shuffled apart, so that nothing connects them. Ceiling: real "
        "held-out rows in the place of the synthetic ones, or a model trained on real rows." + sized
    )
    return element("section", _title("scores"), element("p", text(intro), class_="lead"), *tables)


def _score_row(name: str, score: Score) -> tuple[str, ...]:
    meaning = MEANINGS.get(name)
    title = text(meaning.title if meaning else name)
    says = element("span", text(meaning.says)) if meaning else ""
    drawn = scale(score, meaning.title if meaning else name) or element(
        "span", "too close to tell", class_="small soft"
    )
    return (
        title + says,
        element("strong", number(score.value)),
        span(score),
        drawn,
        number(score.floor),
        number(score.ceiling),
        way(score) or ABSENT,
    )


def _columns(scores: Scores) -> str:
    if not scores.columns:
        return ""
    ordered = sorted(scores.columns, key=lambda one: -one.tvd)
    plots = "".join(_column(one) for one in ordered)
    intro = "Worst first, by total variation distance on at most 20 equal-frequency bins; missing counts as a value."
    return element(
        "section", _title("columns"), element("p", intro, class_="lead"), key(), element("div", plots, class_="plots")
    )


def _column(one: ColumnDetail) -> str:
    held = "" if one.tvd_ceiling is None else f" (held-out rows {one.tvd_ceiling:.3f})"
    gone = f" · missing {one.missing[0]:.1%} → {one.missing[1]:.1%}" if max(one.missing) >= _SHOWN_SHARE else ""
    lost = f" · {len(one.lost)} codes lost" if one.lost else ""
    return element(
        "figure",
        element(
            "div", element("h3", text(one.name)), element("span", text(one.kind), class_="small soft"), class_="row"
        ),
        overlay(one),
        element("figcaption", text(f"distance {one.tvd:.3f}{held}{gone}{lost}"), class_="small"),
        class_="plot",
    )


def _pairs(scores: Scores) -> str:
    if not scores.pairs:
        return ""
    names = [column.name for column in scores.columns]
    some = f" The {MOST_IN_HEAT} worst columns are drawn." if len(names) > MOST_IN_HEAT else ""
    intro = (
        "Total variation distance of every two-way table, times 100 where it is written: the larger and darker a "
        f"square, the farther from the training rows.{some}"
    )
    worst = sorted(scores.pairs, key=lambda pair: -pair.tvd)[:_WORST_PAIRS]
    rows = [
        (text(f"{names[pair.first]} and {names[pair.second]}"), f"{pair.tvd:.3f}", f"{pair.floor:.3f}")
        for pair in worst
    ]
    return element(
        "section",
        _title("pairs"),
        element("p", text(intro), class_="lead"),
        element("figure", heat(names, scores.pairs), class_="heat", tabindex="0"),
        table(("Pair", "Distance", "If independent"), rows, "The pairs that came out worst"),
    )


def _privacy(certificate: Mapping[str, Any]) -> str:
    both, against = certificate.get("epsilon", {}), certificate.get("holds_against", {})
    default = {"aggregate": "everybody who sees only totals", "local": "the coordinator and all other sites together"}
    rows = []
    for view in ("aggregate", "local"):
        guess = best_guess(certificate, view) if no_privacy(certificate) is None else None
        said = ABSENT if guess is None else f"{guess:.1%}"
        rows.append((text(against.get(view, default[view])), epsilon(both.get(view)), said))
    views = table(("Holds against", "ε", "Best guess at membership"), rows, f"At δ = {certificate.get('delta', '')}")
    real = certificate.get("epsilon_with_real_noise")
    note = ""
    if real:
        note = element(
            "p", text(f"With noise nobody can predict, the same plan would cost ε = {epsilon(real.get('aggregate'))}.")
        )
    events = [
        (
            text(event.get("kind", "")),
            text(event.get("count", "")),
            text(event.get("mechanism", "")),
            _multiplier(event),
            _share(event, certificate),
        )
        for event in certificate.get("events", ())
    ]
    intro = (
        "Computed from the events below and nothing else. Best guess: the success of the best possible attacker who "
        "must tell whether one person took part, where a coin has 50 %."
    )
    head = ("Release", "Times", "Mechanism", "Noise multiplier", "Share of μ²")
    return element(
        "section",
        _title("privacy"),
        element("p", intro, class_="lead"),
        views,
        note,
        table(head, events, "Events: every sum that sites answered") if events else "",
    )


def _multiplier(event: Mapping[str, Any]) -> str:
    return f"{float(Fraction(event['multiplier'])):.5g}" if "multiplier" in event else ABSENT


def _share(event: Mapping[str, Any], certificate: Mapping[str, Any]) -> str:
    prices = [Fraction(one["mu_squared"]["aggregate"]) for one in certificate["events"] if "mu_squared" in one]
    if "mu_squared" not in event or not sum(prices):
        return ABSENT
    return f"{float(Fraction(event['mu_squared']['aggregate']) / sum(prices)):.1%}"


def _study(certificate: Mapping[str, Any], study: Study | None, facts: Sequence[tuple[str, str]]) -> str:
    lines = [("Digest", str(certificate.get("study", ""))), *facts]
    if study:
        lines += [
            ("Target", study.target or "none"),
            ("Hold-out", f"{study.holdout:.0%} of {'persons' if study.unit else 'rows'}"),
            ("Trust", str(study.trust)),
            ("Sites", ", ".join(member.name for member in study.roster)),
        ]
    said = element("ul", *(element("li", element("strong", text(label)), ": ", text(value)) for label, value in lines))
    columns = ""
    if study:
        rows = [
            (
                text(one.name),
                text(one.kind),
                text(_domain(one.codes, one.low, one.high)),
                text(", ".join(one.unreviewed) or ABSENT),
            )
            for one in study.schema.columns
        ]
        head = ("Column", "Type", "Bounds or codes", "Taken from data, unreviewed")
        columns = table(head, rows, "The public schema")
    return element("section", _title("study"), said, columns)


def _domain(codes: Sequence[str], low: float | None, high: float | None) -> str:
    if not codes:
        return f"{low:g} to {high:g}" if low is not None and high is not None else ABSENT
    return ", ".join(codes[:8]) + (f" and {len(codes) - 8} more" if len(codes) > 8 else "")  # noqa: PLR2004


def _cite(certificate: Mapping[str, Any], study: Study | None, metrics: Metrics) -> str:
    return element("section", _title("cite"), element("pre", text(citation(certificate, study, metrics.published))))


def _footer(certificate: Mapping[str, Any]) -> str:
    made = text(certificate.get("code", "silosynth"))
    return element(
        "footer", f"Made by {made}. The numbers are those of metrics.json and certificate.json in this folder."
    )


def _title(anchor: str) -> str:
    return element("h2", text(dict(_SECTIONS)[anchor]), id=anchor)


def _list(lines: Sequence[str]) -> str:
    return element("ul", *(element("li", text(line)) for line in lines))
