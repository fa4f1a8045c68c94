"""A coordinator's service: rounds go through it, and from a site's place nothing else does."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from coordinator_running import CLI, Running
from flwr.proto.control_pb2 import ListRunsRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import Message as MessageHead
from flwr.proto.message_pb2 import Metadata
from flwr.proto.node_pb2 import Node as NodeNumber
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES

from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.server.ca import new_authority
from silosynth.server.listeners import MOST_BYTES
from silosynth.server.superlink import Unreachable

NAMES = ("a", "b", "c")
SIZE = 30_000
FLEET = {
    "activate-node", "deactivate-node", "send-node-heartbeat", "get-run", "get-fab", "pull-messages", "push-messages",
    "pull-object", "push-object", "confirm-message-received",
}  # fmt: skip


class Answering:
    """A site that answers with what it says it is called, and remembers."""

    def __init__(self, name, value):
        self.name, self.value, self.asked = name, value, []

    def answer_frame(self, frame):
        asked = wire.decode_request(frame)
        self.asked.append(asked)
        about = (asked.study, asked.release, asked.attempt, asked.nonce)
        return wire.encode_reply(wire.Reply(*about, np.full(SIZE, self.value, dtype=np.int64), None, self.name))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A coordinator with three sites enrolled, none of them connected."""
    running = Running(tmp_path_factory.mktemp("service"))
    running.add(*NAMES)
    running.start()
    yield running
    code, said = running.stop()
    assert code == 0
    assert all(json.loads(line)["level"] for line in said.splitlines())
    assert "Traceback" not in said


def request(release=0):
    return wire.Request("ab" * 32, release, 0, bytes(16), Parts("count", ((release,),)))


def requests(names=NAMES, release=0):
    return dict.fromkeys(names, request(release))


def ask(carrier, release=0, names=NAMES):
    heard = carrier.ask(requests(names, release), lambda _count: None)
    return {name: int(reply.vector[0]) for name, reply in heard.items()}


def post(service, path, body=b"", headers=()):
    """What the public door says to a request, sent as it is written here: status, and whether it was read."""
    context = ssl.create_default_context(cafile=service.home.ca)
    with (
        socket.create_connection(("127.0.0.1", service.settings.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as line,
    ):
        head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
        line.sendall("\r\n".join([*head, "", ""]).encode() + body)
        return int(line.makefile("rb").readline().split()[1])


def empty(service, path):
    return post(service, path, headers=["Content-Length: 0"])


def test_rounds_go_through_to_the_nodes_that_were_enrolled_whatever_they_call_themselves(service):
    sites = [Answering(name, at) for at, name in enumerate(NAMES)]
    sites[0].name = "b"  # it claims another's name; nobody asks it
    with (
        service.site("a", sites[0]),
        service.site("b", sites[1]),
        service.site("c", sites[2]),
        service.carrier(NAMES) as carrier,
    ):
        for release in range(3):
            assert ask(carrier, release) == {"a": 0, "b": 1, "c": 2}
        assert {node.status for node in service.control().nodes()} == {"online"}
    for site in sites:
        assert [one.release for one in site.asked] == [0, 1, 2]
    nonces = [one.nonce for site in sites for one in site.asked]
    assert len(set(nonces)) == 9


def test_a_site_that_gives_no_answer_at_first_is_asked_again(service):
    class Waking(Answering):
        def answer_frame(self, frame):
            answer = super().answer_frame(frame)
            if len(self.asked) == 1:
                raise RuntimeError("not yet")
            return b"nonsense" if len(self.asked) == 2 else answer

    late = Waking("c", 2)
    with (
        service.site("a", Answering("a", 0)),
        service.site("b", Answering("b", 1)),
        service.site("c", late),
        service.carrier(NAMES) as carrier,
    ):
        assert ask(carrier) == {"a": 0, "b": 1, "c": 2}
    assert len({one.nonce for one in late.asked}) == 1
    assert len(late.asked) == 3


def test_a_relay_that_is_replaced_is_asked_again_what_the_one_before_lost(service):
    stuck, over = threading.Event(), threading.Event()

    class Stuck(Answering):
        def answer_frame(self, frame):
            stuck.set()
            over.wait(30)
            return super().answer_frame(frame)

    got = {}
    with (
        service.site("a", Answering("a", 0)),
        service.carrier(("a", "b")) as carrier,
        service.site("b", Stuck("b", 7)),
    ):
        thread = threading.Thread(target=lambda: got.update(ask(carrier, names=("a", "b"))))
        thread.start()
        assert stuck.wait(30)
        # The same key from another machine: nothing of the first node's state is there, so it is let in anew.
        key = public_key_to_bytes(service.keys["b"].public_key())
        service.fleet("b").ActivateNode(ActivateNodeRequest(public_key=key, heartbeat_interval=30))
        over.set()
        thread.join(60)
    assert got == {"a": 0, "b": 7}


@pytest.mark.parametrize("path", sorted({path for _, path in PROTOBUF_REQUEST_TYPES} | {"/docs", "/openapi.json", "/"}))
def test_nothing_but_what_a_node_needs_is_behind_the_public_door(service, path):
    status = empty(service, path)
    assert status == (status if path in {f"/v1/fleet/{name}" for name in FLEET} else 404)
    assert status != 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/..%2fcontrol/start-run",
        "/v1/fleet/pull-messages/../../control/list-runs",
        "/v1/fleet/pull-messages/%2E%2E/%2e%2e/control/list-runs",
        "//v1/control/start-run",
        "/v1//control/start-run",
        "/v1/./control/start-run",
        "/v1/%63ontrol/start-run",
        "/v1/control/start-run/",
        "/v1/control/start-run?x=/v1/fleet/pull-messages",
        "/v1/control/start-run;/v1/fleet/pull-messages",
        "/V1/FLEET/../control/start-run",
        "http://127.0.0.1/v1/control/start-run",
        "https://127.0.0.1/v1/fleet/../control/start-run",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/",
        "/v1/fleet/pull-messages/",
        "/v1/fleet//pull-messages",
        "/v1/runtime/acquire-task",
        "/health/../v1/control/list-runs",
    ],
)
def test_no_trick_with_paths_leads_elsewhere(service, path):
    assert empty(service, path) == 404


