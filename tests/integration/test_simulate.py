"""A whole study, from rows at three sites to table, scores and certificate: through the real gate, ledger and apps."""

import importlib.util
import json
import shutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from made import STUDY, content, table, totals, written

from silosynth.client.entries import Ended
from silosynth.client.keys import agent_key, fingerprint
from silosynth.client.ledger import Ledger
from silosynth.common import accounting
from silosynth.common.errors import InvalidInput, NotPossible, StudyRefused
from silosynth.common.generator import load
from silosynth.common.privacy import View
from silosynth.common.progress import silent
from silosynth.common.study import Trust
from silosynth.common.study_file import read_study
from silosynth.common.verify_words import headline
from silosynth.server.bundle import bundle, verified
from silosynth.server.redrawn import redrawn
from silosynth.simulations import simulate
from silosynth.simulations.cli import _run
from silosynth.simulations.cohort import gather
from silosynth.simulations.local import How, run

FILES = {
    "synthetic.csv", "synthetic.parquet", "generator.safetensors", "metrics.json", "report.html", "certificate.json",
    "study.toml", "journal.jsonl", "sites",
    "croissant.json", "sdv_metadata.json", "model_card.md",
}  # fmt: skip


def clinics(frame=None):
    frame = table() if frame is None else frame
    return {name: rows.drop(columns="clinic") for name, rows in frame.groupby("clinic")}


def a_study(**changes):
    return read_study(STUDY.format(**({"epsilon": "1.0", "steps": 3} | changes)), source="study")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    return simulate(a_study(), clinics(), out=out, seed=3)


def test_the_folder_holds_what_is_promised_and_nothing_half_written(finished):
    assert {path.name for path in finished.path.iterdir()} == FILES
    assert {path.name for path in (finished.path / "sites").iterdir()} == {"North", "South", "West"}
    for site in (finished.path / "sites").iterdir():
        assert {"ledger.sqlite", "policy.toml", "agent.key"} <= {path.name for path in site.iterdir()}
    assert "<html" in (finished.path / "report.html").read_text()


def test_the_report_can_be_drawn_again_to_the_last_byte_and_all_of_it_bundled(finished, tmp_path):
    assert redrawn(finished.path).certified
    bundle(finished.path, tmp_path / "study.zip")
    assert verified(tmp_path / "study.zip") == verified(finished.path)
    catalogue = json.loads((finished.path / "croissant.json").read_text())
    hashes = {one["name"]: one["sha256"] for one in catalogue["distribution"]}
    assert hashes == {name: finished.certificate["artefacts"][name] for name in ("synthetic.csv", "synthetic.parquet")}


def test_csv_and_parquet_hold_the_same_rows(finished):
    parquet = finished.table
    assert list(parquet.columns) == ["age", "sex", "dose", "ill"]
    assert str(parquet["age"].dtype) == "Int64"
    csv = pd.read_csv(
        finished.path / "synthetic.csv", dtype=parquet.dtypes.to_dict(), keep_default_na=False, na_values=[""]
    )
    pd.testing.assert_frame_equal(csv, parquet)


def test_the_default_number_of_rows_is_the_noisy_estimate_of_units(finished):
    """320 persons are trained on; at epsilon 1 with these few columns the estimate's deviation is below 60."""
    assert abs(len(finished.table) - 320) < 320


def test_epsilon_follows_from_the_events_in_the_certificate(finished):
    paper = finished.certificate
    assert (paper["format"], paper["unit"], paper["delta"]) == (2, "person: person", 1e-5)
    assert paper["assumptions"] | {"sites": 3, "colluders": 1, "threshold": 3} == paper["assumptions"]
    assert paper["aggregation"] == "secure-sum"
    assert paper["attempts"] == {"asked": 9, "releases": 9, "sessions": 1, "retries": []}
    assert "the coordinator included" in paper["holds_against"]["aggregate"]
    assert paper["noise"] == "discrete Gaussian from the operating system's randomness"
    for view, shares in (("aggregate", 1), ("local", 2)):
        parts = {"holdout": Fraction(0), "train": Fraction(0)}
        for event in paper["events"]:
            parts[event.get("part", "train")] += event["count"] * shares / Fraction(event["multiplier"]) ** 2
        assert paper["epsilon"][view] == pytest.approx(accounting.epsilon(max(parts.values()), 1e-5), rel=1e-9)
    assert 0.99 < paper["epsilon"]["aggregate"] <= 1.0


