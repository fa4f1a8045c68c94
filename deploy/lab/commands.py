"""What people of the lab type: the installed command, on their hosts."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lab.hosts import Host

CLI: Final = (sys.executable, "-c", "from silosynth.simulations.cli import main; main()")


class CommandFailed(Exception):
    """A command that people type did not do what it must."""


def environment(**more: str) -> dict[str, str]:
    """What processes of the lab find: this one's surroundings, one thread each, and a way to the same software."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **more}


def typed(host: Host, *words: str | Path, timeout_s: float = 120.0, env: Mapping[str, str] | None = None) -> str:
    """What `silosynth WORDS` says on a host. Raises CommandFailed."""
    done = host.run([*CLI, *words], timeout_s=timeout_s, env=env or environment())
    return well(done, f"on {host.name}: silosynth {' '.join(map(str, words))}")


def well(done: subprocess.CompletedProcess[str], what: str) -> str:
    """What a command said that ended well. Raises CommandFailed, with all that it said otherwise."""
    if done.returncode:
        raise CommandFailed(f"{what}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
