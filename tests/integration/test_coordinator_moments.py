"""Awkward moments of a round through a coordinator's service: half a reply, and looks that wait."""

import threading
import time

import httpx
import numpy as np
import pytest
from coordinator_running import Running
from flwr.proto.fleet_pb2 import PullMessagesRequest

from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.server.underway import HOLD_S

REQUEST = wire.Request("ab" * 32, 0, 0, bytes(16), Parts("count", ((0,),)))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A coordinator with two sites enrolled."""
    running = Running(tmp_path_factory.mktemp("service"))
    running.add("a", "b")
    running.start()
    yield running
    assert running.stop()[0] == 0


class Site:
    """Answers, whatever it is asked, with 30,000 numbers."""

    def __init__(self):
        self.asked = 0

    def answer_frame(self, frame):
        self.asked += 1
        asked = wire.decode_request(frame)
        about = (asked.study, asked.release, asked.attempt, asked.nonce)
        return wire.encode_reply(wire.Reply(*about, np.zeros(30_000, dtype=np.int64), None, "a"))


def ask(carrier, name):
    """Who answered, and after how long."""
    began = time.monotonic()
    heard = carrier.ask({name: REQUEST}, lambda _count: None)
    return set(heard), time.monotonic() - began


def test_a_reply_that_its_relay_left_half_pushed_is_not_waited_for(service):
    """The relay pushes all parts but one, is cut off for a while, and pushes its reply again, as the same node."""
    site, pushed = Site(), []
    with service.site("a", site) as node, service.carrier(("a",)) as carrier:
        push = node._fleet.PushObject

        def cut_at_the_second(part):
            pushed.append(part)
            if len(pushed) == 2:
                time.sleep(2)
                raise httpx.ConnectError("cut")
            return push(part)

        node._fleet.PushObject = cut_at_the_second
        who, took_s = ask(carrier, "a")
        assert who == {"a"}
        assert took_s < 8
        assert site.asked == 2
        node._fleet.PushObject = push
        assert ask(carrier, "a")[0] == {"a"}
    assert len(pushed) > 3


def test_half_a_reply_of_a_relay_that_was_replaced_is_asked_for_again(service):
    site, pushed, over = Site(), [], threading.Event()
    with service.carrier(("a",)) as carrier, service.site("a", site) as node:
        push = node._fleet.PushObject

        def hang_at_the_second(part):
            pushed.append(part)
            if len(pushed) == 2:
                over.wait(30)
            return push(part)

        node._fleet.PushObject = hang_at_the_second
        found = []
        thread = threading.Thread(target=lambda: found.append(ask(carrier, "a")))
        thread.start()
        while len(pushed) < 2:
            time.sleep(0.01)
        (service.folder / "elsewhere").mkdir()
        with service.site("a", site, service.folder / "elsewhere"):  # the same key, with nothing of the first
            thread.join(20)
            over.set()
        assert [who for who, _ in found] == [{"a"}]
        assert found[0][1] < 8


def test_a_look_waits_for_a_message_and_no_longer_than_it_must(service):
    with service.site("b", Site()) as node, service.carrier(("b",)) as carrier:
        ask(carrier, "b")
        took = [ask(carrier, "b")[1] for _ in range(5)]
        assert min(took) < HOLD_S
        number = node._node
    began = time.monotonic()
    assert not service.fleet("b").PullMessages(PullMessagesRequest(node=number)).messages_list
    assert 0.8 * HOLD_S < time.monotonic() - began < 5
