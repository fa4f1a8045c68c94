"""Who may take part: enrols sites, revokes them, and says which node key is whose.

`sites/NAME.json` is the truth; the SuperLink is told at once where it runs, and when it starts where it does not. A
request proves nothing by itself: people of both institutions compare its fingerprint by telephone.
"""

import base64
import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from silosynth.common.errors import InvalidInput
from silosynth.common.secagg.roster import grouped
from silosynth.common.site_request import SiteRequest, check_name, read_request, write_request
from silosynth.server.ca import fingerprint
from silosynth.server.files import replace, write_json, write_text
from silosynth.server.home import CoordinatorHome, Settings, enrolled

FORMAT = 1


@dataclass(frozen=True)
class Enrolled:
    """What came of it: for the coordinator to read to the site, and the folder that goes there."""

    request: SiteRequest
    authority: str
    """Fingerprint of the coordinator's certificate authority."""
    bundle: Path


def node_key(request: SiteRequest) -> bytes:
    """The public key of a site's node as Flower writes it, in PEM. Raises InvalidInput for what is none."""
    try:
        key = load_ssh_public_key(request.node.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput(
            f"the node key of {request.name} cannot be read: have the site send its request again"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise InvalidInput(f"the node key of {request.name} is not on the curve P-384: have the site run `site init`")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def node_keys(sites: Mapping[str, SiteRequest]) -> dict[str, bytes]:
    """The node key of every site. Raises InvalidInput."""
    return {name: node_key(request) for name, request in sites.items()}


def key_fingerprints(request: SiteRequest) -> dict[str, str]:
    """What people compare one by one, should the whole differ."""
    blob = base64.b64decode(request.node.split(" ")[1])
    keys = {"agent": bytes.fromhex(request.agent), "officer": bytes.fromhex(request.officer), "node": blob}
    return {what: grouped(hashlib.sha256(key).digest()) for what, key in keys.items()}


def enrol(home: CoordinatorHome, settings: Settings, path: Path) -> Enrolled:
    """Enrol the site of a request, and write the bundle that goes back to it. The same request may come again.

    Raises InvalidInput: not a request, or a name or a key that another site has.
    """
    request = _read(path)
    node_key(request)
    sites = enrolled(home)
    before = sites.pop(request.name, None)
    if before is not None and before != request:
        raise InvalidInput(
            f"{path}: a site {request.name} is enrolled with another request: if its people say that this is the new "
            f"one, `silosynth coordinator revoke {request.name}` first"
        )
    for name, other in sites.items():
        shared = [what for what in ("agent", "officer", "node") if _key(request, what) == _key(other, what)]
        if shared:
            raise InvalidInput(f"{path}: has the {shared[0]} key of {name}: each site has keys of its own")
    authority = home.ca.read_bytes()
    bundle = home.bundles / request.name
    for folder in (home.sites, bundle):
        folder.mkdir(parents=True, exist_ok=True)
    replace(bundle / "ca.pem", authority)
    said = {"format": FORMAT, "site": request.name, "address": settings.address, "authority": fingerprint(authority)}
    write_json(bundle / "coordinator.json", said)
    write_text(home.request(request.name), write_request(request))
    return Enrolled(request, fingerprint(authority), bundle)


def revoke(home: CoordinatorHome, name: str) -> SiteRequest:
    """Forget a site; what it was. Its studies that run end for want of it. Raises InvalidInput."""
    path = home.request(check_name(name))
    if not path.exists():
        raise InvalidInput(f"{name}: is not enrolled; `silosynth coordinator sites` lists who is")
    request = _read(path)
    path.unlink()
    shutil.rmtree(home.bundles / name, ignore_errors=True)
    return request


def _read(path: Path) -> SiteRequest:
    try:
        return read_request(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read ({error}); give the request.json of a site") from None


def _key(request: SiteRequest, what: str) -> str:
    """A key without its comment."""
    return " ".join(str(getattr(request, what)).split(" ")[:2])
