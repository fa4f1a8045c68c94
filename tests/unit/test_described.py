"""What is written beside a table, for catalogues and people: valid in its own format, and safe whatever names say."""

import json
import math
import re
import warnings
from dataclasses import replace

import described_made as made
import numpy as np
import pandas as pd
import pytest

from silosynth.common.certificate import Noise
from silosynth.common.croissant import CONFORMS_TO, File, croissant
from silosynth.common.errors import InvalidInput
from silosynth.common.evaluate import metrics_file, report
from silosynth.common.evaluate.found import attacks_of
from silosynth.common.evaluate.scores import Scores
from silosynth.common.evaluate.sections import Scope
from silosynth.common.model_card import model_card
from silosynth.common.readable_json import laid_out
from silosynth.common.sdv_metadata import sdv_metadata

FILES = {"synthetic.csv": File("ab" * 32, 12), "synthetic.parquet": File("cd" * 32, 34)}


def catalogue(**changes):
    return croissant(made.study(**changes), made.claims(), made.metrics(), FILES)


def test_metrics_come_back_whole():
    content = json.loads(laid_out(metrics_file.to_json(made.metrics())))
    read = metrics_file.read(content)
    assert read.scores.sections == made.sections()
    assert read.scores.scores == made.scores().scores
    assert read.scores.pairs == made.scores().pairs
    assert read.scores.columns[0].bars[0].train == pytest.approx(0.512346)  # six digits
    assert (read.seed, read.published, read.input_notes, read.scope) == (
        7,
        "2026-01-02",
        (made.EVIL,),
        Scope.SIMULATION,
    )
    assert metrics_file.to_json(read) == content  # what was rounded stays as it is


def test_metrics_of_nothing_come_back():
    empty = metrics_file.Metrics(Scores({}, {}), Scope.RELEASE)
    assert metrics_file.read(metrics_file.to_json(empty)) == empty


