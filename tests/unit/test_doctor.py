"""The doctor: each thing that can be wrong at a site is a line that says so, with its cure."""

import http.server
import os
import socket
import sqlite3
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address

import pytest
import site_made
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from silosynth.client import approval, coordinator_check, doctor
from silosynth.client.doctor import examine
from silosynth.client.entries import Planned
from silosynth.client.findings import Level
from silosynth.client.home import Address
from silosynth.client.ledger import Ledger
from silosynth.client.officer import officer_key
from silosynth.common.accounting import epsilon
from silosynth.common.privacy import View, mu_squared
from silosynth.common.study_file import write_study
from silosynth.server import ca

NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)


def certificate(name, issuer=None, *, first=None, last=None, address="127.0.0.1", own=False):
    """A key and a certificate, signed by `issuer` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, parent = (key, subject) if issuer is None else (issuer[0], issuer[1].subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(parent)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first or NOW - YEAR)
        .not_valid_after(last or NOW + YEAR)
        .add_extension(x509.BasicConstraints(ca=issuer is None and not own, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return key, builder.sign(signer, hashes.SHA256())


CA = certificate("authority")


@contextmanager
def coordinator(tmp_path, pair, *, at=None):
    """Something that answers HEAD /health over TLS at a port of its own, at the time `at` by its clock."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response_only(200)
            self.send_header("Date", format_datetime(at or datetime.now(UTC), usegmt=True))
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(http.server.HTTPServer):
        def handle_error(self, *_):
            pass

    key, own = pair
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + own.public_bytes(Encoding.PEM)
    (tmp_path / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Address("127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def shake(tmp_path, pair, *, at=None, ca=CA[1]):
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    with coordinator(tmp_path, pair, at=at) as address:
        return list(coordinator_check.handshake(address, tmp_path / "ca.pem", datetime.now(UTC)))


def test_a_coordinator_that_is_well(tmp_path):
    found = shake(tmp_path, certificate("coordinator", CA))
    assert [finding.level for finding in found] == [Level.OK] * 3
    assert [finding.what for finding in found][1:] == ["its certificate", "clock"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"first": NOW - 2 * YEAR, "last": NOW - timedelta(days=1)}, "expired"),
        ({"first": NOW + timedelta(days=1)}, "not valid yet"),
        ({"address": "127.0.0.9"}, "another address"),
        ({"issuer": certificate("authority")}, "another authority"),
        ({"issuer": None, "own": True}, "signed by itself"),
    ],
)
def test_certificates_that_are_refused(tmp_path, made, said):
    pair = certificate("coordinator", **{"issuer": CA} | made)
    (finding,) = shake(tmp_path, pair)
    assert finding.level is Level.FAIL
    assert said in finding.said
    assert finding.cure
    assert "\n" not in str(finding)


def test_a_certificate_that_ends_soon(tmp_path):
    found = shake(tmp_path, certificate("coordinator", CA, last=NOW + timedelta(days=3)))
    assert [finding.level for finding in found] == [Level.OK, Level.WARN, Level.OK]


@pytest.mark.parametrize(("off_s", "level"), [(-5, Level.OK), (60, Level.WARN), (-60, Level.WARN), (400, Level.FAIL)])
def test_clocks_are_compared(tmp_path, off_s, level):
    found = shake(tmp_path, certificate("coordinator", CA), at=datetime.now(UTC) + timedelta(seconds=off_s))
    assert (found[-1].what, found[-1].level) == ("clock", level)


def test_nobody_listens(tmp_path):
    (tmp_path / "ca.pem").write_bytes(CA[1].public_bytes(Encoding.PEM))
    with coordinator(tmp_path, certificate("coordinator", CA)) as address:
        pass
    (finding,) = coordinator_check.handshake(address, tmp_path / "ca.pem", NOW)
    assert (finding.level, finding.said) == (Level.FAIL, "nobody listens there")


def test_a_name_that_nobody_knows(tmp_path):
    (tmp_path / "ca.pem").write_bytes(CA[1].public_bytes(Encoding.PEM))
    (finding,) = coordinator_check.handshake(Address("coordinator.invalid", 1), tmp_path / "ca.pem", NOW)
    assert "not known" in finding.said


