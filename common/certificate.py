"""What a study cost its units, recomputed from the releases that were performed and from nothing else.

`claims` is the content of certificate.json that follows from a study, what was asked in it, and where its noise came
from: the coordinator writes it (server/certificate.py), and whoever verifies a certificate writes it again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from silosynth.common.accounting import epsilon
from silosynth.common.formal import hiding
from silosynth.common.privacy import Composed, Event, Parallel, Part, Repeated, View, mu_squared
from silosynth.common.sampled import epsilon_of, is_sampled
from silosynth.common.study import Step, Study, Trust

FORMAT: Final = 2
ACCOUNTING: Final = 1
"""Version of the accountants: another one wherever the same events get another epsilon."""

DISJOINT: Final = (
    "each person of a site is held out or trained on, as a keyed hash of that person alone says, and pays for the sums "
    "of that part only: epsilon is that of the dearer part"
)
SAMPLING: Final = "Poisson: a person takes part in a sampled sum by a secret coin of its own, thrown anew for each sum"
ACCOUNTANT: Final = "privacy loss distributions, in both directions, of all releases together"
GAUSSIAN_ACCOUNTANT: Final = "Gaussian differential privacy: exact mu^2 of all releases, its curve in closed form"


class Aggregation(StrEnum):
    """How the answers of a study's sites were added, as its certificate says it."""

    SECURE_SUM = "secure-sum"
    PLAIN_SUM = "plain-sum"


class Noise(StrEnum):
    """Where the noise of a study came from, as its certificate says it."""

    SYSTEM = "discrete Gaussian from the operating system's randomness"
    NONE = "none: NO PRIVACY"
    SEEDED = "seeded: NO PRIVACY"


@dataclass(frozen=True)
class Asked:
    """An attempt at a secure sum: sites may have paid for it, whether or not its total opened.

    `members`: the indices of the sites that were asked; `session`: SHA-256 of the session's transcript, in hex.
    """

    release: int
    attempt: int
    members: tuple[int, ...]
    session: str


@dataclass(frozen=True)
class Prices:
    """Epsilon at the study's delta, against the adversaries of both views; inf without noise."""

    aggregate: float
    local: float


def performed(study: Study, releases: int, asked: Sequence[Asked] = ()) -> Parallel:
    """The events of the first `releases` of the plan, part by part; a certified step is charged whole once begun.

    Of secure sums, those of every attempt that was `asked`, each with the sites it was asked of.
    """
    runs = _runs(study, releases, asked)
    return Parallel(tuple(Composed(tuple(_event(*run) for run in runs if run[0].part is part)) for part in Part))


def prices(study: Study, releases: int, asked: Sequence[Asked] = ()) -> Prices:
    """What the first `releases`, or all that was `asked`, cost a unit, if this study is all that the unit is in."""
    if any(step.noiseless for step, _, _ in _runs(study, releases, asked)):
        return Prices(math.inf, math.inf)
    events, delta = performed(study, releases, asked), study.budget.delta
    return Prices(*(epsilon_of(events, delta, view) for view in (View.AGGREGATE, View.LOCAL)))


def claims(study: Study, releases: int, noise: Noise, asked: Sequence[Asked] = ()) -> dict[str, Any]:
    """What is claimed of the first `releases` of a study: enough to recompute both epsilons by hand.

    Noise that somebody can predict protects nobody, whatever its size: then epsilon is "inf", and what the same plan
    would cost with real noise stands under "epsilon_with_real_noise".
    """
    computed = prices(study, releases, asked)
    claimed = computed if noise is Noise.SYSTEM else Prices(math.inf, math.inf)
    content: dict[str, Any] = {
        "format": FORMAT,
        "study": study.digest,
        "name": study.name,
        "unit": f"person: {study.unit}" if study.unit else "row",
        "neighbours": f"adding or removing one {'person with all of its rows' if study.unit else 'row'}",
        "delta": study.budget.delta,
        "epsilon": _pair(claimed),
        "holds_against": holds_against(study),
        "assumptions": {
            "sites": len(study.roster),
            "colluders": study.budget.colluders,
            "threshold": len(study.roster) if study.threshold is None else study.threshold,
            "trust": str(study.trust),
        },
        "events": [_described(*run) for run in _runs(study, releases, asked)],
        "aggregation": str(Aggregation.SECURE_SUM if study.masked else Aggregation.PLAIN_SUM),
        "accountant": GAUSSIAN_ACCOUNTANT,
        "accounting": ACCOUNTING,
        "noise": str(noise),
    }
    events = performed(study, releases, asked)
    content["adversaries"] = [one.to_json() for one in hiding(study, events, private=noise is Noise.SYSTEM)]
    if study.asks_held_out:
        content["assumptions"] |= {"parts": DISJOINT}
    if study.masked:
        content["attempts"] = _attempts(asked)
        content["rounds"] = rounds(asked)
    if noise is Noise.SEEDED:
        content["epsilon_with_real_noise"] = _pair(computed)
    if is_sampled(events):
        content["assumptions"] |= {"sampling": SAMPLING}
        content["accountant"] = ACCOUNTANT
        if math.isfinite(computed.local):
            content["charged_in_ledgers"] = _charged(events, study.budget.delta)
    return content


