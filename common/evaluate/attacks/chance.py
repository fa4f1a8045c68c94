"""How far members may be ahead of people who were not in the data by chance alone.

Which units were trained on and which were held out was settled by a keyed hash: had the synthetic table not been learnt
from the former, the two groups would be exchangeable. All tests here rest on that and on nothing else. One-sided:
members ahead.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.intervals import wilson

Flags = NDArray[np.bool_]

_Z = 1.959963984540054


@dataclass(frozen=True)
class Rate:
    """Successes of an attack, and on how many it was tried."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """As a share."""
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, Wilson 1927."""
        return wilson(self.hits, self.of)


def rate(flags: Flags) -> Rate:
    """The share of True, of at least one."""
    return Rate(int(flags.sum()), len(flags))


def newcombe(ahead: Rate, behind: Rate) -> tuple[float, float]:
    """95 % interval of the difference of two independent rates (Newcombe 1998, method 10: from Wilson's)."""
    (low, high), (below, above) = ahead.interval, behind.interval
    difference = ahead.value - behind.value
    down = math.hypot(ahead.value - low, above - behind.value)
    up = math.hypot(high - ahead.value, behind.value - below)
    return max(-1.0, difference - down), min(1.0, difference + up)


def fisher(members: Rate, control: Rate) -> float:
    """Chance of so many of all hits, or more, falling among members (Fisher's exact test; conservative)."""
    from scipy.stats import hypergeom  # noqa: PLC0415

    everybody, hits = members.of + control.of, members.hits + control.hits
    return float(hypergeom.sf(members.hits - 1, everybody, hits, members.of))


def mcnemar(only_members: int, only_control: int) -> float:
    """Chance of so many, or more, of the trials that hit in one table only having hit in the members' (exact)."""
    from scipy.stats import binom  # noqa: PLC0415

    return float(binom.sf(only_members - 1, only_members + only_control, 0.5))


def paired(members: Flags, control: Flags) -> tuple[float, float]:
    """95 % interval of the difference of two rates over the same trials (Agresti, Min 2005: half a trial a cell)."""
    trials = len(members) + 2
    ahead, behind = (int((one & ~other).sum()) + 0.5 for one, other in ((members, control), (control, members)))
    centre = (ahead - behind) / trials
    half = _Z * math.sqrt(max(0.0, ahead + behind - (ahead - behind) ** 2 / trials)) / trials
    return max(-1.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Lead:
    """How far members are ahead of the control group, and with what chance they would be without any cause.

    `value`: 0 is no attack. `ceiling`: the same lead where the real rows are published in place of the synthetic ones.
    """

    value: float
    interval: tuple[float, float]
    p_value: float
    ceiling: float


def lead(members: Rate, control: Rate, published: tuple[Rate, Rate]) -> Lead:
    """Of independent persons: the difference of two rates; `published`: the same two for the ceiling."""
    interval, ceiling = newcombe(members, control), published[0].value - published[1].value
    return Lead(members.value - control.value, interval, fisher(members, control), ceiling)


@dataclass(frozen=True)
class Ranking:
    """How well scores tell members from the control group. A coin has an AUC of .5 and a TPR equal to its FPR."""

    auc: float
    auc_interval: tuple[float, float]
    at: float  # the false positive rate that was asked for, at most
    members: Flags  # who is accused at that rate, (members,)
    control: Flags  # (control,)
    p_value: float


def ranking(members: Real, control: Real, at: float, rng: np.random.Generator) -> Ranking:
    """Of scores, higher for whoever looks more like a member.

    AUC: ties count half, interval after DeLong et al. 1988. Accused are those above the control group's (k + 1)-th
    highest score, k = floor(at * control), ties broken at random. The p value is twice the lesser of two: Mann and
    Whitney's of the AUC (normal limit, and the variance without ties, which is the largest), and the exact one of as
    many members above as there are (negative hypergeometric).
    """
    from scipy.stats import norm  # noqa: PLC0415 - heavy, and only an evaluation needs it

    n, m = len(members), len(control)
    scores = np.concatenate([members, control])
    auc, error = _delong(members, control)
    order = np.lexsort((rng.random(n + m), -scores))
    allowed = math.floor(at * m)
    places = np.flatnonzero(order >= n)
    accused = np.zeros(n + m, dtype=np.bool_)
    accused[order[: places[allowed]]] = True
    tail = first_past(int(accused[:n].sum()), allowed, n, m)
    whole = float(norm.sf((auc - 1 / 2) / math.sqrt((n + m + 1) / (12 * n * m))))
    ends = max(0.0, auc - _Z * error), min(1.0, auc + _Z * error)
    return Ranking(auc, ends, at, accused[:n], accused[n:], min(1.0, 2 * min(tail, whole)))


def first_past(above: int, allowed: int, members: int, control: int) -> float:
    """Chance that at least `above` members stand before the (allowed + 1)-th of the control group in a random order.

    That is: at most `allowed` of the control group among the first above + allowed of all.
    """
    from scipy.stats import hypergeom  # noqa: PLC0415

    return float(hypergeom.cdf(allowed, members + control, control, above + allowed))


def _delong(members: Real, control: Real) -> tuple[float, float]:
    """AUC and its standard error."""
    n, m = len(members), len(control)
    over = _placed(members, control)  # share of the control group below each member
    under = _placed(control, members)
    auc = float(over.mean())
    return auc, math.sqrt(float(over.var(ddof=1)) / n + float(under.var(ddof=1)) / m)


def _placed(scores: Real, among: Real) -> Real:
    ordered = np.sort(among)
    return np.asarray(
        (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(among))
    )


def per_person(scores: Real, owner: Index, persons: int) -> Real:
    """The highest score among each person's rows, shape (persons,); every person has a row."""
    best = np.full(persons, -np.inf)
    np.maximum.at(best, owner, scores)
    return best
