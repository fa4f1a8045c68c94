"""What a site can insist on, one thing a rule. client/policy.py says which rules hold, and with which numbers."""

import math
from dataclasses import dataclass
from typing import Protocol

from silosynth.client.books import price
from silosynth.client.entries import Planned
from silosynth.client.refusal import Reason, Refused
from silosynth.common import secagg_study
from silosynth.common.accounting import mu_squared_for
from silosynth.common.engines import heldout
from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.privacy import Certified, View
from silosynth.common.sampled import covers, epsilon_of
from silosynth.common.study import Step, Study, Trust


class Rule(Protocol):
    """One thing a site insists on."""

    def check(self, study: Study) -> None:
        """Return if the study keeps the rule; raise Refused if not."""
        ...


@dataclass(frozen=True)
class Listed:
    """The study is one that a person has read and listed."""

    studies: frozenset[str]

    def check(self, study: Study) -> None:
        """See Rule."""
        if study.digest not in self.studies:
            raise Refused(Reason.NOT_APPROVED)


@dataclass(frozen=True)
class KnownEngine:
    """The engine is allowed."""

    engines: frozenset[str]

    def check(self, study: Study) -> None:
        """See Rule."""
        if study.engine not in self.engines:
            raise Refused(Reason.ENGINE_NOT_ALLOWED)


@dataclass(frozen=True)
class LeastSites:
    """Enough sites, with names of their own, are on the roster."""

    least: int

    def check(self, study: Study) -> None:
        """See Rule."""
        names = {member.name for member in study.roster}
        if len(names) < max(self.least, len(study.roster)):
            raise Refused(Reason.TOO_FEW_SITES)


@dataclass(frozen=True)
class HonestFloor:
    """Enough honest sites share the noise of a sum. Every site knows its own noise: one colluder is counted."""

    least: int

    def check(self, study: Study) -> None:
        """See Rule. Nothing to ask where nobody is trusted and nothing is shared."""
        if study.trust is Trust.SECURE_SUM and (study.budget.colluders < 1 or study.floor < max(self.least, 1)):
            raise Refused(Reason.FLOOR_TOO_LOW)


@dataclass(frozen=True)
class Masked:
    """Answers that are to be added are masked: all members have keys, and enough of them answer to hide each other."""

    allow_plain_sums: bool = False

    def check(self, study: Study) -> None:
        """See Rule. Nothing to ask where nobody is trusted."""
        plain = self.allow_plain_sums and not any(member.key for member in study.roster)
        if study.trust is not Trust.SECURE_SUM or plain:
            return
        try:
            secagg_study.agreement(study)
        except InvalidStudy as error:
            raise Refused(Reason.NOT_MASKED) from error
        try:
            secagg_study.check_sums_fit(study)
        except (NotPossible, ValueError) as error:
            raise Refused(Reason.BAD_PLAN) from error


@dataclass(frozen=True)
class HonestPlan:
    """The plan costs no more than the epsilon that the study states, which is what a person has read.

    The price that sampled sums are charged at is not believed but computed again: see sampled.covers.
    """

    def check(self, study: Study) -> None:
        """See Rule. A study of infinite epsilon states no price; whether it may run at all is for the caps to say."""
        kinds = {step.kind for step in study.plan}  # a task tells its step by its kind
        if not study.plan or len(kinds) < len(study.plan) or not all(_sound(step, study.trust) for step in study.plan):
            raise Refused(Reason.BAD_PLAN)
        if not study.training.plan:
            raise Refused(Reason.BAD_PLAN)
        try:
            fits = _fits(study)
        except ValueError as error:  # a multiplier that is no multiplier
            raise Refused(Reason.BAD_PLAN) from error
        if not fits:
            raise Refused(Reason.BAD_PLAN)


def _sound(step: Step, trust: Trust) -> bool:
    """Whether a step says what is done once, and a price of its own exactly where its sums are sampled."""
    if not heldout.is_sound(step):
        return False
    if step.repeats < 1 or not step.states_its_price:
        return False
    if (step.within or step.sampled) and trust is not Trust.LOCAL:
        return False
    said_twice = step.within and (step.multiplier is not None or step.rate is not None)
    return all(sums.repeats > 0 for sums in step.within) and not said_twice


def _fits(study: Study) -> bool:
    """Whether the plan costs what the study says, by this site's own reckoning. Raises ValueError."""
    planned, budget = Planned.of(study, private=True), study.budget
    event = planned.event()
    cost = price(event)
    claimed = [step.history for step in planned.steps if step.certified is not None]
    if not all(isinstance(one, Certified) and covers(one) for one in claimed):
        return False
    if math.isinf(budget.epsilon):
        return True
    if cost.noiseless:
        return False
    if claimed:
        return epsilon_of(event, budget.delta, View.AGGREGATE) <= budget.epsilon
    return cost.aggregate <= mu_squared_for(budget.epsilon, budget.delta)


@dataclass(frozen=True)
class Reviewed:
    """No bound and no code of the schema was taken from data: epsilon would not cover what they tell."""

    def check(self, study: Study) -> None:
        """See Rule."""
        if study.schema.unreviewed:
            raise Refused(Reason.UNREVIEWED)
