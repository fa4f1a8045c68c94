"""What epsilon means for one person, from the events of a certificate: bounds on whatever anybody could try.

All releases together are no more than one Gaussian release of mu (Dong, Roth, Su 2019), so the best test of whether one
person's rows were used has a true positive rate of at most Phi(Phi^-1(false positive rate) + mu).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Any, Final, Literal

from silosynth.common.evaluate.words import no_privacy

FALSE_POSITIVES: Final = (0.01, 0.001)

_NORMAL: Final = NormalDist()
_GRID: Final = tuple(at / 100 for at in range(1, 100))


@dataclass(frozen=True)
class Adversary:
    """The best that one adversary can do. `found`: the most true positives at each rate of FALSE_POSITIVES.

    `mu` is None where nothing is promised.
    """

    view: Literal["aggregate", "local"]
    against: str
    epsilon: float
    mu: float | None

    @property
    def guess(self) -> float | None:
        """Chance of guessing rightly whether a person took part, where a coin has one half."""
        return None if self.mu is None else _NORMAL.cdf(self.mu / 2)

    @property
    def advantage(self) -> float | None:
        """Membership advantage: true less false positive rate, at most (Yeom et al. 2018)."""
        return None if self.mu is None else 2 * _NORMAL.cdf(self.mu / 2) - 1

    def found(self, false_positives: float) -> float | None:
        """The most of those who took part that can be found, at this rate of false accusations."""
        return None if self.mu is None else _NORMAL.cdf(_NORMAL.inv_cdf(false_positives) + self.mu)

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """Most true positives over false positives, from (0, 0) to (1, 1)."""
        if self.mu is None:
            return ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))
        inner = tuple((share, _NORMAL.cdf(_NORMAL.inv_cdf(share) + self.mu)) for share in _GRID)
        return ((0.0, 0.0), *inner, (1.0, 1.0))


def adversaries(certificate: Mapping[str, Any]) -> tuple[Adversary, ...]:
    """One for each epsilon of the certificate, the stronger last."""
    both, against = certificate.get("epsilon", {}), certificate.get("holds_against", {})
    default = {"aggregate": "everybody who sees only totals", "local": "the coordinator and all other sites together"}
    promised = no_privacy(certificate) is None
    return tuple(
        Adversary(
            view,  # type: ignore[arg-type]  # the two keys of `default`
            str(against.get(view, said)),
            float(both.get(view, math.inf)),
            _mu(certificate, view) if promised else None,
        )
        for view, said in default.items()
    )


def _mu(certificate: Mapping[str, Any], view: str) -> float | None:
    squared = Fraction(0)
    for event in certificate.get("events", ()):
        price = event.get("mu_squared")
        if price is None:
            return None
        squared += Fraction(price[view])
    return math.sqrt(squared)
