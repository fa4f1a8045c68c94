"""Study files: what is read, and for each thing that is wrong, file, table, key and cure."""

import math
import re
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from silosynth.common.errors import InvalidStudy, NotPossible
from silosynth.common.schema import Kind
from silosynth.common.study import Member, Step, Trust
from silosynth.common.study_file import read_study, write_study
from silosynth.common.toml_text import comment, entry

TEXT = """
[study]
name = "stroke-12-countries"
target = "DIED"
unit = "patient_id"
holdout = 0.25
trust = "secure-sum"
rows = 20000

[privacy]
epsilon = 1
delta = 1e-5
colluders = 1

[engine]
steps = 40

[[columns]]
name = "AGE"
type = "integer"
min = 16
max = 100
missing = ["", "999", -1]

[[columns]]
name = "DIED"
type = "boolean"

[[columns]]
name = "SEX"
type = "categorical"
codes = ["M", "F"]

[[columns]]
name = "ADMITTED"
type = "date"
min = "1990-01-01"
max = 2000-01-01

[[columns]]
name = "SEEN"
type = "datetime"
min = "1990-01-01T00:00:00"
max = 2000-01-01T02:00:00+02:00
special = ["1990-06-01"]

[[columns]]
name = "STAY"
type = "duration"
min = 0
max = 90.5
decimals = 1
special = [1, 30]
unit = "hours"
unreviewed = ["max", "special"]
"""
RESOLVED = """
[[roster]]
name = "Ward 7"
capacity = 4096
[[roster]]
name = "Ward 8"
capacity = 2048
[[plan]]
kind = "one-ways"
repeats = 1
multiplier = "12.050"
[[plan]]
kind = "gradient"
repeats = 50
"""


def test_a_whole_file():
    study = read_study(TEXT + RESOLVED, source="s.toml")
    assert (study.name, study.target, study.unit, study.rows) == ("stroke-12-countries", "DIED", "patient_id", 20_000)
    assert (study.budget.epsilon, study.holdout, study.trust) == (1.0, 0.25, Trust.SECURE_SUM)
    assert study.settings == (("steps", 40.0),)
    assert study.roster == (Member("Ward 7", 4096), Member("Ward 8", 2048))
    assert study.plan == (Step("one-ways", 1, Fraction(241, 20)), Step("gradient", 50, None))
    age, died, sex, admitted, seen, stay = study.schema.columns
    assert (age.kind, age.bounds, age.missing) == (Kind.INTEGER, (16.0, 100.0), ("999", "-1"))
    assert died.codes == ("false", "true")
    assert sex.codes == ("M", "F")
    assert admitted.bounds == (7305.0, 10957.0)
    assert seen.bounds == (7305 * 86_400.0, 10957 * 86_400.0)
    assert seen.special == (7456 * 86_400.0,)
    assert (stay.unit, stay.decimals, stay.special, stay.unreviewed) == ("hours", 1, (1.0, 30.0), ("max", "special"))
    assert study.schema.unreviewed == ("STAY",)


def test_defaults():
    text = '[study]\nname = "s"\n[[columns]]\nname = "a"\ntype = "boolean"\n[[columns]]\nname = "b"\ntype = "boolean"\n'
    study = read_study(text, source="s.toml")
    assert (study.budget.epsilon, study.budget.delta, study.budget.colluders) == (1.0, 1e-5, 1)
    assert (study.holdout, study.engine, study.trust, study.max_rows_per_unit) == (
        0.2,
        "autoregressive",
        "secure-sum",
        64,
    )
    assert (study.target, study.unit, study.rows, study.plan, study.roster) == (None, None, None, (), ())


def test_epsilon_may_be_infinite_for_a_simulation():
    study = read_study(TEXT.replace("epsilon = 1", "epsilon = inf"), source="s.toml")
    assert math.isinf(study.budget.epsilon)
    assert read_study(write_study(study), source="again").digest == study.digest


@pytest.mark.parametrize("more", ["", RESOLVED])
def test_writing_keeps_the_digest(more):
    study = read_study(TEXT + more, source="s.toml")
    written = write_study(study)
    assert tomllib.loads(written)["format"] == 1
    assert read_study(written, source="again") == study
    assert read_study(written, source="again").digest == study.digest


def test_a_multiplier_that_is_no_decimal_is_not_written():
    study = read_study(TEXT + RESOLVED, source="s.toml")
    object.__setattr__(study, "plan", (Step("x", 1, Fraction(1, 3)),))
    with pytest.raises(ValueError, match="decimal"):
        write_study(study)


