"""Many sites on one machine: the same Site, gate, coordinator and apps as between institutions, on a Grid in memory."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from silosynth.simulations.local import simulate
    from silosynth.simulations.result import Result

# Read by Flower when it is imported, and by its workers: nothing phones home, nothing is installed while a study runs.
for _name, _value in {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}.items():
    os.environ.setdefault(_name, _value)

__all__ = ["Result", "simulate"]

_WHERE = {"simulate": "silosynth.simulations.local", "Result": "silosynth.simulations.result"}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line must not wait for torch before it prints its help."""
    if name not in _WHERE:
        raise AttributeError(name)
    return getattr(importlib.import_module(_WHERE[name]), name)
