"""The drawing of a comparison: utility against epsilon between floor and ceiling, and the page it stands on.

Made to be read in black and white: a line is told by its dashes, its marker and the name at its end. One file each,
nothing from the network, no script.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from silosynth.common.evaluate.drawing import svg
from silosynth.common.evaluate.page import document, element, text
from silosynth.common.evaluate.page import table as page_table
from silosynth.simulations.compare_table import Table, cells, notes

_WIDTH, _HEIGHT = 930.0, 500.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 652.0, 56.0, 436.0
_APART, _LINE = 9.0, 18.0  # between the bars of two lines at one epsilon; between two names
_CAP = 4.0
_MOST_TICKS: Final = 8
_STEPS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_WORDS: Final = {
    "tstr_auc_gb": "AUC on held-out real rows of a model trained on synthetic rows",
    "pair_trends": "Pair trends: how alike the dependence between columns is",
}
_DOTTED: Final = 'stroke="#1a2230" stroke-width="1.5" stroke-dasharray="1 3"'
_STYLES: Final = (("#1d5b9f", ""), ("#a8480f", "9 5"), ("#2b6e4f", "2 4"), ("#6b3fa0", "12 4 2 4"))
_UNBROKEN: Final = "white-space: nowrap"
_SMALL: Final = "white-space: nowrap; font-size: .8rem"
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class _Point:
    epsilon: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Line:
    """One engine under one way of trust."""

    name: str
    points: tuple[_Point, ...]


@dataclass(frozen=True)
class _Name:
    """Words about something that ends at a place; `at`: of a line, its number."""

    words: str
    x: float
    y: float
    at: int | None = None


@dataclass(frozen=True)
class _Frame:
    """From epsilon and utility to places in the drawing."""

    epsilons: tuple[float, ...]
    low: float
    high: float

    def x(self, epsilon: float) -> float:
        first, last = math.log(self.epsilons[0]), math.log(self.epsilons[-1])
        if first == last:
            return (_LEFT + _RIGHT) / 2
        inside = _LEFT + 36, _RIGHT - 36
        return inside[0] + (math.log(epsilon) - first) / (last - first) * (inside[1] - inside[0])

    def y(self, value: float) -> float:
        return _BOTTOM - (value - self.low) / (self.high - self.low) * (_BOTTOM - _TOP)


def drawn(table: Table) -> str:
    """The plot as an SVG that stands alone."""
    lines = _lines(table)
    frame = _frame(table, lines)
    names = [*_names_of_ends(table, frame), *_names_of_lines(lines, frame)]
    content = [f'<rect width="{_WIDTH:g}" height="{_HEIGHT:g}" fill="#fff"/>', *_axes(table, frame)]
    content += [f'<path d="M{_LEFT} {name.y:.1f}H{_RIGHT}" {_DOTTED}/>' for name in names if name.at is None]
    for at, line in enumerate(lines):
        content += _curve(line, at, _shift(at, lines), frame)
    for name, y in zip(names, _spread([name.y for name in names]), strict=True):
        content += _named(name, y)
    group = f'<g font-family="{_FONT}" font-size="14" fill="#1a2230">{"".join(content)}</g>'
    return svg(_WIDTH, _HEIGHT, _said(table, lines), group).replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1
    )


def page(table: Table) -> str:
    """compare.html: plot and table."""
    head, rows = cells(table)
    safe = [(text(row[0]), *(_cell(cell) for cell in row[1:])) for row in rows]
    title = f"{table.name}: engines compared"
    stamp = element("p", element("strong", "Simulation. "), text(notes(table)[-1]), class_="stamp")
    failures = element("ul", *(element("li", text(line)) for line in table.failures)) if table.failures else ""
    body = (
        element("header", element("p", "silosynth", class_="eyebrow"), element("h1", text(title)), stamp)
        + element(
            "main",
            element("h2", "Utility against epsilon"),
            element("figure", drawn(table), class_="heat"),
            element("h2", "Table"),
            page_table(head, safe, "Means over seeds, with 95 % intervals where there are several"),
            element("h2", "Did not finish") + failures if failures else "",
            element("h2", "How to read it"),
            *(element("p", text(one)) for one in notes(table)[:-1]),
            element("pre", text(table.command)),
        )
        + element("footer", "Made by silosynth compare. The same numbers are in compare.csv.")
    )
    return document(title, body)


def _cell(words: str) -> str:
    """An interval stands on a line of its own, unbroken."""
    value, bracket, interval = words.partition(" [")
    return element("span", text(value), style=_UNBROKEN) + (
        f"<br>{element('span', text(bracket.strip() + interval), class_='soft', style=_SMALL)}" if bracket else ""
    )


def _lines(table: Table) -> list[_Line]:
    found: dict[str, list[_Point]] = {}
    for row in table.rows:
        if (summed := row.means.get(table.utility)) is not None:
            low, high = summed.interval or (summed.value, summed.value)
            found.setdefault(row.title, []).append(_Point(row.epsilon, summed.value, low, high))
    return [_Line(name, tuple(sorted(points, key=lambda one: one.epsilon))) for name, points in found.items()]


def _frame(table: Table, lines: Sequence[_Line]) -> _Frame:
    """Floor, ceiling and all means lie well inside; a bar that would stretch the picture is cut at its edge."""
    values = [point.value for line in lines for point in line.points]
    values += [frame[table.utility] for frame in (table.floor, table.ceiling) if table.utility in frame]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = max(0.12 * (high - low), 0.01)
    epsilons = sorted({row.epsilon for row in table.rows}) or [1.0]
    return _Frame(tuple(epsilons), low - room, high + room)


def _axes(table: Table, frame: _Frame) -> Iterator[str]:
    yield _text(_LEFT - 48, 24, _WORDS[table.utility], 'font-size="15" font-weight="600"')
    for value in _ticks(frame.low, frame.high):
        y = frame.y(value)
        yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="#dfe4eb"/>'
        yield _text(_LEFT - 10, y + 5, f"{value:.3f}".rstrip("0") if value else "0", 'text-anchor="end"')
    for epsilon in frame.epsilons:
        x = frame.x(epsilon)
        yield f'<path d="M{x:.1f} {_BOTTOM}v6" stroke="#566072"/>'
        yield _text(x, _BOTTOM + 23, f"{epsilon:g}", 'text-anchor="middle"')
    yield f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="#566072"/>'
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 46, "epsilon (logarithmic)", 'text-anchor="middle"')


def _names_of_ends(table: Table, frame: _Frame) -> Iterator[_Name]:
    """Floor and ceiling."""
    for values, words in ((table.ceiling, "ceiling {}: real rows"), (table.floor, "floor {}: independent columns")):
        if (value := values.get(table.utility)) is not None:
            yield _Name(words.format(f"{value:.3f}"), _RIGHT, frame.y(value))


def _names_of_lines(lines: Sequence[_Line], frame: _Frame) -> Iterator[_Name]:
    for at, line in enumerate(lines):
        last = line.points[-1]
        yield _Name(line.name, frame.x(last.epsilon) + _shift(at, lines) + 10, frame.y(last.value), at)


def _named(name: _Name, y: float) -> Iterator[str]:
    """A name in the right margin, with a thread to what it names."""
    colour = "#1a2230" if name.at is None else _style(name.at)[0]
    yield f'<path d="M{name.x:.1f} {name.y:.1f}L{_RIGHT + 10} {y:.1f}" stroke="{colour}" stroke-width="0.8"/>'
    if name.at is not None:
        yield _marker(name.at, _RIGHT + 20, y, colour)
    yield _text(_RIGHT + (14 if name.at is None else 33), y + 5, name.words)


def _curve(line: _Line, at: int, shift: float, frame: _Frame) -> Iterator[str]:
    colour, dashes = _style(at)
    places = [(frame.x(point.epsilon) + shift, frame.y(point.value)) for point in line.points]
    for (x, _), point in zip(places, line.points, strict=True):
        yield _bar(x, point, frame, colour)
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
    for (x, y), point in zip(places, line.points, strict=True):
        said = f"{line.name}, epsilon {point.epsilon:g}: {point.value:.3f}"
        yield element("g", _marker(at, x, y, colour), f"<title>{text(said)}</title>")


def _bar(x: float, point: _Point, frame: _Frame, colour: str) -> str:
    """The interval; without an end mark where it goes on beyond the drawing."""
    if point.low == point.high:
        return ""
    path = ""
    for end, edge, beyond in ((point.high, _TOP, point.high > frame.high), (point.low, _BOTTOM, point.low < frame.low)):
        y = edge if beyond else frame.y(end)
        path += f"M{x:.1f} {frame.y(point.value):.1f}V{y:.1f}" + ("" if beyond else f"m-{_CAP} 0h{2 * _CAP}")
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _marker(at: int, x: float, y: float, colour: str) -> str:
    shapes = (
        f"M{x - 5:.1f} {y:.1f}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",  # circle
        f"M{x - 5:.1f} {y - 5:.1f}h10v10h-10Z",  # square
        f"M{x:.1f} {y - 6.5:.1f}l6.5 11h-13Z",  # triangle
        f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7Z",  # diamond
    )
    filled = colour if (at + at // len(shapes)) % 2 == 0 else "#fff"
    return f'<path d="{shapes[at % len(shapes)]}" fill="{filled}" stroke="{colour}" stroke-width="2"/>'


def _spread(wanted: Sequence[float]) -> list[float]:
    """Places of names, as near to where they are wanted as leaves each a line of its own."""
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    found = list(wanted)
    for _ in range(100 * len(order)):
        for upper, lower in itertools.pairwise(order):
            if (missing := _LINE - (found[lower] - found[upper])) > 0:
                found[upper] -= missing / 2
                found[lower] += missing / 2
    return found


def _ticks(low: float, high: float) -> list[float]:
    step = next((step for step in _STEPS if (high - low) / step <= _MOST_TICKS), 0.5)
    first = math.ceil(low / step)
    return [at * step for at in range(first, math.floor(high / step) + 1)]


def _shift(at: int, lines: Sequence[_Line]) -> float:
    """Sideways, so that bars at one epsilon stand beside each other."""
    return (at - (len(lines) - 1) / 2) * _APART


def _style(at: int) -> tuple[str, str]:
    return _STYLES[at % len(_STYLES)]


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{text(words)}</text>'


def _said(table: Table, lines: Sequence[_Line]) -> str:
    """The whole drawing in words."""
    ends = [
        f"{name} {frame[table.utility]:.3f}"
        for name, frame in (("floor", table.floor), ("ceiling", table.ceiling))
        if table.utility in frame
    ]
    said = [
        f"{line.name}: " + ", ".join(f"{point.value:.3f} at epsilon {point.epsilon:g}" for point in line.points)
        for line in lines
    ]
    return f"{_WORDS[table.utility]}, against epsilon. " + "; ".join([*ends, *said])
