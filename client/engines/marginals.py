"""The site's half of the marginals engine: every task is a histogram, and nothing else."""

from silosynth.common.engine import Claim, Layout, Mechanism, Noised, Units
from silosynth.common.engines import marginals as engine
from silosynth.common.engines.layouts import OneWays
from silosynth.common.study import Study


class Marginals:
    """An engine.SiteHalf."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def claim(self, task: engine.Task) -> Claim:
        """See engine.SiteHalf."""
        event = engine.step_of(self._study, engine.kind_of(task)).event(self._study.shares)
        return Claim(event, engine.answer_size(self._study, task))

    def answer(self, task: engine.Task, units: Units, mechanism: Mechanism) -> Noised:
        """See engine.SiteHalf."""
        multiplier = engine.step_of(self._study, engine.kind_of(task)).multiplier
        layout: Layout = OneWays(self._study.schema.sizes)
        if isinstance(task, engine.CountTables):
            layout = task.layout
        return mechanism.histogram(units, layout, multiplier=multiplier)
