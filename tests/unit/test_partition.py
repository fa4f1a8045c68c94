"""Splits keep units whole, are a function of the seed, and refuse what cannot name a folder."""

import numpy as np
import pandas as pd
import pytest

from silosynth.common.errors import InvalidData, InvalidInput
from silosynth.simulations.partition import ByColumn, Even, Uneven, assign, check_name, joined, parse, site_names


def people(units=300, most=4):
    rng = np.random.default_rng(5)
    rows = rng.integers(1, most + 1, units)
    ids = pd.Series(np.repeat([f"p{i}" for i in range(units)], rows))
    label = pd.Series(np.repeat(rng.integers(0, 2, units).astype(str), rows))
    return ids, label


def test_the_three_ways_to_say_it():
    assert parse("HOSPITAL") == ByColumn("HOSPITAL")
    assert parse("5") == Even(5)
    assert parse("5:dirichlet=0.5:DIED") == Uneven(5, 0.5, "DIED")
    assert parse("3:dirichlet=2:a:b") == Uneven(3, 2.0, "a:b")


@pytest.mark.parametrize(
    "text", ["0", "5000", "5:dirichlet=0:X", "5:dirichlet=-1:X", "5:dirichlet=x:X", "5:dirichlet=.5"]
)
def test_what_is_no_split(text):
    with pytest.raises(InvalidInput, match="--sites"):
        parse(text)


@pytest.mark.parametrize("split", [Even(5), Uneven(5, 0.5, "label")])
def test_units_stay_whole_and_the_seed_decides(split):
    ids, label = people()
    named = assign(split, label, ids, seed=1)
    assert pd.DataFrame({"unit": ids, "site": named}).drop_duplicates()["unit"].is_unique
    assert set(named) <= set(site_names(5))
    assert named.equals(assign(split, label, ids, seed=1))
    assert not named.equals(assign(split, label, ids, seed=2))


def test_even_sites_have_equally_many_units():
    ids, _ = people()
    assert (
        pd.Series(ids.unique()).map(dict(zip(ids, assign(Even(7), None, ids, 0), strict=True))).value_counts().max()
        == 43
    )


def test_a_small_dirichlet_parameter_makes_unlike_sites():
    """Total variation between sites' label rates; at 100 the sites are alike, at 0.1 they are not."""
    ids, label = people(2000, 1)

    def spread(alpha):
        named = assign(Uneven(5, alpha, "label"), label, ids, seed=3)
        sizes = named.value_counts(normalize=True).reindex(site_names(5), fill_value=0)
        return sizes.max() - sizes.min()

    assert spread(0.1) > 0.2
    assert spread(1000) < 0.1


def test_several_columns_are_spread_by_combinations_of_their_values():
    """With a tiny Dirichlet parameter a combination has one site; with one column all of its combinations would."""
    assert parse("5:dirichlet=0.3:sex,ill").columns == ("sex", "ill")
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({name: rng.choice(["", "a", "ab", "b"], 3000) for name in ("sex", "ill")})
    ids = pd.Series(range(3000)).astype(str)
    rows["site"] = assign(Uneven(5, 1e-3, "sex,ill"), joined(rows), ids, seed=1)
    mostly_at_one = rows.groupby(["sex", "ill"])["site"].agg(lambda named: named.value_counts(normalize=True).iloc[0])
    assert mostly_at_one.min() > 0.99
    assert rows.groupby("sex")["site"].nunique().min() > 1
    assert joined(rows[[]]) is None


def test_by_column_takes_the_values_as_names():
    values = pd.Series([" Boston", "St. Mary", "Boston"])
    assert assign(ByColumn("h"), values, values, 0).tolist() == ["Boston", "St. Mary", "Boston"]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (["a", None], "row 2: no site"),
        (["a", " "], "row 2: no site"),
        (["a", "A"], "upper and lower case"),
        (["a", "b/c"], "cannot name a site"),
        (["a", ".."], "cannot name a site"),
        ([str(i) for i in range(1001)], "more than 1000 sites"),
    ],
)
def test_what_cannot_name_a_site(values, match):
    column = pd.Series(values, dtype=object)
    with pytest.raises((InvalidData, InvalidInput), match=match):
        assign(ByColumn("h"), column, column.fillna(""), 0)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a\\b", "-x", "x" * 65, "a.", "a\n", "é"])
def test_names_that_are_no_folders(name):
    with pytest.raises(InvalidInput):
        check_name(name)
