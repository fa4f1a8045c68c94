"""Drafts: what a table or a dictionary becomes, what is marked, what is left out and why."""

import gzip
import json
import os
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from silosynth.client.draft import draft
from silosynth.client.sources import read_table
from silosynth.common.errors import InvalidInput, InvalidStudy
from silosynth.common.schema import Kind
from silosynth.common.study_file import read_study

DATA = Path(os.environ.get("SILOSYNTH_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
ROWS = 400


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    words = ["pain", "fever", "cough", "rash", "nausea", "vertigo", "fatigue", "bleeding", "swelling", "cramps"]
    base = pd.DataFrame(
        {
            "case": np.arange(1, ROWS + 1),
            "patient_id": rng.integers(10_000, 99_999, ROWS),
            "age": rng.integers(18, 91, ROWS),
            "sex": rng.choice(["M", "F"], ROWS),
            "smoker": rng.choice(["yes", "no"], ROWS),
            "dirty": rng.choice(["y", "Y", "n", "N"], ROWS),
            "stage": rng.choice(["1", "2", "3", "?"], ROWS),
            "ward": rng.choice(["01", "02", "17"], ROWS),
            "cost": np.round(rng.lognormal(6, 1.5, ROWS), 2),
            "dose": rng.choice([0.0, 250.0, 12.5], ROWS, p=[0.3, 0.4, 0.3])
            + rng.choice([0, 1], ROWS) * rng.random(ROWS),
            "lab": [*rng.choice(np.arange(100, 400), ROWS - 3).astype(str), "NA", "-", ""],
            "weight": np.where(rng.random(ROWS) < 0.05, 999, rng.integers(40, 140, ROWS)),
            "born": pd.to_datetime("1950-03-02") + pd.to_timedelta(rng.integers(0, 9000, ROWS), unit="D"),
            "seen": (pd.to_datetime("2001-05-06") + pd.to_timedelta(rng.integers(0, 10**8, ROWS), unit="s")).astype(
                str
            ),
            "local": "12/31/1999",
            "note": [" ".join(rng.choice(words, 6)) for _ in range(ROWS)],
            "constant": "same",
            "nothing": "",
        }
    )
    path = tmp_path / "ward.csv"
    base.to_csv(path, index=False)
    return path


def read(path, **options):
    text = draft(path, **options)
    return text, {column.name: column for column in read_study(text, source="draft").schema.columns}


def test_a_draft_of_a_table_can_be_read_and_fits_its_own_rows(table):
    text, columns = read(table, target="smoker", unit="patient_id")
    study = read_study(text, source="draft")
    assert (study.name, study.target, study.unit) == ("ward", "smoker", "patient_id")
    counts = read_table(table, study.schema, study.unit).counts
    assert sum(count.out_of_bounds + count.unknown for count in counts) == 0
    assert all(column.unreviewed for column in columns.values() if column.name != "dirty")
    assert (
        f"codes of {sum(1 for column in columns.values() if column.unreviewed)} of {len(pd.read_csv(table).columns)}"
        in text
    )


def test_types_and_bounds(table):
    _, columns = read(table)
    kinds = {name: column.kind.value for name, column in columns.items()}
    assert kinds == {
        "age": "integer", "sex": "categorical", "smoker": "boolean", "dirty": "boolean", "stage": "categorical",
        "ward": "categorical", "cost": "number", "dose": "number", "lab": "integer", "weight": "integer",
        "born": "date", "seen": "datetime", "constant": "categorical",
    }  # fmt: skip
    assert columns["age"].bounds == (15, 90)
    assert columns["smoker"].codes == ("no", "yes")
    assert columns["dirty"].codes == ("false", "true")
    assert columns["stage"].codes == ("1", "2", "3")
    assert columns["stage"].missing == ("?",)
    assert columns["ward"].codes == ("01", "02", "17")
    assert columns["cost"].decimals == 2
    assert columns["cost"].low == 0
    assert columns["lab"].missing == ("-", "NA")
    assert set(columns["lab"].unreviewed) == {"min", "max", "missing"}
    assert columns["dose"].special == (12.5, 250.0)
    year = pd.Timestamp(columns["born"].low, unit="D")
    assert (year.month, year.day) == (1, 1)


def test_a_draft_says_nothing_of_how_many_rows_there_are(table):
    """It would be an exact function of rows, in a study that everybody gets, and decide its plan."""
    text = draft(table)
    assert read_study(text, source="draft").units is None
    assert read_study(text, source="draft").engine == "marginals"
    assert "\nunits" not in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("case", "row number"),
        ("patient_id", "identifier"),
        ("local", "not written YYYY-MM-DD"),
        ("note", "free text"),
        ("nothing", "no value"),
    ],
)
def test_what_cannot_be_modelled_is_left_out_with_its_reason(table, name, reason):
    text, columns = read(table)
    assert name not in columns
    assert re.search(rf"^# {name}: .*{reason}", text, re.MULTILINE)
    assert f'# name = "{name}"' in text
    with pytest.raises(InvalidInput, match=reason):
        draft(table, target=name)


