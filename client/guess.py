"""Guessing one column of a study from a table: the draft that a person corrects, never what a study rests on."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from silosynth.client.profile import ABSENT_WORDS, Profile
from silosynth.client.sources.suspect import suspicion_of_numbers, suspicion_of_words
from silosynth.common.arrays import Real
from silosynth.common.column import MAX_CODES, TIME_UNITS, Column, Kind
from silosynth.common.conform import SYNONYMS
from silosynth.common.errors import InvalidStudy
from silosynth.common.grids import EXACT_RANGE

_FEW_CODES = 6  # whole numbers with so few values are more often codes than counts
_STRAY_WORDS = 3  # so many texts among numbers are declared missing; more make the column a list of codes
_MOST_DECIMALS = 6
_SPIKE = 0.02  # share of rows from which a value inside a wide range gets a cell of its own
_MOST_SPIKES = 8
_RARE = 200  # a code seen in fewer than rows / _RARE rows, at most 5, is left to OTHER: it may be one person's
_SENTINEL = re.compile(r"-?(9{2,}|8{2,}|7{2,}|[1789])(\.0+)?")
_FOREIGN_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})\b.*")
_ISO_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}.*", re.DOTALL)
_TIME_SPAN = re.compile(r"(-?\d+ days?\b.*|P.*\d.*|\d+:\d\d:\d\d.*)")


@dataclass(frozen=True)
class Guess:
    """A column, or why there is none; and remarks for the person who reviews it."""

    name: str
    column: Column | None
    remarks: tuple[str, ...] = ()


def guess(profile: Profile) -> Guess:
    """What a column seems to be. Bounds and codes are marked as taken from data."""
    if not profile.rows:
        return Guess(profile.name, None, ("has no value to see; declare it from its code book",))
    absent = tuple(sorted(word for word in profile.counts if word.casefold() in ABSENT_WORDS))
    seen = profile.without(absent)
    if not seen.rows:
        return Guess(profile.name, None, ("holds nothing but codes for missing; declare it from its code book",))
    try:
        for attempt in (_boolean, _number, _moment, _time_span):
            if (found := attempt(seen, absent)) is not None:
                return found
        return _codes(profile)  # with the words for missing among the codes: "none" may well be an answer
    except InvalidStudy:  # such as numbers of twenty digits
        return Guess(profile.name, None, ("holds values that no column of a study can hold; recode it",))


def _boolean(seen: Profile, absent: tuple[str, ...]) -> Guess | None:
    meanings = {word: SYNONYMS.get(word.casefold()) for word in seen.counts}
    folded = {word.casefold() for word in seen.counts}
    if set(meanings.values()) != {"false", "true"} or len(folded) != len({"false", "true"}):
        return None
    if len(meanings) > len(folded):
        remark = "upper and lower case are mixed: read as false and true"
        return Guess(seen.name, Column(seen.name, Kind.BOOLEAN, missing=absent), (remark,))
    codes = tuple(sorted(meanings, key=lambda word: str(meanings[word])))
    marks = _marks("codes", missing=absent)
    return Guess(seen.name, Column(seen.name, Kind.BOOLEAN, codes=codes, missing=absent, unreviewed=marks))


def _number(seen: Profile, absent: tuple[str, ...]) -> Guess | None:
    values = seen.numbers()
    stray = tuple(sorted(word for word, value in zip(seen.counts, values, strict=True) if math.isnan(value)))
    numbers = seen.without(stray)
    if len(stray) > _STRAY_WORDS or not numbers.rows or (stray and len(numbers.counts) <= 2 * _FEW_CODES):
        return None
    values = values[~np.isnan(values)]
    whole = bool((values == np.rint(values)).all())
    if whole and (reason := suspicion_of_numbers(seen.name, np.unique(values), numbers.rows)):
        return Guess(seen.name, None, (reason,))
    distinct = np.unique(values)
    if len(distinct) == 1 or (whole and len(distinct) <= _FEW_CODES):
        return _few_numbers(numbers, absent)
    decimals = None if whole else _decimals(numbers.counts)
    low, high = _outward(distinct[0], distinct[-1], 0 if whole else decimals)
    special = _spikes(numbers, values, (low, high), whole=whole)
    missing = tuple(sorted({*absent, *stray}))
    column = Column(
        seen.name,
        Kind.INTEGER if whole else Kind.NUMBER,
        low=low,
        high=high,
        missing=missing,
        decimals=decimals,
        special=special,
        unreviewed=_marks("min", "max", decimals=decimals is not None, special=special, missing=missing),
    )
    return Guess(seen.name, column, _sentinels(distinct))


def _few_numbers(numbers: Profile, absent: tuple[str, ...]) -> Guess:
    """A category whose codes are numbers; 1 and 1.0 are one code."""
    codes = tuple(f"{value:.15g}" for value in np.unique(numbers.numbers()))
    column = Column(
        numbers.name, Kind.CATEGORICAL, codes=codes, missing=absent, unreviewed=_marks("codes", missing=absent)
    )
    remark = "has one value only" if len(codes) == 1 else "if these are amounts, not codes, make it an integer"
    return Guess(numbers.name, column, (remark,))


def _moment(seen: Profile, absent: tuple[str, ...]) -> Guess | None:
    words = list(seen.counts)
    if all(_FOREIGN_DATE.fullmatch(word) for word in words):
        return Guess(seen.name, None, ("holds dates that are not written YYYY-MM-DD; convert them, then add it",))
    if not all(_ISO_DATE.fullmatch(word) for word in words):
        return None
    moments = pd.to_datetime(pd.Series(words, dtype=object), format="ISO8601", errors="coerce", utc=True)
    if moments.isna().any():
        return None
    midnight = bool((moments == moments.dt.normalize()).all())
    first, last = (pd.Timestamp(f"{year}", tz="UTC") for year in (moments.min().year, moments.max().year + 1))
    unit = TIME_UNITS["days"] if midnight else 1
    low, high = first.timestamp() // unit, last.timestamp() // unit - 1
    column = Column(
        seen.name,
        Kind.DATE if midnight else Kind.DATETIME,
        low=low,
        high=high,
        missing=absent,
        unreviewed=_marks("min", "max", missing=absent),
    )
    return Guess(seen.name, column)


def _time_span(seen: Profile, absent: tuple[str, ...]) -> Guess | None:
    words = list(seen.counts)
    if not all(_TIME_SPAN.fullmatch(word) for word in words):
        return None
    spans = pd.to_timedelta(pd.Series(words, dtype=object), errors="coerce")
    if spans.isna().any() or (spans == spans.iloc[0]).all():
        return None
    low, high = _outward(spans.min() / pd.Timedelta(days=1), spans.max() / pd.Timedelta(days=1), None)
    marks = _marks("min", "max", missing=absent)
    return Guess(seen.name, Column(seen.name, Kind.DURATION, low=low, high=high, missing=absent, unreviewed=marks))


def _codes(seen: Profile) -> Guess:
    if reason := suspicion_of_words(seen.counts):
        return Guess(seen.name, None, (reason,))
    least = min(5, math.ceil(seen.rows / _RARE))
    codes = tuple(sorted(word for word, times in seen.counts.items() if times >= least))
    if len(codes) > MAX_CODES:
        return Guess(seen.name, None, (f"has more than {MAX_CODES} codes; group them into a coarser code",))
    remarks = ["rare texts were left to OTHER; add those your code book has"] * (len(codes) < len(seen.counts))
    if len({code.casefold() for code in codes}) < len(codes):
        remarks.append(
            "some codes differ by upper and lower case only; make them one in the table if they mean one thing"
        )
    return Guess(seen.name, Column(seen.name, Kind.CATEGORICAL, codes=codes, unreviewed=("codes",)), tuple(remarks))


def _marks(*always: str, **if_any: object) -> tuple[str, ...]:
    return (*always, *(key for key, value in if_any.items() if value))


def _decimals(words: Sequence[str] | dict[str, int]) -> int | None:
    """Most decimals among numbers as text; None where there are many, or an exponent."""
    if any("e" in word.casefold() for word in words):
        return None
    most = max(len(word.partition(".")[2].rstrip("0")) for word in words)
    return most if most <= _MOST_DECIMALS else None


def _outward(low: float, high: float, decimals: int | None) -> tuple[float, float]:
    """Friendly numbers around a range: multiples of 1, 2 or 5 times a power of ten, about a twentieth of it apart."""
    least, most = Decimal(repr(float(low))), Decimal(repr(float(high)))
    aim = (most - least) / 20 or Decimal(1)
    power = Decimal(10) ** aim.adjusted()
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= aim)
    if decimals is not None:
        step = max(step, Decimal(10) ** -decimals)
    return float(math.floor(least / step) * step), float(math.ceil(most / step) * step)


def _spikes(numbers: Profile, values: Real, bounds: tuple[float, float], *, whole: bool) -> tuple[float, ...]:
    """Values that many rows share, where the grid would mix them with their neighbours."""
    low, high = bounds
    if (whole and high - low <= EXACT_RANGE) or len(values) <= EXACT_RANGE // 16:
        return ()
    often = values[numbers.times() >= _SPIKE * numbers.rows]
    inner = [float(value) for value in np.unique(often) if value not in {0.0, low, high}]
    return tuple(inner) if len(inner) <= _MOST_SPIKES else ()


def _sentinels(distinct: Real) -> tuple[str, ...]:
    """Extreme values that are written like codes for missing and stand far from all others."""
    remarks = []
    for code, rest in ((distinct[-1], distinct[:-1]), (distinct[0], distinct[1:])):
        gap, span = float(np.abs(rest - code).min()), float(np.ptp(rest))
        lonely = gap > max(span / 2, 1) or (code == -1 and rest.min() >= 0)
        if _SENTINEL.fullmatch(f"{code:g}") and lonely:
            remarks.append(f'{code:g} may be a code for missing: if so, missing = ["{code:g}"] and a tighter bound')
    return tuple(remarks)
