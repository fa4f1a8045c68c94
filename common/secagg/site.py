"""A session of secure sums, as a site sees it. Pure: randomness, and what must outlive the process, are arguments.

    opening -> join(transcript) -> confirm(confirmation) -> begin(round) -> Pad.mask(answer), again and again -> close()

Rules, each named where it is checked:
  S1  a session has one opening of every member, each signed under its pinned key for this study and roster; this site's
      is the one it sent in this session. It has one transcript;
  S2  no secret that anybody knows: see K1 and K2 of masks.py;
  S3  nothing is answered before all other members have acknowledged the same transcript, with the highest head they
      knew of this site's ledger *before* the session. If one of those is not in this site's own chain, the site was
      restored or cloned: Locked. (Acknowledgements of fewer, say c + 1, can miss every honest member that knew.)
  S4  what this site knows of another's ledger changes only for an opening that names it: signed by the one whose ledger
      it is, as what it believes this site to know, and a newer head beside it. So nobody who has lost a head makes
      another forget it, however often sessions are opened. Where the two differ, the acknowledgement says what this
      site knows, nobody goes on, and the session is opened again: an honest member names it then, since it is in its
      chain; or it has to lock (S3);
  S5  a site answers only as a member of the set S, and only if |S| >= t;
  S6  (release, attempt) only rises, and release stays within the plan;
  S7  a round's masks are added once, to one vector, and the answer is signed over its context and its own hash;
  S8  at most n - t + 1 rounds ask again (attempt > 0), counted in memory, where no old copy of the disk resets it.

What the caller owes (it has the disk, the clock and the operating system's randomness):
  - `Secrets` fresh from the operating system, in memory only, for one session;
  - a session number that was on disk before the opening leaves, and no other session has used;
  - in the opening, a head whose chain contains a reservation of all the session may spend, but for retries; a session
    that follows one whose end nobody saw pays for the retries (S8) that the one before may have answered;
  - `Joined.heads` on disk before the acknowledgement leaves;
  - what `confirm` returns on disk, and in `named` of the next opening;
  - Locked made durable, for all studies, with `Locked.seen`: a person who excuses it has it named in the next opening;
  - per round: `begin`, then reserve under an exclusive lock, at most once for each (transcript, release, attempt); then
    x, a function of frozen data and the task only; noise from a stream that is a PRF under `Pad.noise_key` of the
    context and of x; `mask`; header, payload and commit on disk; then send. A repeated request gets the stored bytes.

Formal guarantee (SECURITY.md, theorem 1): if honest sites answer each (transcript, release, attempt) at most once, what
a malicious coordinator and the colluders see of all masked vectors is computationally a function of the sums, over all
honest members of S, of their noised answers, for those contexts that all honest members of S have answered. |S| >= t
>= c + 2 makes that at least two. Which bits of x are hidden in the sum is the business of the noise, not of the masks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from silosynth.common.arrays import Vector
from silosynth.common.secagg import masks
from silosynth.common.secagg.faults import Fault, Locked, SumRefused
from silosynth.common.secagg.masks import Ratchet
from silosynth.common.secagg.messages import (
    NOTHING,
    Acknowledgement,
    Head,
    Kind,
    Masked,
    Opening,
    Reply,
    read_acknowledgement,
    read_bundle,
    read_opening,
    transcript_hash,
    write_acknowledgement,
    write_opening,
    write_reply,
)
from silosynth.common.secagg.roster import Agreement
from silosynth.common.secagg.rounds import Round

_BEFORE: Final = (-1, -1)


@dataclass(frozen=True)
class Secrets:
    """Randomness of one session, 32 bytes each: X25519 private key, nonce (public), key of the noise."""

    key: bytes = field(repr=False)
    nonce: bytes
    noise: bytes = field(repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a session's secrets are neither copied nor stored")


@dataclass(frozen=True)
class Seat:
    """A site's place: what all agreed on, its index (from its own configuration), and its Ed25519 agent key."""

    agreement: Agreement
    site: int
    signer: Ed25519PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        members = self.agreement.roster.members
        if not 0 <= self.site < len(members) or members[self.site].key != self.signer.public_key().public_bytes_raw():
            raise ValueError("the roster does not name this agent key at this index")


@dataclass(frozen=True)
class Joined:
    """The acknowledgement to send, and newer heads of other members, by index, to put on disk before."""

    acknowledgement: bytes
    heads: Mapping[int, Head]


