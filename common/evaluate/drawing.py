"""The report's drawings: small SVGs that can be read without colour, each with a text for those who listen."""

import math
from collections.abc import Sequence

from silosynth.common.evaluate.page import element, text
from silosynth.common.evaluate.scores import ColumnDetail, PairDetail, Score

_LEFT, _RIGHT = 24.0, 216.0  # of a scale from floor to ceiling, in a drawing 240 wide
_FARTHEST = 8.0  # percent beyond floor or ceiling that is still drawn

MOST_IN_HEAT = 40
_VALUES_IN_HEAT = 18


def svg(width: float, height: float, label: str, *content: str) -> str:
    """A drawing with its description."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{text(label)}">{"".join(content)}</svg>'
    )


def scale(score: Score, label: str, ends_said: tuple[str, str] = ("", "")) -> str:
    """A score between floor (left) and ceiling (right), with its interval; nothing where it has no place there."""
    y = 14
    base = f'<path d="M{_LEFT} {y}H{_RIGHT}" stroke="#c5cfdc" stroke-width="6" stroke-linecap="round"/>'
    ends = "".join(f'<path d="M{x} {y - 9}V{y + 9}" stroke="#566072" stroke-width="1.5"/>' for x in (_LEFT, _RIGHT))
    at = score.rescaled
    if at is None:
        return ""
    low, high = _interval_in_percent(score, at)
    x = _place(at)
    bar = f'<path d="M{_LEFT} {y}H{max(x, _LEFT):.1f}" stroke="#1d5b9f" stroke-width="6" stroke-linecap="round"/>'
    whisker = (
        f'<path d="M{_place(low):.1f} {y}H{_place(high):.1f}M{_place(low):.1f} {y - 4}v8M{_place(high):.1f} {y - 4}v8" '
        'stroke="#1a2230" stroke-width="1.5" fill="none"/>'
    )
    dot = f'<circle cx="{x:.1f}" cy="{y}" r="4.5" fill="#fff" stroke="#1a2230" stroke-width="2"/>'
    said = f"{label}: {at:.0f} % of the way from floor to ceiling"
    return svg(240, 28 + _room(ends_said), said, base, bar, ends, whisker, dot, _captions(ends_said))


def _room(said: tuple[str, str]) -> int:
    return 12 if any(said) else 0


def _captions(said: tuple[str, str]) -> str:
    left, right = (text(end) for end in said)
    return (
        f'<text x="{_LEFT - 10}" y="37" font-size="10">{left}</text>'
        f'<text x="{_RIGHT + 10}" y="37" font-size="10" text-anchor="end">{right}</text>'
        if any(said)
        else ""
    )


def chance(right: float, label: str) -> str:
    """A success rate between a coin's half (left) and certainty (right)."""
    x = _LEFT + (right - 0.5) * 2 * (_RIGHT - _LEFT)
    return svg(
        240,
        40,
        label,
        f'<path d="M{_LEFT} 14H{_RIGHT}" stroke="#c5cfdc" stroke-width="6" stroke-linecap="round"/>',
        f'<path d="M{_LEFT} 14H{x:.1f}" stroke="#1d5b9f" stroke-width="6" stroke-linecap="round"/>',
        *(f'<path d="M{end} 5V23" stroke="#566072" stroke-width="1.5"/>' for end in (_LEFT, _RIGHT)),
        f'<circle cx="{x:.1f}" cy="14" r="4.5" fill="#fff" stroke="#1a2230" stroke-width="2"/>',
        _captions(("floor: a coin, 50 %", "ceiling: 100 %")),
    )


def overlay(column: ColumnDetail) -> str:
    """Shares of training rows as filled bars, of synthetic rows as an outline over them."""
    bars = column.bars
    width, height, foot = 300.0, 96.0, 80.0
    if not bars:
        return svg(
            width, 24, f"{column.name}: no value on either side", '<text x="0" y="16" font-size="11">no values</text>'
        )
    top = max(max(bar.train, bar.synthetic) for bar in bars) or 1.0
    step = width / len(bars)
    gap = min(2.0, step * 0.15)
    filled, outline = [], []
    for at, bar in enumerate(bars):
        x, wide = at * step + gap / 2, step - gap
        own, made = ((foot - 6) * share / top for share in (bar.train, bar.synthetic))
        said = f"{bar.label}: training {bar.train:.1%}, synthetic {bar.synthetic:.1%}"
        filled.append(
            f'<rect x="{x:.1f}" y="{foot - own:.1f}" width="{wide:.1f}" height="{own:.1f}" fill="#c5cfdc">'
            f"<title>{text(said)}</title></rect>"
        )
        outline.append(f"M{x:.1f} {foot}V{foot - made:.1f}h{wide:.1f}V{foot}")
    line = f'<path d="{"".join(outline)}" fill="none" stroke="#1d5b9f" stroke-width="1.6" pointer-events="none"/>'
    axis = f'<path d="M0 {foot}H{width}" stroke="#566072" stroke-width="1"/>'
    first, last = bars[0].label, bars[-1].label
    ends = f'<text x="0" y="93" font-size="11">{text(_short(first.split(" to ")[0]))}</text>' + (
        f'<text x="{width}" y="93" font-size="11" text-anchor="end">{text(_short(last.split(" to ")[-1]))}</text>'
        if len(bars) > 1
        else ""
    )
    worst = max(bars, key=lambda bar: abs(bar.train - bar.synthetic))
    said = (
        f"{column.name}: {len(bars)} bars. Largest difference at {worst.label}: "
        f"training {worst.train:.1%}, synthetic {worst.synthetic:.1%}"
    )
    return svg(width, height, said, *filled, line, axis, ends)


