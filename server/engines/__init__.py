"""The coordinator halves there are. A literal table: no engine is ever found by a name received from outside."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from silosynth.common.engine import CoordinatorHalf
from silosynth.common.engines.autoregressive import learns_at_sites
from silosynth.common.study import Study, Trust


def _autoregressive(study: Study, seed: int) -> CoordinatorHalf[Any, Any]:
    # these load torch: only when they run
    from silosynth.server.engines.autoregressive import Autoregressive  # noqa: PLC0415
    from silosynth.server.engines.autoregressive_local import AutoregressiveLocal  # noqa: PLC0415

    own = study.training  # what held-out units are asked is none of its business
    return AutoregressiveLocal(own, seed) if learns_at_sites(own) else Autoregressive(own, seed)


def _gan(study: Study, seed: int) -> CoordinatorHalf[Any, Any]:
    # these load torch: only when they run
    from silosynth.server.engines.gan import Gan  # noqa: PLC0415
    from silosynth.server.engines.gan_local import GanLocal  # noqa: PLC0415

    return GanLocal(study.training, seed) if study.trust is Trust.LOCAL else Gan(study.training, seed)


def _marginals(study: Study, seed: int) -> CoordinatorHalf[Any, Any]:
    from silosynth.server.engines.marginals import Marginals  # noqa: PLC0415  # loads torch: only when it runs

    return Marginals(study.training, seed)


ENGINES: Final[Mapping[str, Callable[[Study, int], CoordinatorHalf[Any, Any]]]] = {
    "autoregressive": _autoregressive,
    "gan": _gan,
    "marginals": _marginals,
}
