"""The coordinator's own certificate authority. Sites trust it alone, so no other authority's mistake reaches them.

Keys are EC P-384, which every TLS 1.3 library has. A server's certificate is short-lived against the authority's, so
that a new one (new names, or a key that somebody has seen) needs no word with the sites.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from silosynth.common.errors import InvalidInput
from silosynth.common.secagg.roster import grouped

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 825
_LONGEST_NAME: Final = 253
_LONGEST_LABEL: Final = 63
_EARLIER: Final = timedelta(minutes=10)  # for clocks of sites that are slow


@dataclass(frozen=True)
class Pair:
    """A private key and a certificate for it, both in PEM."""

    key: bytes
    certificate: bytes


def new_authority(name: str) -> Pair:
    """A self-signed authority that can sign servers and no other authority."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"silosynth coordinator {name}"[:64])])
    usage = _usage(signs=True)
    certificate = _certificate(subject, subject, key.public_key(), AUTHORITY_DAYS)
    certificate = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = certificate.add_extension(usage, critical=True)
    certificate = certificate.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(_pem(key), certificate.sign(key, SHA384()).public_bytes(Encoding.PEM))


def new_server(authority: Pair, hosts: tuple[str, ...]) -> Pair:
    """A server that is called by any of `hosts`, names or addresses. Raises InvalidInput for what is neither."""
    signer = load_pem_private_key(authority.key, password=None)
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != issuer.public_key():
        raise InvalidInput("ca.key does not belong to ca.pem: put back the pair that `coordinator init` made")
    key = ec.generate_private_key(ec.SECP384R1())
    names = [alternative(host) for host in hosts]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    certificate = _certificate(subject, issuer.subject, key.public_key(), SERVER_DAYS)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName(names), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ):
        certificate = certificate.add_extension(extension, critical=critical)
    return Pair(_pem(key), certificate.sign(signer, SHA384()).public_bytes(Encoding.PEM))


def alternative(host: str) -> x509.GeneralName:
    """A name or an address as certificates have it. Raises InvalidInput."""
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    if not host.isascii() or len(host) > _LONGEST_NAME or not all(_label(one) for one in labels):
        raise InvalidInput(
            f"{host!r} is neither the name of a host nor an IP address; give --host without port or path"
        )
    return x509.DNSName(host)


def fingerprint(certificate: bytes) -> str:
    """What people compare of a certificate in PEM: SHA-256 of its DER, in groups of four digits."""
    der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    return grouped(hashlib.sha256(der).digest())


def ends(certificate: Path) -> datetime:
    """When a certificate in PEM ends. Raises InvalidInput where there is none."""
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{certificate}: is no certificate in PEM; run `silosynth coordinator renew`") from error


def _label(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_LABEL and text.replace("-", "a").isalnum() and not text.startswith("-")


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