class SiteSession:
    """See the module. A method that raises SumRefused or MalformedFrame has changed nothing; Locked ends the session.

    Not for several threads at once.
    """

    def __init__(self, seat: Seat, secrets: Secrets, number: int, head: Head, named: tuple[Head, ...]) -> None:
        """`number`: of this session; `head`: of this site's ledger, its tranche reserved; `named`: see Opening."""
        self._seat = seat
        self._head = head
        self._named = named
        self.number: Final = number
        self._private: X25519PrivateKey | None = X25519PrivateKey.from_private_bytes(secrets.key)
        self._noise = Ratchet(secrets.noise, seat.agreement.releases)
        public = self._private.public_key().public_bytes_raw()
        opening = Opening(seat.site, number, head, public, secrets.nonce, named)
        self.opening: Final = write_opening(opening, seat.agreement, seat.signer)
        """The signed frame that opens the session."""
        self._pairs: dict[int, Ratchet] = {}
        self._transcript = b""
        self._joined: Joined | None = None
        self._doubted = False
        self._confirmed = False
        self._last = _BEFORE
        self._retries = 0

    @property
    def has_joined(self) -> bool:
        """Whether it has its one transcript, or is closed: another one needs another session."""
        return self._private is None

    def join(self, transcript: bytes, known: Mapping[int, Head]) -> Joined:
        """Check all openings and agree on keys. The same transcript again gives the same answer.

        `known`: the highest head ever seen of each other member, by index, from disk. Raises SumRefused.
        """
        agreement, own = self._seat.agreement, self._seat.site
        if self._joined and transcript_hash(transcript) == self._transcript:
            return self._joined
        if self._private is None:
            raise SumRefused(Fault.OUT_OF_PHASE)  # S1: one transcript a session, and none after its end
        frames = read_bundle(Kind.TRANSCRIPT, transcript, agreement)
        openings = [read_opening(frame, agreement) for frame in frames]
        _require_each_once([opening.site for opening in openings])
        if frames[own] != self.opening:
            raise SumRefused(Fault.NOT_OWN_OPENING, own)  # S1
        hashed = transcript_hash(transcript)
        pairs = _agree(self._seat, self._private, openings, hashed)
        before = {peer.site: known.get(peer.site, NOTHING) for peer in openings if peer.site != own}
        heads = tuple(before.get(site, NOTHING) for site in range(len(openings)))
        said = write_acknowledgement(Acknowledgement(own, hashed, heads), agreement, self._seat.signer)
        newer = {site: openings[site].head for site, head in before.items() if _follows(openings[site], head, own)}
        self._doubted = any(site not in newer for site in before)
        self._pairs, self._transcript, self._private = pairs, hashed, None
        self._joined = Joined(said, newer)
        return self._joined

    def confirm(self, confirmation: bytes, is_ancestor: Callable[[Head], bool]) -> Mapping[int, Head]:
        """Check that all others joined the same transcript and none of them saw more of this site's ledger than it has.

        Returns what each of them, by index, now knows of this ledger. Where that is not what this site believed, or the
        other way round, the session is not confirmed (`is_confirmed`), and has to be opened again (S4).

        `is_ancestor`: whether a head is that of an entry in this site's own chain. Raises SumRefused, Locked.
        """
        agreement, own = self._seat.agreement, self._seat.site
        if self._joined is None:
            raise SumRefused(Fault.OUT_OF_PHASE)
        given = [
            read_acknowledgement(frame, agreement) for frame in read_bundle(Kind.CONFIRMATION, confirmation, agreement)
        ]
        _require_each_once([one.site for one in given])
        for one in given:
            if one.transcript != self._transcript:
                raise SumRefused(Fault.OTHER_TRANSCRIPT, one.site)
        known = {one.site: one.heads[own] for one in given if one.site != own}
        excused = NOTHING, *self._named
        if unknown := {site: seen for site, seen in known.items() if seen not in excused and not is_ancestor(seen)}:
            self.close()
            raise Locked(unknown)  # S3
        agreed = {site for site, seen in known.items() if seen == self._named[site]}
        self._confirmed = len(agreed) == len(known) and not self._doubted  # S4
        return {site: self._head if site in agreed else seen for site, seen in known.items()}

    @property
    def is_confirmed(self) -> bool:
        """Whether rounds may begin."""
        return self._confirmed

    def context(self, asked: Round) -> bytes:
        """What a round is called in this session, 32 bytes: under it an answer is stored, and given again."""
        if self._joined is None:
            raise SumRefused(Fault.OUT_OF_PHASE)
        return asked.context(self._seat.agreement, self._transcript)

    def begin(self, asked: Round) -> "Pad":
        """Leave to answer a round once. What was begun cannot be begun again. Raises SumRefused."""
        roster, own = self._seat.agreement.roster, self._seat.site
        if not self.is_confirmed:
            raise SumRefused(Fault.OUT_OF_PHASE)  # S3
        if any(one >= len(roster) for one in asked.members):
            raise SumRefused(Fault.NOT_A_MEMBER)
        if own not in asked.members:
            raise SumRefused(Fault.NOT_IN_SET)  # S5
        if len(asked.members) < roster.threshold:
            raise SumRefused(Fault.SET_TOO_SMALL)  # S5
        if (asked.release, asked.attempt) <= self._last:
            raise SumRefused(Fault.OUT_OF_ORDER)  # S6
        again = int(asked.attempt > 0)
        if self._retries + again > roster.retries:
            raise SumRefused(Fault.TOO_MANY_RETRIES)  # S8
        for ratchet in (self._noise, *self._pairs.values()):
            ratchet.forward(asked.release)  # S6: all have one position and one bound, so the first refuses or none does
        self._last = asked.release, asked.attempt
        self._retries += again
        context = self.context(asked)
        keys = {peer: self._pairs[peer].derive(b"mask", context) for peer in asked.members if peer != own}
        return Pad(self._seat, self.number, asked, context, self._noise.derive(b"noise", context), keys)

    def close(self) -> None:
        """Erase all secrets. Nothing is answered any more."""
        for ratchet in (self._noise, *self._pairs.values()):
            ratchet.erase()
        self._private, self._joined, self._confirmed = None, None, False


