"""What a person reads: progress that never falls silent, and a price in words."""

import io
import time
from dataclasses import replace

import pytest
from small_study import study as small

from silosynth.common.engines import CODECS
from silosynth.common.study import Trust
from silosynth.simulations import chosen as choices
from silosynth.simulations import cli, cli_site_books
from silosynth.simulations.chosen import chosen
from silosynth.simulations.console import progress

PAPER = {
    "delta": 1e-5,
    "unit": "person: key",
    "epsilon": {"aggregate": 0.99999, "local": 2.345},
    "holds_against": {"aggregate": "the public", "local": "everybody else"},
    "noise": "discrete Gaussian from the operating system's randomness",
}


STUDY = replace(small(), roster=(), plan=())


def test_both_epsilons_are_told_with_their_adversaries():
    lines = cli._price(PAPER)
    assert lines[1].split() == ["1.00", "against", "the", "public"]
    assert lines[2].split() == ["2.35", "against", "everybody", "else"] or "2.34" in lines[2]
    assert not any("NO PRIVACY" in line for line in lines)


def test_no_privacy_is_said_aloud():
    paper = PAPER | {"epsilon": {"aggregate": "inf", "local": "inf"}, "noise": "none: NO PRIVACY"}
    assert "NO PRIVACY" in cli._price(paper)[-1]


def test_progress_is_never_silent_for_two_seconds():
    """A job that says one word and then works for four seconds: a line comes at least every two."""
    stream, seen = io.StringIO(), []
    with progress(quiet=False, stream=stream) as shown:
        shown("gradient", 3, 50, "epsilon 0.10 of 1 spent")
        began = time.monotonic()
        while time.monotonic() - began < 4:
            seen.append(len(stream.getvalue().splitlines()))
            time.sleep(0.05)
    per_window = [seen[at + 39] - seen[at] for at in range(len(seen) - 40)]
    assert min(per_window) >= 1
    first = stream.getvalue().splitlines()[0]
    assert "gradient, 4 of 50" in first
    assert "epsilon 0.10 of 1 spent" in first


def test_time_left_follows_from_the_steps_of_the_phase():
    stream = io.StringIO()
    with progress(quiet=False, stream=stream) as shown:
        shown("gradient", 2, 52)
        time.sleep(1.1)
        shown("gradient", 12, 52)  # 10 steps in 1.1 s: 40 steps to go
    assert "about 4 s left" in stream.getvalue()


def test_quiet_is_quiet():
    stream = io.StringIO()
    with progress(quiet=True, stream=stream) as shown:
        shown("sample", 1, 2)
    assert stream.getvalue() == ""


def test_a_site_is_found_by_name_or_by_its_own_folder(tmp_path):
    for name in ("North", "South"):
        (tmp_path / "sites" / name).mkdir(parents=True)
        (tmp_path / "sites" / name / "ledger.sqlite").touch()
    assert cli_site_books.ledger_of(tmp_path, "South") == tmp_path / "sites" / "South" / "ledger.sqlite"
    own = tmp_path / "sites" / "North"
    assert cli_site_books.ledger_of(own, None) == own / "ledger.sqlite"
    for folder, name in ((tmp_path, None), (tmp_path, "East"), (tmp_path / "nowhere", None)):
        with pytest.raises(cli.InvalidInput):
            cli_site_books.ledger_of(folder, name)


def test_what_is_chosen_becomes_the_study():
    same, notes = chosen(STUDY)
    assert (same, notes) == (STUDY, ())
    study, notes = chosen(STUDY, engine=STUDY.engine, trust="local", epsilon=2)
    assert (study.trust, study.budget.epsilon, study.settings, notes) == (Trust.LOCAL, 2.0, STUDY.settings, ())
    assert study.digest != STUDY.digest


def test_settings_of_one_engine_are_dropped_with_a_word_for_another(monkeypatch):
    monkeypatch.setattr(choices, "CODECS", {**CODECS, "other": None})
    tuned = replace(STUDY, settings=(("steps", 3.0),))
    study, notes = chosen(tuned, engine="other")
    assert (study.engine, study.settings) == ("other", ())
    assert "steps" in notes[0]
    assert chosen(replace(STUDY, settings=()), engine="other")[1] == ()


@pytest.mark.parametrize(
    ("choice", "said"),
    [({"engine": "oracle"}, "autoregressive"), ({"trust": "blind"}, "secure-sum"), ({"epsilon": 0.0}, "above 0")],
)
def test_a_choice_there_is_not_names_the_option_and_what_there_is(choice, said):
    with pytest.raises(cli.InvalidInput, match=f"--{next(iter(choice))} .*{said}"):
        chosen(STUDY, **choice)
