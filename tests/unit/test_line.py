"""The grid of a run, where the SuperLink goes away in the middle of something."""

import contextlib
import threading
from types import SimpleNamespace

import pytest
from flwr.app import RecordDict
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.superlink.grid import HttpGrid

from silosynth.server.line import Line
from silosynth.server.nodes import LineCut, unpacked
from silosynth.server.superlink import Access


def failing(error):
    def push(_self, _messages):
        raise error

    return push


@pytest.fixture
def line():
    made = Line(Access(1, b"secret"), contextlib.nullcontext, threading.Event(), lambda _number: None)
    made._client = object()
    return made


def test_a_message_whose_parts_were_not_all_taken_is_dropped_and_so_asked_again(line, monkeypatch):
    monkeypatch.setattr(HttpGrid, "push_messages", failing(ObjectPushError("part", 1, "session")))
    assert not list(line.push_messages([object()]))
    assert line._is_connected


class Runtime:
    """Flower's API with one reply, of any bytes."""

    def __init__(self, objects, root):
        self.objects, self.root = objects, root

    def PullMessages(self, _asked):
        about = SimpleNamespace(message_id=self.root, reply_to_message_id="question")
        tree = ObjectTree(object_id=self.root, children=[ObjectTree(object_id=one) for one in self.objects])
        return SimpleNamespace(messages_list=[SimpleNamespace(metadata=about)], message_object_trees=[tree])

    def PullObject(self, asked):
        content = self.objects.get(asked.object_id, b"")
        return PullObjectResponse(object_found=True, object_available=True, object_content=content)

    def ConfirmMessageReceived(self, _asked):
        return None


@pytest.mark.parametrize("objects", [{}, {"a": b"junk"}, {"root": RecordDict().deflate()}, {"root": bytes(100)}])
def test_whatever_a_node_replies_is_no_more_than_no_answer(line, monkeypatch, objects):
    runtime = Runtime(objects, "root")
    monkeypatch.setattr(Line, "_runtime_client", property(lambda _self: runtime))
    line._run = SimpleNamespace(run_id=3)
    (found,) = line.pull_messages(["question"])
    assert found.metadata.reply_to_message_id == "question"
    assert unpacked(found) == b""


def test_a_run_that_is_over_is_told(line, monkeypatch):
    monkeypatch.setattr(HttpGrid, "push_messages", failing(LineCut()))
    monkeypatch.setattr(line, "_disconnect", lambda: setattr(line, "_client", None))
    with pytest.raises(LineCut):
        line.push_messages([object()])
    assert not line._is_connected