def _attempts(asked: Sequence[Asked]) -> dict[str, Any]:
    """How often sites were asked, in how many sessions; and each time that it was not the first or not of all of them.

    A session that did not begin with the study costs a site's own ledger the rest of the plan once more, which is not
    counted here: it is what the site puts aside because it cannot prove to itself that it did not answer already.
    """
    return {
        "asked": len(asked),
        "releases": len({one.release for one in asked}),
        "sessions": len({one.session for one in asked}),
        "retries": [
            {"release": one.release, "attempt": one.attempt, "sites": len(one.members)} for one in asked if one.attempt
        ],
    }


def rounds(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """Every attempt at a secure sum, in order, as runs of releases that the same sites were asked for in one session.

    `sites`: their places on the roster, from 0; `session`: SHA-256 of the transcript that its members signed.
    """
    runs: list[dict[str, Any]] = []
    for one in asked:
        alike = {"attempt": one.attempt, "sites": list(one.members), "session": one.session}
        last = runs[-1] if runs else None
        if last and last["release"] + last["count"] == one.release and {**last, **alike} == last:
            last["count"] += 1
        else:
            runs.append({"release": one.release, "count": 1} | alike)
    return runs


def _charged(events: Parallel, delta: float) -> dict[str, Any]:
    """What sites' ledgers hold for it: more than the study's own epsilon, because it must compose with any other."""
    price = mu_squared(events, View.LOCAL)
    return {"mu_squared": str(price), "epsilon": epsilon(price, delta)}


def holds_against(study: Study) -> dict[str, str]:
    """The adversary of each epsilon, in words."""
    if study.trust is Trust.LOCAL:
        everybody = "everybody, all other sites and the coordinator together included"
        return {"aggregate": everybody, "local": everybody}
    least = f"at most {study.budget.colluders} of {len(study.roster)} sites"
    totals = f"everybody who sees only totals and what follows from them, with {least}"
    if study.masked:
        totals = (
            f"everybody, the coordinator included whatever it sends, together with {least}: answers were masked, and "
            "only totals open; the sites' keys must have been compared between people"
        )
    else:
        totals += "; sums were plain here, so the coordinator itself falls under the other figure"
    return {"aggregate": totals, "local": "the coordinator and all other sites together"}


def _runs(study: Study, releases: int, asked: Sequence[Asked] = ()) -> list[tuple[Step, int, int]]:
    """What was performed, in order: step, how often, and among how many honest sites its noise was shared."""
    found: list[tuple[Step, int, int]] = []
    if not asked:
        for step in study.plan:
            count = min(step.repeats, releases)
            releases -= count
            if count:
                found.append((step, count, study.shares))
        return found
    for one in asked:
        step, shares = study.step_of(one.release), len(one.members) - study.budget.colluders
        before = found.pop()[1] if found and found[-1][::2] == (step, shares) else 0
        found.append((step, before + 1, shares))
    return found


def _event(step: Step, count: int, shares: int) -> Event:
    if step.certified is not None:
        if count > step.repeats:
            raise ValueError("a history that was asked more often than its price covers")
        return step.history(shares)
    return Repeated(count, step.event(shares))


def _described(step: Step, count: int, shares: int) -> dict[str, Any]:
    """A step of the plan, `count` releases of which were performed; a certified one is charged as all `planned`."""
    content = _mechanism(step, count, shares)
    if not step.noiseless:
        event = _event(step, count, shares)
        content["mu_squared"] = {str(view): str(mu_squared(event, view)) for view in View}
    if step.certified is not None:
        content["planned"] = step.repeats
    return content


def _mechanism(step: Step, count: int, shares: int) -> dict[str, Any]:
    content: dict[str, Any] = {"kind": step.kind, "count": count}
    if step.part is Part.HOLDOUT:
        content["part"] = str(step.part)
    if step.within:
        inner = [_mechanism(sums, sums.repeats, shares) for sums in step.within]
        return content | {"mechanism": "learnt at the site, from these sums each time", "within": inner}
    if step.multiplier is None:
        return content | {"mechanism": "none"}
    noise = {"mechanism": "gaussian", "multiplier": str(step.multiplier), "shares": shares}
    return content | noise | ({} if step.rate is None else {"mechanism": "sampled gaussian", "rate": str(step.rate)})


def _pair(both: Prices) -> dict[str, float | str]:
    return {
        name: value if math.isfinite(value) else "inf"
        for name, value in (("aggregate", both.aggregate), ("local", both.local))
    }
