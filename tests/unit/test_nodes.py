"""Which node is a site: by the key that was enrolled for it, whatever anybody claims; and frames in messages."""

import threading
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from silosynth.client.app import client_app
from silosynth.common.errors import InvalidInput
from silosynth.common.wire import PIECE_BYTES
from silosynth.server.nodes import Claims, Keys, Seat, packed, unpacked
from silosynth.simulations.grid import LocalGrid


class Grid:
    """Nodes as Flower lists them."""

    def __init__(self, *nodes):
        self.nodes = [SimpleNamespace(node_id=at, public_key=key, last_activated_at=since) for at, key, since in nodes]

    def get_nodes(self):
        return self.nodes


def test_a_site_is_the_node_of_its_key():
    grid = Grid((7, b"key b", "noon"), (8, b"key a", "dawn"), (9, b"stranger", "dusk"))
    keys = Keys(grid, {"a": b"key a", "b": b"key b", "c": b"key c"})
    assert keys.online(["a", "b", "c"]) == {"a": Seat(8, "dawn"), "b": Seat(7, "noon")}
    assert keys.online(["c"]) == {}


def test_two_sites_with_one_key_are_refused():
    with pytest.raises(InvalidInput, match="one node key"):
        Keys(Grid(), {"a": b"key", "b": b"key"})


def test_in_a_simulation_each_node_is_believed_once():
    names = ["x", "y", "x"]
    grid = LocalGrid(client_app(lambda c: SimpleNamespace(name=names[int(c.node_config["partition-id"])])), 3)
    claims = Claims(grid, 1.0, 0.001, threading.Event())
    first, second, _ = grid.get_node_ids()
    assert claims.online(["x", "y"]) == {"x": Seat(first), "y": Seat(second)}
    assert claims.online(["z"]) == {}


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_a_frame_is_what_its_pieces_are(size):
    LocalGrid(client_app(lambda _: None), 1)  # a message must have a sender
    frame = bytes(size)
    content = packed(frame)
    assert len(content.config_records) == max(1, -(-size // PIECE_BYTES))
    assert unpacked(Message(content, 2, "query")) == frame


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"1": ConfigRecord({"frame": b"x"})},
        {"0": ConfigRecord({"other": b"x"})},
        {"0": ConfigRecord({"frame": "text"})},
        {"0": ConfigRecord({"frame": [b"x"]})},
    ],
)
def test_a_message_with_anything_else_has_no_frame(content):
    LocalGrid(client_app(lambda _: None), 1)
    assert unpacked(Message(RecordDict(content), 2, "query")) == b""