def test_what_a_launch_adds():
    code, officer = "ab" * 32, "cd" * 32
    text = (TEXT + RESOLVED).replace("rows = 20000", f'rows = 20000\ncode = "{code}"')
    study = read_study(text.replace("capacity = 4096", f'capacity = 4096\nofficer = "{officer}"'), source="s.toml")
    assert (study.code, study.roster[0].officer, study.roster[1].officer) == (code, officer, "")
    assert read_study(write_study(study), source="again").digest == study.digest
    with pytest.raises(InvalidStudy, match=r"officer.*64 hex digits"):
        read_study(text.replace("capacity = 4096", 'capacity = 4096\nofficer = "cd"'), source="s.toml")


LEARNT = """
[[plan]]
kind = "one-ways"
repeats = 1
multiplier = "12.05"
[[plan]]
kind = "discriminator"
repeats = 60
certified = "0.439625"
[[plan.within]]
kind = "pairs"
repeats = 1
multiplier = "8"
[[plan.within]]
kind = "gradient"
repeats = 10
multiplier = "5.95"
rate = "0.1"
"""
LOCAL = TEXT.replace("secure-sum", "local") + LEARNT


def test_a_plan_in_which_a_site_learns_by_itself():
    study = read_study(LOCAL, source="s.toml")
    pairs, gradient = Step("pairs", 1, Fraction(8)), Step("gradient", 10, Fraction(119, 20), Fraction(1, 10))
    learnt = Step("discriminator", 60, within=(pairs, gradient), certified=Fraction(439625, 10**6))
    assert study.plan == (Step("one-ways", 1, Fraction(241, 20)), learnt)
    assert read_study(write_study(study), source="again").digest == study.digest
    for before, after in (("0.1", "0.2"), ("0.439625", "0.439626"), ("repeats = 10", "repeats = 11")):
        assert read_study(LOCAL.replace(f'"{before}"', f'"{after}"').replace(before, after), source="s") != study


@pytest.mark.parametrize(
    ("there", "instead", "words"),
    [
        ('trust = "local"', 'trust = "secure-sum"', ["[[plan]]", 'trust = "local"']),
        ('rate = "0.1"', 'rate = "1.1"', ["rate", "at most 1"]),
        ('rate = "0.1"', 'rate = "0"', ["[[plan.within]] number 2", "rate", "positive decimal"]),
        ('rate = "0.1"', "rate = 0.1", ["rate", "quotes"]),
        ('rate = "0.1"', 'rat = "0.1"', ["[[plan.within]] number 2", "rat", "did you mean 'rate'"]),
        ('certified = "0.439625"', 'certified = "1e-3"', ["certified", "positive decimal"]),
        ('certified = "0.439625"', 'multiplier = "3"', ["[[plan]] number 2", "multiplier", "not known"]),
        ('rate = "0.1"', '[[plan.within.within]]\nkind = "x"', ["[[plan.within]] number 2", "within", "not known"]),
    ],
)
def test_what_is_wrong_in_a_plan_that_learns(there, instead, words):
    assert there in LOCAL
    with pytest.raises(InvalidStudy) as caught:
        read_study(LOCAL.replace(there, instead), source="s.toml")
    for word in ("s.toml", *words):
        assert word in str(caught.value)