def test_remarks(table):
    text = draft(table)
    assert "999 may be a code for missing" in text
    assert '# unit = "patient_id"' in text


def test_codes_are_sorted_and_rare_ones_are_left_to_other(tmp_path):
    path = tmp_path / "t.csv"
    codes = ["b"] * 900 + ["a"] * 90 + ["zorro"] + ["c"] * 9
    pd.DataFrame({"c": codes, "d": ["x", "y"] * 500}).to_csv(path, index=False)
    text, columns = read(path)
    assert columns["c"].codes == ("a", "b", "c")
    assert "zorro" not in text
    assert "rare texts" in text


def test_an_unknown_target_or_unit_and_too_few_columns_are_refused(table, tmp_path):
    with pytest.raises(InvalidInput, match="target 'tumour'"):
        draft(table, target="tumour")
    with pytest.raises(InvalidInput, match="unit 'key'"):
        draft(table, unit="key")
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,\n2,\n")
    with pytest.raises(InvalidInput, match="fewer than 2"):
        draft(path)


def test_wide_tables_are_cut_to_what_a_study_may_have(tmp_path):
    path = tmp_path / "wide.csv"
    pd.DataFrame({f"c{at}": ["x", "y"] * 10 for at in range(210)}).to_csv(path, index=False)
    text, columns = read(path, target="c209")
    assert len(columns) == 200
    assert "c209" in columns
    assert "beyond the 200" in text


def test_numbers_of_any_size_do_not_break_a_draft(tmp_path):
    path = tmp_path / "t.csv"
    huge = {"big": [str(10**19 + row) for row in range(30)], "small": [f"{row}e-12" for row in range(30)]}
    pd.DataFrame({**huge, "a": ["x", "y"] * 15, "b": ["1e400"] * 30}).to_csv(path, index=False)
    _, columns = read(path)
    assert columns["small"].kind is Kind.NUMBER
    assert "big" not in columns


