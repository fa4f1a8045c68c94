"""The part of `doctor` that looks at certificates and at the coordinator.

Flower refuses a node whose clock is five minutes off, so the clock is compared with the Date of the coordinator's
/health. Nothing is sent but that request.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from silosynth.client.findings import Finding, fail, ok, warn
from silosynth.client.home import Address
from silosynth.common.secagg.roster import grouped

TIMEOUT_S: Final = 5.0
CLOCK_FAIL_S: Final = 240.0
CLOCK_WARN_S: Final = 30.0
SOON_DAYS: Final = 30

_PROXY_PORT: Final = 80

_VERIFY: Final = {
    9: ("its certificate is not valid yet", "set this machine's clock, or wait"),
    10: ("its certificate has expired", "ask the coordinator to make a new one: `silosynth coordinator renew`"),
    18: ("its certificate is signed by itself", "this is not your coordinator, or ca.pem is not its authority"),
    19: ("its certificate is of another authority", "compare ca.pem with the coordinator's, over a telephone"),
    20: ("its certificate is of another authority", "compare ca.pem with the coordinator's, over a telephone"),
    62: ("its certificate is for another name", "correct [coordinator] address in site.toml"),
    64: ("its certificate is for another address", "correct [coordinator] address in site.toml"),
}
"""OpenSSL's verification codes (X509_V_ERR_*), as far as somebody can do something about them."""


def authority(path: Path, now: datetime) -> Finding:
    """What can be said of ca.pem alone."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return fail("ca.pem", f"{path}: is no certificate", "put the one there that the coordinator sent back")
    known = grouped(found.fingerprint(hashes.SHA256()))
    return _dated(f"ca.pem, fingerprint {known}", found.not_valid_before_utc, found.not_valid_after_utc, now)


def handshake(address: Address, ca: Path, now: datetime) -> Iterator[Finding]:
    """What a handshake with the coordinator tells; nothing where there is no ca.pem to check it by."""
    what = f"coordinator {address}"
    try:
        context = ssl.create_default_context(cafile=ca)
        link = _link(address, context)
    except (OSError, ValueError):
        return  # said of ca.pem already
    try:
        link.connect()
        peer = link.sock.getpeercert() or {}
        yield ok(what, "reached, and its certificate is of ca.pem's authority")
        yield _dated("its certificate", _moment(peer["notBefore"]), _moment(peer["notAfter"]), now)
        link.request("HEAD", "/health")
        answer = link.getresponse()
        yield _clock(answer.getheader("Date"), now)
    except ssl.SSLCertVerificationError as error:
        said, cure = _VERIFY.get(error.verify_code, (error.verify_message, "ask the coordinator"))
        yield fail(what, said, cure)
    except ssl.SSLError as error:
        yield fail(what, f"speaks no TLS ({error.reason})", "correct [coordinator] address in site.toml")
    except socket.gaierror:
        yield fail(what, "its name is not known here", "correct [coordinator] address, or ask for a DNS entry")
    except TimeoutError:
        yield fail(what, "does not answer", "let the firewall pass outbound TCP to it, or ask whether it runs")
    except ConnectionRefusedError:
        yield fail(what, "nobody listens there", "ask whether it runs, and on this port")
    except (OSError, http.client.HTTPException) as error:
        yield fail(what, f"cannot be asked ({type(error).__name__})", "ask your network people about the way")
    finally:
        link.close()


def _link(address: Address, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    """A connection to be opened, through the proxy that the relay would use, if there is one."""
    proxy = None if proxy_bypass(address.host) else getproxies().get("https")
    if proxy is None:
        return http.client.HTTPSConnection(address.host, address.port, timeout=TIMEOUT_S, context=context)
    at = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    link = http.client.HTTPSConnection(at.hostname or "", at.port or _PROXY_PORT, timeout=TIMEOUT_S, context=context)
    link.set_tunnel(address.host, address.port)
    return link


def _dated(what: str, first: datetime, last: datetime, now: datetime) -> Finding:
    said = f"valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    if now < first:
        return fail(what, f"not valid yet: {said}", "set this machine's clock, or wait")
    if now > last:
        return fail(what, f"expired: {said}", "ask the coordinator for a new one")
    if (last - now).days < SOON_DAYS:
        return warn(what, f"ends soon: {said}", "ask the coordinator for a new one in time")
    return ok(what, said)


def _clock(date: str | None, now: datetime) -> Finding:
    try:
        there = parsedate_to_datetime(date or "").astimezone(UTC)
    except ValueError:
        return warn("clock", "the coordinator does not tell the time", "compare it with another clock")
    off = abs((now - there).total_seconds())
    said = f"{off:.0f} s from the coordinator's"
    if off > CLOCK_FAIL_S:
        return fail("clock", said, "set it (NTP): Flower refuses a site that is five minutes off")
    if off > CLOCK_WARN_S:
        return warn("clock", said, "set it (NTP), before it is five minutes")
    return ok("clock", said)


def _moment(text: object) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(text)), UTC)
