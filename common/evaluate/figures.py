"""How numbers are written wherever people read them: in the report, the model card, the description of the table."""

import math

from silosynth.common.evaluate.scores import Score

ABSENT = "—"
"""What stands where there is no number."""


def number(value: float | None) -> str:
    """Three decimals, four where it is small."""
    if value is None:
        return ABSENT
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.4f}"  # noqa: PLR2004 - small distances


def percent(value: float | None, digits: int = 1) -> str:
    """A share, in percent; the space does not break."""
    return ABSENT if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def between(interval: tuple[float, float] | None) -> str:
    """An interval."""
    return ABSENT if interval is None else f"{number(interval[0])} to {number(interval[1])}"


def span(score: Score, *, in_percent: bool = False) -> str:
    """The interval of a score."""
    if score.interval is None or not in_percent:
        return between(score.interval)
    low, high = score.interval
    return f"{percent(low, 0)} to {percent(high, 0)}"


def epsilon(value: float | str | None) -> str:
    """Two decimals, rounded up: an epsilon is never shown smaller than it is."""
    if value is None:
        return ABSENT
    known = float(value)
    return f"{math.ceil(known * 100 - 1e-6) / 100:.2f}" if math.isfinite(known) else "∞"
