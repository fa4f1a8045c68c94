"""What is on its way through a SuperLink: replies in part, who is woken, and what is remembered."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest

from silosynth.server import underway
from silosynth.server.underway import UnderWay

RUN, NODE = 5, 7


class Store(dict):
    """Flower's store of objects, of which each has one parent here."""

    def __init__(self):
        super().__init__()
        self.children = {}

    def preregister(self, _run, tree):
        new = [one for one in every(tree) if one.object_id not in self]
        for one in new:
            self[one.object_id] = None
            self.children[one.object_id] = [child.object_id for child in one.children]
        return [one.object_id for one in new if one is not tree]  # the head is pushed with the message, here

    def put(self, name, content):
        self[name] = content

    def delete(self, name):
        self.pop(name, None)
        for child in self.children.pop(name, ()):
            self.delete(child)


def tree(name, *parts):
    """An object with its parts: each a name, or a tree."""
    below = [part if isinstance(part, SimpleNamespace) else tree(part) for part in parts]
    return SimpleNamespace(object_id=name, children=below)


def every(top):
    yield top
    for child in top.children:
        yield from every(child)


class State:
    """Flower's, as far as it is asked here; notes the calls."""

    def __init__(self):
        self.calls, self.object_store, self.taken = [], Store(), True

    def store_message_res(self, message):
        return message.metadata.message_id if self.taken else None

    store_message_ins = store_message_res

    def get_message_res(self, message_ids, _run):
        return sorted(message_ids)

    def get_run_status(self, runs):
        self.calls.append(("status", runs))
        return "running"

    def _on_push_session_expired(self, messages):
        self.calls.append(("drop", *messages))

    def anything(self):
        return "of Flower's"


def message(to, name, sender, whom):
    about = {"reply_to_message_id": to, "message_id": name, "src_node_id": sender, "dst_node_id": whom}
    about |= {"created_at": 1.0, "ttl": 60.0}
    return SimpleNamespace(metadata=SimpleNamespace(run_id=RUN, **about))


def reply(to="question", name="reply", sender=NODE):
    return message(to, name, sender, 1)


def question():
    return message("", "q", 1, NODE)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(underway, "HOLD_S", 0.05)


@pytest.fixture
def way():
    return UnderWay(State())


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


def woken_in(loop, way, whom, before):
    """Whether who looks is woken by what `before` does, and not by the clock."""

    async def look():
        looking = asyncio.create_task(way.mail(whom))
        await asyncio.sleep(0)
        before()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        soon = looking.done()
        await looking
        return soon

    return loop.run(look())


@pytest.fixture
def woken(loop):
    return partial(woken_in, loop)


def test_a_reply_is_there_once_all_of_it_is(way, woken):
    assert way.store_message_and_object_tree(reply(), tree("reply", "one", "two"), "s") == (True, ["one", "two"])
    assert way.get_message_res({"question", "other"}, RUN) == ["other"]
    assert not woken(way, RUN, lambda: way.store_object(RUN, "s", "one", b"1"))
    assert way.get_message_res({"question"}, RUN) == []
    assert not way.store_object(RUN, "s", "nothing of it", b"")
    assert not way.store_object(RUN, "of another", "two", b"")
    assert not way.store_object(RUN, "s", "one", b"again")
    assert woken(way, RUN, lambda: way.store_object(RUN, "s", "two", b"2"))
    assert way.get_message_res({"question"}, RUN) == ["question"]
    assert [way.get_object(RUN, name) for name in ("one", "two", "else")] == [b"1", b"2", None]


def test_what_was_left_half_pushed_makes_room_for_the_whole(way):
    way.store_message_and_object_tree(reply(name="half"), tree("half", "one", "two"), "first")
    way.store_message_and_object_tree(reply("another", "of another", NODE + 1), tree("of another", "x"), "not this")
    way.store_object(RUN, "first", "one", b"")
    assert way.store_message_and_object_tree(reply(), tree("reply", "one", "two"), "second")[1] == ["one", "two"]
    assert way._state.calls == [("drop", "half")]
    assert not way.store_object(RUN, "first", "two", b"")
    way.store_object(RUN, "second", "one", b"")
    way.store_object(RUN, "second", "two", b"")
    assert way.get_message_res({"question", "another"}, RUN) == ["question"]


