"""The same two apps on Flower's own simulation engine: sites answer in Ray's worker processes.

Nothing is left behind: no telemetry, no update check, no installation at run time, no daemon, no files.
"""

import importlib.util
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation

from silosynth.common.errors import NotPossible

_LONGEST_TEMPORARY: Final = 30
"""Ray keeps sockets below its folder, and a socket's path may have 107 characters."""


def check() -> None:
    """Raise NotPossible, with the cure, where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise NotPossible(
            "Flower's simulation engine needs Ray, which is not installed: pip install 'silosynth[flower]'; or leave "
            "out --runtime flower: the default runs the same apps without it"
        )


def run(server: ServerApp, client: ClientApp, sites: int, stop: threading.Event) -> None:
    """Run both apps to the end, with one worker a CPU. What the ServerApp raises is raised here.

    `stop` is set on leaving, so that a ServerApp that is still waiting for answers ends.
    """
    check()
    with tempfile.TemporaryDirectory(prefix="silo-", dir=_short_folder()) as folder, _quiet():
        settings: dict[str, Any] = {
            "include_dashboard": False,
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "_temp_dir": folder,
        }
        try:
            # Deprecated in favour of a command that installs packages and leaves a daemon (see DECISIONS.md).
            run_simulation(
                server_app=server,
                client_app=client,
                num_supernodes=sites,
                backend_config={"init_args": settings, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
            )
        finally:
            stop.set()
            _shut_down()


def _short_folder() -> str | None:
    """Where temporary folders have short enough names; None for the usual place."""
    short = Path("/tmp")  # noqa: S108  # the folder made in it is private and has a random name
    usual = tempfile.gettempdir()
    return str(short) if len(usual) > _LONGEST_TEMPORARY and short.is_dir() and os.access(short, os.W_OK) else None


def _shut_down() -> None:
    import ray  # noqa: PLC0415  # an optional dependency

    if ray.is_initialized():
        ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Flower tells its whole life on the console; here only what went wrong is of interest, and that is raised."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
