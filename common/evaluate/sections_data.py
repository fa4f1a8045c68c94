"""The report's parts on the table itself: scores by family, columns worst first, pairs of columns."""

from typing import Final

from silosynth.common.evaluate.drawing import MOST_IN_HEAT, heat, key, overlay
from silosynth.common.evaluate.figures import ABSENT, number, percent, span
from silosynth.common.evaluate.marks import scale
from silosynth.common.evaluate.page import element, folded, lead, section, table, text
from silosynth.common.evaluate.scores import ColumnDetail, Score, Scores, way
from silosynth.common.evaluate.words import GROUPS, MEANINGS

_MOST_ROWS: Final = 8
"""Scores of a family that are shown at once; the others are folded."""

_MOST_PLOTS: Final = 12
_WORST_PAIRS: Final = 8
_SHOWN_SHARE: Final = 0.0005
_HEAD: Final = ("Score", "Value", "95 % interval", "Floor", "Where it stands", "Ceiling", "Of the way")


def score_tables(scores: Scores) -> str:
    """Every score with its floor, its ceiling and what it says; nothing where nothing was scored."""
    if not scores.scores:
        return ""
    families = dict(GROUPS)
    known = {name for names in families.values() for name in names}
    families["Other scores"] = tuple(name for name in scores.scores if name not in known)
    tables = []
    for family, names in families.items():
        rows = [_score_row(name, scores.scores[name]) for name in names if name in scores.scores]
        if rows:
            tables.append(table(_HEAD, rows[:_MOST_ROWS], family, "scores"))
        if rows[_MOST_ROWS:]:
            more = table(_HEAD, rows[_MOST_ROWS:], f"{family}, more", "scores")
            tables.append(folded(f"{len(rows) - _MOST_ROWS} more scores: {family}", more))
    matched = scores.rows.get("matched")
    sized = (
        f" Distances shrink with the number of rows, so drawing and “of the way” compare samples of {matched:,} rows "
        "each, while value, floor and ceiling are of all rows."
        if matched
        else ""
    )
    intro = (
        "Floor: the training rows with every column shuffled apart, so that nothing connects them. Ceiling: real "
        "held-out rows in the place of the synthetic ones, or a model trained on real rows. A score says something "
        "only between the two." + sized
    )
    return section("scores", "Scores", lead(intro), *tables)


def _score_row(name: str, score: Score) -> tuple[str, ...]:
    meaning = MEANINGS.get(name)
    title = meaning.title if meaning else name.replace("_", " ")
    says = element("span", text(meaning.says)) if meaning else ""
    return (
        text(title) + says,
        element("strong", number(score.value)),
        span(score),
        number(score.floor),
        scale(score, title) or element("span", "too close to tell", class_="small soft"),
        number(score.ceiling),
        way(score) or ABSENT,
    )


def column_plots(scores: Scores) -> str:
    """Each column's overlay plot, the worst first."""
    if not scores.columns:
        return ""
    ordered = sorted(scores.columns, key=lambda one: -one.tvd)
    plots = [_column(one) for one in ordered]
    intro = (
        "Worst first, by total variation distance on at most 20 equal-frequency bins; missing counts as a value. 0 is "
        "the same distribution, 1 another one altogether. In brackets: what held-out real rows reach."
    )
    grid = element("div", *plots[:_MOST_PLOTS], class_="plots")
    rest = element("div", *plots[_MOST_PLOTS:], class_="plots")
    folded_rest = folded(f"{len(plots) - _MOST_PLOTS} more columns, closer than these", rest)
    return section("columns", "Columns", lead(intro), key(), grid, folded_rest if plots[_MOST_PLOTS:] else "")


def _column(one: ColumnDetail) -> str:
    held = "" if one.tvd_ceiling is None else f" ({number(one.tvd_ceiling)})"
    gone = (
        f" · missing {percent(one.missing[0])} → {percent(one.missing[1])}" if max(one.missing) >= _SHOWN_SHARE else ""
    )
    lost = f" · {len(one.lost)} {'code' if len(one.lost) == 1 else 'codes'} lost" if one.lost else ""
    return element(
        "figure",
        element(
            "div", element("h3", text(one.name)), element("span", text(one.kind), class_="small soft"), class_="row"
        ),
        overlay(one),
        element("figcaption", text(f"distance {number(one.tvd)}{held}{gone}{lost}")),
        class_="plot",
    )


def pair_map(scores: Scores) -> str:
    """The heat map of all pairs, and the worst in words."""
    if not scores.pairs:
        return ""
    names = [column.name for column in scores.columns]
    some = f" The {MOST_IN_HEAT} worst columns are drawn." if len(names) > MOST_IN_HEAT else ""
    intro = (
        "Total variation distance of every two-way table from that of the training rows, in percent where it is "
        f"written: the larger and darker a square, the farther.{some}"
    )
    worst = sorted(scores.pairs, key=lambda pair: -pair.tvd)[:_WORST_PAIRS]
    rows = [
        (text(f"{names[pair.first]} and {names[pair.second]}"), number(pair.tvd), number(pair.floor)) for pair in worst
    ]
    return section(
        "pairs",
        "Pairs of columns",
        lead(intro),
        element("figure", heat(names, scores.pairs), class_="wide", tabindex="0", aria_label="Map of pairs"),
        table(("Pair", "Distance", "If the two were independent"), rows, "The pairs that came out worst"),
    )
