"""What secure sums cost a site and the coordinator, beside the functions of Flower's own SecAgg+ in the same run.

Ours is all that a round needs after the answer is known: keys forward, masks, hash and signature; at the coordinator
signatures, hashes and the sum. Flower's are its client's and workflow's functions for the same step, called as they
call them, without quantisation, transport and the trip that reveals shares. Cost alone is compared: their masks come
from 32 bits of seed, and nothing of theirs is signed.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from silosynth.common.arrays import Vector
from silosynth.common.progress import Progress
from silosynth.common.secagg.coordinator import CoordinatorSession
from silosynth.common.secagg.messages import NOTHING, Head, Masked, Reply, write_reply
from silosynth.common.secagg.ring import Ring
from silosynth.common.secagg.roster import Agreement, Identity, Roster
from silosynth.common.secagg.rounds import Round
from silosynth.common.secagg.site import Seat, Secrets, SiteSession
from silosynth.simulations.bench.measure import Spread, Timings, interleaved, ranged, ratio
from silosynth.simulations.bench.results import Row

SIZE: Final = 1_000_000
BITS: Final = 32
BARS_MS: Final[Mapping[int, tuple[float, float]]] = {10: (60.0, 40.0), 100: (300.0, 400.0)}
"""Milliseconds of a site and of the coordinator, by number of sites."""

OVERHEAD_BAR: Final = 1.0
"""Per cent of the upload."""

_SITE, _COORDINATOR, _FLOWER_SITE, _FLOWER_COORDINATOR = (
    "a site",
    "coordinator",
    "Flower, a site",
    "Flower, coordinator",
)
_ROUNDS: Final = 10_000  # more than are ever timed
_DISTINCT: Final = 10  # vectors that a coordinator adds up in turns: too many for a cache, few enough for memory


@dataclass(frozen=True)
class Ours:
    """One session after set-up: its first site, its coordinator and everybody's signing keys."""

    agreement: Agreement
    signers: tuple[Ed25519PrivateKey, ...] = field(repr=False)
    site: SiteSession
    coordinator: CoordinatorSession
    ring: Ring

    @classmethod
    def made(cls, sites: int, rng: np.random.Generator, ring: Ring) -> "Ours":
        """A session of as many sites, all of which joined and the first of which is ready to answer."""
        signers = tuple(Ed25519PrivateKey.from_private_bytes(rng.bytes(32)) for _ in range(sites))
        members = (Identity(f"site {i}", one.public_key().public_bytes_raw()) for i, one in enumerate(signers))
        agreement = Agreement(rng.bytes(32), Roster(tuple(members), 1, 3), releases=_ROUNDS)
        made = [
            SiteSession(
                Seat(agreement, i, one),
                Secrets(rng.bytes(32), rng.bytes(32), rng.bytes(32)),
                1,
                Head(1, bytes(32)),
                (NOTHING,) * sites,
            )
            for i, one in enumerate(signers)
        ]
        coordinator = CoordinatorSession(agreement)
        for site in made:
            coordinator.open(site.opening)
        for site in made:
            coordinator.acknowledge(site.join(coordinator.transcript, {}).acknowledgement)
        made[0].confirm(coordinator.confirmation, lambda _head: True)
        return cls(agreement, signers, made[0], coordinator, ring)

    def round(self, release: int, size: int) -> Round:
        """The question of a release to everybody."""
        return Round(release, 0, tuple(range(len(self.signers))), bytes(32), self.ring, size)

    def masking(self, value: Vector) -> Callable[[], Masked]:
        """A site's part of a round, of another release each time."""
        releases = count()
        return lambda: self.site.begin(self.round(next(releases), value.size)).mask(value)

    def summing(self, payloads: Sequence[bytes], size: int) -> Callable[[], Vector]:
        """The coordinator's part of a round; site i sends payload i modulo their number."""
        asked = self.round(0, size)
        context, hashes = self.site.context(asked), [sha256(payload).digest() for payload in payloads]
        replies = [
            Masked(
                write_reply(Reply(i, context, hashes[i % len(payloads)]), self.agreement, signer),
                payloads[i % len(payloads)],
            )
            for i, signer in enumerate(self.signers)
        ]

        def run() -> Vector:
            tally = self.coordinator.tally(asked)
            for reply in replies:
                tally.accept(reply)
            return tally.total()

        return run


