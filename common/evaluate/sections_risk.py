"""The report's parts on risk: what attacks found, and what the certificate promises against any of them."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from silosynth.common.evaluate.cards import unit_of
from silosynth.common.evaluate.figures import ABSENT, epsilon, percent
from silosynth.common.evaluate.formal import Adversary, adversaries
from silosynth.common.evaluate.marks import Line, Mark, chance, curves, whiskers
from silosynth.common.evaluate.page import element, folded, lead, section, table, text
from silosynth.common.evaluate.scores import Scores
from silosynth.common.evaluate.sections import AttackRow, Audit, Reduction
from silosynth.common.evaluate.words import ATTACKS


def attack_table(scores: Scores) -> str:
    """Every attack with its control group, its intervals and its verdict in words."""
    found = scores.sections.attacks
    if not found:
        return ""
    rows = [_attack(one) for one in found.rows]
    alarm = (
        ""
        if found.false_alarm_rate is None
        else f" On a table that owes its members nothing, one such page in {1 / found.false_alarm_rate:,.0f} would say "
        "“found” anywhere."
    )
    intro = (
        "Whoever has this table attacks people who were trained on (members, ●) and as many who were not (control, ○). "
        "Only the difference is a risk: half of all secrets can be guessed about anybody." + alarm
    )
    head = ("Attack", "Members", "Control", "Drawn", "Against publishing real rows", "Verdict")
    skipped = [element("li", text(f"{_title(name)}: not run, {why}")) for name, why in found.skipped]
    whole = (
        element("p", text(f"Over all attacks, the risk is {_reduced(found.reduction)} than that of the real rows."))
        if found.reduction
        else ""
    )
    closing = lead("An attack that finds nothing proves nothing. What holds against every attack is the next part.")
    return section(
        "attacks",
        "Attacks",
        lead(intro),
        table(head, rows, "Attacks, each with a control group of equal size"),
        whole,
        element("ul", *skipped) if skipped else "",
        closing,
    )


def _attack(one: AttackRow) -> tuple[str, ...]:
    title = _title(one.name)
    marks = [
        Mark(one.members.value, one.members.interval, filled=True),
        Mark(one.control.value, one.control.interval, filled=False),
    ]
    top = max(0.05, *(mark.interval[1] for mark in marks))
    said = f"{title}: members {percent(one.members.value)}, control {percent(one.control.value)}"
    return (
        text(title) + element("span", text(one.says)) + element("span", text(f"Of {one.tried_on}; {one.method}.")),
        _rate(one.members.value, one.members.interval),
        _rate(one.control.value, one.control.interval),
        whiskers(marks, top, said),
        text(_reduced(one.reduction)) if one.reduction else "would not help it either",
        element("strong", "▲ found members") if one.found else "nobody found",
    )


def _rate(value: float, interval: tuple[float, float]) -> str:
    ends = element("span", f"{percent(interval[0])} to {percent(interval[1])}", class_="more")
    return f"<span>{percent(value)}{ends}</span>"


def _reduced(one: Reduction) -> str:
    low, high = one.interval
    return f"{one.percent:.0f} % lower ({low:.0f} to {high:.0f} %)"


def _title(name: str) -> str:
    return ATTACKS.get(name, name.replace("_", " "))


def promise(certificate: Mapping[str, Any], audit: Audit | None) -> str:
    """The epsilon table by adversary, in words and drawn; the audit beside it; the events it follows from."""
    everybody = adversaries(certificate)
    intro = (
        f"Epsilon is computed from the events below and nothing else; the unit is {unit_of(certificate)}. It bounds "
        "whatever anybody can try, now or later, whatever else they know."
    )
    return section(
        "privacy",
        "What is promised, and against whom",
        lead(intro),
        _adversaries(everybody, certificate),
        _words(everybody),
        _trade_off(everybody),
        _audited(audit),
        _events(certificate),
    )


def _adversaries(everybody: Sequence[Adversary], certificate: Mapping[str, Any]) -> str:
    rates = sorted({rate for one in everybody for rate in one.found}, reverse=True)
    head = (
        "Holds against",
        "ε",
        "Best guess",
        "Advantage",
        *(f"Found at {percent(rate)} false alarms" for rate in rates),
    )
    rows = [
        (
            text(_upper(one.against)),
            element("strong", epsilon(one.epsilon)),
            percent(one.guess) if one.promised else ABSENT,
            percent(one.advantage) if one.promised else ABSENT,
            *(percent(one.found[rate], 2) if one.promised else ABSENT for rate in rates),
        )
        for one in everybody
    ]
    return table(head, rows, f"At δ = {certificate.get('delta', '')}, at most")


def _upper(said: str) -> str:
    return said[:1].upper() + said[1:]


def _words(everybody: Sequence[Adversary]) -> str:
    if not any(one.promised for one in everybody):
        return element("p", element("strong", "Nothing is promised to anybody."))
    said = [f"Against {one.against}: {' '.join(one.words)}" for one in everybody]
    return element("ul", *(element("li", text(line)) for line in said))


def _trade_off(everybody: Sequence[Adversary]) -> str:
    drawn = {one.curve: one for one in everybody if one.curve}  # who can do as much has the same line
    if not drawn:
        return ""
    lines = [Line(f"{one.against}, ε = {epsilon(one.epsilon)}", curve) for curve, one in drawn.items()]
    said = "The most true positives at each rate of false ones: " + "; ".join(line.said for line in lines)
    plot = curves(lines, "people accused wrongly", "people found, at most", said)
    title = element("h3", "No attack lies above these lines")
    return element("div", element("figure", title, plot, class_="plot"), class_="curves")


def _audited(audit: Audit | None) -> str:
    if audit is None:
        return ""
    said = (
        f"Audit: planted records gave away at least ε = {audit.lower:.2f} ({percent(audit.confidence, 0)} confidence), "
        f"and at most {epsilon(audit.upper)} was accounted for. {audit.says}"
    )
    drawn = chance(min(1.0, max(0.0, audit.lower / audit.upper)), said, ("0", f"accounted {epsilon(audit.upper)}"))
    inner = element("h3", "The promise, tried out") + drawn + element("figcaption", text(said))
    return element("div", element("figure", inner, class_="plot"), class_="curves")


def _events(certificate: Mapping[str, Any]) -> str:
    rows = [
        (
            text(event.get("kind", "")),
            text(event.get("planned", event.get("count", ""))),
            text(event.get("mechanism", "")),
            _multiplier(event),
            _share(event, certificate),
        )
        for event in certificate.get("events", ())
    ]
    if not rows:
        return ""
    head = ("Release", "Times", "Mechanism", "Noise multiplier", "Share of μ²")
    made = table(head, rows, f"Events: every sum that sites answered. Accountant: {certificate.get('accountant', '')}")
    return folded(f"The {len(rows)} kinds of events that it follows from", made)


def _multiplier(event: Mapping[str, Any]) -> str:
    return f"{float(Fraction(event['multiplier'])):.5g}" if "multiplier" in event else ABSENT


def _share(event: Mapping[str, Any], certificate: Mapping[str, Any]) -> str:
    prices = [Fraction(one["mu_squared"]["aggregate"]) for one in certificate["events"] if "mu_squared" in one]
    if "mu_squared" not in event or not sum(prices):
        return ABSENT
    return percent(float(Fraction(event["mu_squared"]["aggregate"]) / sum(prices)))
