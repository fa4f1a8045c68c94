"""What independent repetitions say together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mean:
    """Mean of independent repetitions, their standard deviation, and the 95 % interval of the mean (Student's t)."""

    value: float
    deviation: float
    interval: tuple[float, float] | None


def mean(values: Sequence[float]) -> Mean:
    """One value has neither deviation nor interval."""
    from scipy.stats import t  # noqa: PLC0415 - heavy, and speed alone does not need it

    count, centre = len(values), float(np.mean(values))
    if count == 1:
        return Mean(centre, 0.0, None)
    deviation = float(np.std(values, ddof=1))
    half = float(t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return Mean(centre, deviation, (centre - half, centre + half))
