"""The site halves there are. A literal table: no engine is ever found by a name received from outside."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from silosynth.client.engines.heldout import HeldOut
from silosynth.common.engine import SiteHalf
from silosynth.common.privacy import Part
from silosynth.common.study import Study


def _autoregressive(study: Study) -> SiteHalf[Any]:
    from silosynth.client.engines.autoregressive import Autoregressive  # noqa: PLC0415  # loads torch: only when it runs

    return Autoregressive(study)


def _gan(study: Study) -> SiteHalf[Any]:
    from silosynth.client.engines.gan import Gan  # noqa: PLC0415  # loads torch: only when it runs

    return Gan(study)


def _marginals(study: Study) -> SiteHalf[Any]:
    from silosynth.client.engines.marginals import Marginals  # noqa: PLC0415  # as the others: only when it runs

    return Marginals(study)


def half_of(study: Study, part: Part) -> SiteHalf[Any]:
    """What answers the steps of one part of a study: its engine, or the questions that are the same for all engines."""
    match part:
        case Part.TRAIN:
            return ENGINES[study.engine](study)
        case Part.HOLDOUT:
            return HeldOut(study)


ENGINES: Final[Mapping[str, Callable[[Study], SiteHalf[Any]]]] = {
    "autoregressive": _autoregressive,
    "gan": _gan,
    "marginals": _marginals,
}
