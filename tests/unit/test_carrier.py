"""Questions are asked until they are answered: who said nothing valid, came back, or was cut off is asked again."""

import threading
import time

import numpy as np
import pytest

from silosynth.client.app import client_app
from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.common.errors import QuorumLost
from silosynth.server.carrier import Carrier, Patience
from silosynth.server.nodes import LineCut, Seat
from silosynth.simulations.grid import LocalGrid

NAMES = ("a", "b")
PATIENT = Patience(roll_call_s=5, round_s=5, pull_s=0.002, again_s=0.02)
REQUEST = wire.Request("ab" * 32, 0, 0, bytes(16), Parts("count"))


class Site:
    """Answers with its number; `broken`: how many answers before are none."""

    def __init__(self, number, broken=0):
        self.name, self.number, self.broken, self.asked = NAMES[number], number, broken, []

    def answer_frame(self, frame):
        asked = wire.decode_request(frame)
        self.asked.append(asked.nonce)
        if len(self.asked) <= self.broken:
            return b"nonsense"
        about = (asked.study, asked.release, asked.attempt, asked.nonce)
        return wire.encode_reply(wire.Reply(*about, np.full(1, self.number, dtype=np.int64), None, "x"))


class Grid(LocalGrid):
    """Replies may be lost, and the line cut."""

    def __init__(self, *sites):
        super().__init__(client_app(lambda context: sites[int(context.node_config["partition-id"])]), len(sites))
        self.lost, self.cuts, self.pushed = set(), [], []

    def push_messages(self, messages):
        messages = list(messages)
        self.pushed += [message.metadata.dst_node_id for message in messages]
        if self.cuts and len(self.pushed) == self.cuts[0]:
            self.cuts.pop(0)
            self._replies.clear()
            raise LineCut
        return super().push_messages(messages)

    def pull_messages(self, message_ids):
        return [one for one in super().pull_messages(message_ids) if one.metadata.src_node_id not in self.lost]


class Register:
    """Seats that a test moves."""

    def __init__(self, grid):
        self.seats = dict(zip(NAMES, map(Seat, grid.get_node_ids()), strict=True))
        self.cut = 0

    def online(self, names):
        if self.cut:
            self.cut -= 1
            raise LineCut
        return {name: self.seats[name] for name in names if name in self.seats}


def ask(grid, register, patience=PATIENT, stop=None):
    carrier = Carrier(grid, patience, stop or threading.Event(), register)
    heard = carrier.ask(dict.fromkeys(NAMES, REQUEST), lambda _count: None)
    return {name: int(reply.vector[0]) for name, reply in heard.items()}


def test_a_site_without_a_valid_answer_is_asked_again_in_the_same_words():
    sites = Site(0), Site(1, broken=3)
    grid = Grid(*sites)
    assert ask(grid, Register(grid)) == {"a": 0, "b": 1}
    assert (len(sites[0].asked), len(sites[1].asked)) == (1, 4)
    assert len(set(sites[1].asked)) == 1


def test_a_site_that_is_working_on_its_answer_is_left_in_peace():
    sites = Site(0), Site(1)
    grid = Grid(*sites)
    grid.lost = {list(grid.get_node_ids())[1]}
    assert ask(grid, Register(grid), Patience(1, 0.2, pull_s=0.002, again_s=0.02)) == {"a": 0}
    assert len(sites[1].asked) == 1


def test_a_site_that_came_back_is_asked_what_it_lost():
    sites = Site(0), Site(1)
    grid = Grid(*sites)
    register, node = Register(grid), list(grid.get_node_ids())[1]
    grid.lost = {node}

    def back():
        grid.lost = set()
        register.seats["b"] = Seat(node, "later")

    threading.Timer(0.1, back).start()
    assert ask(grid, register) == {"a": 0, "b": 1}
    assert len(sites[1].asked) == 2


def test_a_site_that_is_away_when_a_round_begins_is_asked_when_it_comes():
    sites = Site(0), Site(1)
    grid = Grid(*sites)
    register = Register(grid)
    carrier = Carrier(grid, PATIENT, threading.Event(), register)
    assert len(carrier.ask(dict.fromkeys(NAMES, REQUEST), lambda _count: None)) == 2
    seat = register.seats.pop("b")
    threading.Timer(0.1, lambda: register.seats.update(b=seat)).start()
    assert set(carrier.ask(dict.fromkeys(NAMES, REQUEST), lambda _count: None)) == {"a", "b"}


@pytest.mark.parametrize("cuts", [[1], [2], [1, 3], [2, 4]])
def test_what_was_under_way_when_the_line_was_cut_is_asked_again(cuts):
    sites = Site(0), Site(1)
    grid = Grid(*sites)
    grid.cuts = cuts
    register = Register(grid)
    register.cut = 1
    assert ask(grid, register) == {"a": 0, "b": 1}


def test_a_deadline_of_the_study_ends_every_wait():
    grid = Grid(Site(0), Site(1, broken=10**6))
    began = time.monotonic()
    assert ask(grid, Register(grid), Patience(9, 9, 0.2, pull_s=0.002, again_s=0.02)) == {"a": 0}
    register = Register(grid)
    del register.seats["b"]
    with pytest.raises(QuorumLost, match="not connected: b"):
        ask(grid, register, Patience(9, 9, 0.2, pull_s=0.002, again_s=0.02))
    assert time.monotonic() - began < 5


def test_whoever_says_stop_is_heard():
    grid = Grid(Site(0), Site(1, broken=10**6))
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    assert ask(grid, Register(grid), PATIENT, stop) == {"a": 0}
    assert time.monotonic() - began < 3
