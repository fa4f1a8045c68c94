"""What is to be expected of a study, from what was measured on others: pure arithmetic over a record."""

import math
from dataclasses import replace

import pytest
from engine_fixtures import study
from made import silosynth

from silosynth.common import scale
from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.plan import resolve
from silosynth.common.study_file import write_study
from silosynth.simulations.forecast import NEAREST, Known, Range, forecast


def known(units, kept, engine="marginals", columns=4, epsilon=1.0, **more):
    return Known(f"t{units}", engine, epsilon, units, columns, more.get("rate", 0.2), kept, 0.1, 0.3)


RECORD = tuple(known(1000 * 2**at, 0.5 + at / 20) for at in range(10))


def asked(units=1000, epsilon=1.0, engine="marginals", **more):
    return replace(study(epsilon, **more), engine=engine, target="smoker", units=units, plan=())


def test_it_is_the_median_and_the_range_of_the_nearest():
    found = forecast(asked(1000), RECORD, sites=3)
    values = [one.kept for one in RECORD[:NEAREST]]
    assert found.kept == Range.of(values) == Range(pytest.approx(0.675), 0.5, pytest.approx(0.85))
    assert found.like[0] == "t1000 at epsilon 1"
    assert len(found.like) == NEAREST


def test_more_epsilon_counts_as_more_units_and_other_engines_not_at_all():
    more = forecast(asked(1000, epsilon=512.0), RECORD, sites=3)
    assert more.like[0] == "t512000 at epsilon 1"
    mixed = (*RECORD, known(1000, 0.0, engine="gan"))
    assert forecast(asked(1000), mixed, sites=3).kept == forecast(asked(1000), RECORD, sites=3).kept
    with pytest.raises(NotPossible, match="nothing of it is in the benchmark"):
        forecast(asked(engine="autoregressive"), RECORD, sites=3)


def test_columns_and_a_known_rate_move_it():
    wide = tuple(replace(one, columns=100, kept=0.1) for one in RECORD)
    assert forecast(asked(), (*RECORD, *wide), sites=3).kept.value > 0.5
    rare = tuple(replace(one, rate=0.01, kept=0.0) for one in RECORD)
    assert forecast(asked(), (*RECORD, *rare), sites=3, rate=0.01).kept.value == 0.0
    assert forecast(asked(), (*RECORD, *rare), sites=3, rate=0.2).kept.value > 0.5


def test_the_smallest_group_is_that_of_the_plan_s_noise():
    found = forecast(asked(), RECORD, sites=3)
    planned = resolve(asked(), study(1.0).roster)
    variance = scale.site_variance(scale.histogram_sensitivity(4), planned.plan[0].multiplier, 2)
    assert found.smallest == pytest.approx(4 * math.sqrt(3 * variance) / scale.HISTOGRAM_GRID)
    assert forecast(asked(epsilon=10.0), RECORD, sites=3).smallest < found.smallest / 5


def test_it_says_when_there_is_too_little_and_when_nothing_is_like_it():
    poor = tuple(replace(one, kept=0.2) for one in RECORD)
    assert any("Too few units" in line for line in forecast(asked(), poor, sites=3).lines())
    assert not any("Too few units" in line for line in forecast(asked(), RECORD, sites=3).lines())
    far = list(forecast(asked(5), RECORD, sites=3).lines())
    assert "Nothing like this study was measured" in far[1]
    without = forecast(replace(asked(), target=None), RECORD, sites=3)
    assert without.kept is None
    assert not any("signal" in line for line in without.lines())


def test_the_number_of_units_must_be_said():
    with pytest.raises(InvalidStudy, match="--units"):
        forecast(asked(units=None), RECORD, sites=3)


def test_the_command_reads_no_rows_and_tells_where_its_numbers_come_from(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(write_study(replace(asked(units=None, engine="auto"), roster=(), settings=())))
    missing = silosynth("study", "forecast", file)
    assert missing.returncode == 2
    assert "--units" in missing.stderr or "'units'" in missing.stderr
    run = silosynth("study", "forecast", file, "--units", "5000")
    assert run.returncode == 0, run.stderr
    assert "engine marginals, 5,000 units, 4 columns, epsilon 1" in run.stdout
    assert "signal kept" in run.stdout
    assert " at epsilon " in run.stdout