WRONG = [
    # what stands there, what stands there instead, words of the message
    ("epsilon = 1", "epsilon = 0", ["[privacy]", "epsilon", "above 0"]),
    ("epsilon = 1", "epsilon = -2.0", ["epsilon", "above 0"]),
    ("epsilon = 1", "epsilon = nan", ["epsilon"]),
    ("epsilon = 1", 'epsilon = "1"', ["epsilon", "number"]),
    ("epsilon = 1", "epsilom = 1", ["epsilom", "did you mean 'epsilon'"]),
    ("delta = 1e-5", "delta = 1", ["delta"]),
    ("delta = 1e-5", "delta = 0", ["delta"]),
    ("colluders = 1", "colluders = 0", ["colluders", "at least 1"]),
    ("colluders = 1", "colluders = 1\nthreshold = 0", ["[privacy]", "threshold", "whole number"]),
    ("colluders = 1", "colluders = 1\nattempts = 0", ["[privacy]", "attempts", "whole number"]),
    ("colluders = 1", "colluders = true", ["colluders", "whole number"]),
    ("holdout = 0.25", "holdout = 0.95", ["holdout", "0.9"]),
    ("holdout = 0.25", "holdout = true", ["holdout", "number"]),
    ("rows = 20000", "rows = 0", ["rows"]),
    ("rows = 20000", 'code = "abc"', ["[study]", "code", "64 hex digits"]),
    ("rows = 20000", f'code = "{"AB" * 32}"', ["[study]", "code", "64 hex digits"]),
    ("rows = 20000", "rows = 1.5", ["rows", "whole number"]),
    ("rows = 20000", "max_rows_per_unit = 5041", ["max_rows_per_unit", "5040"]),
    ('target = "DIED"', 'target = "died"', ["target", "no column"]),
    ('unit = "patient_id"', 'unit = "AGE"', ["unit", "never modelled"]),
    ('trust = "secure-sum"', 'trust = "none"', ["trust", "secure-sum"]),
    ('name = "stroke-12-countries"', "", ["[study]", "'name'", "missing"]),
    ('name = "stroke-12-countries"', 'name = " "', ["'name'"]),
    ("[study]", "[studie]", ["studie", "did you mean 'study'"]),
    ("[study]", "[study", ["not valid TOML", "line 2"]),
    ("[study]", "format = 2\n[study]", ["format", "2"]),
    ("steps = 40", "steps = true", ["[engine]", "steps", "number"]),
    ('type = "boolean"', 'type = "bool"', ["'DIED'", "type", "did you mean 'boolean'"]),
    ('type = "boolean"', 'type = "text"', ["'DIED'", "free text", "leave the column out"]),
    ('type = "boolean"', 'type = "id"', ["'DIED'", "identifier", "`unit`"]),
    ('type = "boolean"', 'type = "string"', ["did you mean 'categorical'"]),
    ('type = "boolean"', "", ["'DIED'", "'type'", "missing"]),
    ('name = "DIED"\n', "", ["[[columns]] number 2", "'name'", "missing"]),
    ('name = "DIED"', 'name = "AGE"', ["'AGE'", "twice"]),
    ('name = "SEX"', r'name = "SE\u001b[2JX"', [r"'SE\x1b[2JX'", "control characters"]),
    ("max = 100", "max = 16", ["'AGE'", "'max'", "above min"]),
    ("max = 100", "", ["'AGE'", "'max'", "missing"]),
    ("max = 100", 'max = "100"', ["'AGE'", "'max'", "number"]),
    ("max = 100", "max = 100\nmaximum = 5", ["'AGE'", "'maximum'", "not known"]),
    ("max = 100", "max = 100\nmax = 101", ["not valid TOML"]),
    ('codes = ["M", "F"]', 'codes = ["M", "M"]', ["'SEX'", "'codes'", "twice"]),
    ('codes = ["M", "F"]', 'codes = "M"', ["'SEX'", "'codes'", "list"]),
    ('codes = ["M", "F"]', "codes = [1.5]", ["'SEX'", "'codes'", "list"]),
    ('codes = ["M", "F"]', 'codes = ["M", "F"]\nmissing = ["F"]', ["'SEX'", "'missing'", "also a code"]),
    ('min = "1990-01-01"\n', 'min = "1.1.1990"\n', ["'ADMITTED'", "'min'", "YYYY-MM-DD"]),
    ('min = "1990-01-01"\n', 'min = "1990-01-01T12:00:00"\n', ["'ADMITTED'", "'min'", "whole day"]),
    ('min = "1990-01-01"\n', "min = 1990\n", ["'ADMITTED'", "'min'"]),
    ("special = [1, 30]", "special = 30", ["'STAY'", "'special'", "list"]),
    ("special = [1, 30]", "special = [true]", ["'STAY'", "'special'", "number"]),
    ("decimals = 1", "decimals = 1.0", ["'STAY'", "'decimals'", "whole number"]),
    ("[[columns]]", "[columns]", ["TOML"]),
]


@pytest.mark.parametrize(("right", "wrong", "words"), WRONG, ids=[wrong for _, wrong, _ in WRONG])
def test_what_is_wrong_is_said_with_file_key_and_cure(right, wrong, words):
    assert right in TEXT
    with pytest.raises(InvalidStudy) as caught:
        read_study(TEXT.replace(right, wrong, 1), source="dir/s.toml")
    said = str(caught.value)
    assert said.startswith("dir/s.toml: ")
    assert said.count("dir/s.toml") == 1
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("right", "wrong", "word"),
    [
        ('multiplier = "12.050"', 'multiplier = "0"', "multiplier"),
        ('multiplier = "12.050"', 'multiplier = "1/3"', "multiplier"),
        ('multiplier = "12.050"', "multiplier = 12.05", "multiplier"),
        ("repeats = 50", "", "repeats"),
        ("repeats = 50", "repeats = 0", "repeats"),
        ("capacity = 4096", "capacity = 0", "capacity"),
        ('name = "Ward 8"', 'name = "Ward 7"', "two sites"),
        ("[[roster]]", "[[rooster]]", "rooster"),
    ],
)
def test_a_broken_resolved_part_is_refused(right, wrong, word):
    with pytest.raises(InvalidStudy, match=word):
        read_study(TEXT + RESOLVED.replace(right, wrong), source="s.toml")


