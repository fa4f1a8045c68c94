"""A study: the whole agreement, word for word, that a coordinator proposes and every site approves.

`Study` is the value; common/study_file.py reads and writes it as TOML. Two studies that differ in anything that matters
have different digests; what a person signs is the digest.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any

from silosynth.common.errors import InvalidStudy
from silosynth.common.privacy import (
    Certified,
    Composed,
    Event,
    Gaussian,
    NoPrivacy,
    Parallel,
    Part,
    Repeated,
    Sampled,
    in_runs,
)
from silosynth.common.schema import Schema

FORMAT = 1

LEAST_DELTA = 1e-12
"""Below it nothing is left beside the part of delta that pays for the implementation of noise (accounting.SLACK)."""


class Trust(StrEnum):
    """Who must be trusted for the study's epsilon."""

    SECURE_SUM = "secure-sum"
    """Sites share the noise of each sum: nobody but `colluders` members may see less than a total."""

    LOCAL = "local"
    """Every site adds all of the noise itself: nobody is trusted, the totals are noisier."""


@dataclass(frozen=True)
class Budget:
    """What the study may cost a unit, against everybody who sees totals. `epsilon` inf is for simulations only."""

    epsilon: float
    delta: float
    colluders: int

    def __post_init__(self) -> None:
        if not self.epsilon > 0:  # also true of NaN
            raise InvalidStudy("[privacy] key 'epsilon': must be above 0; 1.0 is a sound first choice")
        if not LEAST_DELTA <= self.delta < 1:
            raise InvalidStudy(
                "[privacy] key 'delta': must lie between 1e-12 and 1, well below one over the number of units"
            )
        if self.colluders < 0:
            raise InvalidStudy("[privacy] key 'colluders': must not be negative; 1 is the least that protects a site")
        object.__setattr__(self, "epsilon", float(self.epsilon))  # 1 and 1.0 are one budget, hence one digest
        object.__setattr__(self, "delta", float(self.delta))


@dataclass(frozen=True)
class Member:
    """A site of the roster.

    `capacity`: public upper bound on the rows it answers with, declared by the site. `key`: public Ed25519 key of its
    agent, 64 hex digits; empty where it neither masks its answers nor signs its receipt. `officer`: of the person who
    answers for its data, and approves studies; empty in simulations.
    """

    name: str
    capacity: int
    key: str = ""
    officer: str = ""


@dataclass(frozen=True)
class Step:
    """`repeats` releases of one kind.

    A release is a noisy sum at `multiplier` (None: without noise, simulations only), over all units or over a Poisson
    sample of them at `rate`; or it is what a site learns by itself from the sums of `within`, of which only the end
    leaves. `certified` is the mu^2 of all repeats together where something is sampled. `part`: who answers it.
    """

    kind: str
    repeats: int
    multiplier: Fraction | None = None
    rate: Fraction | None = None
    within: "tuple[Step, ...]" = ()
    certified: Fraction | None = None
    part: Part = Part.TRAIN

    @property
    def noiseless(self) -> bool:
        """Whether a sum of it carries no noise."""
        return any(step.noiseless for step in self.within) if self.within else self.multiplier is None

    @property
    def sampled(self) -> bool:
        """Whether a sum of it is over a Poisson sample."""
        return self.rate is not None or any(step.sampled for step in self.within)

    @property
    def states_its_price(self) -> bool:
        """Whether it states a price of its own exactly where its sums are sampled, and no sum within it does.

        A history with a price is charged whole, however much of it was asked: elsewhere that would hide retries.
        """
        inner = all(sums.certified is None and not sums.within for sums in self.within)
        return inner and (self.certified is not None) == (self.sampled and not self.noiseless)

    def event(self, shares: int) -> Event:
        """One release of it. Raises ValueError where its numbers are not those of an event."""
        if self.within:
            return in_runs((step.repeats, step.event(shares)) for step in self.within)
        if self.multiplier is None:
            return NoPrivacy()
        sum_of_all = Gaussian(self.multiplier, shares)
        return sum_of_all if self.rate is None else Sampled(self.rate, sum_of_all)

    def history(self, shares: int) -> Event:
        """All repeats of it: what a plan is charged. Raises ValueError where its numbers are not those of an event."""
        whole = Repeated(self.repeats, self.event(shares))
        return whole if self.certified is None else Certified(whole, self.certified)


