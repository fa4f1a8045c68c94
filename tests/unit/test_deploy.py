"""deploy/: what is promised of containers, of the image's recipe, of its locked requirements, and of files' owners.

Where a tool is not installed, its own check is skipped, with a reason; what is promised is checked here all the same.
"""

import copy
import fcntl
import functools
import json
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import typer
import yaml
from deploy_made import DEPLOY, ROOT, ran, tool
from packaging.requirements import Requirement

from silosynth.client.home import read_site
from silosynth.client.policy import read_policy
from silosynth.server.studies import State
from silosynth.simulations.cli import app

COMPOSE = [DEPLOY / name for name in ("compose.yaml", "site.compose.yaml", "coordinator.compose.yaml")]
SCRIPTS = sorted(DEPLOY.glob("*.sh"))


# --- compose


def role(name):
    return name.rsplit("-", 1)[-1]


def mounts(service):
    """Container's path: (host's path, whether read-only)."""
    rows = [
        volume.rsplit(":", 2) if volume.endswith(":ro") else [*volume.rsplit(":", 1), "rw"]
        for volume in service["volumes"]
    ]
    return {inside: (outside, mode == "ro") for outside, inside, mode in rows}


def check_service(name, service):
    """What every service keeps, and what its role adds."""
    assert service["read_only"] is True
    assert service.get("cap_drop") == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True  # a Python program as the first process would not hear SIGTERM by default
    assert service["ulimits"]["core"] == 0
    assert service["pids_limit"] <= 512
    assert service["mem_limit"]
    assert service["healthcheck"]["test"][:3] == ["CMD", "python3", "-I"]
    assert service["user"] == {"agent": "10001", "relay": "10002", "coordinator": "10003"}[role(name)] + ":10000"
    inside = mounts(service)
    assert not [path for path, _ in inside.values() if path.endswith(".sock")]  # an engine's, for instance
    if role(name) == "agent":
        assert service["network_mode"] == "none"
        assert not service.keys() & {"networks", "ports", "extra_hosts", "dns"}
        assert {path for path, (_, fixed) in inside.items() if not fixed} == {"/site/agent", "/site/log", "/site/run"}
        assert {path for path, (_, fixed) in inside.items() if fixed} == {"/site", "/rows"}
    elif role(name) == "relay":
        assert len(service["networks"]) == 1
        assert "ports" not in service
        assert set(inside) == {"/site/site.toml", "/site/relay", "/site/log", "/site/run"}
    else:
        assert set(inside) == {"/coordinator"}


