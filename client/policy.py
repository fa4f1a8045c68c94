"""What a site allows. Written by the owner of the data; it outranks every study, and what it does not allow is refused.

It is a TOML file, read strictly; the empty one allows nothing.

    format = 1
    studies = ["<digest of a study, 64 hex digits>"]      # one by one, by the digest that a person has read
    engines = ["autoregressive"]
    least_sites = 3                                       # fewest sites on a study's roster
    least_floor = 2                                       # fewest honest sites that share the noise of a sum
    lock_out_after = 100                                  # refused requests of one study, then it is locked
    [caps.study.aggregate]                                # the most that one study may cost a person, against whoever
    epsilon = 1.0                                         # sees only totals,
    delta = 1e-5
    [caps.study.local]                                    # and against all others in collusion
    epsilon = 4.0
    delta = 1e-5
    [caps.lifetime.aggregate]                             # the most that all studies together may, for ever
    epsilon = 3.0
    delta = 1e-5
    [caps.lifetime.local]
    epsilon = 12.0
    delta = 1e-5

Caps are compared as exact mu^2. None covers a release without noise: only a policy made in code, by a simulation, can.
"""

import math
import re
import tomllib
from dataclasses import dataclass, field
from decimal import ROUND_UP, Context
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

import tomli_w

from silosynth.client.books import Account, Price, Spending, price
from silosynth.client.entries import Planned
from silosynth.client.refusal import Reason, Refused
from silosynth.client.rules import HonestFloor, HonestPlan, KnownEngine, LeastSites, Listed, Masked, Reviewed, Rule
from silosynth.common.accounting import SLACK, epsilon, mu_squared_for
from silosynth.common.errors import InvalidInput, InvalidStudy, NotPossible
from silosynth.common.privacy import View
from silosynth.common.study import Study
from silosynth.common.toml_read import TableReader

FORMAT: Final = 1

_MANY: Final = 10**9
_FOUR_DIGITS: Final = Context(prec=4, rounding=ROUND_UP)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Cap:
    """The most that may be spent in one view: epsilon at delta, enforced as exact mu^2, rounded down."""

    epsilon: float
    delta: float

    @cached_property
    def mu_squared(self) -> Fraction:
        """The cap as a price."""
        return mu_squared_for(self.epsilon, self.delta)

    @classmethod
    def covering(cls, mu_squared: Fraction, delta: float) -> "Cap | None":
        """A cap that covers a price and hardly more: four digits, for a person to read. None for what is free."""
        if not mu_squared:
            return None
        cap = cls(_rounded_up(epsilon(mu_squared, delta)), delta)
        while cap.mu_squared < mu_squared:
            cap = cls(_rounded_up(cap.epsilon * (1 + 1e-4)), delta)
        return cap


@dataclass(frozen=True)
class Caps:
    """A cap for each view; where there is none, nothing may be spent."""

    aggregate: Cap | None = None
    local: Cap | None = None

    def check(self, spent: Price, reason: Reason) -> None:
        """Raise Refused(reason) where `spent` is over a cap."""
        for view, cap in ((View.AGGREGATE, self.aggregate), (View.LOCAL, self.local)):
            if spent.within(view) > (cap.mu_squared if cap else 0):
                raise Refused(reason)


@dataclass(frozen=True)
class Policy:
    """Everything a site insists on. Without arguments it allows nothing."""

    studies: frozenset[str] = frozenset()
    engines: frozenset[str] = frozenset()
    least_sites: int = 3
    least_floor: int = 2
    lock_out_after: int = 100
    study_caps: Caps = field(default_factory=Caps)
    lifetime_caps: Caps = field(default_factory=Caps)
    allow_no_privacy: bool = False
    """Lets releases out that protect nobody. For simulations: no policy file can say it."""
    allow_unreviewed: bool = False
    """Lets bounds and codes in that were taken from data. For simulations: no policy file can say it."""
    allow_plain_sums: bool = False
    """Lets answers out that are added without masks, if no member has a key. For simulations: no policy file can."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What a study must keep, in the order in which it is told."""
        always = (
            Listed(self.studies),
            KnownEngine(self.engines),
            LeastSites(self.least_sites),
            HonestFloor(self.least_floor),
            HonestPlan(),
            Masked(allow_plain_sums=self.allow_plain_sums),
        )
        return always if self.allow_unreviewed else (*always, Reviewed())

    def check(self, study: Study) -> None:
        """Raise Refused where a study breaks a rule."""
        for rule in self.rules:
            rule.check(study)

    def check_price(self, after: Spending) -> None:
        """Raise Refused where a cap does not cover what would have been spent. The ledger calls it, under its lock."""
        if after.lifetime.noiseless and not self.allow_no_privacy:
            raise Refused(Reason.NO_NOISE)
        self.study_caps.check(after.study, Reason.STUDY_CAP)
        self.lifetime_caps.check(after.lifetime, Reason.LIFETIME_CAP)

    def check_refusals(self, refusals: int) -> None:
        """Raise Refused after too many refusals. A person unlocks a study by raising the number."""
        if refusals >= self.lock_out_after:
            raise Refused(Reason.LOCKED_OUT)


