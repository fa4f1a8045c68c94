"""A mixture of generators, one for each site: what a study has learnt where nobody was trusted with a sum."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Codes, Index, Real
from silosynth.common.engine import Generator
from silosynth.common.errors import MalformedFrame

Component = TypeVar("Component", bound=Generator)

_SHARES = "shares"
_EXACT = 1e-9


@dataclass(frozen=True)
class Mixture(Generic[Component]):
    """An engine.Generator. A row comes from component i with probability `shares[i]`; shape (components,), sum 1."""

    shares: Real = field(repr=False)
    components: tuple[Component, ...]

    def sample(self, rows: int, rng: np.random.Generator) -> Codes:
        """Fine cells of synthetic rows, shape (rows, columns), in random order.

        Of `rows` rows, component i makes rows * shares[i], rounded up or down at random so that every row has the
        mixture's distribution (systematic sampling).
        """
        made = [
            component.sample(count, rng)
            for component, count in zip(self.components, systematic(self.shares, rows, rng).tolist(), strict=True)
            if count
        ]
        return rng.permutation(np.concatenate(made)) if made else self.components[0].sample(0, rng)


def systematic(shares: Real, rows: int, rng: np.random.Generator) -> Index:
    """How many of `rows` rows fall to each share: its part rounded up or down, exact in the mean; they add up."""
    reached = np.cumsum(shares) / shares.sum() * rows
    reached[-1] = rows
    whole = np.floor(np.append(0.0, reached) + rng.random()).astype(np.int64)
    whole[-1] = rows  # floor(rows + u)
    return np.diff(whole)


def of_sizes(sizes: Sequence[float], components: Sequence[Component]) -> Mixture[Component]:
    """The mixture of components that speak for so many units each, above 0."""
    held = np.array(sizes, dtype=np.float64)
    return Mixture(held / held.sum(), tuple(components))


def freeze(
    mixture: Mixture[Component], one: Callable[[Component], Mapping[str, NDArray[Any]]]
) -> Mapping[str, NDArray[Any]]:
    """A mixture as named arrays; those of component i, which `one` gives, are called `i.name`."""
    arrays: dict[str, NDArray[Any]] = {_SHARES: mixture.shares}
    for at, component in enumerate(mixture.components):
        arrays |= {f"{at}.{name}": array for name, array in one(component).items()}
    return arrays


def thaw(
    arrays: Mapping[str, NDArray[Any]], components: int, one: Callable[[Mapping[str, NDArray[Any]]], Component]
) -> Mixture[Component]:
    """The mixture that `freeze` gave, of so many components. Raises MalformedFrame unless it is one."""
    parts: list[dict[str, NDArray[Any]]] = [{} for _ in range(components)]
    places = {str(at): part for at, part in enumerate(parts)}
    shares = arrays.get(_SHARES, np.zeros(0))
    if shares.dtype != np.dtype("<f8") or shares.shape != (components,) or not (shares >= 0).all():
        raise MalformedFrame("a mixture has a share for each site, none of them negative")
    if abs(shares.sum() - 1) > _EXACT:
        raise MalformedFrame("the shares of a mixture must add up to 1")
    for name, array in arrays.items():
        place, dot, of_part = name.partition(".")
        if dot and place in places:
            places[place][of_part] = array
        elif name != _SHARES:
            raise MalformedFrame("a mixture has other arrays than these")
    return Mixture(shares, tuple(one(part) for part in parts))
