"""Privacy events as data, and the one number that prices them.

An event says what a mechanism did to the units, completely enough to price it without reading the code that did it
(the idea is dp_accounting's DpEvent). Events are compared, hashed, written to ledgers and certificates; they are never
executed. Compatibility rule: an event is never redefined and never removed; an unknown event makes a ledger unreadable,
it is not skipped.

Everything released is an integer vector plus discrete Gaussian noise, so every event is mu-GDP (Dong, Roth, Su 2019)
and a whole history is priced by the exact rational mu^2 = sum of the events' mu^2. Events on the full batch have a
closed form; sums over Poisson samples, which only `trust = "local"` makes, are priced by certificate (`Certified`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from silosynth.common.errors import SilosynthError


class View(StrEnum):
    """Whom a price is computed against."""

    AGGREGATE = "aggregate"
    """Everybody who sees only totals: needs secure sums and at most `colluders` corrupt members."""

    LOCAL = "local"
    """Everybody else in collusion, or secure sums broken: what a site's own noise alone promises."""


class Part(StrEnum):
    """Which units answer a step: each unit of a site is in one part for the whole of a study."""

    TRAIN = "train"
    HOLDOUT = "holdout"


class Unpriced(SilosynthError):
    """An event whose price is not finite, where a finite one is needed."""


@dataclass(frozen=True)
class Gaussian:
    """One noisy sum.

    Formal guarantee: let the integer query have L2 sensitivity D for adding or removing one unit, and let each site add
    discrete Gaussian noise of parameter sigma_i with sigma_i^2 >= (multiplier * D)^2 / shares + 4. Then the sum over at
    least `shares` honest sites is 1/multiplier-GDP up to 2^-40 in delta, and one site's own answer is
    sqrt(shares)/multiplier-GDP. (The discrete Gaussian is post-processing of N(0, sigma^2 - 4): corollary of Peikert
    2010 and Genise et al. 2020; sums over sites: Kairouz, Liu, Steinke 2021.)
    """

    multiplier: Fraction
    shares: int

    def __post_init__(self) -> None:
        if self.multiplier <= 0 or self.shares < 1:
            raise ValueError("multiplier and shares must be positive")


@dataclass(frozen=True)
class NoPrivacy:
    """A release without noise. Only simulations make one; no finite budget covers it."""


@dataclass(frozen=True)
class Repeated:
    """`event`, `count` times, each chosen adaptively on the results so far."""

    count: int
    event: "Event"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be positive")


@dataclass(frozen=True)
class Composed:
    """All of `events`, in any order, each chosen adaptively on the results so far."""

    events: "tuple[Event, ...]"


@dataclass(frozen=True)
class Parallel:
    """Histories of disjoint parts of the units: no unit is in two of them.

    Formal guarantee: let a keyed function of each unit alone say which part it is in (client/sources/split.py),
    whatever the other units are, and let the events of a part be computed from its units and from anything that was
    released before, of any part. For every key, adding or removing one unit changes one part by that unit and no other
    part, so the answers of all other parts are post-processing: the whole is as private as the dearest part, in each
    view (parallel composition, McSherry 2009, theorem 4; adaptively in both directions, because the unit's part is
    fixed before the first question). Events of several parts are not a sequence for any unit: what is left of a plan is
    not the difference of two such prices (books.Account.credit).
    """

    parts: "tuple[Event, ...]"


@dataclass(frozen=True)
class Sampled:
    """`event` on a Poisson sample: each unit takes part by a secret coin of its own that shows heads at `rate`.

    Its mu^2 is that of `event`: leaving units out at random never costs privacy. What sampling gains is not expressible
    as mu-GDP event by event; a `Certified` history says it.
    """

    rate: Fraction
    event: Gaussian

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError("a sampling rate lies above 0 and at most at 1")
        if self.event.shares != 1:
            raise ValueError("samples are drawn where a site adds all of the noise itself")


@dataclass(frozen=True)
class Certified:
    """A fixed history with Poisson samples, and the mu^2 that covers it.

    Formal guarantee (sampled.py has the proof and the check, which whoever accepts the number makes for itself): the
    whole of `event` is dominated by a sqrt(mu_squared)-GDP mechanism, but for a chance of sampled.SLACK. It is charged
    whole, once: a part of it is not covered by a part of the number.
    """

    event: "Event"
    mu_squared: Fraction

    def __post_init__(self) -> None:
        if self.mu_squared <= 0:
            raise ValueError("a certified price must be positive")


Event: TypeAlias = Gaussian | NoPrivacy | Repeated | Composed | Parallel | Sampled | Certified


def in_runs(counted: Iterable[tuple[int, Event]]) -> Composed:
    """Events one after the other, each so many times, as equal neighbours count together: one way to write a history.

    What a plan says and what a mechanism saw being performed are compared as these.
    """
    runs: list[tuple[int, Event]] = []
    for count, event in counted:
        before = runs.pop()[0] if runs and runs[-1][1] == event else 0
        runs.append((before + count, event))
    return Composed(tuple(Repeated(count, event) for count, event in runs))


def mu_squared(event: Event, view: View) -> Fraction:
    """Exact mu^2 of an event. Raises Unpriced for NoPrivacy.

    Composition: mu^2 adds, also adaptively (Dong, Roth, Su 2019, corollary 2), and stopping on its sum is a valid
    filter (Smith, Thakurta 2022).
    """
    match event:
        case Gaussian(multiplier, shares):
            return (1 if view is View.AGGREGATE else shares) / multiplier**2
        case Repeated(count, inner):
            return count * mu_squared(inner, view)
        case Composed(events):
            return sum((mu_squared(inner, view) for inner in events), Fraction(0))
        case Parallel(parts):
            return max((mu_squared(part, view) for part in parts), default=Fraction(0))
        case Sampled(_, inner):
            return mu_squared(inner, view)
        case Certified(_, certified):
            return certified
        case NoPrivacy():
            raise Unpriced("a release without noise has no finite price")