def test_no_other_node_makes_room_for_itself(way):
    way.store_message_and_object_tree(reply(), tree("reply", "one"), "s")
    way._state.taken = False  # as Flower does, who is not whom the question was sent to
    assert way.store_message_and_object_tree(reply(sender=NODE + 1), tree("reply", "two"), "other") == (False, [])
    assert way._state.calls == []
    assert way.store_object(RUN, "s", "one", b"")


def test_a_reply_that_was_not_taken_is_not_waited_for(way):
    way._state.taken = False
    assert way.store_message_and_object_tree(reply(), tree("reply", "one"), "s") == (False, [])
    assert not way.store_object(RUN, "s", "one", b"")
    assert way.get_message_res({"question"}, RUN) == ["question"]


def test_each_push_has_a_session_that_nobody_guesses(way):
    assert len({way.start_session(RUN) for _ in range(100)}) == 100
    assert len(way.start_session(RUN)) == 32


def test_a_node_is_woken_when_all_of_a_message_is_there_and_only_that_node(way, woken):
    way.store_message_and_object_tree(question(), tree("q", "one"), "s")
    assert not woken(way, NODE + 1, lambda: None)
    assert woken(way, NODE, lambda: way.store_object(RUN, "s", "one", b""))
    assert not woken(way, NODE, lambda: None)


def test_what_came_before_somebody_looked_is_found_at_once(way, woken):
    way.store_message_and_object_tree(question(), tree("q", "one"), "s")
    way.store_object(RUN, "s", "one", b"")
    assert woken(way, NODE, lambda: None)


def test_what_is_asked_again_and_again_is_asked_once_until_something_may_have_changed(way):
    for _ in range(3):
        assert way.get_run_status({RUN}) == "running"
    assert len(way._state.calls) == 1
    way.get_run_status({RUN + 1})
    way.forget()
    way.get_run_status({RUN})
    assert len(way._state.calls) == 3


def test_the_clock_makes_it_forget_too(way, monkeypatch):
    monkeypatch.setattr(underway, "_REMEMBERED_S", -1.0)
    way.get_run_status({RUN})
    way.get_run_status({RUN})
    assert len(way._state.calls) == 2


def test_all_else_is_as_flower_has_it(way):
    assert way.anything() == "of Flower's"


def test_a_node_has_one_half_reply_at_a_time(way):
    for number in range(5):
        name = f"r{number}"
        assert way.store_message_and_object_tree(reply(f"q{number}", name), tree(name, f"p{number}"), name)[0]
    assert set(way._state.object_store) == {"r4", "p4"}
    assert list(way._coming) == ["q4"]


def doubling(levels):
    """Each level twice below the next, of which the store keeps one: to tell it again takes 2^levels."""
    top = tree("l0")
    for level in range(1, levels):
        top = tree(f"l{level}", top, f"l{level - 1}")
    return top


BAD = {
    "a time that is none": (reply(), {"ttl": float("nan")}, tree("reply")),
    "a date that is none": (reply(), {"created_at": float("inf")}, tree("reply")),
    "the tree of something else": (reply(), {}, tree("else")),
    "too deep": (reply(name="l5"), {}, doubling(6)),
    "too many objects": (reply(), {}, tree("reply", *map(str, range(64)))),
    "objects that are there already": (reply(), {}, tree("reply", "known")),
}


@pytest.mark.parametrize("how", BAD)
def test_a_reply_that_is_none_is_not_taken_and_stops_nobody(way, how):
    bad, about, objects = BAD[how]
    way.store_message_and_object_tree(reply("other", "good", NODE + 1), tree("good", "known"), "s")
    sent = SimpleNamespace(metadata=SimpleNamespace(**(vars(bad.metadata) | about)))
    assert way.store_message_and_object_tree(sent, objects, "t") == (False, [])
    assert set(way._state.object_store) == {"good", "known"}
    way.store_object(RUN, "s", "known", b"")
    assert way.get_message_res({"other"}, RUN) == ["other"]