def heat(names: Sequence[str], pairs: Sequence[PairDetail]) -> str:
    """A triangle of squares, one a pair: the larger and darker, the farther from the training rows.

    A column's name stands where its column of squares begins and its row ends.
    """
    shown = _worst_columns(len(names), pairs)
    place = {column: at for at, column in enumerate(shown)}
    drawn = [pair for pair in pairs if pair.first in place and pair.second in place]
    cell = 34.0 if len(shown) <= _VALUES_IN_HEAT else 20.0
    room = 8 + 7.2 * min(24, max((len(names[column]) for column in shown), default=0))
    top = max(0.05, *(pair.tvd for pair in drawn)) if drawn else 0.05
    content = []
    for pair in drawn:
        column, row = sorted((place[pair.first], place[pair.second]))
        side = (cell - 2) * max(0.16, math.sqrt(pair.tvd / top))
        x, y = column * cell + (cell - side) / 2, row * cell + (cell - side) / 2
        said = f"{names[pair.first]} and {names[pair.second]}: {pair.tvd:.3f}; if independent {pair.floor:.3f}"
        content.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" rx="2" '
            f'fill="{_shade(pair.tvd / top)}">'
            f"<title>{text(said)}</title></rect>"
        )
        if len(shown) <= _VALUES_IN_HEAT and pair.tvd / top >= 0.45:  # noqa: PLR2004 - where the square holds the number
            content.append(
                f'<text x="{column * cell + cell / 2}" y="{row * cell + cell / 2 + 3.5}" font-size="10" '
                f'text-anchor="middle" style="fill:{"#fff" if pair.tvd / top > 0.5 else "#1a2230"}" '  # noqa: PLR2004
                f'pointer-events="none">{100 * pair.tvd:.1f}</text>'
            )
    for at, column in enumerate(shown):
        name = text(_short(names[column], 24))
        content.append(f'<text x="{at * cell + 4}" y="{(at + 0.65) * cell:.1f}" font-size="12">{name}</text>')
    worst = max(drawn, key=lambda pair: pair.tvd, default=None)
    said = f"Distances of {len(drawn)} two-way tables"
    if worst:
        said += f", the largest {worst.tvd:.3f} for {names[worst.first]} and {names[worst.second]}"
    return svg(len(shown) * cell + room, len(shown) * cell + 4, said, *content)


def key() -> str:
    """What fill and outline of an overlay plot mean."""
    return element(
        "p",
        '<svg viewBox="0 0 22 14" width="22" height="14" aria-hidden="true"><rect x="2" y="1" width="18" height="12" '
        'fill="#c5cfdc"/></svg> training rows &nbsp; ',
        '<svg viewBox="0 0 22 14" width="22" height="14" aria-hidden="true"><path d="M3 13V2h16v11" fill="none" '
        'stroke="#1d5b9f" stroke-width="1.6"/></svg> synthetic rows',
        class_="small soft",
    )


def _interval_in_percent(score: Score, at: float) -> tuple[float, float]:
    """The interval, moved with the value to samples of one size, on the scale from floor to ceiling."""
    value, floor, ceiling = score.frame
    if score.interval is None or floor is None or ceiling is None:
        return at, at
    ends = [100 * (value + end - score.value - floor) / (ceiling - floor) for end in score.interval]
    return min(ends), max(ends)


def _place(percent: float) -> float:
    inside = min(max(percent, -_FARTHEST), 100 + _FARTHEST)
    return _LEFT + inside / 100 * (_RIGHT - _LEFT)


def _shade(share: float) -> str:
    light, dark = (214, 226, 240), (18, 62, 115)
    mixed = (round(a + (b - a) * min(1.0, share)) for a, b in zip(light, dark, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _short(label: str, most: int = 18) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _worst_columns(columns: int, pairs: Sequence[PairDetail]) -> list[int]:
    if columns <= MOST_IN_HEAT:
        return list(range(columns))
    total = [0.0] * columns
    for pair in pairs:
        total[pair.first] += pair.tvd
        total[pair.second] += pair.tvd
    return sorted(sorted(range(columns), key=lambda column: -total[column])[:MOST_IN_HEAT])
