"""Epsilon in plain words: how often anybody, with any method, can be right about who took part.

Each adversary of a study is given all that it sees, all other rows, and unlimited time; what is left is a test between
two worlds, with one unit and without it. The best one's true positive rate at each false positive rate is the trade-off
function (Wasserman, Zhou 2010; Dong, Roth, Su 2019), and this module reads it off the events. Nothing here was
measured: attacks (evaluate/attacks) say what somebody did achieve, this says what nobody can exceed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from silosynth.common.accounting import SLACK, advantage, tpr_at
from silosynth.common.privacy import Composed, Event, Parallel, Unpriced, View, mu_squared
from silosynth.common.sampled import epsilon_of, is_sampled, losses
from silosynth.common.study import Study, Trust

FALSE_POSITIVE_RATES: Final = (0.001, 0.01)
"""At which true positive rates are stated: accusing 1 in 1,000, and 1 in 100, of those who did not take part."""

Region = Sequence[tuple[float, float]]
"""Pairs (epsilon, delta) that all hold for one mechanism."""


@dataclass(frozen=True)
class Hiding:
    """What one adversary can achieve at most against any one unit.

    `advantage`: most of true positive less false positive rate. `tpr`: (false positive rate, most true positive rate).
    `mu`: of the Gaussian mechanism that the whole history is as good as; None where sums were over samples.
    """

    against: str
    unit: str
    epsilon: float
    delta: float
    mu: float | None
    advantage: float
    tpr: tuple[tuple[float, float], ...]

    @property
    def right(self) -> float:
        """Share of right guesses at most, where a unit is as likely in as out beforehand; a coin's is .5."""
        return (1 + self.advantage) / 2

    @property
    def words(self) -> tuple[str, ...]:
        """The same in sentences. Shares are rounded up: none of them promises too much."""
        if self.advantage >= 1:
            return (f"Nothing is promised against {self.against}: there was no secret noise.",)
        first = (
            f"Whoever guesses whether one {self.unit} took part, knowing everything else, is right in at most "
            f"{_up(100 * self.right)} of 100 cases; a coin is right in 50."
        )
        return first, *(
            f"Whoever wrongly accuses 1 in {round(1 / fpr):,} of those who did not take part recognises at most "
            f"{_up(1000 * tpr)} in 1,000 of those who did."
            for fpr, tpr in self.tpr
        )

    def to_json(self) -> dict[str, Any]:
        """As in a certificate or metrics.json; an infinite epsilon is "inf"."""
        return {
            "against": self.against,
            "unit": self.unit,
            "epsilon": self.epsilon if math.isfinite(self.epsilon) else "inf",
            "delta": self.delta,
            "mu": self.mu,
            "advantage": self.advantage,
            "right_at_most": self.right,
            "tpr_at_fpr": {f"{fpr:g}": tpr for fpr, tpr in self.tpr},
            "words": list(self.words),
        }


def hiding(study: Study, events: Event, *, private: bool = True) -> tuple[Hiding, ...]:
    """A study's adversaries, the weakest first, and what each can achieve at most.

    Formal guarantee: under add/remove of one unit, for whatever else the adversary knows, no function of what it sees
    has a membership advantage above `advantage`, or at a false positive rate of FALSE_POSITIVE_RATES a true positive
    rate above `tpr`; provided the assumptions hold that `against` names. Releases of other studies are not counted.

    Args:
        study: its trust, colluders and delta.
        events: what was performed, as in its certificate.
        private: whether nobody knows the noise; False where it was seeded: then nothing is promised.
    """
    unit = "person" if study.unit else "row"
    return tuple(_against(who, view, events, study.budget.delta, unit, private) for who, view in adversaries(study))


def adversaries(study: Study) -> tuple[tuple[str, View], ...]:
    """Who sees what, the weakest first."""
    some, everybody = f"at most {study.budget.colluders} of the {len(study.roster)} sites", "all other sites together"
    public = ("anybody who gets the synthetic table or its generator", View.AGGREGATE)
    if study.trust is Trust.LOCAL:
        return public, (f"the coordinator and {everybody}", View.LOCAL)
    if study.masked:
        return (
            public,
            (f"the coordinator together with {some}", View.AGGREGATE),
            (
                f"the coordinator and {everybody}",
                View.LOCAL,
            ),
        )
    return public, (some, View.AGGREGATE), ("the coordinator, to whom sums were plain", View.LOCAL)


def within(region: Region, fpr: float) -> float:
    """Most true positive rate at a false positive rate, where each (epsilon, delta) holds (Kairouz et al. 2015).

    Each pair bounds it from both sides: TPR <= e^epsilon FPR + delta, and 1 - FPR <= e^epsilon (1 - TPR) + delta.
    """
    bounds = (
        min(math.exp(min(epsilon, _LARGEST)) * fpr + delta, 1 - math.exp(-epsilon) * max(0.0, 1 - delta - fpr))
        for epsilon, delta in region
    )
    return max(fpr, min(1.0, *bounds))


def advantage_within(region: Region) -> float:
    """Most membership advantage: (e^epsilon - 1 + 2 delta) / (e^epsilon + 1), of the best pair (ibid.)."""
    return min(1.0, *(math.tanh(epsilon / 2) * (1 - delta) + delta for epsilon, delta in region))


def _against(who: str, view: View, events: Event, delta: float, unit: str, private: bool) -> Hiding:
    try:
        epsilon = epsilon_of(events, delta, view) if private else math.inf
    except Unpriced:
        epsilon = math.inf
    if math.isinf(epsilon):
        return Hiding(who, unit, math.inf, delta, None, 1.0, tuple((fpr, 1.0) for fpr in FALSE_POSITIVE_RATES))
    found = [_of_part(part, view) for part in _parts(events)]
    mus = [mu for mu, _, _ in found]
    return Hiding(
        who,
        unit,
        epsilon,
        delta,
        None if None in mus else max(mu for mu in mus if mu is not None),
        max(advantage for _, advantage, _ in found),
        tuple((fpr, max(tpr[at] for _, _, tpr in found)) for at, fpr in enumerate(FALSE_POSITIVE_RATES)),
    )


def _parts(events: Event) -> Sequence[Event]:
    """Histories of which a unit is in one: each adversary is as good as in the worst of them."""
    if not isinstance(events, Parallel):
        return (events,)
    return [part for part in events.parts if part != Composed(())] or [Composed(())]


def _of_part(events: Event, view: View) -> tuple[float | None, float, tuple[float, ...]]:
    """mu, advantage and the true positive rates of one history."""
    if is_sampled(events):
        curve = losses(events)
        region = list(zip(curve.epsilons.tolist(), (curve.deltas + SLACK).tolist(), strict=True))
        return None, advantage_within(region), tuple(within(region, fpr) for fpr in FALSE_POSITIVE_RATES)
    mu = math.sqrt(mu_squared(events, view)) * (1 + _ROUNDING)
    most = tuple(min(1.0, tpr_at(mu, fpr) + SLACK) for fpr in FALSE_POSITIVE_RATES)
    return mu, min(1.0, advantage(mu) + SLACK), most


_ROUNDING = 1e-12  # relative: pays for float arithmetic
_LARGEST = 700.0  # e to it is still a float


def _up(value: float) -> str:
    """Rounded up to one digit after the point; whole numbers without it."""
    tenths = math.ceil(value * 10 - 1e-9)
    return f"{tenths // 10}" if tenths % 10 == 0 else f"{tenths / 10:.1f}"
