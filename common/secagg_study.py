"""A study's secure sums: who takes part, and what each round is. Both sides compute all of it from public facts."""

from dataclasses import replace
from typing import Final

from silosynth.common import scale
from silosynth.common.engines import heldout
from silosynth.common.errors import InvalidStudy
from silosynth.common.scale import Sensitivity
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.ring import Ring, ring_for
from silosynth.common.secagg.roster import Agreement, Identity, Roster
from silosynth.common.secagg.rounds import Round
from silosynth.common.study import Study
from silosynth.common.wire import Request

_COUNTS: Final = frozenset({"one-ways", "pairs", *heldout.KINDS})
"""Kinds of releases that are histograms. All others are taken for clipped sums, whose values are larger."""


def roster(study: Study) -> Roster:
    """The members, by their place on the study's roster. Raises InvalidStudy where they cannot have secure sums."""
    keyless = [member.name for member in study.roster if not member.key]
    if keyless:
        raise InvalidStudy(f"[[roster]]: no key of {', '.join(keyless)}; every member of a secure sum has one, or none")
    members = []
    for member in study.roster:
        try:
            members.append(Identity(member.name, bytes.fromhex(member.key)))
        except ValueError:
            raise InvalidStudy(f"[[roster]] member {member.name!r}: a key has 64 hex digits; copy it whole") from None
    return Roster(tuple(members), study.budget.colluders, study.threshold or len(members))


def agreement(study: Study) -> Agreement:
    """What all members know before a session of a resolved, masked study. Raises InvalidStudy."""
    return Agreement(bytes.fromhex(study.digest), roster(study), study.releases)


def among(study: Study, members: tuple[int, ...]) -> Study:
    """The study as those who answer a sum see it: its roster are `members`, whose honest ones share the noise.

    `members`: indices, none where sums are plain. Raises SumRefused for a set that may not answer.
    """
    if not study.masked:
        if members:
            raise SumRefused(Fault.OUT_OF_PHASE)
        return study
    if any(not 0 <= one < len(study.roster) for one in members):
        raise SumRefused(Fault.NOT_A_MEMBER)
    if len(members) < (study.threshold or len(study.roster)):
        raise SumRefused(Fault.SET_TOO_SMALL)
    return replace(study, roster=tuple(study.roster[one] for one in members))


def round_of(study: Study, request: Request, size: int) -> Round:
    """The round that a request asks for, of a masked study. `size`: elements of the answer, by study and task.

    Raises SumRefused for a set or release that may not be, NotPossible where 64 bits would not hold the sum.
    """
    among(study, request.members)
    ring = ring_of(study, request.release)
    return Round(request.release, request.attempt, request.members, request.task, ring, size)


def ring_of(study: Study, release: int) -> Ring:
    """The smallest ring that holds a release of whichever members of `study` answer it, so that a retry has the same.

    The capacities of all bound the sums; the noise is that of as few honest sites as there may be, at every site.
    """
    try:
        step = study.step_of(release)
    except IndexError as error:
        raise SumRefused(Fault.OUT_OF_PLAN) from error
    columns, rows = len(study.schema.columns), sum(member.capacity for member in study.roster)
    if step.kind in _COUNTS:
        tables = max(heldout.MOST_MODELS, heldout.MOST_GROUPED, columns, columns * (columns - 1) // 2)
        grid, sensitivity = scale.HISTOGRAM_GRID, scale.histogram_sensitivity(tables)
    else:
        grid, sensitivity = scale.SUM_GRID, scale.clipped_sum_sensitivity()
    sites = len(study.roster)
    return ring_for(sites=sites, site_bound=-(-grid * rows // sites), variance=_variance(study, sensitivity, release))


def check_sums_fit(study: Study) -> None:
    """Raise NotPossible where 64 bits would not hold some sum of a study's plan."""
    release = 0
    for step in study.plan:
        ring_of(study, release)
        release += step.repeats


def _variance(study: Study, sensitivity: Sensitivity, release: int) -> int:
    """Of each site's noise in a release."""
    multiplier = study.step_of(release).multiplier
    return 0 if multiplier is None else scale.site_variance(sensitivity, multiplier, study.floor)
