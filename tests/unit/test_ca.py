"""The coordinator's own authority: what it signs is accepted by TLS for its names, and nothing else is."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from silosynth.common.errors import InvalidInput
from silosynth.server.ca import SERVER_DAYS, Pair, ends, fingerprint, new_authority, new_server

HOSTS = ("coordinator.example", "127.0.0.1", "::1")


@pytest.fixture(scope="module")
def authority():
    return new_authority(HOSTS[0])


def greeting(folder, server, authority, name):
    """What a client that trusts `authority` says of a `server` it calls by `name`: a version of TLS, or the error."""
    for file, content in (("key", server.key), ("pem", server.certificate)):
        (folder / file).write_bytes(content)
    inner = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inner.load_cert_chain(folder / "pem", folder / "key")
    here, there = socket.socketpair()

    def serve():
        try:
            inner.wrap_socket(there, server_side=True).close()
        except (ssl.SSLError, OSError):
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with context.wrap_socket(here, server_hostname=name) as line:
            return line.version()
    except ssl.SSLError as error:
        return str(error)
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize("name", HOSTS)
def test_a_server_is_accepted_by_each_of_its_names(tmp_path, authority, name):
    assert greeting(tmp_path, new_server(authority, HOSTS), authority, name) == "TLSv1.3"


def test_another_name_and_another_authority_are_not(tmp_path, authority):
    server = new_server(authority, HOSTS)
    assert "mismatch" in greeting(tmp_path, server, authority, "other.example")
    assert "verify failed" in greeting(tmp_path, server, new_authority(HOSTS[0]), HOSTS[0])


def test_a_server_cannot_sign_and_an_authority_signs_no_authority(authority):
    server = x509.load_pem_x509_certificate(new_server(authority, HOSTS).certificate)
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    own = x509.load_pem_x509_certificate(authority.certificate).extensions
    constraints = own.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_a_certificate_ends(tmp_path, authority):
    path = tmp_path / "server.pem"
    path.write_bytes(new_server(authority, HOSTS).certificate)
    left = ends(path) - datetime.now(UTC)
    assert timedelta(days=SERVER_DAYS - 1) < left <= timedelta(days=SERVER_DAYS)
    path.write_bytes(b"x")
    with pytest.raises(InvalidInput, match="coordinator renew"):
        ends(path)


def test_keys_that_do_not_belong_together_sign_nothing(authority):
    with pytest.raises(InvalidInput, match="does not belong"):
        new_server(Pair(new_authority("x").key, authority.certificate), HOSTS)


@pytest.mark.parametrize("host", ["https://x", "x:8443", "", "a b", "-x.example", "x..y", "x" * 64, "é.example"])
def test_what_is_no_host_is_refused(authority, host):
    with pytest.raises(InvalidInput, match="neither"):
        new_server(authority, (host,))


def test_fingerprints_are_for_people(authority):
    assert len(fingerprint(authority.certificate).split()) == 8
    assert fingerprint(authority.certificate) != fingerprint(new_authority("x").certificate)
