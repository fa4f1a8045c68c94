"""The coordinator halves there are. A literal table: no engine is ever found by a name received from outside."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from silosynth.common.engine import CoordinatorHalf
from silosynth.common.study import Study


def _autoregressive(study: Study, seed: int) -> CoordinatorHalf[Any, Any]:
    from silosynth.server.engines.autoregressive import Autoregressive  # noqa: PLC0415  # loads torch: only when it runs

    return Autoregressive(study, seed)


ENGINES: Final[Mapping[str, Callable[[Study, int], CoordinatorHalf[Any, Any]]]] = {"autoregressive": _autoregressive}
