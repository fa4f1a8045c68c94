"""What each adversary of a study can achieve at most, as its certificate says it; common/formal.py computes it.

Here it is only read, so that the report promises what `silosynth verify` recomputes, and nothing else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

_NORMAL: Final = NormalDist()
_GRID: Final = tuple(at / 100 for at in range(1, 100))


@dataclass(frozen=True)
class Adversary:
    """The best that one adversary can do.

    `guess`: share of right guesses whether a person took part, where a coin has one half; `advantage`: true less false
    positive rate (Yeom et al. 2018); `found`: the most true positives, by false positive rate; `mu`: of the Gaussian
    release that all releases together are no more than, None where sums were over samples, or nothing is promised.
    """

    against: str
    epsilon: float
    mu: float | None
    guess: float
    advantage: float
    found: Mapping[float, float]
    words: tuple[str, ...]

    @property
    def promised(self) -> bool:
        """Whether anything is."""
        return self.advantage < 1

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """Most true positives over false positives, from (0, 0) to (1, 1); empty where it has no closed form."""
        if self.mu is None:
            return ()
        inner = tuple((share, _NORMAL.cdf(_NORMAL.inv_cdf(share) + self.mu)) for share in _GRID)
        return ((0.0, 0.0), *inner, (1.0, 1.0))


def adversaries(certificate: Mapping[str, Any]) -> tuple[Adversary, ...]:
    """Those that a certificate names, the weakest first."""
    return tuple(
        Adversary(
            str(row["against"]),
            math.inf if row["epsilon"] == "inf" else float(row["epsilon"]),
            None if row["mu"] is None else float(row["mu"]),
            float(row["right_at_most"]),
            float(row["advantage"]),
            {float(rate): float(most) for rate, most in row["tpr_at_fpr"].items()},
            tuple(str(line) for line in row["words"]),
        )
        for row in certificate.get("adversaries", ())
    )
