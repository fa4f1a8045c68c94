"""A study in words: the numbers are those of the accountant, and nothing that matters is left out."""

from dataclasses import replace
from fractions import Fraction
from hashlib import sha256

import pytest

from silosynth.common import accounting
from silosynth.common.describe import describe, plan_event
from silosynth.common.plan import resolve
from silosynth.common.privacy import Part
from silosynth.common.sampled import certify, epsilon_of
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.secagg.roster import grouped
from silosynth.common.secagg_study import roster
from silosynth.common.study import Budget, Member, Step, Study, Trust

SCHEMA = Schema(
    (
        Column("AGE", Kind.INTEGER, low=16, high=100, missing=("999",), unreviewed=("min", "max")),
        Column("BORN", Kind.DATE, low=0, high=365),
        Column("SEEN", Kind.DATETIME, low=0, high=3661),
        Column("ICD", Kind.CATEGORICAL, codes=tuple(f"A{at}" for at in range(20))),
    )
)
STUDY = Study(
    "strokes",
    SCHEMA,
    Budget(1, 1e-5, 1),
    target="ICD",
    unit="patient",
    purpose="teaching",
    roster=tuple(Member(name, 1000) for name in ("north", "south", "east", "west", "centre")),
    plan=(Step("one-ways", 1, Fraction(10)), Step("gradient", 50, Fraction(40))),
)


def said(study):
    return " ".join(describe(study).split())


def test_everything_a_data_protection_officer_asks_is_there():
    text = said(STUDY)
    for words in (
        "strokes", "teaching", "'patient'", "never modelled", "at most 64 rows", "20% of the persons",
        "1 sum (one-ways, noise multiplier 10)", "50 sums (gradient, noise multiplier 40)", "epsilon 1 at delta 1e-05",
        "north: answers with at most 1,000 rows", "centre: answers",
        "5 sites, even together with 1", "AGE: integer, 16 to 100; missing: 999",
        "UNREVIEWED: min, max", f"Bounds or codes of 1 of {len(STUDY.schema.columns)} columns are taken from data",
        "BORN: date, 1970-01-01 to 1971-01-01",
        "1970-01-01 01:01:01", "and 8 more codes", "without masking", "not promised", STUDY.digest,
    ):  # fmt: skip
        assert words in text


def test_both_epsilons_are_the_accountants():
    mu2 = Fraction(1, 100) + Fraction(50, 1600)
    text = said(STUDY)
    assert f"epsilon {accounting.epsilon(mu2, 1e-5):.3f} against everybody who sees only totals" in text
    assert f"epsilon {accounting.epsilon(4 * mu2, 1e-5):.3f} against all others together" in text


def test_masks_are_told_with_what_they_rest_on_and_what_a_drop_out_costs():
    keyed = replace(
        STUDY, threshold=4, roster=tuple(replace(member, key=f"{at:064x}") for at, member in enumerate(STUDY.roster))
    )
    text = said(replace(keyed, attempts=2))
    for words in (
        "can read totals, and no site's answer", "Compare the roster's fingerprint", roster(keyed).fingerprint,
        "at most 2 times in all, of at least 4 sites", "or if masks fail",
    ):  # fmt: skip
        assert words in text
    assert "without masking" not in text
    assert "at most 3 times in all, of at least 5 sites" in said(replace(keyed, threshold=None))


def test_local_trust_has_one_epsilon():
    text = said(replace(STUDY, trust=Trust.LOCAL))
    assert f"epsilon {accounting.epsilon(Fraction(1, 100) + Fraction(50, 1600), 1e-5):.3f} against everybody:" in text
    assert "totals over the" not in text
    assert "masking" not in text


def test_an_unresolved_study_says_so():
    study = replace(STUDY, plan=(), roster=(), unit=None, purpose="")
    assert plan_event(study) is None
    for words in ("plan is not there yet", "computed when the plan", "taken for one person", "not stated"):
        assert words in said(study)


@pytest.mark.parametrize("epsilon", [float("inf")])
def test_no_noise_is_no_privacy(epsilon):
    study = replace(STUDY, budget=Budget(epsilon, 1e-5, 1), plan=(Step("one-ways", 1, None),))
    assert plan_event(study) is None
    assert "NO PRIVACY" in said(study)
    assert "WITHOUT NOISE" in said(study)


def test_lines_are_short_enough_to_read():
    assert max(map(len, describe(STUDY).splitlines())) <= 100


