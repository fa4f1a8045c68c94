"""One unit more changes one part of a site's rows by that unit, and the other part not at all."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.client.sources import parted, split
from silosynth.client.sources.keyed import names_of_rows
from silosynth.common.privacy import Part
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Study

SCHEMA = Schema(
    (Column("sex", Kind.CATEGORICAL, codes=("f", "m")), Column("age", Kind.INTEGER, low=0, high=3)),
)
STUDY = Study("parts", SCHEMA, Budget(1.0, 1e-5, 1), holdout=0.4, max_rows_per_unit=2)

cells = st.tuples(st.sampled_from("fm"), st.integers(0, 3))
units = st.lists(st.lists(cells, min_size=1, max_size=3), max_size=12)


def frame(rows):
    text = pd.DataFrame(rows, columns=["sex", "age"], dtype=object).astype(str)
    return SCHEMA.conform(text, source="rows").frame


def with_key(people):
    """Rows and identifiers of people, a list of (identifier, rows), one person after the other."""
    rows = [row for _, own in people for row in own]
    ids = [name for name, own in people for _ in own]
    return frame(rows), pd.Series(ids, dtype=str)


def without_key(rows):
    typed = frame(rows)
    return typed, names_of_rows(SCHEMA.encode(typed))


def multiset(of):
    """Units as all that follows sees them: each is the multiset of its rows."""
    rows = {}
    for code, owner in zip(of.codes.tolist(), of.owner.tolist(), strict=True):
        rows.setdefault(owner, []).append(tuple(code))
    return Counter(tuple(sorted(own)) for own in rows.values())


def differences(less, more):
    """How many units each part of the larger table has that the smaller one's has not, and the other way round."""
    both = [(multiset(less.of(part)), multiset(more.of(part))) for part in Part]
    return [((larger - smaller).total(), (smaller - larger).total()) for smaller, larger in both]


@settings(deadline=None)
@given(people=units, at=st.integers(0, 11), extra=st.lists(cells, min_size=1, max_size=3), key=st.binary(max_size=8))
def test_a_person_with_a_key_is_in_one_part(people, at, extra, key):
    named = [(f"p{number}", own) for number, own in enumerate(people)]
    more = [*named[:at], ("new", extra), *named[at:]]
    tables = [parted(STUDY, *with_key(table), key) for table in (named, more)]
    assert sorted(differences(*tables)) == [(0, 0), (1, 0)]


def ordered(of):
    """Each unit's rows as they stand, the units in any order: what even floating-point sums of a unit hang on."""
    return sorted(of.codes[of.owner == one].tolist() for one in range(of.owner.max(initial=-1) + 1))


@settings(deadline=None)
@given(people=units, shuffle=st.randoms(use_true_random=False), key=st.binary(max_size=8), keyed=st.booleans())
def test_the_order_of_rows_plays_no_part(people, shuffle, key, keyed):
    """A database makes it from all rows together: one person more can turn everybody's."""
    named = [(f"p{number}", own) for number, own in enumerate(people)]
    typed, ids = with_key(named) if keyed else without_key([row for own in people for row in own])
    order = shuffle.sample(range(len(ids)), len(ids))
    turned = typed.iloc[order].reset_index(drop=True)
    turned_ids = ids.iloc[order].reset_index(drop=True) if keyed else names_of_rows(SCHEMA.encode(turned))
    here, there = parted(STUDY, typed, ids, key), parted(STUDY, turned, turned_ids, key)
    for part in Part:
        assert ordered(here.of(part)) == ordered(there.of(part))


@settings(deadline=None)
@given(rows=st.lists(cells, max_size=25), at=st.integers(0, 25), extra=cells, key=st.binary(max_size=8))
def test_a_row_that_is_a_person_is_in_one_part(rows, at, extra, key):
    tables = [parted(STUDY, *without_key(table), key) for table in (rows, [*rows[:at], extra, *rows[at:]])]
    assert sorted(differences(*tables)) == [(0, 0), (1, 0)]


def test_the_number_of_a_row_is_no_name():
    """The mutant: rows named by their place. One row more on top moves others from part to part."""
    rows = [("f", age % 4) for age in range(40)]
    tables = []
    for table in (rows, [("m", 0), *rows]):
        typed = frame(table)
        tables.append(parted(STUDY, typed, pd.Series(range(len(typed))).astype(str), b"key"))
    assert sum(gained + lost for gained, lost in differences(*tables)) > 1


def test_a_split_by_the_rows_of_others_is_seen(monkeypatch):
    """The mutant: hold out a fixed share of however many units there are."""
    monkeypatch.setattr(split, "split_holdout", lambda ids, _key, share: np.arange(len(ids)) < share * len(ids))
    people = [(f"p{number}", [("f", number % 4)]) for number in range(10)]
    tables = [parted(STUDY, *with_key(table), b"") for table in (people, [*people, ("new", [("m", 3)])])]
    tables += [parted(STUDY, *with_key(table), b"") for table in (people[:8], people[:7])]
    assert sorted(differences(*tables[:2])) + sorted(differences(*tables[3:1:-1])) != [(0, 0), (1, 0)] * 2


def test_nobody_is_in_both_parts_or_in_none():
    people = [(f"p{number}", [("fm"[number % 2], number % 4)]) for number in range(200)]
    of = parted(STUDY, *with_key(people), b"key")
    every = Counter({((row),): 50 for row in [(0, 0), (1, 1), (0, 2), (1, 3)]})
    assert multiset(of.train) + multiset(of.holdout) == every
    assert of.train.owner.size + of.holdout.owner.size == of.rows == 200
    assert 40 < of.holdout.owner.size < 120  # .4 of 200, six standard deviations


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_simulation_may_hold_back_another_share(share):
    of = parted(STUDY, *with_key([(f"p{number}", [("f", 0)]) for number in range(100)]), b"key", share)
    assert (of.holdout.owner.size == 0) == (share == 0)
