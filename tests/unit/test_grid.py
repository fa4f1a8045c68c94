"""The Grid in memory keeps Flower's contract, and our apps run on it."""

from types import SimpleNamespace

import pytest
from flwr.app import Message, RecordDict

from silosynth.client.app import client_app
from silosynth.server.nodes import packed, unpacked
from silosynth.simulations.grid import LocalGrid


def echo(context):
    return SimpleNamespace(name=f"site-{context.node_config['partition-id']}", answer_frame=lambda frame: frame[::-1])


def message(node, frame=b"abc", kind="query"):
    return Message(packed(frame), node, kind)


def test_a_message_is_answered_by_the_node_it_was_sent_to():
    grid = LocalGrid(client_app(echo), 3)
    nodes = grid.get_node_ids()
    ids = grid.push_messages([message(node, kind="query.name") for node in nodes])
    names = {reply.metadata.src_node_id: unpacked(reply) for reply in grid.pull_messages(ids)}
    assert names == {node: f"site-{at}".encode() for at, node in enumerate(nodes)}


def test_replies_are_pulled_once_and_only_by_their_ids():
    grid = LocalGrid(client_app(echo), 2)
    first, second = grid.push_messages([message(node) for node in grid.get_node_ids()])
    (reply,) = grid.pull_messages([second])
    assert (reply.metadata.reply_to_message_id, unpacked(reply)) == (second, b"cba")
    assert [reply.metadata.reply_to_message_id for reply in grid.pull_messages([first, second])] == [first]
    assert grid.pull_messages([first, second]) == []
    assert len(grid.send_and_receive([message(grid.get_node_ids()[0])], timeout=1)) == 1


def test_no_exception_leaves_a_client_app(caplog):
    def lost(_context):
        raise RuntimeError("patient 4711")

    grid = LocalGrid(client_app(lost), 1)
    for kind in ("query", "query.name"):
        (reply,) = grid.send_and_receive([message(grid.get_node_ids()[0], kind=kind)])
        assert unpacked(reply) == b""
        assert not reply.has_error()
    assert "4711" in caplog.text  # it stays in the site's own log


def test_a_message_without_a_frame_is_answered_with_nothing(caplog):
    grid = LocalGrid(client_app(echo), 1)
    (reply,) = grid.send_and_receive([Message(RecordDict(), grid.get_node_ids()[0], "query")])
    assert unpacked(reply) == b""
    assert caplog.records


def test_deprecated_ways_are_closed():
    grid = LocalGrid(client_app(echo), 1)
    with pytest.raises(NotImplementedError):
        grid.create_message(RecordDict(), "query", 2, "")
    assert grid.run.run_id == grid.context().run_id
