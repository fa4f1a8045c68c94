"""What a score says about itself: its place between floor and ceiling, and its JSON."""

import json

import numpy as np
import pytest

from silosynth.common.evaluate.outcome import MOST_CLASSES, Outcome, outcome_of
from silosynth.common.evaluate.scores import Matched, Score, Scores, summary, way
from silosynth.common.evaluate.tables import binning
from silosynth.common.schema import Column, Kind


def test_the_way_from_floor_to_ceiling_is_taken_on_samples_of_one_size() -> None:
    better_low = Score(0.016, 0.12, 0.024, (0.015, 0.017), "lower", "", Matched(100, 0.030, 0.126, 0.024))
    assert better_low.rescaled == pytest.approx(100 * (0.126 - 0.030) / (0.126 - 0.024))
    assert Score(0.9, 0.5, 0.9, None, "higher", "").rescaled == pytest.approx(100)
    assert Score(0.4, 0.5, 0.9, None, "higher", "").rescaled == pytest.approx(-25)


@pytest.mark.parametrize(
    "score",
    [
        Score(0.99, 1.0, 0.993, None, "higher", ""),  # independent columns do better than real rows
        Score(0.5, 0.5, 0.505, None, "higher", ""),
        Score(0.5, 0.4, None, None, "higher", ""),
        Score(0.1, 0.0, 0.3, None, "lower", ""),
    ],
)
def test_a_score_that_cannot_tell_has_no_place(score: Score) -> None:
    assert score.rescaled is None
    assert way(score) is None


def test_nothing_is_said_to_be_better_than_the_ceiling_or_worse_than_the_floor_by_so_many_percent() -> None:
    assert way(Score(0.3, 0.5, 0.9, None, "higher", "")) == "below floor"
    assert way(Score(0.95, 0.5, 0.9, None, "higher", "")) == "past ceiling"
    assert way(Score(0.7, 0.5, 0.9, None, "higher", "")) == "50 %"


def test_json_of_an_empty_evaluation_is_still_a_metrics_file() -> None:
    out = Scores({}, {"synthetic": 7}).to_json()
    assert json.loads(json.dumps(out, allow_nan=False))["scores"] == {}
    assert out["format"] == 1
    assert all("not measured" in line for line in summary(Scores({}, {}))[1:])


def test_a_rare_code_is_the_positive_class_and_unknown_codes_are_of_none() -> None:
    column = Column("died", Kind.CATEGORICAL, codes=("yes", "no"))
    outcome = outcome_of(column, column.labels, np.array([0, 1, 1, 1, -1], dtype=np.int32))
    assert isinstance(outcome, Outcome)
    assert outcome.words == "died = yes: 25.0% of training rows"
    np.testing.assert_array_equal(outcome(np.array([0, 1, 2, -1])), [1, 0, -1, -1])


def test_many_codes_become_ten_classes_of_which_the_last_pools_the_rarest() -> None:
    column = Column("code", Kind.CATEGORICAL, codes=tuple("abcdefghijklm"))
    train = np.repeat(np.arange(13), np.arange(13, 0, -1)).astype(np.int32)
    outcome = outcome_of(column, column.labels, train)
    assert isinstance(outcome, Outcome)
    assert outcome.classes == MOST_CLASSES
    assert outcome(np.array([0, 8, 9, 12])).tolist() == [0, 8, 9, 9]
    assert "4 rarest" in outcome.words


@pytest.mark.parametrize(
    ("values", "threshold", "words"),
    [
        ([0, 0, 0, 5, 9, np.nan], 0, "lowest value"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 6, "median"),
        ([1, 2, 3, 4] + [9] * 40, 4, "median"),  # the median is the highest value: nothing lies above it
    ],
)
def test_a_number_is_asked_about_above_its_spike_or_its_median(
    values: list[float], threshold: float, words: str
) -> None:
    outcome = outcome_of(Column("x", Kind.NUMBER, low=0, high=99), (), np.array(values, dtype=np.float64))
    assert isinstance(outcome, Outcome)
    assert outcome.threshold == threshold
    assert words in outcome.words
    assert outcome(np.array([threshold, threshold + 1, np.nan])).tolist() == [0, 1, -1]


def test_a_constant_target_is_no_question() -> None:
    assert isinstance(outcome_of(Column("x", Kind.NUMBER, low=0, high=9), (), np.full(9, 3.0)), str)
    column = Column("c", Kind.CATEGORICAL, codes=("a", "b"))
    assert isinstance(outcome_of(column, column.labels, np.zeros(9, dtype=np.int32)), str)


def test_bins_are_at_most_twenty_of_equal_frequency_and_missing_is_apart() -> None:
    values = np.append(np.random.default_rng(0).lognormal(size=4000), [np.nan, np.nan])
    bins = binning(values, ())
    counts = np.bincount(bins(values), minlength=bins.size)
    assert bins.size == 21
    assert counts[-1] == 2
    assert (np.abs(counts[:-1] - 200) <= 1).all()
