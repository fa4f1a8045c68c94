"""The two doors, without a network: what reaches the application, and what is said to the rest."""

import asyncio

import pytest

from silosynth.common.errors import InvalidInput
from silosynth.server import listeners
from silosynth.server.listeners import MOST_BYTES, LoopbackDoor, PublicDoor, bound

PULL = b"/v1/fleet/pull-messages"


class Inner:
    """An application that remembers what reached it, and says 200."""

    def __init__(self):
        self.seen = []

    async def __call__(self, scope, receive, send):
        body = await receive()
        self.seen.append((scope["raw_path"], body["body"], body["more_body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def knock(door, path, method="POST", headers=(), parts=(b"",), wait=None):
    """The status that a door answers a request with."""
    sent = []
    left = [{"type": "http.request", "body": part, "more_body": at < len(parts) - 1} for at, part in enumerate(parts)]

    async def receive():
        if not left and wait:
            await asyncio.sleep(wait)
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "raw_path": path, "path": "/v1/fleet/pull-messages", "method": method}
    asyncio.run(door(scope | {"headers": list(headers)}, receive, send))
    return sent[0]["status"]


def length(of):
    return [(b"content-length", str(of).encode())]


def test_a_body_comes_through_whole_and_in_one_piece():
    inner = Inner()
    assert knock(PublicDoor(inner), PULL, headers=length(6), parts=(b"abc", b"", b"def")) == 200
    assert inner.seen == [(PULL, b"abcdef", False)]


@pytest.mark.parametrize("path", [b"/v1/control/start-run", b"/v1/fleet/register-node", PULL + b"/", b"/", b""])
def test_it_is_the_path_as_it_came_that_counts(path):
    inner = Inner()
    assert knock(PublicDoor(inner), path, headers=length(0)) == 404
    assert inner.seen == []


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_only_post(method):
    assert knock(PublicDoor(Inner()), PULL, method, length(0)) == 404


def test_health_takes_no_body():
    inner = Inner()
    assert knock(PublicDoor(inner), b"/health", "GET", parts=(b"x" * 100,)) == 200
    assert inner.seen == [(b"/health", b"", False)]
    assert knock(PublicDoor(inner), b"/health", "POST") == 404


@pytest.mark.parametrize(
    ("headers", "parts", "status"),
    [
        ([], (b"",), 411),
        ([(b"content-length", b"-1")], (b"",), 411),
        ([(b"content-length", b"1e3")], (b"",), 411),
        (length(MOST_BYTES + 1), (), 413),
        (length(10**30), (), 413),
        (length(3), (b"abcd",), 413),
        (length(MOST_BYTES), (b"a",), 200),
        (length(9), (), 400),
    ],
)
def test_a_body_that_breaks_a_rule_reaches_nothing(headers, parts, status):
    inner = Inner()
    assert knock(PublicDoor(inner), PULL, headers=headers, parts=parts) == status
    assert bool(inner.seen) == (status == 200)


def test_a_body_that_never_ends_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(listeners, "_BODY_S", 0.05)
    inner = Inner()
    door = PublicDoor(inner)
    sent = []

    async def receive():
        await asyncio.sleep(10)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "raw_path": PULL, "method": "POST", "headers": length(5)}
    asyncio.run(door(scope, receive, send))
    assert (sent[0]["status"], inner.seen) == (408, [])


def test_other_protocols_are_not_spoken():
    inner = Inner()
    asyncio.run(PublicDoor(inner)({"type": "websocket"}, None, None))
    assert inner.seen == []


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (b"/v1/control/start-run", [], 401),
        (b"/v1/control/start-run", [(b"x-b", b"wrong")], 401),
        (b"/v1/control/start-run", [(b"x-b", b"right")], 200),
        (b"/health", [], 200),
    ],
)
def test_the_loopback_door_opens_to_its_badge(path, headers, status):
    assert knock(LoopbackDoor(Inner(), "x-b", "right"), path, headers=headers) == status


def test_a_port_that_is_taken_is_said():
    with bound("127.0.0.1", 0) as first, pytest.raises(InvalidInput, match="cannot listen at"):
        bound("127.0.0.1", first.getsockname()[1])