def test_a_path_that_no_client_writes_is_not_taken(service):
    assert empty(service, "/v1/control/start-run\x00") in {400, 404}


def test_a_body_is_refused_before_it_is_read_where_it_is_too_long_or_has_no_length(service):
    path = "/v1/fleet/pull-messages"
    assert post(service, path, headers=[f"Content-Length: {MOST_BYTES + 1}"]) == 413  # not a byte of it was sent
    assert post(service, path, headers=["Content-Length: " + "9" * 40]) in {400, 413}
    assert post(service, path, b"0\r\n\r\n", ["Transfer-Encoding: chunked"]) == 411


def test_health_is_there_for_everybody(service):
    context = ssl.create_default_context(cafile=service.home.ca)
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(f"https://{service.address}/health").status_code == 200


def test_the_loopback_door_needs_the_secret(service):
    base = f"http://127.0.0.1:{service.settings.loopback_port}"
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{base}/health").status_code == 200
        for path in ("/v1/control/list-runs", "/v1/runtime/acquire-task", "/docs"):
            assert client.post(base + path).status_code == 401
            assert client.post(base + path, headers={"x-silosynth-control": "0" * 64}).status_code == 401


@pytest.mark.parametrize("words", [("run", "{app}", "site"), ("list", "site")])
def test_flowers_own_commands_get_nowhere_from_a_site(service, tmp_path, words):
    app = tmp_path / "app"
    app.mkdir()
    (app / "pyproject.toml").write_text(
        '[project]\nname = "evil"\nversion = "1.0.0"\ndescription = ""\nlicense = "Apache-2.0"\n'
        '[tool.flwr.app]\npublisher = "x"\n'
        '[tool.flwr.app.components]\nserverapp = "evil:app"\nclientapp = "evil:app"\n'
    )
    (app / "evil.py").write_text("from flwr.serverapp import ServerApp\napp = ServerApp()\n")
    (tmp_path / "config.toml").write_text(
        f'[superlink]\ndefault = "site"\n[superlink.site]\naddress = "{service.address}"\n'
        f'root-certificates = "{service.home.ca}"\n'
    )
    home = {"FLWR_HOME": str(tmp_path), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    runs = len(_runs(service))
    program = Path(sys.executable).with_name("flwr")
    done = subprocess.run(
        [program, *(word.format(app=app) for word in words)],
        env=os.environ | home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    assert "404" in done.stdout + done.stderr or "Not Found" in done.stdout + done.stderr
    assert len(_runs(service)) == runs


def _runs(service):
    with closing(service.access.client(ControlHttpClient)) as client:
        return client.ListRuns(ListRunsRequest()).run_dict


def test_only_tls_1_3_is_spoken(service):
    context = ssl.create_default_context(cafile=service.home.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", service.settings.port), 10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_site_with_another_authority_does_not_connect(service):
    other = new_authority("somebody else").certificate
    with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
        service.fleet("a", other).PullMessages(PullMessagesRequest(node=NodeNumber(node_id=7)))


def test_a_key_that_nobody_enrolled_is_not_let_in(service):
    fleet = service.fleet()
    with pytest.raises(httpx.HTTPStatusError, match=r"401|412"):
        fleet.ActivateNode(ActivateNodeRequest(public_key=b"x", heartbeat_interval=30))
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        fleet.PullMessages(PullMessagesRequest(node=NodeNumber(node_id=7)))


def test_a_node_does_not_speak_in_the_name_of_another(service):
    nodes = {node.public_key: node.node_id for node in service.control().nodes()}
    mine, other = (nodes[public_key_to_bytes(service.keys[name].public_key())] for name in "ab")
    forged = MessageHead(metadata=Metadata(run_id=1, src_node_id=other, dst_node_id=1, reply_to_message_id="0" * 64))
    fleet = service.fleet("a")
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        fleet.PushMessages(PushMessagesRequest(node=NodeNumber(node_id=mine), messages_list=[forged]))
    with pytest.raises(httpx.HTTPStatusError, match="401"):  # nor does it pass for it
        fleet.PushMessages(PushMessagesRequest(node=NodeNumber(node_id=other), messages_list=[forged]))


def test_a_site_is_let_in_and_kept_out_while_the_service_runs_and_its_key_for_good(service):
    service.add("new")
    key = public_key_to_bytes(service.keys["new"].public_key())
    control = service.control()
    control.register("new", key)
    control.register("new", key)  # says nothing new
    fleet = service.fleet("new")
    number = fleet.ActivateNode(ActivateNodeRequest(public_key=key, heartbeat_interval=30)).node_id
    assert not fleet.PullMessages(PullMessagesRequest(node=NodeNumber(node_id=number))).messages_list
    control.unregister(key)
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        fleet.PullMessages(PullMessagesRequest(node=NodeNumber(node_id=number)))
    with pytest.raises(Exception, match="was revoked"):
        control.register("new", key)
    (service.home.request("new")).unlink()


def test_a_second_service_in_one_home_and_a_port_that_is_taken_are_refused(service, tmp_path):
    def run(home):
        command = [*CLI, "coordinator", "run", "--home", home]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    again = run(service.home.path)
    assert (again.returncode, "runs here already" in again.stderr) == (2, True)
    other = Running(tmp_path)
    text = other.home.config.read_text()
    other.home.config.write_text(text.replace(f"port = {other.settings.port}", f"port = {service.settings.port}", 1))
    taken = run(other.home.path)
    assert (taken.returncode, "cannot listen at" in taken.stderr) == (2, True)


def test_a_run_goes_on_when_the_service_is_killed_and_started_again(tmp_path):
    running = Running(tmp_path)
    running.add("a", "b")
    running.start()
    try:
        with (
            running.site("a", Answering("a", 0)),
            running.site("b", Answering("b", 1)),
            running.carrier(("a", "b")) as carrier,
        ):
            assert ask(carrier, 0, ("a", "b")) == {"a": 0, "b": 1}
            running.kill()
            restart = threading.Timer(0.5, running.start)
            restart.start()
            began = time.monotonic()
            assert ask(carrier, 1, ("a", "b")) == {"a": 0, "b": 1}
            assert time.monotonic() - began < 55
            restart.join()
    finally:
        running.stop()


def test_a_coordinator_that_is_down_is_said_to_be(tmp_path):
    running = Running(tmp_path)
    with pytest.raises(Unreachable, match="silosynth coordinator run"), running.lines:
        running.control().nodes()