def test_somebody_who_speaks_no_tls(tmp_path):
    (tmp_path / "ca.pem").write_bytes(CA[1].public_bytes(Encoding.PEM))

    class Plain(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Plain) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        (finding,) = coordinator_check.handshake(Address("127.0.0.1", server.server_port), tmp_path / "ca.pem", NOW)
        thread.join()
    assert (finding.level, "no TLS" in finding.said) == (Level.FAIL, True)


@contextmanager
def proxy():
    """A proxy that serves one CONNECT, and the lines that it was asked."""
    asked = []

    def serve(listener):
        link, _ = listener.accept()
        with link:
            asked.append(link.recv(1000).decode().splitlines()[0])
            host, port = asked[0].split()[1].split(":")
            with socket.create_connection((host, int(port))) as there:
                link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pump, args=(there, link))
                back.start()
                pump(link, there)
                back.join()

    def pump(source, sink):
        with suppress(OSError):
            while block := source.recv(1 << 16):
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join()


@pytest.mark.parametrize("form", ["http://127.0.0.1:{port}", "127.0.0.1:{port}"])
def test_a_coordinator_behind_the_proxy_that_flower_would_use(tmp_path, monkeypatch, form):
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with proxy() as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", form.format(port=port))
        found = shake(tmp_path, certificate("coordinator", CA))
    assert [finding.level for finding in found] == [Level.OK] * 3
    assert asked[0].startswith("CONNECT 127.0.0.1:")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path):
    made, _ = site_made.made(tmp_path / "site", passphrase=b"secret")
    made.policy.write_text(site_made.ALLOWS)
    (made.path / "rows.csv").write_text("sex,age\nf,1\n")
    made.ca.write_bytes(CA[1].public_bytes(Encoding.PEM))
    return made


def look(home):
    return list(examine(home, datetime.now(UTC), network=False))


def test_a_site_that_is_well(home):
    assert {finding.level for finding in look(home)} == {Level.OK}


def bad(home, what):
    """The findings about one thing that are not well; there are no others."""
    found = [finding for finding in look(home) if finding.level is not Level.OK]
    assert {finding.what.split(", fingerprint")[0] for finding in found} == {what}
    assert all("\n" not in str(finding) for finding in found)
    return " ".join(map(str, found))


def broken(home, path, text):
    getattr(home, path).write_text(text)


@pytest.mark.parametrize(
    ("path", "text", "what", "words"),
    [
        ("policy", site_made.ALLOWS.replace("engines", "engine"), "policy.toml", ["fail", "did you mean 'engines'"]),
        ("policy", "engines = [", "policy.toml", ["fail", "not TOML"]),
        ("policy", "", "policy.toml", ["warn", "allows nothing"]),
        ("ca", "no certificate", "ca.pem", ["fail", "no certificate"]),
        ("node_pub", "other", "request.json", ["fail", "node key"]),
        ("request", "{}", "request.json", ["fail", "format"]),
    ],
)
def test_a_file_that_is_wrong(home, path, text, what, words):
    broken(home, path, text)
    said = bad(home, what)
    for word in words:
        assert word in said


def test_a_site_without_its_own_file(home):
    home.config.unlink()
    (finding,) = look(home)
    assert (finding.level, "silosynth site init" in finding.said) == (Level.FAIL, True)


@pytest.mark.parametrize("key", ["agent_key", "node_key", "officer_key"])
def test_keys_that_others_may_read(home, key):
    getattr(home, key).chmod(0o640)
    assert "chmod 600" in bad(home, getattr(home, key).name)


def test_a_key_that_is_gone(home):
    home.agent_key.unlink()
    assert "put the site's own key back" in bad(home, "agent.key")


def test_an_officers_key_may_be_elsewhere_but_not_here_in_the_open(home, tmp_path):
    home.officer_key.unlink()
    assert not [finding for finding in look(home) if finding.level is not Level.OK]
    other, _ = site_made.made(tmp_path / "other")
    home.officer_key.write_bytes(other.officer_key.read_bytes())
    home.officer_key.chmod(0o600)
    assert "passphrase" in bad(home, "officer.key")


def test_rows_that_are_not_there(home):
    (home.path / "rows.csv").unlink()
    assert "no such file" in bad(home, "rows")


