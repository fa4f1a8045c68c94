"""What a monitoring system may know of a coordinator, in Prometheus' form, on a loopback port of its own.

Sites and whether they are connected, studies, how far they are and what they spent: all of it stands in
coordinator.toml, sites/, study.toml and status.json as well. Nothing here is about rows, and no label comes from a
message.
"""

import importlib.metadata
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from silosynth.common.errors import NotPossible, SilosynthError
from silosynth.server.enrol import node_keys
from silosynth.server.home import CoordinatorHome, enrolled
from silosynth.server.studies import State, folders

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Online = Callable[[], set[bytes]]
"""Public keys of the nodes that are connected."""

_HOST: Final = "127.0.0.1"


class Collector:
    """Reads the home whenever it is asked: it has no state that could be out of date."""

    def __init__(self, home: CoordinatorHome, online: Online) -> None:
        self._home = home
        self._online = online

    def collect(self) -> "Iterator[Metric]":
        """Every figure. A file that cannot be read leaves its figures out."""
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily  # noqa: PLC0415  # an extra

        version = {"version": importlib.metadata.version("silosynth")}
        yield InfoMetricFamily("silosynth_build", "The software that runs", value=version)
        connected = GaugeMetricFamily(
            "silosynth_site_connected", "1 where a site's relay is connected", labels=["site"]
        )
        for name, key in self._keys().items():
            connected.add_metric([name], float(key in self._online()))
        yield connected
        sums = GaugeMetricFamily("silosynth_study_sums", "Sums that a study has learnt from", labels=["study"])
        planned = GaugeMetricFamily("silosynth_study_planned_sums", "Sums that its plan has", labels=["study"])
        states = GaugeMetricFamily("silosynth_study_state", "1 at a study's state", labels=["study", "state"])
        updated = GaugeMetricFamily(
            "silosynth_study_updated_seconds", "When it last moved, since 1970", labels=["study"]
        )
        budget = GaugeMetricFamily("silosynth_study_budget_epsilon", "Epsilon of its whole plan", labels=["study"])
        spent = GaugeMetricFamily(
            "silosynth_study_spent_epsilon", "The most it had spent when it last ended", labels=["study", "against"]
        )
        for folder in folders(self._home):
            try:
                status, planned_epsilon = folder.status(), folder.study().budget.epsilon
            except SilosynthError:
                continue
            sums.add_metric([folder.name], status.releases)
            planned.add_metric([folder.name], status.of)
            updated.add_metric([folder.name], status.updated)
            budget.add_metric([folder.name], planned_epsilon)
            for against, epsilon in (("totals", status.epsilon), ("all others", status.epsilon_local)):
                spent.add_metric([folder.name, against], math.inf if epsilon is None else epsilon)
            for state in State:
                states.add_metric([folder.name, state], float(state is status.state))
        yield from (sums, planned, states, updated, budget, spent)

    def _keys(self) -> dict[str, bytes]:
        try:
            return node_keys(enrolled(self._home))
        except SilosynthError:
            return {}


def serve(home: CoordinatorHome, port: int, online: Online) -> Callable[[], None]:
    """Serve the figures from a thread; what is returned ends it. Raises NotPossible without the extra."""
    try:
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415  # an extra
    except ImportError:
        raise NotPossible(
            "coordinator.toml has a `metrics_port`, which needs prometheus-client: pip install 'silosynth[coordinator]'"
        ) from None
    figures = CollectorRegistry()
    figures.register(Collector(home, online))
    try:
        server, thread = start_http_server(port, _HOST, figures)
    except OSError as error:
        raise NotPossible(f"metrics cannot listen at {_HOST}:{port} ({error.strerror}); choose another") from None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
