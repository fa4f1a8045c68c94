"""A coordinator's home with sites enrolled by requests of made keys."""

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from silosynth.common.site_request import SiteRequest, write_request
from silosynth.server.enrol import enrol
from silosynth.server.home import CoordinatorHome, Settings
from silosynth.server.setup import init

STUDY = """
[study]
name = "made"
[privacy]
epsilon = 1.0
delta = 1e-5
[engine]
steps = 3
[[columns]]
name = "sex"
type = "categorical"
codes = ["f", "m"]
[[columns]]
name = "ill"
type = "boolean"
"""


def node_line(curve=SECP384R1):
    """The public key of a new node."""
    public = generate_private_key(curve()).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def request_of(name, **changed):
    """A request with new keys."""
    agent, officer = (Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex() for _ in range(2))
    return SiteRequest(
        **{"name": name, "capacity": 100, "agent": agent, "officer": officer, "node": node_line()} | changed
    )


def written(folder, request):
    """The file of a request."""
    path = folder / f"{request.name}-request.json"
    path.write_text(write_request(request))
    return path


def coordinator(folder, *names):
    """A home, what it is set to, and the requests of the sites that were enrolled."""
    home, settings = CoordinatorHome(folder / "C"), Settings(("coordinator.example", "10.0.0.1"))
    init(home, settings)
    requests = {name: request_of(name) for name in names}
    for request in requests.values():
        enrol(home, settings, written(folder, request))
    return home, settings, requests
