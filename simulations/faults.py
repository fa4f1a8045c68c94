"""A network and sites that fail: requests and replies are lost, late, twice or in another order, and sites die.

Between the same two apps, on the Grid in memory: what is struck is planned, so that a failure can be had again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flwr.app import Message
from flwr.clientapp import ClientApp

from silosynth.common import wire
from silosynth.server.nodes import unpacked
from silosynth.simulations.grid import LocalGrid

CALL: Final = "call"
ROUND: Final = "round"


class Fault(StrEnum):
    """What happens to a request, or to the site that it is for."""

    LOST_REQUEST = "the site never gets it"
    LOST_REPLY = "the site answers, and pays; the coordinator never hears of it"
    LATE_REQUEST = "the site gets it after the next one"
    LATE_REPLY = "the reply is the last of its round"
    TWICE = "the site gets it twice"
    RESTART = "the site's process is killed and started again, before it gets it"
    DEATH = "the site dies before it gets it, for good"
    LAST_WORD = "the site answers, and pays, and dies before the reply leaves it"


@dataclass(frozen=True)
class Moment:
    """A request to a site: its kind (CALL for its name, a phase of a session in small letters, or ROUND) and its place.

    None stands for any.
    """

    site: int | None = None
    what: str | None = None
    release: int | None = None
    attempt: int | None = None

    def covers(self, other: "Moment") -> bool:
        """Whether `other`, which is one request, is meant."""
        pairs = zip(
            (self.site, self.what, self.release, self.attempt),
            (other.site, other.what, other.release, other.attempt),
            strict=True,
        )
        return all(wanted in (None, found) for wanted, found in pairs)


@dataclass
class Strike:
    """A fault at the first `times` requests that `when` covers; `times` counts down."""

    fault: Fault
    when: Moment
    times: int = 1


@dataclass
class _Line:
    """To a site. `held`: the request that comes late."""

    place: int
    dead: bool = False
    held: Message | None = None


class FaultyGrid(LocalGrid):
    """LocalGrid, struck. `restart` is told the place of a site that is to lose its process.

    `heard`: every request that reached a site, in order; `differed`: those that a site answered in two ways.
    """

    def __init__(
        self,
        app: ClientApp,
        nodes: int,
        strikes: Sequence[Strike],
        restart: Callable[[int], None] = lambda _place: None,
    ) -> None:
        super().__init__(app, nodes)
        self._strikes = list(strikes)
        self._restart = restart
        self._lines = {node: _Line(place) for place, node in enumerate(self.get_node_ids())}
        self._late: dict[str, int] = {}
        self.heard: list[Moment] = []
        self.differed: list[Moment] = []

    def deliver(self, message: Message) -> None:
        """See LocalGrid. Whoever pushed a message is not told what became of it."""
        line = self._lines[message.metadata.dst_node_id]
        if line.dead:
            return
        moment = _moment(line.place, message)
        fault = self._fault(moment)
        late, line.held = line.held, None
        if fault is Fault.RESTART:
            self._restart(line.place)
        if fault is Fault.LATE_REQUEST:
            line.held = message
        elif fault not in (Fault.LOST_REQUEST, Fault.DEATH):
            self._answered(moment, message, fault)
        line.dead = fault in (Fault.DEATH, Fault.LAST_WORD)
        if late is not None:
            self._answered(_moment(line.place, late), late, None)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """See Grid. A late reply comes when it has been asked for often enough for all others to be there."""
        names = list(message_ids)
        for name in names:
            self._late[name] = self._late.get(name, 1) - 1
        return super().pull_messages([name for name in names if self._late[name] <= 0])

    def _answered(self, moment: Moment, message: Message, fault: Fault | None) -> None:
        self.heard.append(moment)
        super().deliver(message)
        name = message.metadata.message_id
        if fault in (Fault.LOST_REPLY, Fault.LAST_WORD):
            del self._replies[name]
        elif fault is Fault.LATE_REPLY:
            self._late[name] = len(self._lines) + 2
        elif fault is Fault.TWICE:
            first = unpacked(self._replies[name])
            super().deliver(message)
            if unpacked(self._replies[name]) != first:
                self.differed.append(moment)

    def _fault(self, moment: Moment) -> Fault | None:
        for strike in self._strikes:
            if strike.times > 0 and strike.when.covers(moment):
                strike.times -= 1
                return strike.fault
        return None


def _moment(place: int, message: Message) -> Moment:
    match message.metadata.message_type:
        case "query":
            asked = wire.decode_request(unpacked(message))
            return Moment(place, ROUND, asked.release, asked.attempt)
        case "query.session":
            return Moment(place, wire.decode_session_request(unpacked(message)).phase.name.lower())
        case _:
            return Moment(place, CALL)
