"""The report: safe, self-contained, honest about what it is, and readable by a machine that reads aloud."""

import itertools
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from silosynth.common.evaluate import Budget, Scores, evaluate, marks
from silosynth.common.evaluate import report as module
from silosynth.common.evaluate.figures import epsilon
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.scores import Bar, ColumnDetail, PairDetail, Score
from silosynth.common.evaluate.sections import Scope
from silosynth.common.evaluate.utility import Limits
from silosynth.common.evaluate.words import limits, no_privacy
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget as Cost
from silosynth.common.study import Member, Step, Study

EVIL = "<script>alert(1)</script>\"'&{x}$y"

VOID = {"meta"}


def report(scores: Scores, certificate: Any, study: Study | None = None, notes: tuple[str, ...] = ()) -> str:
    return module.render(Metrics(scores, Scope.SIMULATION, 1, "2026-01-02", notes), certificate, study)


class Outline(HTMLParser):
    """Checks that every element is closed, and collects what a test asks about."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    parsed.close()
    assert not parsed.open
    return parsed


def certificate(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "study": "ab" * 32,
        "name": "six sites",
        "unit": "person: zper",
        "delta": 1e-5,
        "epsilon": {"aggregate": 0.9991, "local": 2.4402},
        "assumptions": {"sites": 6, "colluders": 1, "threshold": 6},
        "events": [
            {
                "kind": "step",
                "count": 50,
                "mechanism": "gaussian",
                "multiplier": "73/2",
                "shares": 5,
                "mu_squared": {"aggregate": "200/5329", "local": "1000/5329"},
            }
        ],
        "aggregation": "plain-sum",
        "noise": "discrete Gaussian from the operating system's randomness",
    } | changes


@pytest.fixture(scope="module")
def scored() -> Scores:
    pytest.importorskip("sklearn")
    schema = Schema(
        (
            Column(EVIL, Kind.CATEGORICAL, codes=(EVIL, "b", "rare")),
            Column("n", Kind.NUMBER, low=-9, high=9),
            Column("day", Kind.DATE, low=0, high=30_000),
        )
    )

    def rows(many: int, seed: int, codes: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        code = rng.integers(0, codes, many)
        return pd.DataFrame(
            {
                EVIL: pd.Categorical.from_codes(code, list(schema.columns[0].labels)),
                "n": rng.normal(size=many) + code,
                "day": np.where(rng.random(many) < 0.2, np.nan, np.round(rng.normal(15_000, 300, many))),
            }
        )

    budget = Budget(models=Limits(300, 300, 300), detection=150)
    return evaluate(schema, rows(300, 1, 3), rows(200, 2, 3), rows(250, 3, 2), EVIL, seed=0, budget=budget)


def study_of(scores: Scores) -> Study:
    columns = tuple(Column(one.name, Kind.NUMBER, low=0, high=1) for one in scores.columns)
    roster = tuple(Member(name, 9) for name in ("Dayton", EVIL))
    return Study(EVIL, Schema(columns), Cost(1.0, 1e-5, 1), roster=roster, plan=(Step("step", 1, Fraction(3)),))


def test_every_word_from_outside_is_escaped(scored: Scores) -> None:
    page = report(scored, certificate(name=EVIL, unit=EVIL, noise=EVIL), study_of(scored), (EVIL,))
    parsed = outline(page)
    assert not any(tag == "script" for tag, _ in parsed.seen)
    assert EVIL in "".join(parsed.text)
    assert not any(name.startswith("on") for _, attributes in parsed.seen for name in attributes)


def test_nothing_is_fetched_and_the_page_forbids_it(scored: Scores) -> None:
    page = report(scored, certificate())
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    assert "default-src 'none'" in page
    assert not any(key in {"src", "srcset"} for _, attributes in outline(page).seen for key in attributes)
    assert len(page.encode()) < 3_000_000


def test_headings_drawings_and_links_are_accessible(scored: Scores) -> None:
    parsed = outline(report(scored, certificate(), study_of(scored)))
    tags = [tag for tag, _ in parsed.seen]
    assert tags.count("h1") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    drawings = [attributes for tag, attributes in parsed.seen if tag == "svg"]
    assert len(drawings) > 10
    assert all(one.get("aria-hidden") == "true" or (one["role"] == "img" and one["aria-label"]) for one in drawings)
    anchors = {attributes["href"] for tag, attributes in parsed.seen if tag == "a"}
    assert anchors == {f"#{attributes['id']}" for _, attributes in parsed.seen if "id" in attributes}
    assert ("html", {"lang": "en"}) in parsed.seen
    assert tags.count("caption") == tags.count("table")


def test_all_scores_stand_in_it_with_floor_and_ceiling(scored: Scores) -> None:
    said = " ".join(outline(report(scored, certificate())).text)
    for name in ("Signal kept", "Pair trends", "Two-way distance", "Detection AUC", "Exact copies", "Column shapes"):
        assert name in said
    for score in scored.scores.values():
        for number in (score.value, score.floor, score.ceiling):
            assert number is None or f"{number:.3f}" in said or f"{number:.4f}" in said
    assert "Simulation." in said
    assert "pooled" in said
    assert "rare" in said  # a code no synthetic row has


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"noise": "seeded: NO PRIVACY"}, "was seeded"),
        ({"noise": "none: NO PRIVACY"}, "without noise"),
        ({"epsilon": {"aggregate": "inf", "local": "inf"}}, "infinite"),
        ({"epsilon": {"aggregate": 1.0, "local": float("inf")}}, "infinite"),
        ({"epsilon": {}}, "infinite"),
    ],
)
def test_a_study_without_privacy_is_stamped(scored: Scores, changes: dict[str, Any], why: str) -> None:
    page = report(scored, certificate(**changes))
    said = "".join(outline(page).text)
    assert "NO PRIVACY" in said
    assert why in said
    assert 'role="alert"' in page
    assert "Not to be cited" in said
    assert "best possible attacker guesses" not in said


def test_a_private_study_is_not_stamped_and_shows_both_epsilons(scored: Scores) -> None:
    said = "".join(outline(report(scored, certificate())).text)
    assert no_privacy(certificate()) is None
    assert "NO PRIVACY" not in said
    assert "ε = 1.00" in said
    assert "2.45" in said  # never rounded down


def test_an_epsilon_is_never_shown_smaller_than_it_is() -> None:
    assert [epsilon(value) for value in (1.0, 1.001, 0.9991, "inf", None)] == ["1.00", "1.01", "1.00", "∞", "—"]


def test_an_unscored_study_and_a_strange_certificate_still_have_a_page() -> None:
    said = "".join(outline(report(Scores({}, {"synthetic": 10}), certificate())).text)
    assert "Not scored" in said
    assert "run without scores" in said
    outline(report(Scores({}, {}), {}))


def test_a_wide_table_stays_small() -> None:
    bars = tuple(Bar(f"{at} to {at + 1}", 0.04, 0.04) for at in range(24))
    columns = tuple(ColumnDetail(f"column {at}", "number", 0.9, 0.1, 0.05, (0.0, 0.0), bars) for at in range(200))
    pairs = tuple(PairDetail(a, b, 0.1, 0.2) for a in range(200) for b in range(a))
    page = report(Scores({}, {}, columns=columns, pairs=pairs), certificate())
    outline(page)
    assert len(page.encode()) < 3_000_000


def test_limits_name_what_is_wrong() -> None:
    def score(value: float, floor: float, ceiling: float, better: Any = "higher") -> Score:
        return Score(value, floor, ceiling, (value, value), better, "")

    bad = Scores(
        {
            "tstr_signal_kept": score(0.4, 0, 1),
            "pair_trends": score(0.8, 0.75, 0.98),
            "tvd3": score(0.14, 0.15, 0.05, "lower"),
            "detection_auc": score(0.97, 0.98, 0.5, "lower"),
            "copies": score(0.3, 0, 0.01, "lower"),
        },
        {"holdout": 90},
        ("a note",),
        columns=(ColumnDetail("cost", "number", 0.5, 0.4, 0.01, (0, 0), (), (("xyz", 0.01),)),),
    )
    said = "\n".join(limits(bad))
    for words in (
        "40%",
        "22 %",
        "three columns",
        "0.97",
        "30.00%",
        "cost (0.40)",
        "xyz (1.00%)",
        "90 held-out",
        "A note.",
    ):
        assert words in said
    good = Scores({"tstr_signal_kept": score(0.95, 0, 1)}, {"holdout": 5000})
    assert len(limits(good)) == 1


def test_a_scale_shows_the_interval_of_its_place_which_counts_the_luck_of_its_ends():
    alone = Score(0.5, 0.0, 1.0, (0.4, 0.6), "higher", "")
    both = replace(alone, between=(25.0, 75.0))
    assert "M100.8 14H139.2" in marks.scale(alone, "s")
    assert "M72.0 14H168.0" in marks.scale(both, "s")
