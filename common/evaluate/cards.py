"""The report's three cards: utility, privacy, provenance; what a person reads who reads nothing else."""

from collections.abc import Mapping
from typing import Any, Final

from silosynth.common.evaluate.figures import between, epsilon, number, percent, span
from silosynth.common.evaluate.formal import Adversary, adversaries
from silosynth.common.evaluate.marks import chance, scale
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.page import element, text
from silosynth.common.evaluate.scores import Score, Scores
from silosynth.common.evaluate.sections import Scope
from silosynth.common.evaluate.words import ATTACKS, MEANINGS, no_privacy
from silosynth.common.study import Study

_HEADLINES: Final = ("tstr_auc_gb", "pair_trends", "tvd2", "detection_auc")
_UNSCORED: Final = {
    Scope.RELEASE: "No real row was seen to score this table: ask each site for its own comparison (site report).",
    Scope.SIMULATION: "This simulation was run without scores.",
    Scope.SITE: "Nothing could be scored at this site.",
}


def cards(metrics: Metrics, certificate: Mapping[str, Any], study: Study | None) -> str:
    """All three, side by side where there is room."""
    three = (
        _utility(metrics),
        _privacy(metrics.scores, certificate),
        _provenance(metrics, certificate, study),
    )
    return element("div", *three, class_="cards")


def _card(title: str, big: str, *content: str) -> str:
    return element("section", element("h2", title), element("p", text(big), class_="big"), *content, class_="card")


def _utility(metrics: Metrics) -> str:
    scores = metrics.scores.scores
    kept = scores.get("tstr_signal_kept")
    head = kept or scores.get("pair_trends")
    if head is None:
        return _card("Utility", "Not scored", element("p", text(_UNSCORED[metrics.scope])), _federated(metrics))
    what = (
        "of a real model's predictive signal is kept by a model that saw only synthetic rows"
        if kept
        else "likeness of strongly associated pairs of columns; 1 is best"
    )
    ends = (f"floor {number(head.floor)}", f"ceiling {number(head.ceiling)}")
    lines = [_line(MEANINGS[name].title, number(one.value), _frame(one)) for name, one in _rest(scores, head)]
    return _card(
        "Utility",
        percent(head.value, 0) if kept else number(head.value),
        element("p", what),
        scale(head, "Signal kept" if kept else "Pair trends", ends),
        element("p", text(f"95 % interval {span(head, in_percent=bool(kept))}"), class_="small soft")
        if head.interval
        else "",
        element("dl", *lines) if lines else "",
    )


def _rest(scores: Mapping[str, Score], head: Score) -> list[tuple[str, Score]]:
    return [(name, scores[name]) for name in _HEADLINES if name in scores and scores[name] is not head]


def _federated(metrics: Metrics) -> str:
    found = metrics.scores.sections.federated
    if not found:
        return ""
    title = {name: one.title for name, one in MEANINGS.items()}
    lines = [_line(title.get(one.name, one.name), number(one.value), between(one.interval)) for one in found.rows[:5]]
    return element("dl", *lines)


def _privacy(scores: Scores, certificate: Mapping[str, Any]) -> str:
    both = certificate.get("epsilon", {})
    plain = certificate.get("aggregation") == "plain-sum"
    who = "also the coordinator alone: sums were plain here" if plain else "the coordinator and all other sites"
    lines = [
        _line("ε if all others collude", epsilon(both.get("local")), who),
        _line("δ", f"{certificate.get('delta', '')}", f"unit protected: {unit_of(certificate)}"),
    ]
    attacks = scores.sections.attacks
    if attacks:
        hits = [ATTACKS.get(one.name, one.name) for one in attacks.rows if one.found]
        lines.append(_line("Attacks that found somebody", f"{len(hits)} of {len(attacks.rows)}", ", ".join(hits)))
    copied = scores.scores.get("copies")
    if copied:
        beside = (
            "no held-out rows to compare" if copied.ceiling is None else f"held-out rows: {percent(copied.ceiling, 2)}"
        )
        lines.append(_line("Copies of training rows", percent(copied.value, 2), beside))
    return _card(
        "Privacy",
        "none" if no_privacy(certificate) else f"ε = {epsilon(both.get('aggregate'))}",
        element("p", text(no_privacy(certificate) or _against(certificate))),
        *(_guess(one, certificate) for one in adversaries(certificate)[:1]),
        element("dl", *lines),
    )


def _against(certificate: Mapping[str, Any]) -> str:
    if certificate.get("assumptions", {}).get("trust") == "local":
        return "against everybody, the coordinator and all other sites included"
    return "against everybody who sees only totals, this table and the generator"


def _guess(adversary: Adversary, certificate: Mapping[str, Any]) -> str:
    if not adversary.promised:
        return ""
    who = "person" if str(certificate.get("unit", "")).startswith("person") else "row"
    said = (
        f"The best possible attacker guesses whether one {who} took part with a success of "
        f"{percent(adversary.guess, 0)}, where a coin has 50 %"
    )
    drawn = chance(adversary.advantage, said, ("a coin, 50 %", "certain, 100 %"))
    return drawn + element("p", text(said), class_="small soft")


def unit_of(certificate: Mapping[str, Any]) -> str:
    """What is protected, in words."""
    kind, _, column = str(certificate.get("unit", "row")).partition(": ")
    return f"a {kind}, by column {column}, with all its rows" if column else f"a {kind}"


def _provenance(metrics: Metrics, certificate: Mapping[str, Any], study: Study | None) -> str:
    assumed, rows = certificate.get("assumptions", {}), metrics.scores.rows
    trained = f"{rows['train']:,} rows learnt from, {rows['holdout']:,} held out" if "holdout" in rows else ""
    trained = trained or "whose rows never left them"
    lines = [
        _line("Study", str(certificate.get("study", ""))[:12], "first digits of its SHA-256; the whole stands below"),
        _line("Sums", str(certificate.get("aggregation", "")), str(certificate.get("noise", ""))),
        _line("Sites at most corrupt", str(assumed.get("colluders", "")), ""),
        _line("Signed receipts", _signed(certificate), ""),
    ]
    lines += [_line("Engine", study.engine, "")] if study else []
    lines += [_line("Software", str(certificate["code"]), "")] if "code" in certificate else []
    lines += [_line("Published", metrics.published, "")] if metrics.published else []
    return _card("Provenance", f"{assumed.get('sites', '')} sites", element("p", text(trained)), element("dl", *lines))


def _signed(certificate: Mapping[str, Any]) -> str:
    receipts = certificate.get("receipts", {})
    return f"{sum(bool(one.get('signature')) for one in receipts.values())} of {len(receipts)}" if receipts else "none"


def _frame(score: Score) -> str:
    return f"floor {number(score.floor)} · ceiling {number(score.ceiling)}"


def _line(label: str, value: str, beside: str) -> str:
    more = element("dd", text(beside), class_="wide") if beside else ""
    return element("div", element("dt", text(label)), element("dd", text(value)), more)
