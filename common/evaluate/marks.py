"""The report's small scales and curves: where a number stands between its ends, with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from silosynth.common.evaluate.drawing import svg, words
from silosynth.common.evaluate.scores import Score

_LEFT, _RIGHT = 24.0, 216.0  # of a scale in a drawing 240 wide
_FARTHEST = 8.0  # percent beyond floor or ceiling that is still drawn
_DASHES: Final = ("", "7 4", "2 3")  # curves differ by dash, not by colour
_SIDE, _ROOM = 240.0, 40.0  # of a plot of curves: its square, and what stands left of and below it


def scale(score: Score, label: str, ends_said: tuple[str, str] = ("", "")) -> str:
    """A score between floor (left) and ceiling (right), with its interval; nothing where it has no place there."""
    at = score.rescaled
    if at is None:
        return ""
    low, high = score.between or _interval_in_percent(score, at)
    said = f"{label}: {at:.0f} % of the way from floor to ceiling"
    x = _place(at)
    whisker = (
        f'<path d="M{_place(low):.1f} 14H{_place(high):.1f}M{_place(low):.1f} 10v8M{_place(high):.1f} 10v8" '
        'class="ink" stroke-width="1.5"/>'
    )
    return _drawn(said, max(x, _LEFT), x, whisker, ends_said)


def chance(share: float, label: str, ends_said: tuple[str, str]) -> str:
    """A number between 0 (left) and 1 (right) of what its ends say."""
    x = _LEFT + share * (_RIGHT - _LEFT)
    return _drawn(label, x, x, "", ends_said)


def _drawn(label: str, filled_to: float, x: float, whisker: str, ends_said: tuple[str, str]) -> str:
    track = f'<path d="M{_LEFT} 14H{_RIGHT}" class="track" stroke-width="6" stroke-linecap="round"/>'
    bar = f'<path d="M{_LEFT} 14H{filled_to:.1f}" class="line" stroke-width="6" stroke-linecap="round"/>'
    ends = "".join(f'<path d="M{end} 5V23" class="axis" stroke-width="1.5"/>' for end in (_LEFT, _RIGHT))
    dot = f'<circle cx="{x:.1f}" cy="14" r="4.5" class="open ink" stroke-width="2"/>'
    captions = ""
    if any(ends_said):
        captions = words(_LEFT - 14, 38, ends_said[0]) + words(_RIGHT + 14, 38, ends_said[1], anchor="end")
    return svg(240, 42 if captions else 28, label, track, bar, ends, whisker, dot, captions)


@dataclass(frozen=True)
class Mark:
    """A value with its interval; `filled`: a dot, or else a ring."""

    value: float
    interval: tuple[float, float]
    filled: bool


def whiskers(marks: Sequence[Mark], top: float, label: str) -> str:
    """Values one below the other, on one scale from 0 to `top`."""

    def place(value: float) -> float:
        return _LEFT + min(1.0, max(0.0, value / top if top else 0.0)) * (_RIGHT - _LEFT)

    content = [f'<path d="M{_LEFT} 3V{len(marks) * 15 + 3}" class="axis"/>']
    for at, mark in enumerate(marks):
        y = 11 + at * 15
        low, high = (place(end) for end in mark.interval)
        content.append(
            f'<path d="M{low:.1f} {y}H{high:.1f}M{low:.1f} {y - 3}v6M{high:.1f} {y - 3}v6" class="ink" '
            f'stroke-width="1.3"/><circle cx="{place(mark.value):.1f}" cy="{y}" r="4.5" '
            f'class="{"solid" if mark.filled else "open ink"}" stroke-width="1.6"/>'
        )
    return svg(240, len(marks) * 15 + 6, label, *content)


@dataclass(frozen=True)
class Line:
    """A curve from (0, 0) to (1, 1), and what stands beside its sample."""

    said: str
    points: tuple[tuple[float, float], ...]


def curves(lines: Sequence[Line], across: str, up: str, label: str) -> str:
    """Curves in the unit square over its diagonal, told apart by their dashes; a legend with their words below."""
    height = _SIDE + _ROOM + 12 + 18 * len(lines)
    frame = f'<rect x="{_ROOM}" y="8" width="{_SIDE}" height="{_SIDE}" class="axis" stroke-width="1"/>'
    coin = f'<path d="M{_ROOM} {8 + _SIDE}L{_ROOM + _SIDE} 8" class="track" stroke-width="1.5"/>'
    ticks = "".join(
        words(_ROOM + share * _SIDE, 22 + _SIDE, f"{share:g}", anchor="middle", size=10, kind="soft")
        + words(_ROOM - 5, 12 + (1 - share) * _SIDE, f"{share:g}", anchor="end", size=10, kind="soft")
        for share in (0, 0.5, 1)
    )
    middle = words(-(8 + _SIDE / 2), 11, up, anchor="middle")
    titles = words(_ROOM + _SIDE / 2, 38 + _SIDE, across, anchor="middle") + f'<g transform="rotate(-90)">{middle}</g>'
    drawn, legend = [], []
    for at, line in enumerate(lines):
        kind, dash = "line" if at == 0 else "ink", _DASHES[at % len(_DASHES)]
        style = f'class="{kind}" stroke-width="{2.4 if at == 0 else 1.6}"' + (
            f' stroke-dasharray="{dash}"' if dash else ""
        )
        path = "L".join(f"{_ROOM + x * _SIDE:.1f} {8 + (1 - y) * _SIDE:.1f}" for x, y in line.points)
        drawn.append(f'<path d="M{path}" {style}/>')
        y = _SIDE + _ROOM + 24 + 18 * at
        legend.append(f'<path d="M{_ROOM} {y - 4}h28" {style}/>' + words(_ROOM + 36, y, line.said))
    return svg(_SIDE + _ROOM + 14, height, label, frame, coin, ticks, titles, *drawn, *legend)


def _interval_in_percent(score: Score, at: float) -> tuple[float, float]:
    """The interval of the value alone, moved with it to samples of one size, on the scale from floor to ceiling."""
    value, floor, ceiling = score.frame
    if score.interval is None or floor is None or ceiling is None:
        return at, at
    ends = [100 * (value + end - score.value - floor) / (ceiling - floor) for end in score.interval]
    return min(ends), max(ends)


def _place(percent: float) -> float:
    inside = min(max(percent, -_FARTHEST), 100 + _FARTHEST)
    return _LEFT + inside / 100 * (_RIGHT - _LEFT)
