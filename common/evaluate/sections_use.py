"""The report's parts on use: models, subgroups, rare codes, and what held-out units said under noise."""

from typing import Final

from silosynth.common.evaluate.figures import ABSENT, between, epsilon, number, percent
from silosynth.common.evaluate.marks import Line, Mark, curves, whiskers
from silosynth.common.evaluate.page import element, folded, lead, section, table, text
from silosynth.common.evaluate.scores import GroupDetail, Scores
from silosynth.common.evaluate.sections import Curve, FederatedScore, FederatedScores, RareCode
from silosynth.common.evaluate.words import MEANINGS

_MOST_ROWS: Final = 20
_LEARNT_FROM: Final = {"synthetic": "synthetic rows", "real": "real rows (ceiling)", "floor": "shuffled rows (floor)"}


def curve_plots(scores: Scores) -> str:
    """ROC curves of models learnt from synthetic, real and shuffled rows, one plot a model."""
    drawn = scores.sections.curves
    if not drawn:
        return ""
    plots = [
        _roc(model, [one for one in drawn if one.model == model]) for model in dict.fromkeys(c.model for c in drawn)
    ]
    asked = f" The question: {scores.outcome}." if scores.outcome else ""
    intro = (
        "Models learnt from synthetic rows, from real rows and from shuffled ones, tested on real rows that nobody was "
        f"trained on: the nearer to the upper left corner, the better; the diagonal is a coin.{asked}"
    )
    return section("use", "Models trained on synthetic rows", lead(intro), element("div", *plots, class_="curves"))


def _roc(model: str, drawn: list[Curve]) -> str:
    ordered = sorted(drawn, key=lambda one: list(_LEARNT_FROM).index(one.learnt_from))
    lines = [Line(f"{_LEARNT_FROM[one.learnt_from]}, AUC {number(one.auc)}", one.points) for one in ordered]
    said = f"ROC curves, {model}: " + "; ".join(line.said for line in lines)
    plot = curves(lines, "false positive rate", "true positive rate", said)
    return element("figure", element("h3", text(model[:1].upper() + model[1:])), plot, class_="plot")


def subgroup_table(scores: Scores) -> str:
    """Subgroups and sites: how alike their rows are, and how useful the synthetic ones are for them."""
    if not scores.groups:
        return ""
    rows = [_group(one) for one in sorted(scores.groups, key=lambda one: (one.kind, -_lag(one)))]
    head = ("Group", "Training rows", "2-way distance", "Hold-out's", "AUC, from synthetic rows", "From real rows")
    tables = [table(head, rows[:_MOST_ROWS], "Subgroups and sites, worst first")]
    if rows[_MOST_ROWS:]:
        tables.append(folded(f"{len(rows) - _MOST_ROWS} more groups", table(head, rows[_MOST_ROWS:], "More groups")))
    intro = (
        "Within each group of rows: how far pairs of columns are from the real ones, beside held-out rows, and what "
        "the models above are worth for its people. A table that serves most may fail the few."
    )
    return section("subgroups", "Subgroups", lead(intro), *tables)


def _lag(one: GroupDetail) -> float:
    """How far a group is behind: in AUC where it is known, else in distance."""
    if one.auc is not None and one.auc_real is not None:
        return one.auc_real - one.auc
    return (one.tvd2 or 0.0) - (one.tvd2_ceiling or 0.0) - 1


def _group(one: GroupDetail) -> tuple[str, ...]:
    name = f"site {one.name}" if one.kind == "site" else one.name
    figures = (one.tvd2, one.tvd2_ceiling, one.auc, one.auc_real)
    return (text(name), f"{one.rows:,}", *(number(figure) for figure in figures))


def rare_table(scores: Scores) -> str:
    """Rare codes: kept, lost, or under the noise."""
    rare = scores.sections.rare or _lost(scores)
    if not rare:
        return ""
    rows = [_rare(one) for one in rare]
    head = ("Code", "Training", "Synthetic", "95 % interval", "What can be said")
    tables = [table(head, rows[:_MOST_ROWS], "Rare codes")]
    if rows[_MOST_ROWS:]:
        tables.append(folded(f"{len(rows) - _MOST_ROWS} more codes", table(head, rows[_MOST_ROWS:], "More rare codes")))
    intro = (
        "Noise hides single persons, and with them whatever only a few persons have. Do not count what is not there."
    )
    return section("rare", "Rare codes", lead(intro), *tables)


def _lost(scores: Scores) -> tuple[RareCode, ...]:
    """Codes of training rows that no synthetic row has, the most frequent first."""
    found = [RareCode(one.name, code, share, 0.0) for one in scores.columns for code, share in one.lost]
    return tuple(sorted(found, key=lambda one: -(one.train or 0)))


def _rare(one: RareCode) -> tuple[str, ...]:
    said = (
        "under the noise: nobody can say"
        if one.suppressed
        else "lost: no synthetic row has it"
        if one.synthetic == 0
        else "lost: far fewer synthetic rows have it"
        if one.came_out == "lost"
        else "invented: far fewer real rows have it, if any"
        if one.came_out == "invented"
        else "kept"
    )
    return (
        text(f"{one.column} = {one.code}"),
        percent(one.train, 2),
        percent(one.synthetic, 2),
        ABSENT if one.interval is None else f"{percent(one.interval[0], 2)} to {percent(one.interval[1], 2)}",
        said,
    )


def federated_table(scores: Scores) -> str:
    """What held-out units of all sites said through the gate, with the intervals of the known noise."""
    found = scores.sections.federated
    if not found:
        return ""
    exact = any(one.exact is not None for one in found.rows)
    head = ("Score", "Value", "95 % interval", "Drawn", *(("Exact", "Covered") if exact else ()))
    tables = [table(head, [_federated(one, exact=exact) for one in found.rows], "Scores under noise")]
    if found.subgroups:
        groups = [_federated(one, exact=exact) for one in found.subgroups]
        tables.append(table(head, groups[:_MOST_ROWS], "Subgroups under noise, gradient boosting, worst first"))
        if groups[_MOST_ROWS:]:
            more = table(head, groups[_MOST_ROWS:], "More subgroups under noise")
            tables.append(folded(f"{len(groups) - _MOST_ROWS} more scores of subgroups", more))
    intro = (
        f"Counted at the sites over units that nobody was trained on, {_noise(found)}: they pay for this, "
        "not for training, and nobody pays more than the study's epsilon. Intervals follow from the known noise."
    )
    if exact:
        intro += " This is a simulation, so the exact value is known: it should lie inside 95 times of 100."
    notes = element("ul", *(element("li", text(note)) for note in found.notes)) if found.notes else ""
    return section("federated", "Measured across sites", lead(intro), *tables, notes)


def _noise(found: FederatedScores) -> str:
    if found.epsilon is None:
        return "with noise that protects nobody"
    return f"with noise of ε = {epsilon(found.epsilon)} at δ = {found.delta:g}"


def _federated(one: FederatedScore, *, exact: bool) -> tuple[str, ...]:
    meaning = MEANINGS.get(one.name)
    title = meaning.title if meaning else one.name
    top = max(1.0, one.interval[1])
    drawn = whiskers([Mark(one.value, one.interval, filled=True)], top, f"{title}: {number(one.value)}")
    cells = (text(title), number(one.value), between(one.interval), drawn)
    if not exact:
        return cells
    inside = ABSENT if one.exact is None else "yes" if one.interval[0] <= one.exact <= one.interval[1] else "no"
    return (*cells, number(one.exact), inside)
