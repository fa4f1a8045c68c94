"""The site's half of the questions to held-out units: each is one histogram, and nothing else.

The site hands it the units of the part that the approved plan names (client/site.py); it cannot choose others.
"""

from silosynth.common.engine import Claim, Mechanism, Noised, Units
from silosynth.common.engines import heldout
from silosynth.common.study import Study


class HeldOut:
    """An engine.SiteHalf."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def claim(self, task: heldout.Task) -> Claim:
        """See engine.SiteHalf."""
        event = heldout.step_of(self._study, task).event(self._study.shares)
        return Claim(event, heldout.answer_size(self._study, task))

    def answer(self, task: heldout.Task, units: Units, mechanism: Mechanism) -> Noised:
        """See engine.SiteHalf."""
        multiplier = heldout.step_of(self._study, task).multiplier
        return mechanism.histogram(units, heldout.layout(self._study, task), multiplier=multiplier)
