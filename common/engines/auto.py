"""`auto`: which engine answers a study best, from what is publicly known of it, before anybody approves it.

Evidence: DECISIONS 44 and the benchmark of record (simulations/bench). What is chosen is written into the study that
sites approve, so that nobody has to know this rule.
"""

from dataclasses import replace
from typing import Final

from silosynth.common.errors import InvalidStudy
from silosynth.common.study import Study, Trust
from silosynth.common.study_file import AUTO

PLENTY: Final = 200_000
"""Units times epsilon from which a network learns more than tables tell, whose model is then too small."""

WIDEST: Final = 30
"""Columns up to which that was seen: a network of more columns has more parameters, and noise in each."""


def settle(study: Study) -> Study:
    """The study with an engine in place of `auto`; any other study as it is.

    Raises InvalidStudy where it does not say what the choice needs.
    """
    if study.engine != AUTO:
        return study
    if study.settings:
        raise InvalidStudy("[engine]: its settings belong to one engine; name that engine under [study], or drop them")
    return replace(study, engine=chosen(study))


def chosen(study: Study) -> str:
    """The engine for a study's trust, number of units, columns and epsilon. Raises InvalidStudy without a number."""
    if study.trust is Trust.LOCAL:
        return "autoregressive"  # sites learn apart; tables with the whole noise of each site would be too noisy
    if study.units is None:
        raise InvalidStudy(
            "[study] key 'units': with engine \"auto\", write about how many units (persons) all sites have together, "
            "as is publicly known; a wrong number costs quality, never privacy"
        )
    plenty = study.units * study.budget.epsilon >= PLENTY and len(study.schema.columns) <= WIDEST
    return "autoregressive" if plenty else "marginals"