class Flower:
    """Flower's SecAgg+ on a complete graph: the functions of its client and workflow, by their own names."""

    def __init__(self, sites: int, rng: np.random.Generator) -> None:
        self._keys: Any = importlib.import_module("flwr.supercore.primitives.asymmetric")
        self._crypto: Any = importlib.import_module("flwr.common.secure_aggregation.crypto.symmetric_encryption")
        self._sums: Any = importlib.import_module("flwr.common.secure_aggregation.ndarrays_arithmetic")
        self._masks: Any = importlib.import_module("flwr.common.secure_aggregation.secaggplus_utils")
        pairs = [self._keys.generate_key_pairs() for _ in range(sites)]
        self._private = [self._keys.private_key_to_bytes(private) for private, _ in pairs]
        self._public = [self._keys.public_key_to_bytes(public) for _, public in pairs]
        self._seeds = [rng.bytes(32) for _ in range(sites)]

    def masked(self, site: int, value: Vector) -> NDArray[np.int64]:
        """As secaggplus_mod._collect_masked_vectors does it, once the answer is quantised."""
        dimensions = [value.shape]
        summed = self._sums.parameters_addition([value], self._stream(self._seeds[site], dimensions))
        for peer, public in enumerate(self._public):
            if peer == site:
                continue
            shared = self._crypto.generate_shared_key(
                self._keys.bytes_to_private_key(self._private[site]), self._keys.bytes_to_public_key(public)
            )
            combine = self._sums.parameters_addition if site > peer else self._sums.parameters_subtraction
            summed = combine(summed, self._stream(shared, dimensions))
        result: NDArray[np.int64] = self._sums.parameters_mod(summed, 1 << BITS)[0]
        return result

    def total(self, vectors: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """As its workflow adds up and unmasks when all have answered; site i sent vector i modulo their number."""
        sent = [[vectors[i % len(vectors)]] for i in range(len(self._seeds))]
        summed = sent[0]
        for one in sent[1:]:
            summed = self._sums.parameters_addition(summed, one)
        summed = self._sums.parameters_mod(summed, 1 << BITS)
        for seed in self._seeds:
            summed = self._sums.parameters_subtraction(summed, self._stream(seed, [vectors[0].shape]))
        result: NDArray[np.int64] = self._sums.parameters_mod(summed, 1 << BITS)[0]
        return result

    def _stream(self, seed: bytes, dimensions: list[tuple[int, ...]]) -> Any:
        return self._masks.pseudo_rand_gen(seed, 1 << BITS, dimensions)


def secagg(
    seeds: tuple[int, ...],
    turns: int,
    progress: Progress,
    bars_ms: Mapping[int, tuple[float, float]] = BARS_MS,
    size: int = SIZE,
) -> Iterator[Row]:
    """Milliseconds of a round by number of sites, how many times longer Flower's functions take, and the upload."""
    for sites, bars in bars_ms.items():
        progress("secagg", 0, 0, f"{sites} sites")
        title, rng = f"{sites} sites, {size} x {BITS} bit", np.random.default_rng(seeds[0])
        ours, theirs = Ours.made(sites, rng, Ring(BITS)), Flower(sites, rng)
        value = rng.integers(-1000, 1000, size)
        vectors = [rng.integers(0, 1 << BITS, size) for _ in range(min(sites, _DISTINCT))]
        payloads = [vector.astype(ours.ring.dtype).tobytes() for vector in vectors]
        masking = ours.masking(value)
        sample = masking()
        took = interleaved(
            {
                _SITE: masking,
                _COORDINATOR: ours.summing(payloads, size),
                _FLOWER_SITE: partial(theirs.masked, 0, value),
                _FLOWER_COORDINATOR: partial(theirs.total, vectors),
            },
            turns,
        )
        yield from _rows(title, took, bars, turns)
        over = 100 * len(sample.header) / len(sample.payload)
        yield Row(
            "secagg", f"{title}: upload over the vector", over, "%", method="bytes", better="lower", bar=OVERHEAD_BAR
        )


def _rows(title: str, took: Mapping[str, Timings], bars: tuple[float, float], turns: int) -> Iterator[Row]:
    method = f"CPU, median and range of {turns} interleaved turns"
    for (ours, theirs), bar in zip(((_SITE, _FLOWER_SITE), (_COORDINATOR, _FLOWER_COORDINATOR)), bars, strict=True):
        spent: Spread = ranged([1e3 * cpu for cpu in took[ours].cpu_s])
        yield Row("secagg", f"{title}: {ours}", spent.value, "ms", spent.interval, method, "lower", bar=bar)
        times = ratio(took[theirs].cpu_s, took[ours].cpu_s)
        yield Row("secagg", f"{title}: {theirs} / ours", times.value, "x", times.interval, method)
