"""The node against a Fleet API in this process; and the parts of Flower that it stands on, each by its name."""

import ast
import importlib
import inspect
import threading
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeResponse, PullMessagesResponse, PushMessagesResponse
from flwr.proto.message_pb2 import PullObjectResponse, PushObjectResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity

from silosynth.client import node as node_module
from silosynth.client.app import client_app
from silosynth.client.events import Event
from silosynth.client.node import FLOWER, Node, Trouble, pause_s
from silosynth.common.errors import NotPossible

INTERNALS = {
    "flwr.app.message": {"remove_content_from_message"},
    "flwr.common.constant": {"HEARTBEAT_DEFAULT_INTERVAL", "ErrorCode"},
    "flwr.common.serde": {"message_to_proto"},
    "flwr.proto.fleet_pb2": {
        *("ActivateNodeRequest", "DeactivateNodeRequest", "PullMessagesRequest", "PullMessagesResponse"),
        "PushMessagesRequest",
    },
    "flwr.proto.heartbeat_pb2": {"SendNodeHeartbeatRequest"},
    "flwr.proto.message_pb2": {"ConfirmMessageReceivedRequest", "PullObjectRequest", "PushObjectRequest"},
    "flwr.proto.node_pb2": {"Node"},
    "flwr.supercore.inflatable.inflatable_object": {
        *("get_all_nested_objects", "get_object_tree", "iterate_object_tree", "no_object_id_recompute"),
    },
    "flwr.supercore.inflatable.inflatable_utils": {"inflate_object_from_contents"},
    "flwr.supercore.interceptors": {"RuntimeVersionHttpInterceptor"},
    "flwr.supercore.primitives.asymmetric": {"public_key_to_bytes"},
    "flwr.supernode.fleet_http_client": {"FleetHttpClient"},
    "flwr.supernode.node_auth_http_interceptor": {"NodeAuthHttpInterceptor"},
}
PUBLIC = {"flwr.app": {"Context", "Error", "Message", "RecordDict"}, "flwr.clientapp": {"ClientApp"}}
CALLS = {
    *("ActivateNode", "DeactivateNode", "SendNodeHeartbeat", "PullMessages", "PushMessages", "PullObject"),
    *("PushObject", "ConfirmMessageReceived"),
}
NUMBER = 77


def test_the_contract_with_flower():
    """Another version of Flower: run the tests of the relay and the lab with it, then say so in node.FLOWER."""
    assert version("flwr").startswith(FLOWER)
    tree = ast.parse(Path(node_module.__file__).read_text())
    used = {
        part.module: {name.name for name in part.names}
        for part in ast.walk(tree)
        if isinstance(part, ast.ImportFrom) and (part.module or "").startswith("flwr")
    }
    assert used == INTERNALS | PUBLIC
    for module, names in used.items():
        assert names <= set(dir(importlib.import_module(module))), module
    client = node_module.FleetHttpClient
    assert set(dir(client)) >= CALLS
    assert list(inspect.signature(client.from_server_address).parameters)[:4] == [
        *("server_address", "insecure", "root_certificates", "interceptors"),
    ]
    assert list(inspect.signature(node_module.NodeAuthHttpInterceptor).parameters) == ["private_key", "public_key"]
    assert list(inspect.signature(node_module.inflate_object_from_contents).parameters)[:2] == [
        *("object_id", "object_contents"),
    ]


def test_another_flower_is_not_tried(monkeypatch):
    monkeypatch.setattr(node_module, "version", lambda _name: "1.42.0")
    with pytest.raises(NotPossible, match=r"flwr 1\.42\.0 is installed, and this needs 1\.41\.x"):
        node_module.connect("coordinator.test:8443", b"", KEY)


def test_no_other_module_of_a_site_uses_internals():
    for path in Path(node_module.__file__).parent.rglob("*.py"):
        for part in ast.walk(ast.parse(path.read_text())):
            found = [part.module or ""] if isinstance(part, ast.ImportFrom) else []
            found += [name.name for name in part.names] if isinstance(part, ast.Import) else []
            flower = {name for name in found if name.split(".")[0] == "flwr"}
            assert path.name == "node.py" or flower <= set(PUBLIC), path


def refused(code):
    request = httpx.Request("POST", "https://coordinator.test/")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(code, request=request))


