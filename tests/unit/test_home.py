"""A site's home: made once, read strictly, and every wrong line of site.toml said with file, key and cure."""

import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import site_made

from silosynth.client import new_home
from silosynth.client.home import Address, SiteHome, read_address, read_site, write_whole
from silosynth.client.officer import is_encrypted, officer_key
from silosynth.client.policy import Policy, read_policy
from silosynth.client.where import FileSource, SqlSource
from silosynth.common.errors import InvalidInput
from silosynth.common.site_request import SiteRequest, read_request, write_request

SITE = """
format = 1
name = "ward-7"
capacity = 1000
[coordinator]
address = "coordinator.test:8443"
[data]
path = "rows.csv"
"""
SQL = SITE.replace('[data]\npath = "rows.csv"', '[data.sql]\nurl_file = "database.url"\nquery_file = "rows.sql"')


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "site.toml").write_text(text)
        return tmp_path / "site.toml"

    return write


def test_what_a_file_says(file, tmp_path):
    config = read_site(file(SITE))
    assert (config.name, config.capacity, config.address) == ("ward-7", 1000, Address("coordinator.test", 8443))
    assert config.source == FileSource(tmp_path / "rows.csv")
    source = read_site(file(SQL)).source
    assert source == SqlSource(tmp_path / "rows.sql", tmp_path / "database.url")


WRONG = [
    ("capacity = 1000", "capacity = 0", ["capacity", "whole number"]),
    ("capacity = 1000", "", ["capacity", "missing"]),
    ("capacity", "capasity", ["capacity", "missing"]),
    ("capacity = 1000", "capacity = 1000\nowner = 3", ["owner", "not known"]),
    ('"ward-7"', '"ward 7"', ["name", "letters"]),
    ('"ward-7"', '"../ward"', ["name", "letters"]),
    ('"coordinator.test:8443"', '"coordinator.test"', ["[coordinator]", "address", "HOST:PORT"]),
    ('"coordinator.test:8443"', '"https://coordinator.test:8443"', ["address", "HOST:PORT"]),
    ('"coordinator.test:8443"', '"coordinator.test:84430"', ["address", "HOST:PORT"]),
    ("address", "adress", ["address", "missing"]),
    ('path = "rows.csv"', "", ["[data]", "path"]),
    ('path = "rows.csv"', 'path = "rows.csv"\nuser = "x"', ["[data]", "user", "not known"]),
    ("format = 1", "format = 2", ["format", "1"]),
    ("[data]", "[data", ["TOML", "line 7"]),
]