def test_a_site_that_learns_by_itself_is_described_with_both_its_prices():
    learn = Step("discriminator", 4, within=(Step("gradient", 20, Fraction(2), Fraction(3, 200)),))
    learn = replace(learn, certified=certify(learn.history(1)))
    study = replace(STUDY, trust=Trust.LOCAL, plan=(STUDY.plan[0], Step("learn", 1, within=(STUDY.plan[1],)), learn))
    text = said(study)
    for words in (
        "1 sum (one-ways, noise multiplier 10)", "1 answer (learn): a model of its rows",
        "- 50 sums (gradient, noise multiplier 40): how",
        "4 answers (discriminator)", "by itself, each time from the sums below",
        "- 20 sums (gradient, noise multiplier 2, each over a secret random 1.5 % of the persons)",
        "learnt from such noisy sums alone",
    ):  # fmt: skip
        assert words in text
    spent = Fraction(1, 100) + Fraction(50, 1600) + learn.certified
    assert f"epsilon {epsilon_of(plan_event(study), 1e-5):.3f} against everybody:" in text
    assert f"as much room as epsilon {accounting.epsilon(spent, 1e-5):.3f}:" in text
    assert max(map(len, describe(study).splitlines())) <= 100
    assert "as much room" not in said(STUDY)


def test_who_takes_part_and_with_which_software_is_told():
    keyed = replace(
        STUDY,
        roster=tuple(replace(one, key=f"{at:064x}", officer="ab" * 32) for at, one in enumerate(STUDY.roster)),
        code="cd" * 32,
    )
    text = said(keyed)
    officer = grouped(sha256(bytes.fromhex("ab" * 32)).digest())
    assert text.count(f"officer key {officer}") == 5
    for member in roster(keyed).members:
        assert f"agent key {member.fingerprint}" in text
    assert f"Fingerprint of the roster: {roster(keyed).fingerprint}" in text
    assert "cd" * 32 in text
    assert "officer key" not in said(STUDY)
    assert "refuse the study where they have another" not in said(STUDY)


def test_a_studys_texts_cannot_steer_a_terminal():
    """Escapes that move the cursor, or turn the direction of writing, could hide what a person must read."""
    hostile = "to learn\x1b[2K\x1b[1A\x9b2J\u202e nothing\r\nDigest 00"
    codes = Column("ICD", Kind.CATEGORICAL, codes=("A\x1b[8m", "B"), unit="\x07")
    text = describe(replace(STUDY, purpose=hostile, schema=Schema((*SCHEMA.columns[:3], codes))))
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert not [line for line in text.splitlines() if line.startswith("Digest 00")]


def test_held_out_persons_who_are_asked_are_told_so_and_that_it_costs_nothing_on_top():
    asked = replace(STUDY, plan=(*STUDY.plan, Step("holdout-scores", 1, Fraction(5), part=Part.HOLDOUT)))
    text = said(asked)
    assert "never used for the model. They answer, with noise, how good the synthetic table is." in text
    assert "each pays either for the model or for this, and it costs nobody anything on top" in text
    assert "1 sum (holdout-scores, noise multiplier 5): held-out persons only" in text
    mu2 = max(Fraction(1, 100) + Fraction(50, 1600), Fraction(1, 25))
    assert f"epsilon {accounting.epsilon(mu2, 1e-5):.3f} against everybody who sees only totals" in text
    assert "They answer" not in said(STUDY)


@pytest.mark.parametrize("engine", ["autoregressive", "gan", "marginals"])
@pytest.mark.parametrize("trust", list(Trust))
def test_every_sum_of_every_engine_is_said_in_words(engine, trust):
    asked = replace(STUDY, engine=engine, trust=trust, plan=())
    text = said(resolve(asked, STUDY.roster))
    assert "sums of this kind" not in text


def test_the_engine_its_units_and_the_subgroups_are_named():
    asked = replace(STUDY, engine="auto", units=250_000, plan=(), budget=Budget(0.5, 1e-5, 1))
    text = said(resolve(asked, STUDY.roster))
    assert "The engine is 'marginals'; about 250,000 persons are said to take part, which nobody checks." in text
    assert "the price below covers whatever it chooses" in text
    grouping = replace(asked, schema=Schema((*SCHEMA.columns, Column("SEX", Kind.CATEGORICAL, codes=("F", "M")))))
    assert "The subgroups are those of SEX." in said(resolve(grouping, STUDY.roster))
    assert "subgroups are those" not in text