class Pad:
    """The masks of one round at one site. Used once, then empty.

    `session`: its number; `context`: what masks and noise are bound to, 32 bytes; `noise_key`: secret key for this
    context's noise, 32 bytes.
    """

    __slots__ = ("_asked", "_keys", "_seat", "context", "noise_key", "session")

    def __init__(  # made in one place
        self, seat: Seat, session: int, asked: Round, context: bytes, noise_key: bytes, keys: dict[int, bytes]
    ) -> None:
        self._seat = seat
        self.session: Final = session
        self._asked = asked
        self._keys: dict[int, bytes] | None = keys
        self.context: Final = context
        self.noise_key: Final = noise_key

    def __reduce__(self) -> str:
        raise TypeError("a pad is neither copied nor stored")

    def mask(self, noised: Vector) -> Masked:
        """The noised answer, int64 of shape (size,), masked and signed (S7). Raises ValueError for another shape."""
        keys, self._keys = self._keys, None
        if keys is None:
            raise RuntimeError("a pad is used once")
        if noised.shape != (self._asked.size,):
            raise ValueError("the answer has not the size that was asked for")
        vector = self._asked.ring.encode(noised)
        for peer, key in keys.items():
            masks.add_mask(vector, key, negative=self._seat.site < peer)
        payload = vector.tobytes()
        reply = Reply(self._seat.site, self.context, sha256(payload).digest())
        return Masked(write_reply(reply, self._seat.agreement, self._seat.signer), payload)


def _agree(seat: Seat, private: X25519PrivateKey, openings: list[Opening], transcript: bytes) -> dict[int, Ratchet]:
    """The secret with every other member (S2), by its index."""
    own = seat.site, private.public_key().public_bytes_raw()
    return {
        peer.site: Ratchet(
            masks.pair_secret(
                private, peer.key, masks.pair_info(seat.agreement, transcript, own, (peer.site, peer.key))
            ),
            seat.agreement.releases,
        )
        for peer in openings
        if peer.site != seat.site
    }


def _require_each_once(sites: list[int]) -> None:
    """Raises SumRefused unless the members stand in their order, each once (S1, S3)."""
    if sites != list(range(len(sites))):
        raise SumRefused(Fault.INCOMPLETE)


def _follows(opening: Opening, known: Head, own: int) -> bool:
    """Whether an opening names what is known of its ledger at `own`, and shows a newer head (S4)."""
    return opening.named[own] == known and opening.head.count > known.count
