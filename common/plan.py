"""From a budget to a plan: how many sums of which kind at which noise, fixed before anybody approves."""

import math
from dataclasses import replace
from fractions import Fraction

from silosynth.common.accounting import mu_squared_for
from silosynth.common.engines import SPLITS
from silosynth.common.engines.share import Share
from silosynth.common.study import Member, Step, Study

_DIGITS = 6


def resolve(study: Study, roster: tuple[Member, ...]) -> Study:
    """The study with its roster and its plan.

    Formal guarantee: the plan's price against everybody who sees totals, the sum of repeats / multiplier^2, is at most
    accounting.mu_squared_for(epsilon, delta), in exact rationals: multipliers are rounded up to 6 significant digits.
    """
    budget = study.budget
    shares = SPLITS[study.engine](study)
    if math.isinf(budget.epsilon):
        plan = tuple(Step(share.kind, share.repeats, None) for share in shares)
    else:
        affordable = mu_squared_for(budget.epsilon, budget.delta)
        plan = tuple(Step(share.kind, share.repeats, _multiplier(share, affordable)) for share in shares)
    return replace(study, roster=roster, plan=plan)


def _multiplier(share: Share, affordable: Fraction) -> Fraction:
    """The least multiplier of 6 digits whose `repeats` sums cost at most their share of the affordable mu^2."""
    squared = share.repeats / (share.share * affordable)
    unit = Fraction(10) ** (math.floor(math.log10(squared) / 2) + 1 - _DIGITS)
    digits = math.isqrt(math.ceil(squared / unit**2) - 1) + 1
    return digits * unit
