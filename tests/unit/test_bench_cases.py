"""The benchmark's tables: units stay whole, hold-outs stay the same, wide tables are of real columns."""

import warnings

import numpy as np
import pandas as pd
import pytest

from silosynth.common.column import Column, Kind
from silosynth.common.errors import InvalidInput
from silosynth.common.schema import Schema
from silosynth.common.study import Budget, Study
from silosynth.simulations.bench import cases, tables
from silosynth.simulations.bench.tables import Case

STUDIES = ("adult", "ist", "credit_default", "sdnist", "diabetes130")


def _case(unit: str | None = "person") -> Case:
    study = Study("made", Schema((Column("a", Kind.INTEGER, low=0, high=999),)), Budget(1.0, 1e-5, 1), unit=unit)
    person = np.repeat(np.arange(200), 1 + np.arange(200) % 3)
    table = pd.DataFrame({"person": person.astype(str), "a": np.arange(len(person)).astype(str)})
    return Case(study, {name: table[person % 4 == at].reset_index(drop=True) for at, name in enumerate("wxyz")})


def _persons(case: Case) -> tuple[set[str], set[str]]:
    return set(pd.concat(case.sites.values())["person"]), set(case.holdout["person"])


def test_a_fifth_of_the_units_is_held_out_and_none_is_on_both_sides():
    train, held = _persons(cases.held_out(_case(), 0))
    assert not train & held
    assert len(held) == 40
    assert len(train) == 160
    assert _persons(cases.held_out(_case(), 1))[1] != held


def test_a_hold_out_that_is_given_is_kept():
    given = cases.held_out(_case(), 0)
    assert cases.held_out(given, 7) is given


def test_a_subsample_has_whole_units_all_sites_and_the_same_hold_out():
    whole = cases.held_out(_case(), 0)
    some = cases.subsample(whole, 100, 0)
    assert 100 <= sum(map(len, some.sites.values())) < 103
    assert list(some.sites) == list(whole.sites)
    assert some.holdout is whole.holdout
    taken, all_rows = pd.concat(some.sites.values()), pd.concat(whole.sites.values())
    per_person = all_rows["person"].value_counts()
    counted = taken["person"].value_counts()
    assert (counted == per_person[counted.index]).all()


def test_rows_are_units_without_a_person():
    given = cases.held_out(_case(unit=None), 0)
    assert sum(map(len, cases.subsample(given, 57, 3).sites.values())) == 57
    assert sum(map(len, cases.subsample(given, 10**6, 3).sites.values())) == sum(map(len, given.sites.values()))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_sound_and_nothing_in_it_was_taken_from_rows(name):
    study = tables.defined(name)
    assert study.target == study.schema.names[-1]
    assert not study.schema.unreviewed


def test_chapters_of_diagnoses():
    codes = pd.Series(["250.83", "249", "251", "008", "V57", "E885", "999", None, "414"])
    found = tables.chapters(codes)
    assert list(found[:7]) == [
        "diabetes",
        "endocrine",
        "endocrine",
        "infectious",
        "supplementary",
        "external",
        "injury",
    ]
    assert found.isna()[7]
    assert found[8] == "circulatory"


def test_an_unknown_table_is_refused():
    with pytest.raises(InvalidInput, match="no table of the benchmark"):
        cases.case("adults", 0)
    with pytest.raises(InvalidInput, match="no table of the benchmark"):
        cases.case("adult@many", 0)


def test_every_table_fits_its_study_and_its_target_has_two_values():
    """Codes and bounds were written down without looking: hardly a value falls outside them."""
    found = {name: cases.case(name, 0) for name in ("credit_default", "sdnist", "ist-ISC14@2000")}
    if None in found.values():
        pytest.skip("the public tables are not here")
    for case in found.values():
        names = list(case.study.schema.names)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            conformed = case.study.schema.conform(case.holdout[names], source="hold-out")
        assert all(one.unknown < 0.02 * len(case.holdout) for one in conformed.counts)
        assert all(one.out_of_bounds == 0 for one in conformed.counts)
        target = conformed.frame[case.study.target]
        assert target.notna().all()
        assert target.nunique() == 2
    assert sum(map(len, found["ist-ISC14@2000"].sites.values())) == 2000


def test_a_wide_table_is_joined_in_the_order_of_age():
    case = cases.case("wide-100", 0)
    if case is None:
        pytest.skip("the public tables are not here")
    table = pd.concat(case.sites.values())
    assert table.shape == (20_000, 100)
    assert len(case.holdout) == 5_000
    ages = table[["credit.AGE", "sdnist.AGEP"]].astype(float)
    assert ages.corr(method="spearman").iloc[0, 1] > 0.95
    clients = table[[name for name in table.columns if name.startswith("credit.")]]
    assert not pd.concat([clients, case.holdout[clients.columns]]).duplicated().mean() > 0.02