def test_rows_that_cannot_be_read(home, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    assert "cannot be read" in bad(home, "rows")


def test_a_database_url_that_is_not_set(home, monkeypatch):
    text = home.config.read_text().replace('[data]\npath = "rows.csv"', '[data.sql]\nurl_env = "U"\nquery_file = "q"')
    home.config.write_text(text)
    (home.path / "q").write_text("SELECT 1")
    monkeypatch.delenv("U", raising=False)
    assert "variable U" in bad(home, "rows")
    monkeypatch.setenv("U", "sqlite://")
    assert {finding.level for finding in look(home)} == {Level.OK}


def test_a_capacity_that_was_not_enrolled(home):
    home.config.write_text(home.config.read_text().replace("1024", "2048"))
    assert "silosynth site request" in bad(home, "request.json")


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [(-2 * YEAR, -YEAR, ["fail", "expired"]), (YEAR, 2 * YEAR, ["fail", "not valid yet"]),
     (-YEAR, timedelta(days=9), ["warn", "ends soon"])],
)  # fmt: skip
def test_the_dates_of_an_authority(home, first, last, words):
    home.ca.write_bytes(certificate("authority", first=NOW + first, last=NOW + last)[1].public_bytes(Encoding.PEM))
    said = bad(home, "ca.pem")
    for word in words:
        assert word in said


def test_people_can_compare_the_authority(home):
    """The digits that the coordinator's commands show for the certificate that they send."""
    (finding,) = [finding for finding in look(home) if finding.what.startswith("ca.pem")]
    assert finding.what == f"ca.pem, fingerprint {ca.fingerprint(home.ca.read_bytes())}"


def test_a_ledger_that_was_barred_or_broken(home):
    ledger = Ledger(home.ledger)
    ledger.bar("0" * 64, {})
    assert "silosynth site unlock" in bad(home, "ledger")
    ledger.free("0" * 64)
    assert not [finding for finding in look(home) if finding.level is not Level.OK]
    ledger.close()
    home.ledger.write_bytes(b"SQLite format 3\0" + bytes(5000))
    assert "put the newest whole copy back" in bad(home, "ledger")


def test_budgets_are_told_in_both_views(home):
    study = site_made.study_of(approval.read_request(home.request.read_text(), "r"))
    ledger = Ledger(home.ledger)
    ledger.plan(Planned.of(study, private=True), lambda _: None)
    ledger.close()
    said = {finding.what: str(finding) for finding in look(home)}
    assert "of 2 spent" in said["budget, aggregate"]
    assert "of 4 spent" in said["budget, local"]
    assert "epsilon 0.000" not in said["budget, local"]
    spent = epsilon(mu_squared(Planned.of(study, private=True).event(), View.AGGREGATE), 1e-5)
    for cap, word in ((spent / 1.01, "fail"), (spent * 1.05, "warn")):
        home.policy.write_text(site_made.ALLOWS.replace("2.0", str(cap)))
        assert bad(home, "budget, aggregate").startswith(word)


def test_studies_that_are_not_approved_as_they_are(home):
    study = site_made.study_of(approval.read_request(home.request.read_text(), "r"))
    home.study(study.digest).write_text(write_study(study))
    assert "no approval" in bad(home, f"study {study.digest[:8]}")
    facts = approval.facts_of(home, study, home.policy.read_text())
    signed = approval.sign(officer_key(home.officer_key, b"secret"), facts)
    home.approval(study.digest).write_text(approval.write_approval(signed))
    assert {finding.level for finding in look(home)} == {Level.OK}
    home.policy.write_text(site_made.ALLOWS + "#\n")
    assert "another policy" in bad(home, f"study {study.digest[:8]}")


@pytest.mark.parametrize(("free", "level"), [(1 << 20, Level.FAIL), (1 << 29, Level.WARN), (1 << 40, Level.OK)])
def test_room_on_the_disk(home, monkeypatch, free, level):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: doctor.shutil._ntuple_diskusage(1 << 41, 0, free))
    assert next(finding.level for finding in look(home) if finding.what == "disk") is level


def test_what_this_user_may_not_look_at_is_one_line(home, monkeypatch):
    def locked(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(doctor, "_keys", lambda home: locked(home.agent_key))
    said = bad(home, "keys")
    assert "agent.key" in said
    assert "run this as" in said
    Ledger(home.ledger).close()
    monkeypatch.undo()
    monkeypatch.setattr(
        "silosynth.client.ledger.sqlite3.connect",
        lambda *_, **__: (_ for _ in ()).throw(sqlite3.OperationalError("unable to open database file")),
    )
    assert "user of the site's agent" in bad(home, "ledger")