class Fleet:
    """What a SuperLink does for one node, and what goes wrong with it on the way."""

    def __init__(self):
        self.calls, self.queue, self.objects, self.replies, self.beats = [], [], {}, [], []
        self.fail = {}  # what each call raises, once each
        self.known = {NUMBER}

    def put(self, frame, route="query"):
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 5, 1, 9
        message = Message(RecordDict({"0": ConfigRecord({"frame": frame})}), NUMBER, route, ttl=60)
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = get_all_nested_objects(message)
        self.objects |= {name: part.deflate() for name, part in objects.items()}
        self.queue.append(
            (message_to_proto(node_module.remove_content_from_message(message)), get_object_tree(message))
        )

    def __getattr__(self, name):
        def call(request):
            self.calls.append(name)
            if self.fail.get(name):
                raise self.fail[name].pop(0)
            return getattr(self, f"do_{name}")(request)

        return call

    def do_ActivateNode(self, _request):
        return ActivateNodeResponse(node_id=NUMBER)

    def do_DeactivateNode(self, request):
        return None

    def do_SendNodeHeartbeat(self, request):
        if request.node.node_id not in self.known:
            raise refused(401)
        self.beats.append(request.node.node_id)

    def do_PullMessages(self, _request):
        if not self.queue:
            return PullMessagesResponse()
        message, tree = self.queue.pop(0)
        return PullMessagesResponse(messages_list=[message], message_object_trees=[tree])

    def do_PullObject(self, request):
        content = self.objects.get(request.object_id)
        return PullObjectResponse(
            object_found=content is not None, object_available=True, object_content=content or b""
        )

    def do_PushMessages(self, request):
        tree = request.message_object_trees[0]
        self.replies.append((message_from_proto(request.messages_list[0]), tree, {}))
        names = [part.object_id for part in iterate_object_tree(tree)]
        return PushMessagesResponse(objects_to_push=names, session_id="s")

    def do_PushObject(self, request):
        self.replies[-1][2][request.object_id] = request.object_content
        return PushObjectResponse(stored=True)

    def do_ConfirmMessageReceived(self, request):
        self.objects.clear()

    def frames(self):
        """What came back whole: bytes, or the text of an error."""
        said = []
        for message, tree, contents in self.replies:
            if len(contents) < sum(1 for _ in iterate_object_tree(tree)):
                continue
            whole = inflate_object_from_contents(tree.object_id, dict(contents))
            assert message.metadata.reply_to_message_id
            said.append(whole.error.reason if whole.has_error() else whole.content.config_records["0"]["frame"])
        return said


class Echo:
    """A site that answers with what it was asked, backwards."""

    name = "echo"

    def answer_frame(self, frame):
        return frame[::-1]

    session_frame = answer_frame


KEY = ec.generate_private_key(ec.SECP384R1())


class Running:
    """A node at work in a thread."""

    def __init__(self, fleet, folder, site=Echo):
        self.told, self.stop = [], threading.Event()
        self.node = Node(fleet, KEY, folder, self.told.append)
        self.thread = threading.Thread(target=self.node.run, args=(client_app(lambda _context: site()), self.stop))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def until(self, condition):
        for _ in range(500):
            if condition():
                return
            self.stop.wait(0.01)
        raise AssertionError(self.told)

    @property
    def events(self):
        return [one.event for one in self.told]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(node_module, "_BACK_OFF_S", (0.01,))


def test_messages_are_answered_one_after_the_other(tmp_path):
    fleet = Fleet()
    fleet.put(b"abc")
    with Running(fleet, tmp_path) as running:
        running.until(lambda: len(fleet.replies) == 1 and not running.node._in_hand.exists())
        fleet.put(b"xyz", "query.session")
        running.until(lambda: len(fleet.replies) == 2 and not running.node._in_hand.exists())
        running.node.leave()
    assert fleet.frames() == [b"cba", b"zyx"]
    assert fleet.calls.count("ActivateNode") == fleet.calls.count("DeactivateNode") == 1
    assert fleet.calls.count("ConfirmMessageReceived") == 2
    assert running.events == [Event.CONNECTED]
    assert not hasattr(Fleet, "do_GetFab")  # so asking for the app would have failed


def test_what_no_route_takes_is_answered_without_a_text(tmp_path):
    fleet = Fleet()
    fleet.put(b"the patient in bed 3", "train")
    with Running(fleet, tmp_path) as running:
        running.until(lambda: fleet.replies)
    assert fleet.frames() in ([None], [""])


def test_a_message_in_hand_outlives_its_process(tmp_path):
    """A process that ended before it had sent its reply: the next one goes on as the same node, and sends it."""
    fleet = Fleet()
    fleet.put(b"abc")
    fleet.fail["PushMessages"] = [KeyboardInterrupt()]  # as good as kill -9: nothing is cleared up

    with pytest.raises(KeyboardInterrupt):
        Node(fleet, KEY, tmp_path, lambda _told: None).run(client_app(lambda _context: Echo()), threading.Event())
    assert (tmp_path / "in-hand").exists()
    calls = len(fleet.calls)
    with Running(fleet, tmp_path) as running:
        running.until(lambda: fleet.replies and not running.node._in_hand.exists())
    assert fleet.frames() == [b"cba"]
    assert not {"ActivateNode", "DeactivateNode"} & set(fleet.calls[calls:])
    assert fleet.beats == [NUMBER]
    assert running.events[:2] == [Event.CONNECTED, Event.RESUMED]