def just_this(study: Study, *, restarts: int = 0, allow_no_privacy: bool = False) -> Policy:
    """The policy that allows one study, at its price, and nothing else: for simulations and rehearsals.

    `restarts`: of this site within a masked study, each of which costs at most the plan and a session's retries.
    """
    planned, delta = Planned.of(study, private=True), study.budget.delta
    cost = price(planned.event())
    again = cost + Account(planned, Price()).retried
    caps = Caps(
        Cap.covering(cost.aggregate + restarts * again.aggregate, delta),
        Cap.covering(cost.local + restarts * again.local, delta),
    )
    return Policy(
        studies=frozenset({study.digest}),
        engines=frozenset({study.engine}),
        least_sites=len(study.roster),
        least_floor=study.floor,
        study_caps=caps,
        lifetime_caps=caps,
        allow_no_privacy=allow_no_privacy,
        allow_plain_sums=not study.masked,
    )


def read_policy(text: str, source: str) -> Policy:
    """The policy in a TOML text; `source` names it in errors. Raises InvalidInput: file, table, key and cure."""
    try:
        return _policy(source, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{source}: not TOML: {error}. Mend the line it names") from error
    except InvalidStudy as error:
        raise InvalidInput(str(error)) from error


def write_policy(policy: Policy) -> str:
    """The TOML text that `read_policy` reads back. Raises NotPossible for one that allows releases without noise."""
    if policy.allow_no_privacy:
        raise NotPossible("a policy file cannot allow releases without noise: only a simulation can")
    return tomli_w.dumps(
        {
            "format": FORMAT,
            "studies": sorted(policy.studies),
            "engines": sorted(policy.engines),
            "least_sites": policy.least_sites,
            "least_floor": policy.least_floor,
            "lock_out_after": policy.lock_out_after,
            "caps": {"study": _plain(policy.study_caps), "lifetime": _plain(policy.lifetime_caps)},
        }
    )


def _rounded_up(value: float) -> float:
    return float(_FOUR_DIGITS.create_decimal_from_float(value))


def _policy(source: str, raw: dict[str, Any]) -> Policy:
    top = TableReader(source, "top level", raw)
    if top.whole("format", 1, _MANY, FORMAT) != FORMAT:
        raise top.wrong("format", f"this version reads format {FORMAT} only")
    studies = top.words("studies")
    if not all(_DIGEST.fullmatch(study) for study in studies):
        raise top.wrong("studies", "must hold digests of 64 hex digits, as `silosynth study show` prints them")
    caps = TableReader(source, "[caps]", top.take("caps") if top.has("caps") else {})
    policy = Policy(
        studies=frozenset(studies),
        engines=frozenset(top.words("engines")),
        least_sites=top.whole("least_sites", 1, _MANY, Policy.least_sites),
        least_floor=top.whole("least_floor", 1, _MANY, Policy.least_floor),
        lock_out_after=top.whole("lock_out_after", 1, _MANY, Policy.lock_out_after),
        study_caps=_caps(source, "caps.study", caps.take("study")),
        lifetime_caps=_caps(source, "caps.lifetime", caps.take("lifetime")),
    )
    caps.done()
    top.done()
    return policy


def _caps(source: str, where: str, raw: object) -> Caps:
    table = TableReader(source, f"[{where}]", {} if raw is None else raw)
    both = [_cap(source, f"{where}.{view}", table.take(view)) for view in ("aggregate", "local")]
    table.done()
    return Caps(*both)


def _cap(source: str, where: str, raw: object) -> Cap | None:
    if raw is None:
        return None
    table = TableReader(source, f"[{where}]", raw)
    epsilon, delta = table.number("epsilon", 0.0), table.number("delta", 0.0)
    if not 0 < epsilon < math.inf:
        raise table.wrong("epsilon", "must be a positive, finite number, such as 1.0")
    if not SLACK < delta < 1:
        raise table.wrong("delta", "must lie above 2^-40 and below 1, such as 1e-5")
    table.done()
    return Cap(epsilon, delta)


def _plain(caps: Caps) -> dict[str, dict[str, float]]:
    named = {"aggregate": caps.aggregate, "local": caps.local}
    return {view: {"epsilon": cap.epsilon, "delta": cap.delta} for view, cap in named.items() if cap}
