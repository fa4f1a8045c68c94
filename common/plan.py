"""From a budget to a plan: how many sums of which kind at which noise, fixed before anybody approves."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from silosynth.common import sampled
from silosynth.common.accounting import mu_squared_for
from silosynth.common.engines import SPLITS, auto, heldout
from silosynth.common.engines.share import Share
from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.privacy import Composed, Part
from silosynth.common.study import Budget, Member, Step, Study, Trust

_FEWEST_HONEST = 2
_WITHOUT_GAIN = 0.01  # log of a noise that is enough if sampling gains nothing, whatever the rounding of losses
_CLOSE = 1e-5  # relative to epsilon: how closely the noise is searched for
_TINY, _FAR = 1e-300, 10.0  # an epsilon and a log for those that are none


def resolve(study: Study, roster: tuple[Member, ...]) -> Study:
    """The study with its roster and its plan: first what the engine asks, then what the held-out units are asked.

    Formal guarantee: the plan's epsilon against everybody who sees totals is at most the budget's. Sums over all units:
    the sum of repeats / multiplier^2 is at most accounting.mu_squared_for(epsilon, delta), in exact rationals. With
    sums over Poisson samples: by sampled.epsilon_of, of the whole plan. Multipliers are rounded up to 6 digits. The
    same holds of what held-out units are asked, by itself: they pay for nothing else (privacy.Parallel).

    The engine `auto` becomes one by name. Raises InvalidStudy where the sites cannot have such a plan, or the study
    does not say what `auto` needs, NotPossible where its price cannot be computed.
    """
    study = auto.settle(study)
    shares = SPLITS[study.engine](replace(study, roster=roster))
    if study.trust is Trust.SECURE_SUM and len(roster) - study.budget.colluders < _FEWEST_HONEST:
        raise InvalidStudy(
            f"[study] key 'trust': of {len(roster)} sites {study.budget.colluders} may collude, and a sum over fewer "
            f'than {_FEWEST_HONEST} others hides nobody: bring more sites, or write trust = "local" under [study], so '
            "that each site adds all of the noise by itself, and two sites are enough"
        )
    for share in _leaves(shares):
        if share.rate is not None and not 0 < share.rate <= 1:
            raise InvalidStudy("[engine] key 'rate': must lie above 0, by more than rounding, and at most at 1")
    if any(share.within or share.sampled for share in shares) and study.trust is not Trust.LOCAL:
        raise InvalidStudy("[study] key 'trust': a site learns by itself only with trust = \"local\"")
    held = heldout.split(study)
    if math.isinf(study.budget.epsilon):
        return replace(study, roster=roster, plan=_steps(shares, _no_noise) + _of_holdout(_steps(held, _no_noise)))
    affordable = mu_squared_for(study.budget.epsilon, study.budget.delta)
    evaluation = _of_holdout(_steps(held, lambda share, repeats: _multiplier(share, repeats, affordable, 1)))

    def plan(fraction: float) -> tuple[Step, ...]:
        def multiplier(share: Share, repeats: int) -> Fraction:
            return _multiplier(share, repeats, affordable, Fraction(fraction) if share.rate is not None else 1)

        return _steps(shares, multiplier)

    if not any(share.sampled for share in shares):
        return replace(study, roster=roster, plan=plan(1) + evaluation)
    found = _least_noise(plan, study.budget)
    certified = tuple(
        replace(step, certified=sampled.certify(step.history(1))) if step.sampled else step for step in found
    )
    return replace(study, roster=roster, plan=certified + evaluation)


def _steps(
    shares: tuple[Share, ...], multiplier: Callable[[Share, int], Fraction | None], times: int = 1
) -> tuple[Step, ...]:
    """One step for each share; `times` is how often each is repeated from outside."""
    return tuple(
        Step(share.kind, share.repeats, within=_steps(share.within, multiplier, times * share.repeats))
        if share.within
        else Step(share.kind, share.repeats, multiplier(share, times * share.repeats), _six_digits(share.rate))
        for share in shares
    )


def _no_noise(_share: Share, _repeats: int) -> None:
    return None


def _of_holdout(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(replace(step, part=Part.HOLDOUT) for step in steps)


def _leaves(shares: tuple[Share, ...]) -> Iterator[Share]:
    for share in shares:
        yield share
        yield from _leaves(share.within)


def _multiplier(share: Share, repeats: int, affordable: Fraction, fraction: Fraction | int) -> Fraction:
    """The least multiplier of 6 digits whose sums cost at most their share of the affordable mu^2, times `fraction`."""
    squared = fraction**2 * repeats / (share.share * affordable)
    unit = Fraction(10) ** (math.floor(math.log10(squared) / 2) + 1 - sampled.DIGITS)
    digits = math.isqrt(math.ceil(squared / unit**2) - 1) + 1
    return digits * unit


def _six_digits(rate: Fraction | None) -> Fraction | None:
    return None if rate is None else Fraction(f"{float(rate):.{sampled.DIGITS}g}")


def _least_noise(plan: Callable[[float], tuple[Step, ...]], budget: Budget) -> tuple[Step, ...]:
    """The plan with the least noise in its sampled sums, relative to that without sampling, that fits the budget."""
    from scipy.optimize import brentq  # noqa: PLC0415  # only where something is sampled

    wanted = budget.epsilon * (1 - 2 * _CLOSE)  # so that a plan within _CLOSE of it fits

    def over(log_fraction: float) -> float:  # log of a plan's epsilon over the wanted one
        event = Composed(tuple(step.history(1) for step in plan(math.exp(log_fraction))))
        spent = sampled.epsilon_of(event, budget.delta)
        return min(math.log(max(spent, _TINY) / wanted), _FAR)

    high = _WITHOUT_GAIN
    if over(high) > 0:
        raise NotPossible(
            f"epsilon {budget.epsilon:g} at delta {budget.delta:g} cannot be reached with these samples: raise the "
            "engine's `rate` or epsilon, or ask for fewer steps"
        )
    while over(high - 1) <= 0:
        high -= 1
    found = float(brentq(over, high - 1, high, xtol=_CLOSE / 4))
    while over(found) > _CLOSE:
        found += _CLOSE / 4
    return plan(math.exp(found))