SPOILT = {
    "another format": lambda one: one | {"format": 1},
    "no scores": lambda one: {name: value for name, value in one.items() if name != "scores"},
    "a score in words": lambda one: one | {"scores": {"x": {"value": "high"}}},
    "a truth value": lambda one: one | {"seed": True},
    "a pair of nothing": lambda one: one | {"pairs": {"of": [], "rows": [[0, 9, 0.1, 0.2]]}},
    "another scope": lambda one: one | {"scope": "moon"},
    "a curve with a corner too many": lambda one: (
        one | {"sections": {"curves": [{"learnt_from": "real", "model": "x", "auc": 1, "points": [[0, 0, 0]]}]}}
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_metrics_that_were_spoilt_are_refused_with_a_reason(how):
    content = SPOILT[how](metrics_file.to_json(made.metrics()))
    with pytest.raises(InvalidInput, match=r"metrics\.json: "):
        metrics_file.read(content)


def test_json_is_laid_out_and_stays_the_same_value():
    content = {"a": [1, 2.5, None], "b": [[1, 2], [3, 4]], "c": {}, "d": [], "é": {"f": [{"g": 1}]}}
    text = laid_out(content)
    assert json.loads(text) == content
    assert text.splitlines()[1] == '  "a": [1, 2.5, null],'
    with pytest.raises(ValueError, match="JSON"):
        laid_out({"a": [math.nan]})


def test_attacks_are_read_from_what_they_say_in_json():
    rate = {"value": 0.1, "interval": [0.05, 0.2], "hits": 1, "of": 10}
    one = {
        "found": False, "members": rate, "control": rate, "tried_on": "persons", "says": "", "method": "",
        "lead": {"value": 0, "interval": [-0.1, 0.1], "floor": 0, "ceiling": 0.9, "better": "lower"},
        "reduction_percent": {"value": 99, "interval": [90, 100]},
    }  # fmt: skip
    table = attacks_of(
        {"attacks": {"dcr": one}, "skipped": {"x": "why"}, "reduction_percent": None, "false_alarm_rate": 0.001}
    )
    assert table.rows[0].reduction.interval == (90.0, 100.0)
    assert table.skipped == (("x", "why"),)


def test_parts_that_stand_under_names_of_their_own_are_shown_too():
    one = {"value": 0.1, "interval": [0.05, 0.15], "population_interval": None, "exact": None, "says": "a distance"}
    gone = one | {"value": None, "interval": [None, None]}
    group = {
        "kind": "subgroup",
        "name": "sex = f",
        "rows": 7,
        "tvd2": 0.1,
        "tvd2_ceiling": None,
        "auc": None,
        "auc_real": None,
    }
    bare = metrics_file.to_json(metrics_file.Metrics(Scores({}, {}), Scope.RELEASE))
    more = {
        "federated": {
            "scores": {"tvd9": one, "auc9": gone},
            "codes": {
                "kept": 3,
                "lost": [{"column": "stage", "code": "3", "share": one, "synthetic": 0.0}],
                "under_the_noise": [["stage", "4"]],
            },
        },
        "groups": [group, group | {"auc": 0.7, "auc_real": 0.8}],
        "attacks": {"attacks": {}, "skipped": {}, "reduction_percent": None, "false_alarm_rate": 0.001},
    }
    sections = metrics_file.read(bare | more).scores.sections
    assert [row.says for row in sections.federated.rows] == ["a distance"]
    assert "auc9" in sections.federated.notes[0]
    assert [(code.code, code.suppressed) for code in sections.rare] == [("3", False), ("4", True)]
    assert sections.rare[0].interval == (0.05, 0.15)
    assert [row.floor for row in sections.subgroups.rows] == [None, 0.5]
    page = report.render(metrics_file.read(bare | more), made.claims(), made.study())
    assert "sex = f" in page
    assert "a distance" in page
    with pytest.raises(InvalidInput, match=r"metrics\.json: "):
        metrics_file.read(bare | {"federated": {"scores": 7}})


def test_a_card_has_a_head_that_yaml_reads_and_one_heading():
    yaml = pytest.importorskip("yaml")
    card = model_card(made.study(), made.claims(), made.metrics())
    _, head, body = card.split("---\n", 2)
    content = yaml.safe_load(head)
    assert content["model-index"][0]["name"] == made.EVIL
    metric = content["model-index"][0]["results"][0]["metrics"][0]
    assert metric == {"type": "tstr_signal_kept", "value": 0.82, "name": "Signal kept"}
    assert len(re.findall(r"^# ", body, re.MULTILINE)) == 1
    assert "<script>" not in body
    assert not re.search(r"(?<!\\)\]\(", body)


def test_a_card_says_scores_with_floor_and_ceiling_limits_and_both_epsilons():
    card = model_card(made.study(), made.claims(), made.metrics())
    assert "| Signal kept | 0.820 | 0.700 to 0.900 | 0.000 | 1.000 | 82 % |" in card
    assert "250 held-out rows only" in card
    claimed = made.claims()["epsilon"]
    for view in ("aggregate", "local"):
        assert f"| {math.ceil(claimed[view] * 100) / 100:.2f} |" in card
    assert "NO PRIVACY" not in card


@pytest.mark.parametrize("noise", [Noise.SEEDED, Noise.NONE])
def test_a_study_without_privacy_is_stamped_everywhere(noise):
    claims = made.claims() | {"noise": str(noise), "epsilon": {"aggregate": "inf", "local": "inf"}}
    card = model_card(made.study(), claims, made.metrics())
    assert "**NO PRIVACY.**" in card
    assert "Not to be cited" in card
    described = croissant(made.study(), claims, made.metrics(), FILES)
    assert described["description"].startswith("NO PRIVACY")
    assert "Not to be cited" in described["citeAs"]


def test_a_card_without_scores_or_target_or_purpose():
    bare = made.metrics(Scores({}, {"synthetic": 5}), scope=Scope.RELEASE)
    card = model_card(made.study(target=None, purpose=""), made.claims(), bare)
    assert "was not scored" in card
    assert "states no purpose" in card
    assert "model-index" not in card


def test_a_catalogue_entry_has_what_croissant_asks_for_and_says_it_is_synthetic():
    entry = catalogue()
    assert entry["conformsTo"] == list(CONFORMS_TO)
    required = {"@context", "@type", "conformsTo", "name", "description", "license", "url", "creator", "datePublished"}
    assert required <= set(entry)
    assert entry["rai:hasSyntheticData"] is True
    assert [one["sha256"] for one in entry["distribution"]] == ["ab" * 32, "cd" * 32]
    fields = entry["recordSet"][0]["field"]
    assert [one["source"]["extract"]["column"] for one in fields] == list(made.SCHEMA.names)
    assert [one["dataType"] for one in fields] == [
        "sc:Integer", "sc:Text", "sc:Text", "sc:Integer", "sc:Date", "sc:DateTime", "sc:Float", "sc:Text",
    ]  # fmt: skip
    ids = [one["@id"] for one in fields]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[\w/%.~-]+", one) for one in ids)


def test_a_catalogue_entry_is_valid_to_its_own_library(tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    (tmp_path / "croissant.json").write_text(laid_out(catalogue()))
    issues = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json").metadata.issues
    assert (issues.errors, issues.warnings) == (set(), set())


def test_sdmetrics_takes_its_description_of_the_table():
    pytest.importorskip("sdmetrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is moving its reports
        from sdmetrics.reports.single_table import QualityReport  # noqa: PLC0415
    schema = replace(made.SCHEMA, columns=made.SCHEMA.columns[:7])
    description = sdv_metadata(schema)
    assert description["METADATA_SPEC_VERSION"] == "SINGLE_TABLE_V1"
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, size, 200) for size in schema.sizes], axis=1)
    tables = [schema.present(schema.decode(codes[rows], rng)) for rows in (slice(0, 100), slice(100, 200))]
    for table in tables:
        assert (
            pd.to_datetime(table["at"].dropna(), format=description["columns"]["at"]["datetime_format"]).notna().all()
        )
    report = QualityReport()
    report.generate(*tables, description, verbose=False)
    assert 0 < report.get_score() <= 1
