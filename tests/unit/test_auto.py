"""Which engine `auto` becomes: from what is public of a study, before anybody approves it."""

from dataclasses import replace

import pytest
from engine_fixtures import study

from silosynth.common.engines.auto import PLENTY, WIDEST, settle
from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.plan import resolve
from silosynth.common.study import Trust
from silosynth.common.study_file import check, read_study, write_study


def asked(epsilon=1.0, units=10_000, **given):
    return replace(study(epsilon, **given), engine="auto", plan=(), units=units)


def test_few_units_or_a_tight_budget_make_it_tables_and_plenty_a_network():
    assert settle(asked(units=PLENTY - 1)).engine == "marginals"
    assert settle(asked(units=PLENTY)).engine == "autoregressive"
    assert settle(asked(epsilon=10.0, units=PLENTY // 10)).engine == "autoregressive"


def test_sites_that_trust_nobody_learn_apart():
    assert settle(replace(asked(units=None), trust=Trust.LOCAL)).engine == "autoregressive"


def test_a_wide_table_stays_with_tables():
    narrow = asked(units=10 * PLENTY)
    columns = narrow.schema.columns
    more = tuple(replace(columns[0], name=f"more {at}") for at in range(WIDEST + 1 - len(columns)))
    wide = replace(narrow, schema=replace(narrow.schema, columns=columns + more))
    assert (settle(narrow).engine, settle(wide).engine) == ("autoregressive", "marginals")


def test_an_engine_that_was_named_stays():
    named = replace(asked(), engine="gan")
    assert settle(named) is named


def test_a_plan_names_the_engine_and_sites_never_see_auto():
    of = asked()
    resolved = resolve(of, of.roster)
    assert resolved.engine == "marginals"
    assert resolved == resolve(replace(of, engine="marginals"), of.roster)
    with pytest.raises(NotPossible, match="'auto' is not in this version"):
        check(replace(resolved, engine="auto"))


def test_what_the_choice_needs_must_be_said():
    with pytest.raises(InvalidStudy, match=r"'units'.*about how many"):
        settle(asked(units=None))
    with pytest.raises(InvalidStudy, match="settings belong to one engine"):
        settle(replace(asked(), settings=(("bins", 12.0),)))


def test_it_is_written_and_read():
    of = replace(asked(), roster=())
    assert read_study(write_study(of), source="s") == of
