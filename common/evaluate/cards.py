"""The report's three cards: utility, privacy, provenance."""

from collections.abc import Mapping, Sequence
from typing import Any

from silosynth.common.evaluate.drawing import chance, scale
from silosynth.common.evaluate.figures import epsilon, number, span
from silosynth.common.evaluate.page import element, text
from silosynth.common.evaluate.scores import Scores
from silosynth.common.evaluate.words import MEANINGS, best_guess, no_privacy
from silosynth.common.study import Study

_SHORT = 28
"""Characters of a fact that still fits a card."""


def cards(scores: Scores, certificate: Mapping[str, Any], study: Study | None, facts: Sequence[tuple[str, str]]) -> str:
    """All three, side by side where there is room."""
    three = (
        _utility_card(scores),
        _privacy_card(scores, certificate),
        _provenance(scores, certificate, study, facts),
    )
    return element("div", *three, class_="cards")


def _utility_card(scores: Scores) -> str:
    kept = scores.scores.get("tstr_signal_kept")
    head = kept or scores.scores.get("pair_trends")
    if head is None:
        return element("section", "<h2>Utility</h2>", element("p", "Not scored.", class_="big"), class_="card")
    what = (
        "of a real model's predictive signal is kept by a model that saw only synthetic rows"
        if kept
        else "likeness of strongly associated pairs of columns (1 is best)"
    )
    between = "" if head.interval is None else f"95 % interval {span(head, in_percent=bool(kept))}"
    ends = (f"floor {number(head.floor)}", f"ceiling {number(head.ceiling)}")
    lines = [
        _line(
            MEANINGS[name].title,
            number(score.value),
            f"floor {number(score.floor)} · ceiling {number(score.ceiling)}",
        )
        for name in ("tstr_auc_gb", "pair_trends", "tvd2", "detection_auc")
        if (score := scores.scores.get(name)) and score is not head
    ]
    return element(
        "section",
        "<h2>Utility</h2>",
        element("p", f"{head.value:.0%}" if kept else number(head.value), class_="big"),
        element("p", text(what)),
        scale(head, "Signal kept" if kept else "Pair trends", ends),
        element("p", text(between), class_="small soft"),
        element("dl", *lines),
        class_="card",
    )


def _privacy_card(scores: Scores, certificate: Mapping[str, Any]) -> str:
    both = certificate.get("epsilon", {})
    guess = best_guess(certificate, "aggregate") if no_privacy(certificate) is None else None
    drawn = ""
    if guess is not None:
        said = f"The best possible attacker guesses whether one person took part with success {guess:.0%}"
        drawn = chance(guess, said) + element("p", text(f"{said}"), class_="small soft")
    plain = certificate.get("aggregation") == "plain-sum"
    beside_local = (
        "also the coordinator alone: sums were plain here" if plain else "the coordinator and all other sites"
    )
    lines = [
        _line("ε if all others collude", epsilon(both.get("local")), beside_local),
        _line("δ", f"{certificate.get('delta', '')}", f"unit protected: {certificate.get('unit', 'row')}"),
    ]
    copied = scores.scores.get("copies")
    if copied:
        beside = "no held-out rows to compare" if copied.ceiling is None else f"held-out rows: {copied.ceiling:.2%}"
        lines.append(_line("Copies of training rows", f"{copied.value:.2%}", beside))
    return element(
        "section",
        "<h2>Privacy</h2>",
        element("p", f"ε = {epsilon(both.get('aggregate'))}", class_="big"),
        element("p", "against everybody who sees only totals, the synthetic table and this generator"),
        drawn,
        element("dl", *lines),
        class_="card",
    )


def _provenance(
    scores: Scores, certificate: Mapping[str, Any], study: Study | None, facts: Sequence[tuple[str, str]]
) -> str:
    assumed = certificate.get("assumptions", {})
    digest = str(certificate.get("study", ""))
    lines = [
        _line("Study", digest[:12], "first digits of its SHA-256; the whole stands below"),
        _line("Noise", "", str(certificate.get("noise", ""))),
        _line("Sums", str(certificate.get("aggregation", "")), ""),
        _line("Sites at most corrupt", str(assumed.get("colluders", "")), ""),
    ]
    lines += [_line("Engine", study.engine, "")] if study else []
    lines += [_line("Software", str(certificate["code"]), "")] if "code" in certificate else []
    lines += [_line(label, value, "") for label, value in facts if len(value) <= _SHORT]
    rows = scores.rows
    trained = f"{rows['train']:,} rows learnt from, {rows['holdout']:,} held out" if "holdout" in rows else ""
    return element(
        "section",
        "<h2>Provenance</h2>",
        element("p", f"{assumed.get('sites', '')} sites", class_="big"),
        element("p", text(trained)),
        element("dl", *lines),
        class_="card",
    )


def _line(label: str, value: str, beside: str) -> str:
    more = element("dd", text(beside), class_="wide") if beside else ""
    return element("div", element("dt", text(label)), element("dd", text(value)), more)
