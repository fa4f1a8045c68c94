"""Each optional part of the report: there where it was measured, absent without a trace where it was not."""

import math
from dataclasses import fields, replace

import described_made as made
import numpy as np
import pytest
from test_report import outline

from silosynth.common.certificate import Noise
from silosynth.common.evaluate import metrics_file, report
from silosynth.common.evaluate.details import roc_points
from silosynth.common.evaluate.formal import adversaries
from silosynth.common.evaluate.scores import Bar, ColumnDetail, PairDetail, Score, Scores
from silosynth.common.evaluate.sections import RareCode, Scope, Sections
from silosynth.common.study import Trust

HEADINGS = {
    "curves": "Models trained on synthetic rows",
    "subgroups": "Subgroups",
    "rare": "Rare codes",
    "attacks": "Attacks",
    "federated": "Measured across sites",
    "audit": "The promise, tried out",
}


def page(scores=None, *, study=None, claims=None, scope=Scope.SIMULATION):
    of = study or made.study()
    return report.render(made.metrics(scores, scope=scope), claims or made.claims(of), of)


def said(html):
    """All text in it; any white space is a space."""
    return " ".join(" ".join(outline(html).text).split())


def test_the_same_files_give_the_same_bytes_and_so_does_what_was_read_back():
    metrics = metrics_file.read(metrics_file.to_json(made.metrics()))
    first, second = (report.render(metrics, made.claims(), made.study()) for _ in range(2))
    again = metrics_file.read(metrics_file.to_json(metrics))
    assert first == second == report.render(again, made.claims(), made.study())


@pytest.mark.parametrize("name", [one.name for one in fields(Sections)])
def test_a_part_is_there_with_its_heading_or_not_at_all(name):
    columns = (ColumnDetail("age", "integer", 0.97, 0.02, 0.01, (0.0, 0.01), (Bar("0", 1.0, 1.0),)),)
    bare = made.scores(columns=columns, pairs=(), sections=Sections())
    with_it = replace(bare, sections=replace(Sections(), **{name: getattr(made.sections(), name)}))
    assert HEADINGS[name] in said(page(with_it))
    assert HEADINGS[name] not in said(page(bare))


def test_evil_names_are_text_in_every_part():
    parsed = outline(page())
    assert not any(tag == "script" for tag, _ in parsed.seen)
    assert not any(name.startswith("on") for _, attributes in parsed.seen for name in attributes)
    assert "".join(parsed.text).count(made.EVIL) > 8


def test_an_attack_says_who_was_found_and_beside_whom():
    text = said(page())
    assert "▲ found members" in text
    assert "nobody found" in text
    assert "100 % lower (99 to 100 %)" in text
    assert "Linkability: not run, fewer than four columns" in text
    assert "one such page in 1,000" in text
    assert "1 of 2" in text  # on the privacy card


def test_a_federated_score_says_whether_its_interval_covers_the_exact_one():
    text = said(page())
    assert "Covered" in text
    federated = made.sections().federated
    blind = replace(federated, rows=tuple(replace(one, exact=None) for one in federated.rows))
    scores = made.scores(sections=replace(Sections(), federated=blind))
    assert "Covered" not in said(page(scores))


def test_rare_codes_are_kept_lost_or_under_the_noise():
    text = said(page())
    assert "kept" in text
    assert "under the noise: nobody can say" in text
    lost = said(page(made.scores(sections=replace(Sections(), rare=(RareCode("stage", "3", 0.01, 0.0),)))))
    assert "lost: no synthetic row has it" in lost
    from_columns = said(page(made.scores(sections=Sections())))  # the codes that columns lost
    assert f"{made.EVIL} = b 1.00 % 0.00 %" in from_columns


def test_a_score_that_nobody_described_is_still_shown():
    text = said(page())
    assert "Other scores" in text
    assert "a new score" in text


