"""A site in containers of the lab: they are made of what the compose file says, all of it, and looked at truly."""

import itertools
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lab.contained import Contained, filled_in, options
from lab.hardened import Held, held
from lab.hosts import Host

COMPOSE = (Path(__file__).parents[2] / "deploy" / "site.compose.yaml").read_text(encoding="utf-8")
GIVEN = {"SILOSYNTH_CLIENT": "an-image", "SITE": "/srv/site", "ROWS": "/srv/rows"}


def service(part, **given):
    return yaml.safe_load(filled_in(COMPOSE, GIVEN | given))["services"][part]


def pairs(words):
    """Options as (option, value), where they have one."""
    return set(itertools.pairwise(words))


@pytest.mark.parametrize(("part", "user", "memory"), [("agent", "10001:10000", "4g"), ("relay", "10002:10000", "1g")])
def test_a_container_is_hardened_as_the_compose_file_says(part, user, memory):
    words = options(service(part))
    assert words[-4:] == ["an-image", "run", "--only", part]
    assert {"--init", "--read-only"} <= set(words)
    assert {
        ("--user", user),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges:true"),
        ("--pids-limit", "256"),
        ("--memory", memory),
        ("--memory-swap", memory),
        ("--ulimit", "core=0"),
        ("--volume", "/srv/site/run:/site/run"),
    } <= pairs(words)
    read_only = {value for option, value in pairs(words) if option == "--volume" and value.endswith(":ro")}
    assert (
        read_only
        == {
            "agent": {"/srv/site:/site:ro", "/srv/rows:/rows:ro"},
            "relay": {"/srv/site/site.toml:/site/site.toml:ro"},
        }[part]
    )
    assert not {"--network", "--privileged", "--cap-add"} & set(words)


@pytest.mark.parametrize("key", ["cap_add", "privileged", "userns_mode", "devices", "read_onyl"])
def test_a_key_that_is_not_understood_is_an_error(key):
    with pytest.raises(ValueError, match=key):
        options(service("agent") | {key: ["x"]})


def test_variables_have_the_values_given_or_the_files_own_or_are_missed():
    assert service("agent", AGENT_MEMORY="8g")["mem_limit"] == "8g"
    assert service("agent")["mem_limit"] == "4g"
    with pytest.raises(ValueError, match=re.escape("SITE has no value: the site's home")):
        filled_in(COMPOSE, {"ROWS": "/srv/rows"})


def test_a_file_is_given_into_the_home_and_rows_stay_where_they_are(tmp_path):
    rows, home = tmp_path / "rows", tmp_path / "home"
    for path in (rows, home):
        path.mkdir()
    (tmp_path / "study.toml").write_text("x")
    box = Contained(Host("north", "", "silolab-1-north"), home, rows, "an-image")
    assert box.given(rows / "north.csv") == Path("/rows/north.csv")
    assert box.given(tmp_path / "study.toml") == Path("/site/study.toml")
    assert (home / "study.toml").read_text() == "x"


def test_a_process_without_a_container_is_not_held():
    seen = held(os.getpid())
    assert seen.user == os.geteuid()
    assert "lo" in seen.interfaces
    assert not seen.by("agent")
    assert not seen.by("relay")


@pytest.mark.parametrize(
    "spoilt",
    [
        {"user": 0},
        {"capabilities": 1},
        {"no_new_privileges": False},
        {"filtered": False},
        {"root_read_only": False},
        {"core_dumps": True},
        {"interfaces": frozenset({"lo", "wan0"})},
        {"memory": None},
        {"memory": (4 << 30) + 1},
        {"processes": None},
    ],
)
def test_whatever_is_not_held_is_noticed(spoilt):
    good = Held(10001, 0, True, True, True, False, frozenset({"lo"}), 4 << 30, 256)
    assert good.by("agent")
    assert not good.by("relay")
    assert not replace(good, **spoilt).by("agent")