def test_every_ledger_was_charged_what_the_certificate_says(finished):
    events = finished.certificate["events"]
    prices = [(event.get("part"), Fraction(event["mu_squared"]["local"])) for event in events]
    expected = max(sum(price for part, price in prices if part == one) for one in (None, "holdout"))
    for site in (finished.path / "sites").iterdir():
        ledger = Ledger(site / "ledger.sqlite")
        assert ledger.spent(View.LOCAL) == expected
        assert ledger.head == finished.certificate["receipts"][site.name]["receipt"]["head"]["hash"]
        assert [entry.record.lost for entry in ledger.entries() if isinstance(entry.record, Ended)] == [False]
        ledger.close()


def test_what_is_published_can_be_verified_by_anybody(finished, tmp_path, capsys):
    shutil.copytree(finished.path, tmp_path / "run", ignore=shutil.ignore_patterns("sites", "journal*"))
    assert _run(["verify", str(tmp_path / "run"), "--explain"]) == 0
    said = capsys.readouterr().out
    assert "epsilon 1 at delta 1e-05" in said
    assert "3 of 3 sites have signed" in said
    assert "Not proved:" in said
    for site in (finished.path / "sites").iterdir():
        assert fingerprint(agent_key(site)) in said
    assert _run(["verify", str(tmp_path / "run" / "certificate.json"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["holds"], told["study"], set(told["ledgers"])) == (True, finished.certificate["study"], set(clinics()))
    with (tmp_path / "run" / "synthetic.csv").open("a") as file:
        file.write("1,f,0.0,true\n")
    assert _run(["verify", str(tmp_path / "run")]) == 1
    assert "DOES NOT HOLD: artefact: synthetic.csv is not the file" in capsys.readouterr().out
    assert _run(["verify", str(tmp_path / "run"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == "artefact"
    assert _run(["verify", str(tmp_path)]) == 2
    assert "give the folder" in capsys.readouterr().err


def test_metrics_have_the_promised_form(finished):
    metrics = finished.metrics
    assert metrics["format"] == 2
    assert set(metrics["seconds"]) == {"total", "train", "sample", "evaluate"}
    assert metrics["peak_memory_mb"] > 0
    wanted = "column_shapes pair_trends tvd1 tvd2 tvd3 tstr_auc_gb tstr_auc_lr tstr_signal_kept detection_auc copies"
    for name in set(wanted.split()) & set(metrics["scores"]):
        assert {"value", "floor", "ceiling", "interval", "better"} <= set(metrics["scores"][name])
    assert {"column_shapes", "tvd1", "tvd2", "tvd3", "detection_auc", "copies"} <= set(metrics["scores"])


def test_the_generator_file_gives_more_rows(finished):
    artefact = load((finished.path / "generator.safetensors").read_bytes())
    assert artefact.study_digest == finished.certificate["study"]
    assert artefact.header["epsilon"] == finished.certificate["epsilon"]
    more = finished.sample(1000, seed=5)
    assert len(more) == 1000
    pd.testing.assert_frame_equal(more, finished.sample(1000, seed=5))
    assert not more.equals(finished.sample(1000, seed=6))


def test_a_finished_folder_is_not_run_again(finished):
    before = (finished.path / "journal.jsonl").read_bytes()
    with pytest.raises(InvalidInput, match="finished"):
        simulate(a_study(), clinics(), out=finished.path, seed=3)
    assert (finished.path / "journal.jsonl").read_bytes() == before


def test_a_second_study_over_the_cap_is_refused_in_words(tmp_path):
    simulate(a_study(), clinics(), out=tmp_path, evaluate=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(StudyRefused, match="site North: lifetime cap exhausted; site South"):
        simulate(a_study(epsilon="0.5"), clinics(), out=tmp_path, evaluate=False)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_without_noise_everything_is_stamped(tmp_path):
    result = simulate(a_study(epsilon="inf"), clinics(), out=tmp_path)
    assert result.certificate["noise"] == "none: NO PRIVACY"
    assert result.certificate["epsilon"] == {"aggregate": "inf", "local": "inf"}
    assert verified(tmp_path).promises_nothing
    assert "NO PRIVACY" in (tmp_path / "report.html").read_text()
    assert not list((tmp_path / "sites").glob("*/policy.toml"))


def test_seeded_noise_repeats_and_is_stamped(tmp_path):
    runs = [
        simulate(a_study(), clinics(), out=tmp_path / str(at), seed=seed, evaluate=False, seeded_noise=True)
        for at, seed in enumerate((4, 4, 5))
    ]
    first, second, other = ([totals(run.path)] for run in runs)
    assert first == second != other
    pd.testing.assert_frame_equal(runs[0].table, runs[1].table)
    paper = runs[0].certificate
    assert (paper["noise"], paper["epsilon"]["aggregate"]) == ("seeded: NO PRIVACY", "inf")
    assert "PROMISES NOTHING" in "".join(headline(verified(runs[0].path)))
    assert paper["epsilon_with_real_noise"]["aggregate"] == pytest.approx(1.0, abs=0.01)


def test_many_sites_without_noise_give_the_totals_of_few(tmp_path):
    """The same rows at 3 and at 7 sites: equal totals, to the last integer."""
    frame = table()
    one = a_study(epsilon="inf")
    places = np.arange(len(frame)) % 7
    seven = {f"s{at}": frame[pd.factorize(frame["person"])[0] % 7 == at] for at in set(places)}
    found = [
        totals(simulate(one, sites, out=tmp_path / name, evaluate=False).path)
        for name, sites in (("three", clinics(frame)), ("seven", seven))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("sites", [3, 7])
def test_masked_sums_are_the_plain_sums_to_the_last_integer(tmp_path, sites):
    frame = table()
    spread = {f"s{at}": frame[pd.factorize(frame["person"])[0] % sites == at] for at in range(sites)}
    asked = a_study(epsilon="inf")
    cohort = gather(asked, spread, None, 0, silent)
    results = [
        run(asked, cohort, How(tmp_path / str(plain), evaluate=False, plain_sums=plain), silent)
        for plain in (True, False)
    ]
    assert [result.certificate["aggregation"] for result in results] == ["plain-sum", "secure-sum"]
    assert totals(results[0].path) == totals(results[1].path)
    assert ["UNSIGNED" in "".join(headline(verified(result.path))) for result in results] == [True, False]
    pd.testing.assert_frame_equal(results[0].table, results[1].table)


def test_two_sites_are_refused_with_the_way_out_and_nothing_is_written(tmp_path):
    two = dict(list(clinics().items())[:2])
    with pytest.raises(InvalidInput, match='trust = "local"'):
        simulate(a_study(), two, out=tmp_path / "run", evaluate=False)
    assert not (tmp_path / "run").exists()
    local = replace(a_study(steps=2), trust=Trust.LOCAL)
    paper = simulate(local, two, out=tmp_path / "run", evaluate=False).certificate
    assert (paper["aggregation"], "attempts" in paper) == ("plain-sum", False)
    assert len(list((tmp_path / "run").glob("sites/*/agent.key"))) == 2  # nothing is masked: keys sign receipts
    assert "2 of 2 sites have signed" in "".join(headline(verified(tmp_path / "run")))


def test_gaps_are_refused_unless_somebody_says_they_are_true(tmp_path):
    empty, silent = clinics(), clinics()
    empty["East"] = empty["North"].iloc[:0]
    silent["South"] = silent["South"].assign(dose="")
    for sites, told in (
        (empty, "site East has no rows"),
        (silent, "site South: column 'dose' is missing in every row"),
    ):
        with pytest.raises(InvalidInput, match=told):
            simulate(a_study(), sites, out=tmp_path / "refused", evaluate=False)
        assert not (tmp_path / "refused").exists()
        out = tmp_path / told.split()[1].strip(":")
        result = simulate(a_study(), sites, out=out, evaluate=False, allow_gaps=True)
        assert any(told in note for note in result.notes)
        assert result.certificate["assumptions"]["sites"] == len(sites)


def test_typed_frames_mean_the_same_as_text(tmp_path):
    typed = table().astype({"age": int, "dose": float}).assign(ill=lambda frame: frame["ill"] == "true")
    found = [
        totals(simulate(a_study(epsilon="inf"), clinics(frame), out=tmp_path / name, evaluate=False).path)
        for name, frame in (("text", table()), ("typed", typed))
    ]
    assert found[0] == found[1]


def test_rows_to_score_with_can_come_from_elsewhere(tmp_path):
    rows = table(seed=9).drop(columns="clinic")
    result = simulate(a_study(), clinics(), out=tmp_path, holdout=rows)
    assert result.metrics["rows"]["holdout"] == len(rows)
    assert result.metrics["rows"]["train"] == len(table())


def test_bounds_that_nobody_reviewed_are_warned_about_once(tmp_path):
    text = STUDY.format(epsilon="1.0", steps=3).replace("max = 99", 'max = 99\nunreviewed = ["max"]')
    with pytest.warns(UserWarning, match="reviewed by nobody") as caught:
        simulate(read_study(text, source="study"), clinics(), out=tmp_path, evaluate=False)
    assert len(caught) == 1


def test_missing_packages_are_said_before_the_study_not_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotPossible, match="pip install"):
        simulate(a_study(), clinics(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_paths_work_as_well_as_frames(tmp_path):
    study, data = written(tmp_path)
    out = simulate(study, dict.fromkeys("abc", data), out=tmp_path / "run", evaluate=False).path
    assert content(out / "certificate.json")["assumptions"]["sites"] == 3
