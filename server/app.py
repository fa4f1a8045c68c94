"""The coordinator as a Flower ServerApp: its main runs coordinator.run over whatever Grid it is given."""

import threading
from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.server.coordinator import Learnt, run
from silosynth.server.journal import Journal
from silosynth.server.sites import GridSites


def server_app(
    study: Study,
    journal: Journal,
    seed: int,
    progress: Progress,
    deliver: Callable[[Learnt], None],
    stop: threading.Event,
) -> ServerApp:
    """A ServerApp that runs `study` and hands what it learnt to `deliver`. Setting `stop` ends it within a round."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, _context: Context) -> None:
        deliver(run(study, GridSites(grid, progress, stop=stop), journal, seed, progress))

    return app
