"""Events as JSON values, for ledgers and receipts. What is not known is an error: its price would be missing."""

import re
from fractions import Fraction
from typing import Any, Final

from silosynth.common.privacy import Certified, Composed, Event, Gaussian, NoPrivacy, Parallel, Repeated, Sampled

_RATIO: Final = re.compile(r"([1-9][0-9]*)/([1-9][0-9]*)")


def event_to_json(event: Event) -> dict[str, Any]:  # noqa: PLR0911  # one return a kind
    """An event as JSON values: a fraction is the ratio "numerator/denominator" in lowest terms."""
    match event:
        case Gaussian(multiplier, shares):
            return {"event": "gaussian", "multiplier": ratio(multiplier), "shares": shares}
        case NoPrivacy():
            return {"event": "no-privacy"}
        case Repeated(count, inner):
            return {"event": "repeated", "count": count, "of": event_to_json(inner)}
        case Composed(events):
            return {"event": "composed", "of": [event_to_json(inner) for inner in events]}
        case Parallel(parts):
            return {"event": "parallel", "of": [event_to_json(part) for part in parts]}
        case Sampled(rate, inner):
            return {"event": "sampled", "rate": ratio(rate), "of": event_to_json(inner)}
        case Certified(inner, mu_squared):
            return {"event": "certified", "mu_squared": ratio(mu_squared), "of": event_to_json(inner)}


def event_from_json(raw: object) -> Event:  # noqa: PLR0911  # one return a kind
    """The event that `event_to_json` wrote. Raises ValueError for anything else."""
    match raw:
        case {"event": "gaussian", "multiplier": str(said), "shares": int(shares)}:
            return Gaussian(from_ratio(said), shares)
        case {"event": "no-privacy"}:
            return NoPrivacy()
        case {"event": "repeated", "count": int(count), "of": inner}:
            return Repeated(count, event_from_json(inner))
        case {"event": "composed", "of": list(events)}:
            return Composed(tuple(event_from_json(inner) for inner in events))
        case {"event": "parallel", "of": list(parts)}:
            return Parallel(tuple(event_from_json(part) for part in parts))
        case {"event": "sampled", "rate": str(rate), "of": inner} if isinstance(
            event := event_from_json(inner), Gaussian
        ):
            return Sampled(from_ratio(rate), event)
        case {"event": "certified", "mu_squared": str(said), "of": inner}:
            return Certified(event_from_json(inner), from_ratio(said))
        case _:
            raise ValueError("not an event")


def ratio(value: Fraction) -> str:
    """A positive fraction in lowest terms, as text."""
    return f"{value.numerator}/{value.denominator}"


def from_ratio(text: str) -> Fraction:
    """The fraction that `ratio` wrote. Raises ValueError."""
    found = _RATIO.fullmatch(text)
    if not found:
        raise ValueError("not a ratio of positive integers")
    return Fraction(int(found[1]), int(found[2]))