@dataclass(frozen=True)
class Study:
    """The whole agreement. `plan` and `roster` are empty until plan.resolve() has fixed them."""

    name: str
    schema: Schema
    budget: Budget
    target: str | None = None
    unit: str | None = None
    holdout: float = 0.2
    engine: str = "autoregressive"
    trust: Trust = Trust.SECURE_SUM
    rows: int | None = None
    units: int | None = None  # about how many there are altogether, as is publicly known; nobody checks it
    max_rows_per_unit: int = 64
    settings: tuple[tuple[str, float], ...] = ()  # the engine's hyper-parameters that differ from its defaults, by name
    roster: tuple[Member, ...] = ()
    plan: tuple[Step, ...] = ()
    purpose: str = ""
    threshold: int | None = None
    """Fewest sites whose answers a masked sum may open for; None: all of them."""
    attempts: int = 3
    """Most attempts at one release: a site that drops out costs another one, and each costs its price."""
    code: str = ""
    """The digest of the software that sites run (common/code.py), 64 hex digits; empty in simulations."""
    evaluate: bool = True
    """Whether the held-out units, if there are any, answer how good the generator is: see common/engines/heldout.py."""

    def __post_init__(self) -> None:
        # one form for each meaning, so that equal studies have equal digests
        object.__setattr__(self, "holdout", float(self.holdout))
        object.__setattr__(self, "settings", tuple(sorted((name, float(value)) for name, value in self.settings)))

    @property
    def shares(self) -> int:
        """Honest sites that a total's noise is calibrated for: all members less the colluders, or 1 without trust."""
        return len(self.roster) - self.budget.colluders if self.trust is Trust.SECURE_SUM else 1

    @property
    def masked(self) -> bool:
        """Whether sites mask their answers, so that only totals open: under secure sums, where all have keys."""
        return self.trust is Trust.SECURE_SUM and bool(self.roster) and all(member.key for member in self.roster)

    @property
    def floor(self) -> int:
        """Fewest honest sites that may share the noise of a sum: `shares`, or less where sites may drop out."""
        if not self.masked or self.threshold is None:
            return self.shares
        return self.threshold - self.budget.colluders

    @property
    def most_rows_of_a_unit(self) -> int:
        """Rows of one unit that count, at most: 1 where every row is a unit."""
        return self.max_rows_per_unit if self.unit else min(self.max_rows_per_unit, 1)

    @property
    def training(self) -> "Study":
        """The study as its engine sees it: without the steps that held-out units answer."""
        return replace(self, plan=tuple(step for step in self.plan if step.part is Part.TRAIN))

    @property
    def asks_held_out(self) -> bool:
        """Whether held-out units answer anything."""
        return any(step.part is Part.HOLDOUT for step in self.plan)

    @property
    def history(self) -> Parallel:
        """The whole plan as it is charged, part by part. Raises ValueError where a number is not one of an event."""
        return Parallel(
            tuple(
                Composed(tuple(step.history(self.shares) for step in self.plan if step.part is part)) for part in Part
            )
        )

    @property
    def releases(self) -> int:
        """Sums in the whole plan."""
        return sum(step.repeats for step in self.plan)

    def step_of(self, release: int) -> Step:
        """The plan step that release number `release`, from 0, belongs to. Raises IndexError outside the plan."""
        if release >= 0:
            for step in self.plan:
                if release < step.repeats:
                    return step
                release -= step.repeats
        raise IndexError("release outside the plan")

    def canonical(self) -> bytes:
        """The bytes that are hashed: format number, then JSON with sorted keys and numbers in their shortest form."""
        return f"silosynth/study/{FORMAT}\n{json.dumps(asdict(self), sort_keys=True, default=_plain)}".encode()

    @property
    def digest(self) -> str:
        """Identity of the study: SHA-256 of its canonical bytes, in hex."""
        return hashlib.sha256(self.canonical()).hexdigest()


def _plain(value: Any) -> str:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    raise TypeError(f"not part of a study: {type(value).__name__}")