def column_of(tmp_path, values):
    path = tmp_path / "t.csv"
    pd.DataFrame({"x": values, "y": ["a", "b"] * (len(values) // 2)}).to_csv(path, index=False)
    return draft(path), read(path)[1].get("x")


def test_spans_of_time(tmp_path):
    _, column = column_of(tmp_path, [f"{row % 7} days 0{row % 9}:00:00" for row in range(40)])
    assert (column.kind, column.unit, column.low) == (Kind.DURATION, "days", 0)
    assert column.high == 6.5


def test_texts_that_only_look_like_dates_or_spans_are_codes(tmp_path):
    assert column_of(tmp_path, ["2020-13-45", "2020-01-01"] * 20)[1].kind is Kind.CATEGORICAL
    assert column_of(tmp_path, ["1 day long", "2 days"] * 20)[1].kind is Kind.CATEGORICAL


def test_one_number_is_a_code(tmp_path):
    text, column = column_of(tmp_path, ["7.0", "7"] * 20)
    assert column.codes == ("7",)
    assert "one value only" in text


def test_nothing_but_words_for_missing_is_left_out(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"x": ["NA", "?"] * 10, "y": ["a", "b"] * 10, "z": ["c", "d"] * 10}).to_csv(path, index=False)
    assert re.search("^# x: .*codes for missing", draft(path), re.MULTILINE)


def test_codes_that_differ_by_case_are_remarked_and_too_many_are_left_out(tmp_path):
    text, column = column_of(tmp_path, ["a1", "A1"] * 20)
    assert column.codes == ("A1", "a1")
    assert "upper and lower case" in text
    many = [f"C{code}" for code in range(4200) for _ in range(2)] + ["C1"] * 2
    path = tmp_path / "many.csv"
    pd.DataFrame({"x": many, "y": ["a", "b"] * 4201, "z": ["c", "d"] * 4201}).to_csv(path, index=False)
    assert re.search("^# x: ", draft(path), re.MULTILINE)


def test_only_the_first_rows_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("silosynth.client.draft.MOST_ROWS", 65_536)
    path = tmp_path / "t.csv"
    pd.DataFrame({"x": [*(["a", "b"] * 32_768), "late"], "y": [*(["a", "b"] * 32_768), "a"]}).to_csv(path, index=False)
    assert "late" not in draft(path)


def test_an_mbi_domain(tmp_path):
    path = tmp_path / "adult-domain.json"
    path.write_text(json.dumps({"age": 85, "sex": 2, "race": 5}))
    text, columns = read(path, target="sex")
    assert columns["age"].bounds == (0, 84)
    assert columns["race"].codes == ("0", "1", "2", "3", "4")
    assert not any(column.unreviewed for column in columns.values())
    assert "taken from" not in text


def test_sdv_metadata(tmp_path):
    path = tmp_path / "metadata.json"
    columns = {
        "key": {"sdtype": "id"},
        "mail": {"sdtype": "email"},
        "yes": {"sdtype": "boolean"},
        "n": {"sdtype": "numerical", "computer_representation": "Int64"},
        "day": {"sdtype": "datetime", "datetime_format": "%Y-%m-%d"},
        "sex": {"sdtype": "categorical"},
    }
    one = {"METADATA_SPEC_VERSION": "SINGLE_TABLE_V1", "columns": columns, "primary_key": "key"}
    path.write_text(json.dumps(one))
    text = draft(path)
    for said in (
        'type = "integer"',
        "min = ...",
        'type = "date"',
        "codes = [...]",
        "not modelled",
        '[[columns]]\nname = "yes"',
    ):
        assert said in text
    path.write_text(json.dumps({"METADATA_SPEC_VERSION": "V1", "tables": {"t": one}}))
    assert draft(path) == text


def test_a_csv_dictionary_is_public(tmp_path):
    path = tmp_path / "dictionary.csv"
    path.write_text(
        "name,type,min,max,codes,missing,special\nage,integer,0,120,,999|-1,\nsex,categorical,,,M|F,,\n"
        "born,date,1900-01-01,2020-12-31,,,1970-01-01\nbmi,number,10.5,80,,,25\nnote,text,,,,,\n"
    )
    text, columns = read(path, target="sex", unit="person")
    assert columns["age"].missing == ("999", "-1")
    assert columns["sex"].codes == ("M", "F")
    assert columns["born"].low == -25_567
    assert columns["bmi"].special == (25,)
    assert not any(column.unreviewed for column in columns.values())
    assert "note" in text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("age,integer,0,old", "row 1.*max.*number"),
        ("age,int,0,9", "row 1.*integer"),
        ("age,integer,9,0", "row 1.*above min"),
    ],
)
def test_a_broken_dictionary_is_refused_by_row(tmp_path, row, words):
    path = tmp_path / "dictionary.csv"
    path.write_text(f"name,type,min,max\n{row}\n")
    with pytest.raises(InvalidStudy, match=words):
        draft(path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"a": "b"}', '{"a": 0}'])
def test_other_json_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"x\.json"):
        draft(path)


@pytest.mark.parametrize(
    ("name", "target", "unit", "refused"),
    [
        ("randhie/randhie_src.csv.gz", "mdvis", "zper", set()),
        ("ist/ist.csv.gz", "DIED", None, {"DMAJNCHX", "DSIDEX", "DNOSTRKX", "DDEADX", "FDEADX"}),
        ("sdnist_national2019/national2019.csv.gz", "PINCP_DECILE", None, set()),
    ],
)
def test_real_tables_go_through_unchanged_in_their_cells(name, target, unit, refused, tmp_path):
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not here: set SILOSYNTH_DATA")
    path = tmp_path / "some.csv"
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        path.write_text("".join(islice(file, 4000)))
    text = draft(path, target=target, unit=unit)
    schema = read_study(text, source="draft").schema
    assert refused.isdisjoint(schema.names)
    codes = schema.encode(read_table(path, schema, unit).frame)
    typed = schema.decode(codes, np.random.default_rng(0))
    assert np.array_equal(schema.encode(typed), codes)
    schema.present(typed).to_csv(tmp_path / "again.csv", index=False)
    assert np.array_equal(schema.encode(read_table(tmp_path / "again.csv", schema, None).frame), codes)
