"""Many sites on one machine: the same Site, gate, coordinator and apps as between institutions, on a Grid in memory."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from silosynth.simulations.local import simulate
    from silosynth.simulations.result import Result

__all__ = ["Result", "simulate"]

_WHERE = {"simulate": "silosynth.simulations.local", "Result": "silosynth.simulations.result"}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line must not wait for torch before it prints its help."""
    if name not in _WHERE:
        raise AttributeError(name)
    return getattr(importlib.import_module(_WHERE[name]), name)
