"""What to expect of a study before its budget is spent: what the benchmark of record found on tables most like it.

Nothing here has seen a row of the study: units, columns, epsilon and engine are what everybody knows of it. Likeness is
distance in the logarithms of units times epsilon, of columns, and of the share of the rarer outcome, where that is
said; expected is the median of the nearest outcomes, and the interval is their whole range, because tables differ more
than seeds do.
"""

import csv
import importlib.resources
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from silosynth.common import scale
from silosynth.common.engines.preparation import SIGNIFICANT
from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.study import Study
from silosynth.simulations.chosen import imagined

NEAREST: Final = 8
"""Outcomes that a forecast rests on."""

FAR: Final = 2.0
"""Mean distance, in factors of three, beyond which a forecast says that nothing like the study was measured."""

POOR: Final = 0.5
"""Signal kept below which a forecast advises against models of the target."""

_ONE_WAYS: Final = "one-ways"
_FACTOR: Final = math.log(3)


@dataclass(frozen=True)
class Known:
    """One line of the record: means over seeds of one engine on one table at one epsilon.

    `rate` is about the share of the outcome that is asked for; `kept` is nan where the table has no target.
    """

    table: str
    engine: str
    epsilon: float
    units: int
    columns: int
    rate: float
    kept: float
    tvd2: float
    floor_tvd2: float


@dataclass(frozen=True)
class Range:
    """The median of what was found, and the least and the most."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        """Of some values."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Forecast:
    """What to expect. `smallest`: values held by fewer units are lost in the noise of a column's own counts."""

    engine: str
    units: int
    columns: int
    epsilon: float
    smallest: float
    kept: Range | None
    tvd2: Range
    floor_tvd2: float
    like: tuple[str, ...]
    distance: float

    def lines(self) -> Iterator[str]:
        """In words."""
        yield f"engine {self.engine}, {self.units:,} units, {self.columns} columns, epsilon {self.epsilon:g}"
        if self.distance > FAR:
            yield "Nothing like this study was measured: the numbers below are those of the least unlike, and a guess."
        if self.kept is not None:
            yield f"signal kept:    about {_words(self.kept)} of what a model of the target learns from real rows"
        yield f"2-way distance: about {_words(self.tvd2)}; about {self.floor_tvd2:.2f} without any dependence"
        yield f"values of a column that fewer than about {self.smallest:,.0f} units hold are not told apart"
        if self.kept is not None and self.kept.value < POOR:
            yield (
                "Too few units for this budget: do not rest a model of the target on it. More sites, fewer columns or "
                "a larger epsilon help."
            )
        yield f"the range is that of the {len(self.like)} outcomes most like it: {'; '.join(self.like)}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def forecast(study: Study, record: Sequence[Known], *, sites: int, rate: float | None = None) -> Forecast:
    """What to expect of a study, as if so many sites took part.

    Args:
        study: with its number of units.
        record: what was measured.
        sites: how many take part.
        rate: the share of the outcome that is asked for, where it is publicly known.

    Raises:
        InvalidStudy: where the study does not say how many units there are, or has no plan.
        NotPossible: where nothing of its engine was measured.
    """
    if study.units is None:
        raise InvalidStudy(
            "[study] key 'units': a forecast needs to know about how many units (persons) all sites have together, as "
            "is publicly known; write it there, or give --units"
        )
    resolved = imagined(study, sites)
    among = [one for one in record if one.engine == resolved.engine]
    if not among:
        raise NotPossible(
            f"engine {resolved.engine}: nothing of it is in the benchmark of record, so nothing to expect"
        )
    with_target = [one for one in among if math.isfinite(one.kept)]
    nearest = sorted(with_target or among, key=lambda one: _distance(resolved, one, rate))[:NEAREST]
    kept = [one.kept for one in nearest if math.isfinite(one.kept)]
    return Forecast(
        engine=resolved.engine,
        units=study.units,
        columns=len(study.schema.columns),
        epsilon=study.budget.epsilon,
        smallest=SIGNIFICANT * _deviation(resolved),
        kept=Range.of(kept) if kept and study.target is not None else None,
        tvd2=Range.of([one.tvd2 for one in nearest]),
        floor_tvd2=statistics.median(one.floor_tvd2 for one in nearest),
        like=tuple(f"{one.table} at epsilon {one.epsilon:g}" for one in nearest),
        distance=statistics.fmean(_distance(resolved, one, rate) for one in nearest),
    )


def recorded() -> tuple[Known, ...]:
    """The record that this version carries. Raises NotPossible where it carries none."""
    file = importlib.resources.files("silosynth.simulations") / "bench" / "record" / "forecast.csv"
    if not file.is_file():
        raise NotPossible("this version carries no benchmark of record; `bench quality` makes one")
    return tuple(_known(row) for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def _known(row: Mapping[str, str]) -> Known:
    types: dict[str, Any] = {"table": str, "engine": str, "units": int, "columns": int}
    return Known(**{entry.name: types.get(entry.name, float)(row[entry.name]) for entry in fields(Known)})


def _distance(study: Study, one: Known, rate: float | None) -> float:
    """In factors of three, summed over what is compared."""
    asked = (study.units or 1) * study.budget.epsilon
    apart = abs(math.log(asked / (one.units * one.epsilon))) + abs(math.log(len(study.schema.columns) / one.columns))
    if rate is not None and one.rate > 0:
        apart += abs(math.log(rate / one.rate))
    return apart / _FACTOR


def _deviation(study: Study) -> float:
    """Of the noise in a count of one column's values, over all sites, in units."""
    step = next(step for step in study.plan if step.kind == _ONE_WAYS)
    return scale.count_deviation(len(study.schema.columns), step.multiplier, study.shares, len(study.roster))


def _words(found: Range) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
