"""How a simulated site says how far it is while it learns by itself: by its source of noise, which every sum asks once.

A real site has no such thing. What a site does within a release leaves it in no way, and its software has no seam for
it; here the sites are in the caller's own process.
"""

from silosynth.client.mechanism import NoiseSource
from silosynth.common.arrays import Vector
from silosynth.common.csprng import Csprng
from silosynth.common.progress import Progress
from silosynth.common.study import Study

PHASE = "learn at a site"


class Telling:
    """A mechanism.NoiseSource that passes on to another one, and tells a progress of every sum."""

    def __init__(self, noise: NoiseSource, site: str, sums: int, progress: Progress) -> None:
        self._noise = noise
        self._site = site
        self._sums = sums
        self._progress = progress
        self._done = 0

    @property
    def private(self) -> bool:
        """See mechanism.NoiseSource."""
        return self._noise.private

    def add(self, value: Vector, variance: int, context: bytes) -> Vector:
        """See mechanism.NoiseSource."""
        noised = self._noise.add(value, variance, context)
        self._done += 1
        self._progress(PHASE, self._done, max(self._sums, self._done), self._site)
        return noised

    def slots(self, context: bytes) -> Csprng:
        """See mechanism.NoiseSource."""
        return self._noise.slots(context)

    def coins(self, context: bytes) -> Csprng:
        """See mechanism.NoiseSource."""
        return self._noise.coins(context)

    def under(self, key: bytes) -> NoiseSource:
        """See mechanism.NoiseSource. Only masked sums ask for it, and a site does not mask what it learns by itself."""
        return self._noise.under(key)


def telling(noise: NoiseSource, site: str, study: Study, progress: Progress) -> NoiseSource:
    """`noise`, telling of every sum that the site makes in a study where sites learn by themselves; elsewhere as it is.

    Where every sum is a release, the coordinator tells already.
    """
    if not any(step.within for step in study.plan):
        return noise
    sums = sum(step.repeats * max(1, sum(inner.repeats for inner in step.within)) for step in study.plan)
    return Telling(noise, site, sums, progress)
