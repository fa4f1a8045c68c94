"""A coordinator's home: made whole, readable by its owner, and read strictly."""

import stat
import threading

import pytest
from coordinator_made import coordinator
from cryptography import x509

from silosynth.common.errors import InvalidInput
from silosynth.server.home import CoordinatorHome, Settings, held, read_secret, read_settings, write_settings
from silosynth.server.setup import init, renew


def test_what_is_written_is_read(tmp_path):
    home = CoordinatorHome(tmp_path)
    for settings in (Settings(("a.example",)), Settings(("10.0.0.1", "::1"), 1, "::", 2, 3, 4, 5, 6)):
        home.config.write_text(write_settings(settings))
        assert read_settings(home) == settings


def test_the_address_is_the_first_host(tmp_path):
    assert Settings(("a.example", "b"), 99).address == "a.example:99"
    assert Settings(("::1",), 99).address == "[::1]:99"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "format"),
        ("format = 2\nhosts = ['a']", "format 1 only"),
        ("format = 1", "'hosts' is missing"),
        ("format = 1\nhosts = ['a']\nprt = 4", "'prt'.*did you mean 'port'"),
        ("format = 1\nhosts = ['a']\nport = 70000", "between 0 and 65535"),
        ("format = 1\nhosts = ['a']\n[deadlines]\nround = 4", "'round'"),
        ("format = ", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_said_with_its_place(tmp_path, text, message):
    (tmp_path / "coordinator.toml").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_settings(CoordinatorHome(tmp_path))


def test_where_there_is_no_coordinator_it_says_how_to_make_one(tmp_path):
    with pytest.raises(InvalidInput, match="coordinator init"):
        read_settings(CoordinatorHome(tmp_path))
    with pytest.raises(InvalidInput, match="coordinator init"):
        read_secret(CoordinatorHome(tmp_path))


def test_secrets_are_for_their_owner_alone(tmp_path):
    home, settings, _ = coordinator(tmp_path)
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    for secret in (home.ca_key, home.server_key, home.secret):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(read_secret(home)) == 32
    home.secret.chmod(0o640)
    with pytest.raises(InvalidInput, match="chmod 600"):
        read_secret(home)
    with pytest.raises(InvalidInput, match="already"):
        init(home, settings)


def test_a_start_that_was_cut_short_is_made_again(tmp_path):
    home, settings, _ = coordinator(tmp_path)
    home.config.unlink()
    init(home, settings)
    assert read_settings(home) == settings


def test_a_server_is_renewed_for_other_names_by_the_same_authority(tmp_path):
    home, _, _ = coordinator(tmp_path)
    authority, before = home.ca.read_bytes(), home.server.read_bytes()
    renew(home, Settings(("new.example",)))
    assert home.ca.read_bytes() == authority
    assert home.server.read_bytes() != before
    names = x509.load_pem_x509_certificate(home.server.read_bytes()).extensions
    assert names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [
        "new.example"
    ]
    home.ca_key.unlink()
    with pytest.raises(InvalidInput, match="put it back"):
        renew(home, Settings(("new.example",)))


def test_a_lock_has_one_holder_and_ends_with_it(tmp_path):
    path = tmp_path / "run" / "lock"
    order = []

    def second():
        with held(path, wait=True) as alone:
            order.append(alone)

    with held(path, wait=False) as first:
        with held(path, wait=False) as other:
            assert (first, other) == (True, False)
        thread = threading.Thread(target=second)
        thread.start()
        order.append("first")
    thread.join(5)
    assert order == ["first", True]
