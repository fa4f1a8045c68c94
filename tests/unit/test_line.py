"""The grid of a run, where the SuperLink goes away in the middle of something."""

import contextlib
import threading

import pytest
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.superlink.grid import HttpGrid

from silosynth.server.line import Line
from silosynth.server.nodes import LineCut
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


def test_a_run_that_is_over_is_told(line, monkeypatch):
    monkeypatch.setattr(HttpGrid, "push_messages", failing(LineCut()))
    monkeypatch.setattr(line, "_disconnect", lambda: setattr(line, "_client", None))
    with pytest.raises(LineCut):
        line.push_messages([object()])
    assert not line._is_connected