def keyed(*keys):
    return "".join(
        f'[[roster]]\nname = "{name}"\ncapacity = 9\n' + (f'key = "{key}"\n' if key else "")
        for name, key in zip("abcd", keys, strict=False)
    )


def test_members_of_a_secure_sum_have_keys_and_a_threshold():
    text = TEXT.replace("colluders = 1", "colluders = 1\nthreshold = 3\nattempts = 2")
    study = read_study(text + keyed("ab" * 32, "cd" * 32, "ef" * 32, "01" * 32), source="s.toml")
    assert study.roster[1] == Member("b", 9, "cd" * 32)
    assert (study.threshold, study.attempts, study.masked) == (3, 2, True)
    assert read_study(write_study(study), source="again").digest == study.digest


def test_where_nobody_is_trusted_members_may_have_keys_and_nothing_is_masked():
    text = TEXT.replace('trust = "secure-sum"', 'trust = "local"')
    study = read_study(text + keyed("ab" * 32, "cd" * 32), source="s.toml")
    assert ([bool(member.key) for member in study.roster], study.masked, study.shares) == ([True, True], False, 1)
    assert read_study(write_study(study), source="again").digest == study.digest
    with pytest.raises(InvalidStudy, match="two sites have one key"):
        read_study(text + keyed("ab" * 32, "cd" * 32, "ab" * 32), source="s.toml")


@pytest.mark.parametrize(
    ("roster", "says"),
    [
        (keyed("ab" * 32, "cd" * 32, "ef" * 32, ""), "no key of d"),
        (keyed("ab" * 32, "cd" * 32, "ab" * 32), "same key"),
        (keyed("ab" * 32, "cd" * 32), 'trust = "local"'),
        (keyed("ab" * 31, "cd" * 32, "ef" * 32), "64 hex digits"),
        (keyed("AB" * 32, "cd" * 32, "ef" * 32), "64 hex digits"),
    ],
)
def test_a_roster_that_cannot_have_secure_sums_is_refused(roster, says):
    with pytest.raises(InvalidStudy, match=says):
        read_study(TEXT + roster, source="s.toml")


def test_an_engine_of_a_later_version_is_not_possible():
    with pytest.raises(NotPossible, match="'copula' is not in this version"):
        read_study(TEXT.replace("rows = 20000", 'engine = "copula"'), source="s.toml")


@pytest.mark.parametrize("count", [0, 1, 201])
def test_too_few_and_too_many_columns_are_refused(count):
    columns = "".join(f'[[columns]]\nname = "c{at}"\ntype = "boolean"\n' for at in range(count))
    with pytest.raises(InvalidStudy, match="columns"):
        read_study(f'[study]\nname = "s"\n{columns}', source="s.toml")


def test_without_study_or_with_columns_as_one_table():
    with pytest.raises(InvalidStudy, match=r"\[study\] is missing"):
        read_study("", source="s.toml")
    with pytest.raises(InvalidStudy, match="double brackets"):
        read_study('[study]\nname = "s"\n[columns]\nname = "a"\n', source="s.toml")
    with pytest.raises(InvalidStudy, match="must be a table"):
        read_study('study = "s"\n', source="s.toml")
    with pytest.raises(InvalidStudy, match="MiB"):
        read_study("#" * (1 << 24), source="s.toml")


def test_entries_and_comments_are_toml():
    long = [f'code "{at}" \x7f\n\\é' for at in range(50)]
    text = "\n".join(
        [comment("two\nlines\x00 and a bell\a"), comment(""), entry("a key", long), entry("short", [1, 2.5])]
    )
    assert tomllib.loads(text) == {"a key": long, "short": [1, 2.5]}
    assert max(map(len, text.splitlines())) <= 120


def test_the_study_file_of_the_readme_is_read():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    study = read_study(sample, source="README.md")
    assert (study.target, study.engine, len(study.schema.columns)) == ("DIED", "marginals", 3)