def test_a_long_family_and_many_columns_are_folded():
    many = {f"score_{at}": Score(0.5, 0.0, 1.0, None, "higher", "") for at in range(20)}
    columns = tuple(ColumnDetail(f"c{at}", "number", 0.9, 0.1, 0.05, (0, 0), (Bar("0", 1, 1),)) for at in range(30))
    parsed = outline(page(Scores(many, {}, columns=columns)))
    text = " ".join(parsed.text)
    assert "12 more scores: Other scores" in text
    assert "18 more columns" in text
    assert sum(tag == "figure" for tag, _ in parsed.seen) == 31  # and the trade-off of the promise


@pytest.mark.parametrize("scope", list(Scope))
def test_who_may_read_it_stands_at_its_top(scope):
    html = page(scope=scope)
    stamped = scope is Scope.SITE
    assert (said(html).count(report.FOR_ONE_SITE) == 3) == stamped  # on the screen, in words, on each sheet of paper
    assert ("@top-center" in html) == stamped
    assert ("Real rows were pooled" in html) == (scope is Scope.SIMULATION)
    assert ("Made without real rows" in html) == (scope is Scope.RELEASE)


def test_the_promise_is_the_gaussian_trade_off_and_never_said_smaller():
    stats = pytest.importorskip("scipy.stats")
    everybody = adversaries(made.claims())
    assert len(everybody) == 3
    for one, shares in zip(everybody, (2, 2, 1), strict=True):  # two honest sites share the noise
        assert one.mu == pytest.approx(math.sqrt(2 / shares * (1 / 400 + 50 * 4 / 73**2)))
        assert one.advantage == pytest.approx(2 * stats.norm.cdf(one.mu / 2) - 1)
        assert one.found[0.01] == pytest.approx(stats.norm.cdf(stats.norm.ppf(0.01) + one.mu))
        assert one.guess == pytest.approx((1 + one.advantage) / 2)
        assert all(low <= high for low, high in one.curve)
        assert all(line in said(page()) for line in one.words)
    assert page().count("No attack lies above") == 1


def test_nothing_is_promised_without_noise_and_one_line_where_nobody_is_trusted():
    text = said(page(claims=made.claims(noise=Noise.NONE)))
    assert "Nothing is promised to anybody" in text
    assert "No attack lies above" not in text
    local = page(study=made.study(trust=Trust.LOCAL))
    assert "The coordinator and all other sites together" in said(local)
    whole = local[local.index("No attack lies above") :]
    assert whole[: whole.index("</figure>")].count("ε =") == 2  # the line, and what is said of the drawing


def test_the_manifest_lists_every_hash_but_its_own():
    claims = made.claims() | {
        "artefacts": {"synthetic.csv": "ab" * 32, "report.html": "cd" * 32},
        "receipts": {"North": {"receipt": {"head": {"number": 17, "hash": "ef" * 32}}, "signature": None}},
    }
    text = said(page(claims=claims))
    assert "ab" * 32 in text
    assert "cd" * 32 not in text
    assert "ef" * 32 in text
    assert "not signed" in text


def test_roc_points_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    scores, cases = rng.normal(size=400).round(1), rng.random(400) < 0.3  # with ties
    points = np.array(roc_points(scores, cases))
    assert (points[0] == 0).all()
    assert (points[-1] == 1).all()
    assert (np.diff(points, axis=0) >= 0).all()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(metrics.roc_auc_score(cases, scores), abs=0.005)


def test_a_hundred_columns_with_everything_stay_small():
    bars = tuple(Bar(f"{at} to {at + 1}", 0.04, 0.04) for at in range(24))
    columns = tuple(ColumnDetail(f"column {at}", "number", 0.9, 0.1, 0.05, (0, 0), bars) for at in range(200))
    pairs = tuple(PairDetail(a, b, 0.1, 0.2) for a in range(100) for b in range(a))
    assert len(page(made.scores(columns=columns, pairs=pairs)).encode()) < 3_000_000