def test_without_one_the_next_process_says_goodbye_for_the_last(tmp_path):
    """Or the SuperLink would refuse it for a minute, and the coordinator wait for what was lost on its way."""
    fleet = Fleet()
    (tmp_path / "node.id").write_text(str(NUMBER))
    fleet.fail["DeactivateNode"] = [refused(400)]  # it was given up before
    with Running(fleet, tmp_path) as running:
        running.until(lambda: running.events)
    assert fleet.calls[:2] == ["DeactivateNode", "ActivateNode"]


def test_nor_is_what_was_on_its_way_by_a_connection_that_broke_waited_for(tmp_path):
    """The SuperLink takes a message for delivered as soon as it answers; that answer may be lost with the line."""
    fleet = Fleet()
    fleet.fail["PullMessages"] = [httpx.RemoteProtocolError("Server disconnected without sending a response.")]
    with Running(fleet, tmp_path) as running:
        running.until(lambda: fleet.calls.count("ActivateNode") == 2)
    joined = [call for call in fleet.calls if call in {"ActivateNode", "DeactivateNode"}]
    assert joined == ["ActivateNode", "DeactivateNode", "ActivateNode"]


def test_a_coordinator_that_was_set_up_anew_has_another_number_for_the_node(tmp_path):
    fleet = Fleet()
    (tmp_path / "node.id").write_text("3")
    (tmp_path / "in-hand").write_bytes(b"of another life")
    with Running(fleet, tmp_path) as running:
        running.until(lambda: Event.LOST in running.events)
        running.until(lambda: (tmp_path / "node.id").read_text() == str(NUMBER))
    assert not (tmp_path / "in-hand").exists()


def test_a_cut_line_keeps_the_message_and_a_gone_one_is_dropped(tmp_path):
    fleet = Fleet()
    fleet.put(b"abc")
    fleet.fail["PushObject"] = [httpx.ReadError("cut"), httpx.ReadError("cut")]
    with Running(fleet, tmp_path) as running:
        running.until(lambda: fleet.replies and not running.node._in_hand.exists())
        assert fleet.frames()[-1] == b"cba"
        assert Event.LOST not in running.events
        fleet.put(b"expired")
        fleet.objects.clear()
        running.until(lambda: Event.LOST in running.events and not running.node._in_hand.exists())
        fleet.fail["PushMessages"] = [refused(403)]  # the run is over
        fleet.put(b"late")
        running.until(lambda: running.events.count(Event.LOST) == 2 and not running.node._in_hand.exists())
        fleet.put(b"next")
        running.until(lambda: fleet.frames()[-1] == b"txen")


def test_a_message_that_fails_again_and_again_is_given_up(tmp_path):
    fleet = Fleet()
    fleet.put(b"abc")
    fleet.fail["PushMessages"] = [refused(500) for _ in range(node_module._TRIES)]
    with Running(fleet, tmp_path) as running:
        running.until(lambda: Event.LOST in running.events and not running.node._in_hand.exists())
        fleet.put(b"xyz")
        running.until(lambda: fleet.replies)
    assert fleet.calls.count("PushMessages") == node_module._TRIES + 1


def test_a_full_disk_stops_nothing(tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(node_module, "_keep", full)
    monkeypatch.setattr(node_module, "write_whole", full)
    (tmp_path / "node.id").write_text("not a number")
    fleet = Fleet()
    fleet.put(b"abc")
    with Running(fleet, tmp_path) as running:
        running.until(lambda: fleet.frames() == [b"cba"])


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), Trouble.UNREACHABLE),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), Trouble.CERTIFICATE),
        (refused(401), Trouble.NOT_KNOWN),
        (refused(412), Trouble.NOT_ADMITTED),
        (refused(404), Trouble.FAILING),
        (ValueError("Invalid protobuf response payload"), Trouble.FAILING),
    ],
)
def test_why_there_is_no_connection_is_said_once(error, trouble, tmp_path):
    fleet = Fleet()
    fleet.fail["ActivateNode"] = [error] * 3
    with Running(fleet, tmp_path) as running:
        running.until(lambda: Event.CONNECTED in running.events)
    assert [(one.event, one.reason) for one in running.told] == [
        (Event.DISCONNECTED, trouble),
        (Event.CONNECTED, None),
    ]


def test_it_leaves_without_a_word_while_it_has_a_message_in_hand(tmp_path):
    fleet = Fleet()
    (tmp_path / "in-hand").write_bytes(b"")
    node = Node(fleet, KEY, tmp_path, lambda _told: None)
    node._join()
    node.leave()
    assert "DeactivateNode" not in fleet.calls


def test_looks_become_rarer_up_to_one_a_second_and_those_that_waited_follow_at_once():
    now, count = 0.0, 0
    while now < 30.0:
        now, count = now + pause_s(now, 0.0), count + 1
    assert count < 60
    assert pause_s(3600.0, 0.0) == 1.0
    assert pause_s(0.0, 0.0) == pause_s(3600.0, 1.0) == 0.04