def services(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["services"]


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_every_service_has_only_what_its_role_needs(path):
    for name, service in services(path).items():
        check_service(name, service)


SPOILT = {
    "a root that can be written": ("agent", lambda service: service.update(read_only=False)),
    "a capability": ("relay", lambda service: service.update(cap_add=["NET_RAW"])),
    "capabilities kept": ("relay", lambda service: service.pop("cap_drop")),
    "root": ("agent", lambda service: service.update(user="0:0")),
    "an agent with a network": ("agent", lambda service: service.update(network_mode="bridge")),
    "an agent with a port": ("agent", lambda service: service.update(ports=["80:80"])),
    "approvals that the agent may write": (
        "agent",
        lambda service: service.update(volumes=[volume.replace("/site:ro", "/site") for volume in service["volumes"]]),
    ),
    "rows at the relay": ("relay", lambda service: service["volumes"].append("/srv/rows:/rows:ro")),
    "the agent's keys at the relay": ("relay", lambda service: service["volumes"].append("/srv/site:/site")),
    "the engine's socket": ("relay", lambda service: service["volumes"].append("/run/docker.sock:/site/log")),
    "a second way out": ("relay", lambda service: service["networks"].append("other")),
    "new privileges": ("relay", lambda service: service.update(security_opt=[])),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_service_is_noticed(what):
    name, spoil = SPOILT[what]
    service = copy.deepcopy(services(DEPLOY / "site.compose.yaml")[name])
    check_service(name, service)
    spoil(service)
    with pytest.raises(AssertionError):
        check_service(name, service)


def test_in_the_demo_a_site_shares_its_network_with_the_coordinator_only():
    demo = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    on = {name: set(service.get("networks", ())) for name, service in demo["services"].items()}
    for name, network in demo["networks"].items():
        assert network["internal"] is True
        assert {service for service, networks in on.items() if name in networks} == {"coordinator", f"{name}-relay"}
        (there,) = demo["services"][f"{name}-relay"]["extra_hosts"]
        assert there == f"coordinator:{demo['services']['coordinator']['networks'][name]['ipv4_address']}"
    assert len(demo["networks"]) == 3


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files_keep_the_specification(path):
    ran(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path)


# --- the image


def stages():
    """Of each stage of the Containerfile its instructions, as (word, rest)."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text(encoding="utf-8"))
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = {}
    for word, rest in lines:
        if word == "FROM":
            found[rest.split(" AS ")[1]] = current = []
        if word != "ARG":
            current.append((word, rest))
    return found


def test_the_image_is_made_without_network_and_does_not_run_as_root():
    found, text = stages(), (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert set(found) == {"build", "runtime", "coordinator", "client"}
    assert not re.search(r"^(# *syntax=|ADD )|curl |wget |apt|:latest|HEALTHCHECK", text, re.MULTILINE)
    (install,) = [rest for word, rest in found["build"] if word == "RUN" and "requirements.txt" in rest]
    assert "--require-hashes" in install
    assert ("ENV", "PIP_NO_INDEX=1") in [(word, rest.split()[-1]) for word, rest in found["build"]]
    for target in ("client", "coordinator"):
        last = dict(found[target])
        assert re.fullmatch(r"1000[1-9]:10000", last["USER"])
        assert json.loads(last["ENTRYPOINT"]) == ["silosynth", {"client": "site"}.get(target, target)]
    copied = {rest.split()[0] for word, rest in found["build"] if word == "COPY"}
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    assert set(folders.values()) <= copied
    seen = (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    given = [one for word, rest in found["build"] if word == "COPY" for one in rest.split()[:-1]]
    assert [one for one in given if not any(fnmatch(one, kept[1:]) for kept in seen if kept.startswith("!"))] == []


def test_hadolint_has_nothing_to_say():
    ran(tool("hadolint"), DEPLOY / "Containerfile")


@functools.cache
def locked():
    text = (DEPLOY / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return {
        Requirement(line.split(" --hash")[0]).name: (
            Requirement(line.split(" --hash")[0]),
            line.count("--hash=sha256:"),
        )
        for line in text.splitlines()
        if line.strip()
    }


def test_requirements_are_locked_by_hash_and_are_what_the_project_asks_for():
    for name, (requirement, hashes) in locked().items():
        assert [one.operator for one in requirement.specifier] == ["=="], name
        assert hashes, name
        assert requirement.url is None
        assert not name.startswith("nvidia")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + extras["sql"] + extras["coordinator"]
    for one in map(Requirement, asked):
        (version,) = locked()[one.name.lower()][0].specifier
        assert one.specifier.contains(version.version), one
    assert str(locked()["torch"][0]).endswith("+cpu")  # CUDA would weigh gigabytes


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_have_the_shell_checker_say_nothing(path):
    assert os.access(path, os.X_OK)
    ran(tool("shellcheck"), path)


# --- health, owners


def alive(where):
    done = subprocess.run([sys.executable, "-I", DEPLOY / "alive.py", str(where)], check=False, timeout=30)
    return done.returncode == 0


def test_a_socket_is_alive_while_somebody_listens(tmp_path):
    path = tmp_path / "agent.sock"
    assert not alive(path)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))
        end.listen()
        assert alive(path)
    assert not alive(path)


def test_a_lock_is_alive_while_it_is_held_and_looking_does_not_take_it(tmp_path):
    path = tmp_path / "relay.lock"
    with path.open("w") as file:
        assert not alive(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert alive(path)
    assert not alive(path)


def test_no_server_is_not_alive():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        assert not alive(f"https://127.0.0.1:{taken.getsockname()[1]}/health")


def gives_files_away():
    """Whether this process is root of a machine, not of a namespace that knows no user but itself."""
    known = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return os.geteuid() == 0 and any(int(first) <= 10_002 < int(first) + int(count) for first, _, count in known)


@pytest.mark.skipif(not gives_files_away(), reason="gives files to other users: needs root, and those users")
def test_own_gives_each_part_of_a_home_to_its_user(tmp_path):
    home = tmp_path / "home"
    for name in ("agent/agent.key", "relay/node.key", "studies/s.toml", "officer.key", "site.toml", "policy.toml"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch(mode=0o600)
    ran(DEPLOY / "own.sh", home)

    def seen(name):
        found = (home / name).stat()
        return found.st_uid, found.st_gid, oct(stat.S_IMODE(found.st_mode))

    assert seen(".") == (0, 10000, "0o750")
    assert seen("agent") == (10001, 0, "0o700")
    assert seen("agent/agent.key") == (10001, 0, "0o600")
    assert seen("relay/node.key") == (10002, 0, "0o600")
    assert seen("officer.key") == (0, 0, "0o600")
    assert seen("studies/s.toml") == (0, 10000, "0o640")
    assert seen("policy.toml") == (0, 10000, "0o640")
    assert seen("run") == (10001, 10000, "0o2750")  # sockets made in it are the group's
    assert seen("log") == (0, 10000, "0o1770")
    before = seen("agent/agent.key")
    ran(DEPLOY / "own.sh", home)
    assert seen("agent/agent.key") == before


# --- examples, proxies, texts


@pytest.mark.parametrize("kind", ["csv", "parquet", "postgresql"])
def test_examples_of_sites_are_read(kind):
    assert read_site(DEPLOY / "examples" / f"site.{kind}.toml").capacity == 50_000


def test_the_example_of_a_policy_is_read():
    assert read_policy((DEPLOY / "policy.example.toml").read_text(encoding="utf-8"), "it").studies == frozenset()


def test_proxies_let_two_paths_through():
    nginx = (DEPLOY / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    assert re.findall(r"location (.*?)\s*\{ (\w+)", nginx) == [
        ("= /health", "proxy_pass"),
        ("/v1/fleet/", "proxy_pass"),
        ("/", "return"),
    ]
    caddy = (DEPLOY / "proxy" / "Caddyfile").read_text(encoding="utf-8")
    assert re.findall(r"@sites path (.*)", caddy) == ["/health /v1/fleet/*"]
    assert caddy.index("handle @sites") < caddy.index("respond 404")


TEXTS = [
    path for path in DEPLOY.rglob("*") if path.is_file() and "wheels" not in path.parts and "lab" not in path.parts
]


def test_no_registry_and_no_index_is_named():
    """By shape: no image's name begins with a host, and no package says where it comes from."""
    for path in TEXTS:
        if path.suffix != ".pyc":
            names = re.findall(r"^\s*(?:FROM |image: *|ARG BASE=)([\w./:-]+)", path.read_text("utf-8"), re.MULTILINE)
            assert not [name for name in names if "/" in name and re.search(r"[.:]", name.split("/")[0])], path
    lock = (DEPLOY / "requirements.txt").read_text(encoding="utf-8")
    assert "://" not in lock
    assert not [line for line in lock.splitlines() if line.startswith("-")]


def spoken():
    """Each command of this software in the runbook's blocks of commands, as words."""
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            for at, word in enumerate(words):
                if word == "silosynth" and at == 0:
                    yield words[1:]
                elif word.endswith("site.sh"):
                    yield ["site", *words[at + 2 :]]
                elif words[at - 2 : at] == ["--", "silosynth"]:
                    yield words[at:]
                elif word == "coordinator" and at == 0:
                    yield words


def test_what_the_runbook_says_to_type_exists():
    said = list(spoken())
    assert len(said) > 15
    for words in said:
        command, rest = typer.main.get_command(app), list(words)
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        options = {option for one in command.params for option in one.opts}
        assert {word for word in rest if word.startswith("--")} <= options, words
    assert {("site", "approve"), ("site", "ledger"), ("coordinator", "revoke")} <= {tuple(words[:2]) for words in said}


@pytest.mark.parametrize(
    "path", [*COMPOSE, *(DEPLOY / "systemd").glob("silosynth-[arc]*.service")], ids=lambda one: one.name
)
def test_what_is_started_exists(path):
    if path.suffix == ".service":
        (start,) = re.findall(r"^ExecStart=\S+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        started = [start.split()]
    else:
        group = {"coordinator": "coordinator"}
        started = [[group.get(role(name), "site"), *one["command"]] for name, one in services(path).items()]
    for words in started:
        command = typer.main.get_command(app).commands[words[0]].commands[words[1]]
        with command.make_context("it", words[2:], resilient_parsing=False) as context:
            assert context.params["only"] in {"agent", "relay"} if words[0] == "site" else "home" in context.params


def test_alerts_ask_for_figures_and_states_that_there_are():
    rules = yaml.safe_load((DEPLOY / "prometheus.rules.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    served = (ROOT / "server" / "metrics.py").read_text(encoding="utf-8")
    for rule in rules:
        for figure in re.findall(r"silosynth_\w+", rule["expr"]):
            assert f'"{figure}"' in served
        for states in re.findall(r'state=~?"([\w|]+)"', rule["expr"]):
            assert set(states.split("|")) <= set(State)