@pytest.mark.parametrize(("right", "wrong", "words"), WRONG)
def test_what_is_wrong_is_said(file, right, wrong, words):
    assert right in SITE
    path = file(SITE.replace(right, wrong))
    with pytest.raises(InvalidInput) as caught:
        read_site(path)
    for word in (str(path), *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_home_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(InvalidInput, match="silosynth site init"):
        read_site(tmp_path / "site.toml")
    (tmp_path / "site.toml").mkdir()
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_site(tmp_path / "site.toml")


@pytest.mark.parametrize("text", ["a.test:1", "10.0.0.1:65535", "[::1]:8443", "localhost:80"])
def test_addresses_read_back(text):
    assert str(read_address(text)) == text


def test_a_new_home(tmp_path):
    home, request = site_made.made(tmp_path / "new" / "site", name="ward-7", capacity=500)
    config = read_site(home.config)
    assert (config.name, config.capacity, str(config.address)) == ("ward-7", 500, "coordinator.test:8443")
    assert config.source == FileSource(home.path / "rows.csv")
    assert read_request(home.request.read_text(), "r") == request
    assert request.agent != request.officer
    assert home.node_pub.read_text() == request.node + "\n"
    for secret in (home.officer_key, home.agent_key, home.node_key):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    for folder in (home.agent, home.relay, home.log):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(home.path.rglob("*.part"))


def test_a_new_policy_allows_nothing(tmp_path):
    home, _ = site_made.made(tmp_path)
    assert read_policy(home.policy.read_text(), "p") == Policy()


def test_what_the_policys_comments_say_is_a_policy():
    said = new_home.POLICY.replace("# [", "[").replace("# epsilon", "epsilon").replace("# delta", "delta")
    assert read_policy(said, "p").lifetime_caps.local.epsilon == 12.0


@pytest.mark.parametrize("path", ["config", "policy", "request", "officer_key", "agent_key", "node_key", "ledger"])
def test_nothing_is_overwritten(tmp_path, path):
    there = getattr(SiteHome(tmp_path), path)
    there.parent.mkdir(exist_ok=True)
    there.write_text("mine")
    with pytest.raises(InvalidInput, match="nothing is overwritten"):
        site_made.made(tmp_path)
    assert there.read_text() == "mine"
    assert sum(found.is_file() for found in tmp_path.rglob("*")) == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be written"):
        site_made.made(tmp_path / "file" / "site")


def test_sources_are_kept_as_paths_from_the_file(tmp_path):
    for source in (
        FileSource(Path("/data/rows.parquet")),
        SqlSource(tmp_path / "rows.sql", url_env="URL"),
        SqlSource(tmp_path / "sub" / "rows.sql", url_file=Path("/run/secrets/url")),
    ):
        (tmp_path / "site.toml").write_text(new_home.site_text(read_site_of(tmp_path, source), tmp_path))
        assert read_site(tmp_path / "site.toml").source == source


def read_site_of(tmp_path, source):
    from silosynth.client.home import SiteConfig  # noqa: PLC0415

    return SiteConfig("ward-7", 10, Address("::1", 8443), source)


def test_flower_and_openssh_read_the_node_key(tmp_path):
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key  # noqa: PLC0415

    home, request = site_made.made(tmp_path)
    private = load_ssh_private_key(home.node_key.read_bytes(), None)
    public = load_ssh_public_key(request.node.encode())
    assert private.public_key().public_numbers() == public.public_numbers()
    assert public.curve.name == "secp384r1"


def test_a_passphrase_locks_the_officers_key(tmp_path):
    home, request = site_made.made(tmp_path, passphrase=b"correct horse")
    assert is_encrypted(home.officer_key)
    key = officer_key(home.officer_key, b"correct horse")
    assert key.public_key().public_bytes_raw().hex() == request.officer
    for wrong in (None, b"", b"other"):
        with pytest.raises(InvalidInput, match="passphrase"):
            officer_key(home.officer_key, wrong)


def test_an_officers_key_that_is_none(tmp_path):
    home, _ = site_made.made(tmp_path)
    with pytest.raises(InvalidInput, match="--officer-key"):
        officer_key(tmp_path / "nowhere", None)
    home.officer_key.chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        officer_key(home.officer_key, None)
    with pytest.raises(InvalidInput, match="no key"):
        officer_key(home.node_key, None)  # of another kind and form
    (tmp_path / "empty").touch(0o600)
    with pytest.raises(InvalidInput, match="no key"):
        officer_key(tmp_path / "empty", None)


def test_a_request_again_keeps_the_keys(tmp_path):
    home, before = site_made.made(tmp_path)
    home.config.write_text(home.config.read_text().replace("capacity = 1024", "capacity = 2048"))
    assert new_home.refresh_request(home) == replace(before, capacity=2048)
    assert read_request(home.request.read_text(), "r").capacity == 2048


def test_every_part_of_a_request_has_a_fingerprint(tmp_path):
    _, request = site_made.made(tmp_path / "one")
    _, other = site_made.made(tmp_path / "two")
    changes = [{"name": "b"}, {"capacity": 5}, {"agent": other.agent}, {"officer": other.officer}, {"node": other.node}]
    assert len({request.fingerprint} | {replace(request, **change).fingerprint for change in changes}) == 6


@pytest.mark.parametrize(
    ("right", "wrong"),
    [('"format": 1', '"format": 2'), ('"a"', '"../a"'), ("1024", "0"), ("1024", '"1024"'), ("ecdsa", "rsa"),
     ('"agent"', '"agents"'), ("{", "["), ('"officer"', '"extra": 1, "officer"')],
)  # fmt: skip
def test_a_request_that_is_none_is_refused(tmp_path, right, wrong):
    _, request = site_made.made(tmp_path)
    text = write_request(request)
    assert read_request(text, "r.json") == request
    assert right in text
    with pytest.raises(InvalidInput, match=r"r\.json"):
        read_request(text.replace(right, wrong, 1), "r.json")


def test_one_key_for_agent_and_officer_is_refused(tmp_path):
    _, request = site_made.made(tmp_path)
    with pytest.raises(InvalidInput, match="two keys"):
        SiteRequest("a", 1, request.agent, request.agent, request.node)


def test_files_are_written_whole(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"first")
    (tmp_path / ".file.part").write_text("left by a crash")
    write_whole(path, b"second", 0o644)
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_home_is_read_without_what_reads_rows():
    """The relay reads site.toml, and may not import a table library, torch or Flower by doing so."""
    line = "import sys, silosynth.client.home; sys.exit(bool({'pandas', 'numpy', 'torch', 'flwr'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", line], check=False).returncode == 0
