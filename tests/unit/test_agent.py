"""The agent answers what was approved for as long as it is; what it serves; and how it dies."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields
from enum import StrEnum
from pathlib import Path

import grpc
import pytest
import site_running

from silosynth.client import agent as agent_module
from silosynth.client.agent import serve
from silosynth.client.entries import Committed, Planned
from silosynth.client.events import Event, Told
from silosynth.client.ledger import listing
from silosynth.client.link import SERVICE, options, target
from silosynth.client.refusal import Reason
from silosynth.client.relay import AgentProxy
from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.common.errors import InvalidInput

TOLD_NOBODY = "p17 the patient in bed 3"


@pytest.fixture
def made(tmp_path):
    return site_running.sites(tmp_path)


def asked(study, release=0):
    """A request that a site refuses: masked, without a session."""
    return wire.encode_request(wire.Request(study, release, 0, os.urandom(16), Parts("one-ways"), (0, 1, 2)))


def refusal(agent, study):
    return wire.decode_reply(agent.answer_frame(asked(study))).refusal


def test_a_whole_study_and_what_is_told_of_it(made, tmp_path):
    told = []
    agents = [site_running.agent(home, told.append) for home in made.homes.values()]
    assert site_running.learnt(made.study, agents, tmp_path).generator is not None
    releases = made.study.releases
    for home in made.homes.values():
        records = [entry.record for entry in listing(home.ledger)]
        assert sum(isinstance(record, Planned) for record in records) == 1
        assert sum(isinstance(record, Committed) for record in records) == releases
    assert [one.event for one in told].count(Event.ANSWERED) == 3 * releases
    allowed = {"study": {made.study.digest}, "release": set(range(releases)), "attempt": {0}, "reason": set()}
    for one in told:
        for field in fields(Told):
            value = getattr(one, field.name)
            assert value is None or isinstance(value, (int, float, StrEnum)) or value in allowed[field.name]


def test_a_study_without_an_approval_is_refused_and_no_row_is_read(tmp_path, monkeypatch):
    made = site_running.sites(tmp_path, approved=())
    home = made.homes["North"]
    monkeypatch.setattr(agent_module, "open_source", lambda *_: pytest.fail("rows were read"))
    agent = site_running.agent(home)
    assert refusal(agent, made.study.digest) == Reason.UNKNOWN_STUDY
    for number in range(20):  # nor does anything grow with names that somebody makes up
        assert refusal(agent, f"{number:064x}") == Reason.UNKNOWN_STUDY
    assert len(agent._turns) == len(agent._held) == 1
    home.study(made.study.digest).write_text("name = 1")
    assert refusal(agent, made.study.digest) == Reason.INTERNAL


def test_it_waits_for_the_approval_and_ends_with_it(made):
    home, study = made.homes["North"], made.study.digest
    agent = site_running.agent(home)
    assert refusal(agent, study) == Reason.NO_SESSION  # approved, and paid for: only the session is missing
    signed = home.approval(study).read_text()
    home.approval(study).unlink()
    assert refusal(agent, study) == Reason.NOT_APPROVED
    home.approval(study).write_text(signed)
    assert refusal(agent, study) == Reason.NO_SESSION
    home.policy.write_text(home.policy.read_text() + "\n")  # not what the officer signed
    assert refusal(agent, study) == Reason.NOT_APPROVED
    site_running.approve(home, made.study)
    assert refusal(agent, study) == Reason.NO_SESSION
    home.study(study).unlink()
    assert refusal(agent, study) == Reason.UNKNOWN_STUDY
    assert study not in agent._held  # nor are its rows kept


def test_rows_of_many_studies_are_not_all_kept(made, monkeypatch):
    monkeypatch.setattr(agent_module, "_STUDIES", 2)
    agent, home = site_running.agent(made.homes["North"]), made.homes["North"]
    for number in range(5):
        home.study(f"{number:064x}").write_text("name = 1")
        refusal(agent, f"{number:064x}")
        assert len(agent._held) <= 2
    assert refusal(agent, made.study.digest) == Reason.NO_SESSION


def test_a_session_is_refused_alike(tmp_path):
    made = site_running.sites(tmp_path, approved=())
    frame = wire.encode_session_request(wire.SessionRequest(made.study.digest, wire.Phase.OPEN, bytes(16)))
    said = site_running.agent(made.homes["North"]).session_frame(frame)
    assert wire.decode_session_reply(said).refusal == Reason.UNKNOWN_STUDY


def test_what_fails_at_the_site_stays_there(made, monkeypatch, caplog):
    def broken(*_arguments):
        raise ValueError(TOLD_NOBODY)

    told = []
    monkeypatch.setattr(agent_module, "open_source", broken)
    monkeypatch.setattr(agent_module, "_AGAIN_S", 0.0)
    agent = site_running.agent(made.homes["North"], told.append)
    frame = agent.answer_frame(asked(made.study.digest))
    assert wire.decode_reply(frame).refusal == Reason.INTERNAL
    assert TOLD_NOBODY.encode() not in frame
    assert TOLD_NOBODY not in str(told)
    assert TOLD_NOBODY in caplog.text  # which keep_texts sends to a private file
    monkeypatch.undo()
    assert refusal(agent, made.study.digest) == Reason.NO_SESSION  # what has passed is tried again


def test_one_request_of_a_study_at_a_time(made, monkeypatch):
    agent, most, now, lock = site_running.agent(made.homes["North"]), [0], [0], threading.Lock()
    refusal(agent, made.study.digest)
    site = agent._held[made.study.digest].site
    answer = site.answer_frame

    def slow(frame):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return answer(frame)

    monkeypatch.setattr(site, "answer_frame", slow)
    threads = [threading.Thread(target=refusal, args=(agent, made.study.digest)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


@pytest.fixture
def served(made):
    """A home whose agent serves in a thread of this process."""
    home, stop, ready = made.homes["North"], threading.Event(), threading.Event()
    thread = threading.Thread(target=serve, args=(home, lambda told: told.event is Event.READY and ready.set(), stop))
    thread.start()
    assert ready.wait(60)
    yield home
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_bytes_in_bytes_out(served, made, monkeypatch):
    proxy = AgentProxy(served.socket, lambda _told: None, patience_s=0.0)
    try:
        assert proxy.name == "North"
        assert wire.decode_reply(proxy.answer_frame(b"no frame")).refusal == Reason.BAD_TASK
        assert wire.decode_session_reply(proxy.session_frame(b"\xff" * 90)).refusal == Reason.BAD_SESSION
        assert wire.decode_reply(proxy.answer_frame(asked(made.study.digest))).refusal == Reason.NO_SESSION
        monkeypatch.setattr(agent_module.Agent, "_site", lambda *_: 1 / 0)
        assert proxy.answer_frame(asked(made.study.digest)) == b""
        channel = grpc.insecure_channel(target(served.socket), options())
        with channel, pytest.raises(grpc.RpcError) as unknown:
            channel.unary_unary(f"/{SERVICE}/Rows")(b"")
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        proxy.close()
    assert served.socket.stat().st_mode & 0o777 == 0o660


def test_frames_over_the_limit_are_not_taken(served, monkeypatch):
    told = []
    proxy = AgentProxy(served.socket, told.append, patience_s=0.0)
    try:
        monkeypatch.setattr(agent_module.wire, "study_of", lambda _frame: pytest.fail("was read"))
        assert proxy.answer_frame(bytes(wire.LIMITS.frame_bytes + 1)) == b""
    finally:
        proxy.close()
    assert [one.event for one in told] == [Event.NO_ANSWER]


def test_two_agents_of_a_site_never_run_at_once(served):
    with pytest.raises(InvalidInput, match="another agent of this site is running"):
        serve(served, lambda _told: None, threading.Event())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda home: home.policy.write_text("engines = 1"), "engines"),
        (lambda home: home.policy.unlink(), "policy.toml: there is no such file"),
        (lambda home: (home.path / "rows.csv").unlink(), "rows.csv: cannot be read"),
        (lambda home: home.agent_key.unlink(), "agent.key: there is no such file"),
        (lambda home: home.config.write_text("name ="), "site.toml: not TOML"),
    ],
)
def test_what_a_person_must_mend_is_said_at_the_start(made, broken, said):
    broken(made.homes["North"])
    with pytest.raises(InvalidInput, match=said):
        serve(made.homes["North"], lambda _told: None, threading.Event())


def test_a_home_with_too_long_a_path(tmp_path):
    with pytest.raises(InvalidInput, match="move the site's home"):
        target(tmp_path / ("x" * 120) / "agent.sock")


class Process:
    """An agent in a process of its own; `ready` waits until it serves."""

    def __init__(self, home, *before):
        command = [*before, sys.executable, "-m", "silosynth.client.agent", str(home.path), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)

    def ready(self):
        for line in self.process.stdout:
            if '"ready"' in line:
                return self
        raise AssertionError("it ended")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def without_network():
    """What takes the network away from the command that follows, where the system allows it."""
    offline = ("unshare", "-rn")
    allowed = shutil.which("unshare") and subprocess.run([*offline, "true"], capture_output=True, check=False)
    return offline if allowed and allowed.returncode == 0 else ()


def sockets(pid):
    """How many sockets a process has open, and how many of them are of each kind.

    A Unix socket that was accepted belongs to the network namespace of whoever connected, so both lists count.
    """
    links = {str(name.readlink()) for name in Path(f"/proc/{pid}/fd").iterdir()}
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    lists = {
        kind: [f"/proc/{one}/net/{kind}" for one in (pid, "self")] for kind in ("unix", "tcp", "tcp6", "udp", "udp6")
    }
    found = {
        kind: len(inodes & {word for path in paths for word in Path(path).read_text().split()})
        for kind, paths in lists.items()
    }
    return len(inodes), found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/net/unix").exists(), reason="no /proc: what a process has open is not told")
def test_a_process_it_dies_at_any_moment_and_comes_back(made, tmp_path):
    """kill -9 before, between and after answers: the study completes, and the ledger has each release once."""
    home = made.homes["North"]
    others = [site_running.agent(made.homes[name]) for name in ("South", "West")]
    proxy = AgentProxy(home.socket, lambda _told: None)
    with Process(home, *without_network()) as first:
        first.ready()
        assert proxy.name == "North"
        count, kinds = sockets(first.process.pid)
        assert count == kinds["unix"] > 0  # and no other
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    assert home.socket.exists()  # stale
    done = threading.Event()
    lives = []

    def live():
        while not done.is_set():
            with Process(home) as one:
                one.ready()
                lives.append(one)
                done.wait(1.0 if len(lives) < 3 else 120)
                if done.is_set():
                    began = time.monotonic()
                    one.process.terminate()
                    assert one.process.wait(10) == 0
                    lives.append(time.monotonic() - began)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        assert site_running.learnt(made.study, [proxy, *others], tmp_path).generator is not None
    finally:
        done.set()
        thread.join(60)
        proxy.close()
    assert lives[-1] < 2.0  # from SIGTERM to the end
    assert not home.socket.exists()
    records = [entry.record for entry in listing(home.ledger)]
    committed = [(one.release, one.attempt) for one in records if isinstance(one, Committed)]
    assert len(set(committed)) == len(committed)
    assert {release for release, _attempt in committed} == set(range(made.study.releases))
