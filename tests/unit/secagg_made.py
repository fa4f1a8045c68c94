"""Sessions of secure sums with fixed keys, for tests: sites, a coordinator, and what a dishonest one would send."""

from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silosynth.common.secagg.coordinator import CoordinatorSession
from silosynth.common.secagg.messages import NOTHING, Head, Kind, read_bundle, write_bundle
from silosynth.common.secagg.ring import Ring
from silosynth.common.secagg.roster import Agreement, Identity, Roster
from silosynth.common.secagg.rounds import Round
from silosynth.common.secagg.site import Seat, Secrets, SiteSession

STUDY = sha256(b"study").digest()
TASK = sha256(b"task").digest()
R32, R64 = Ring(32), Ring(64)


def derived(*named):
    """32 bytes that look random and are always the same."""
    return sha256(repr(named).encode()).digest()


def signer_of(site):
    return Ed25519PrivateKey.from_private_bytes(derived("agent", site))


def secrets_of(site, session=1):
    return Secrets(*(derived(what, site, session) for what in ("x25519", "nonce", "noise")))


def agreement_of(n, c=1, t=None, *, study=STUDY, releases=50):
    members = tuple(Identity(f"site {i}", signer_of(i).public_key().public_bytes_raw()) for i in range(n))
    return Agreement(study, Roster(members, c, c + 2 if t is None else t), releases)


def head_of(site, count):
    """Of a ledger that nobody tampers with: the hash follows from site and number."""
    return Head(count, derived("entry", site, count))


def own_chain(site, up_to):
    """`is_ancestor` of a ledger with entries 1 .. up_to."""
    return lambda head: 1 <= head.count <= up_to and head == head_of(site, head.count)


def site_session(agreement, site, *, session=1, count=10, named=None):
    """`named`: what others are believed to know of this site's ledger, by their index."""
    seat = Seat(agreement, site, signer_of(site))
    heads = tuple((named or {}).get(other, NOTHING) for other in range(len(agreement.roster)))
    return SiteSession(seat, secrets_of(site, session), session, head_of(site, count), heads)


@dataclass
class Session:
    """All sites and the coordinator, each holding what it holds after set-up."""

    agreement: Agreement
    sites: list[SiteSession]
    coordinator: CoordinatorSession
    acknowledgements: list[bytes] = field(default_factory=list)

    @classmethod
    def opened(cls, agreement, *, session=1, count=10):
        sites = [site_session(agreement, i, session=session, count=count) for i in range(len(agreement.roster))]
        coordinator = CoordinatorSession(agreement)
        for site in sites:
            coordinator.open(site.opening)
        return cls(agreement, sites, coordinator)

    @classmethod
    def confirmed(cls, agreement, *, session=1, count=10):
        made = cls.opened(agreement, session=session, count=count)
        for site in made.sites:
            made.coordinator.acknowledge(site.join(made.coordinator.transcript, {}).acknowledgement)
        for i, site in enumerate(made.sites):
            site.confirm(made.coordinator.confirmation, own_chain(i, count))
        return made


def asked(members, *, release=0, attempt=0, task=TASK, ring=R32, size=8):
    return Round(release, attempt, tuple(members), task, ring, size)


def answers(n, size, seed=0, bound=1000):
    rng = np.random.default_rng(seed)
    return [rng.integers(-bound, bound, size, endpoint=True) for _ in range(n)]


def elements(masked, ring=R32):
    """The masked vector as the coordinator holds it."""
    return np.frombuffer(masked.payload, dtype=ring.dtype)


def transcript_of(agreement, openings):
    return write_bundle(Kind.TRANSCRIPT, openings, agreement)


def frames_of(bundle, agreement, kind=Kind.TRANSCRIPT):
    return list(read_bundle(kind, bundle, agreement))
