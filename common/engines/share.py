"""How an engine divides a budget: what it says of each kind of release, before any noise is fixed."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Share:
    """`repeats` releases of one kind that together spend `share` of the budget, in mu^2.

    A release is a noisy sum, over all units or over a Poisson sample of them at `rate`; or it is what a site learns by
    itself from the sums of `within`, whose shares then add up to `share`. Sampled sums get what the others leave, so
    that their share is a wish, not a promise: plan.resolve finds the least noise that fits.
    """

    kind: str
    repeats: int
    share: Fraction
    rate: Fraction | None = None
    within: "tuple[Share, ...]" = ()

    @property
    def sampled(self) -> bool:
        """Whether a sum of it is over a Poisson sample."""
        return self.rate is not None or any(part.sampled for part in self.within)
