"""The report's plots of columns and pairs: small SVGs that can be read without colour, each with a text for listeners.

Colours are classes of style.py, so that a plot follows the page into the dark and onto paper.
"""

import math
from collections.abc import Sequence

from silosynth.common.evaluate.figures import percent
from silosynth.common.evaluate.page import element, text
from silosynth.common.evaluate.scores import Bar, ColumnDetail, PairDetail

MOST_IN_HEAT = 40

_VALUES_IN_HEAT = 20
_WIDTH, _HEIGHT, _FOOT = 300.0, 112.0, 92.0  # of an overlay plot; its axis stands at _FOOT
_READABLE = 0.42  # share of the largest distance from which on a square holds its number
_ON_DARK = 0.6


def svg(width: float, height: float, label: str, *content: str) -> str:
    """A drawing with its description."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{text(label)}">{"".join(content)}</svg>'
    )


def words(x: float, y: float, said: str, *, anchor: str = "start", size: float = 11, kind: str = "") -> str:
    """Text in a drawing."""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    of = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}"{where}{of}>{text(said)}</text>'


def overlay(column: ColumnDetail) -> str:
    """Shares of training rows as filled bars, of synthetic rows as an outline over them."""
    bars = column.bars
    if not bars:
        return svg(_WIDTH, 24, f"{column.name}: no value on either side", words(0, 16, "no values"))
    top = max(max(bar.train, bar.synthetic) for bar in bars) or 1.0
    worst = max(bars, key=lambda bar: abs(bar.train - bar.synthetic))
    said = (
        f"{column.name}: {len(bars)} bars. Largest difference at {worst.label}: "
        f"training {worst.train:.1%}, synthetic {worst.synthetic:.1%}"
    )
    axis = f'<path d="M0 {_FOOT:g}H{_WIDTH:g}" class="axis"/>'
    highest = words(0, 10, percent(top, 0), size=10, kind="soft")
    return svg(_WIDTH, _HEIGHT, said, *_bars(bars, top), axis, highest, *_ends(bars))


def _bars(bars: Sequence[Bar], top: float) -> list[str]:
    step = _WIDTH / len(bars)
    gap = min(3.0, step * 0.15)
    filled, outline = [], []
    for at, bar in enumerate(bars):
        x, wide = at * step + gap / 2, step - gap
        own, made = ((_FOOT - 16) * share / top for share in (bar.train, bar.synthetic))
        said = f"{bar.label}: training {bar.train:.1%}, synthetic {bar.synthetic:.1%}"
        filled.append(
            f'<rect x="{x:.1f}" y="{_FOOT - own:.1f}" width="{wide:.1f}" height="{own:.1f}" class="fill">'
            f"<title>{text(said)}</title></rect>"
        )
        outline.append(f"M{x:.1f} {_FOOT:g}V{_FOOT - made:.1f}h{wide:.1f}V{_FOOT:g}")
    return [*filled, f'<path d="{"".join(outline)}" class="line" stroke-width="1.7" pointer-events="none"/>']


def _ends(bars: Sequence[Bar]) -> list[str]:
    first, last = bars[0].label.split(" to ")[0], bars[-1].label.split(" to ")[-1]
    y = _HEIGHT - 5
    left = [words(0, y, short(first))]
    return left + ([words(_WIDTH, y, short(last), anchor="end")] if len(bars) > 1 else [])


def key() -> str:
    """What fill and outline of an overlay plot mean."""
    filled = '<rect x="2" y="1" width="18" height="12" class="fill"/>'
    outlined = '<path d="M3 13V2h16v11" class="line" stroke-width="1.7"/>'
    parts = (
        f'<svg viewBox="0 0 22 14" width="22" height="14" aria-hidden="true">{drawn}</svg> {said}'
        for drawn, said in ((filled, "training rows, filled"), (outlined, "synthetic rows, outlined"))
    )
    return element("p", *(element("span", part) for part in parts), class_="small soft key")


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
        said = f"{names[pair.first]} and {names[pair.second]}: {pair.tvd:.3f}; if independent {pair.floor:.3f}"
        content.append(_square(column * cell, row * cell, cell, pair.tvd / top, said))
        if len(shown) <= _VALUES_IN_HEAT and pair.tvd / top >= _READABLE:
            content.append(
                words(
                    column * cell + cell / 2,
                    row * cell + cell / 2 + 3.5,
                    f"{100 * pair.tvd:.0f}",
                    anchor="middle",
                    size=10,
                    kind="on" if pair.tvd / top > _ON_DARK else "",
                )
            )
    content += [
        words(at * cell + 4, (at + 0.65) * cell, short(names[column], 24), size=12) for at, column in enumerate(shown)
    ]
    worst = max(drawn, key=lambda pair: pair.tvd, default=None)
    said = f"Distances of {len(drawn)} two-way tables"
    if worst:
        said += f", the largest {worst.tvd:.3f} for {names[worst.first]} and {names[worst.second]}"
    return svg(len(shown) * cell + room, len(shown) * cell + 4, said, *content)


def _square(left: float, top: float, cell: float, share: float, said: str) -> str:
    """Its area grows with `share`, and its opacity in three steps: it is read by size, and by tone at a glance."""
    side = (cell - 2) * max(0.16, math.sqrt(share))
    x, y = left + (cell - side) / 2, top + (cell - side) / 2
    kind, tone = ("dark", 1.0) if share > _ON_DARK else ("dark", 0.45) if share > _READABLE else ("fill", 1.0)
    opacity = "" if tone == 1 else f' fill-opacity="{tone:g}"'
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" rx="2" class="{kind}"{opacity}>'
        f"<title>{text(said)}</title></rect>"
    )


def short(label: str, most: int = 18) -> str:
    """A label that fits."""
    return label if len(label) <= most else label[: most - 1] + "…"


def _worst_columns(columns: int, pairs: Sequence[PairDetail]) -> list[int]:
    if columns <= MOST_IN_HEAT:
        return list(range(columns))
    total = [0.0] * columns
    for pair in pairs:
        total[pair.first] += pair.tvd
        total[pair.second] += pair.tvd
    return sorted(sorted(range(columns), key=lambda column: -total[column])[:MOST_IN_HEAT])
