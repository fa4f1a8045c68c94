"""Rows that are persons by what they hold are the same whenever a study is answered, or it is not answered."""

from dataclasses import replace

import pandas as pd
import pytest
import site_running

from silosynth.client.home import read_site
from silosynth.client.same_rows import check_same
from silosynth.common.errors import InvalidInput

KEY = b"k" * 32


@pytest.fixture
def home(tmp_path):
    made = site_running.sites(tmp_path)
    return made.homes["North"], made.study


def read(home, study):
    """What an agent that has just started reads."""
    return site_running.agent(home)._rows(study, read_site(home.config).source)


def changed(home, how):
    path = read_site(home.config).source.path
    how(pd.read_csv(path)).to_csv(path, index=False)


def older(rows):
    """One person is a year older than when the study began."""
    return rows.assign(age=rows["age"].where(rows.index != 3, rows["age"].iloc[3] - 1))


def test_rows_without_a_person_key_may_not_change_within_a_study(home):
    home, study = home
    study = replace(study, unit=None)
    before = read(home, study)
    changed(home, lambda rows: rows.sample(frac=1, random_state=1))
    again = read(home, study)  # in another order they are the same
    assert sorted(map(bytes, again.holdout.codes)) == sorted(map(bytes, before.holdout.codes))
    changed(home, older)
    with pytest.raises(InvalidInput, match="not those that this study began with"):
        read(home, study)
    assert read(home, replace(study, name="another")).rows == before.rows  # another study begins with them


def test_with_a_person_key_they_may_and_nobody_changes_parts(home):
    home, study = home
    before = read(home, study)
    changed(home, older)
    after = read(home, study)
    assert (len(set(after.train.owner)), len(set(after.holdout.owner))) == (
        len(set(before.train.owner)),
        len(set(before.holdout.owner)),
    )
    assert not home.rows(study.digest).exists()


def test_nothing_is_kept_where_nobody_is_asked_twice(home):
    home, study = home
    study = replace(study.training, unit=None)
    read(home, study)
    changed(home, older)
    read(home, study)


def test_what_is_kept_tells_nothing_without_the_key(tmp_path):
    names = pd.Series(["b-0", "a-0", "a-1"])
    check_same(tmp_path / "one", names, KEY)
    check_same(tmp_path / "one", names[::-1], KEY)
    check_same(tmp_path / "other", names, b"l" * 32)
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInput):
        check_same(tmp_path / "one", names[:2], KEY)
