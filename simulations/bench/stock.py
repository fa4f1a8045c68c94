"""The rounds of an app on Flower as it comes: its own commands with their defaults, on the loopback address.

Its SuperLink without TLS and without node authentication, which both cost time and which ours has; nothing phones home
and nothing is installed while it runs. The app is stock_app.py.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from silosynth.common.progress import Progress
from silosynth.simulations.bench.processes import Processes, free_ports, listens

_PROJECT: Final = """\
[project]
name = "stock"
version = "1.0.0"
description = "All nodes answer with as many numbers as they were sent."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "silosynth"

[tool.flwr.app.components]
serverapp = "silosynth.simulations.bench.stock_app:server"
clientapp = "silosynth.simulations.bench.stock_app:client"

[tool.flwr.app.config]
sites = 0
rounds = 0
size = 0
out = ""
"""
_LINK: Final = '[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
_READY_S: Final = 60.0
_ROUND_S: Final = 60.0


def stock_rounds(sites: int, size: int, rounds: int, folder: Path, progress: Progress) -> list[float]:
    """Seconds of each round of `size` numbers to and from each site. Raises Broken."""
    progress("rounds", 0, 0, f"Flower as it comes, {sites} sites")
    app, home, out = folder / "stock", folder / "flower", folder / "stock.json"
    for made in (app, home):
        made.mkdir(parents=True)
    (app / "pyproject.toml").write_text(_PROJECT, encoding="ascii")
    link, *ports = free_ports(1 + sites)
    (home / "config.toml").write_text(_LINK.format(port=link), encoding="ascii")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    environment = {"PATH": path, "FLWR_HOME": str(home), "NO_COLOR": "1"}
    with Processes(folder / "stock-logs", environment) as processes:
        command = [_found("flower-superlink", path), "--insecure", "--port", str(link)]
        processes.start("superlink", [*command, "--disable-runtime-dependency-installation"])
        processes.wait(lambda: listens(link), "superlink", _READY_S)
        node = [_found("flower-supernode", path), "--insecure", "--superlink", f"127.0.0.1:{link}"]
        for at, port in enumerate(ports):
            processes.start(f"supernode-{at}", [*node, "--port", str(port)], FLWR_HOME=str(folder / f"node-{at}"))
        settings = f'sites={sites} rounds={rounds} size={size} out="{out}"'
        processes.start("run", [_found("flwr", path), "run", app, "bench", "--run-config", settings, "--stream"])
        processes.wait(out.exists, "run", _READY_S + rounds * _ROUND_S)
    took: list[float] = json.loads(out.read_text(encoding="ascii"))
    return took


def _found(command: str, path: str) -> str:
    return shutil.which(command, path=path) or command
