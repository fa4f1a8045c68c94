"""What a monitoring system may know of a coordinator, in Prometheus' form, on a loopback port of its own.

Sites, whether they are connected, and how far studies are: all of it stands in coordinator.toml, sites/ and status.json
as well. Nothing here is about rows, and no label comes from a message.
"""

import importlib.metadata
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
        for folder in folders(self._home):
            try:
                status = folder.status()
            except SilosynthError:
                continue
            sums.add_metric([folder.name], status.releases)
            planned.add_metric([folder.name], status.of)
            updated.add_metric([folder.name], status.updated)
            for state in State:
                states.add_metric([folder.name, state], float(state is status.state))
        yield from (sums, planned, states, updated)

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
