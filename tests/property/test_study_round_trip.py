"""Any study that can be built can be written and read back without changing its digest."""

import tomllib
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study, Trust
from silosynth.common.study_file import read_study, write_study
from silosynth.common.toml_text import entry

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
NAMES = WORDS.map(str.strip).filter(lambda word: word and word.isprintable())
CODES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
MOMENTS = {Kind.DATE: 86_400, Kind.DATETIME: 1}


@st.composite
def columns(draw, name):
    kind = draw(st.sampled_from(list(Kind)))
    words = draw(st.lists(CODES, min_size=4, max_size=8, unique=True))
    if kind in {Kind.CATEGORICAL, Kind.BOOLEAN}:
        codes = draw(st.sampled_from([(), tuple(words[:2])])) if kind is Kind.BOOLEAN else tuple(words[2:])
        free = [word for word in words[:2] if word not in (codes or ("false", "true"))]
        return Column(name, kind, codes=codes, missing=tuple(free), unreviewed=draw(st.sampled_from([(), ("codes",)])))
    if kind in MOMENTS:
        numbers = st.integers(-9_000_000_000 // MOMENTS[kind], 9_000_000_000 // MOMENTS[kind])
    elif kind is Kind.INTEGER:
        numbers = st.integers(-(10**12), 10**12)
    else:
        numbers = st.floats(-1e12, 1e12)
    low, middle, high = sorted(draw(st.lists(numbers, min_size=3, max_size=3, unique_by=float)))
    return Column(
        name,
        kind,
        low=low,
        high=high,
        missing=tuple(word for word in words if not _is_number(word)),
        special=draw(st.sampled_from([(), (middle,)])),
        scale="auto" if kind in MOMENTS else draw(st.sampled_from(["auto", "linear", "asinh"])),
        unit="hours" if kind is Kind.DURATION else draw(WORDS),
        unreviewed=draw(st.sampled_from([(), ("min", "max")])),
    )


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


@st.composite
def studies(draw):
    names = draw(st.lists(NAMES, min_size=3, max_size=5, unique=True))
    schema = Schema(tuple(draw(columns(name)) for name in names[1:]))
    multipliers = st.fractions(Fraction(1, 1000), 10**6).map(lambda value: Fraction(round(value * 10**9) or 1, 10**9))
    trust = draw(st.sampled_from(list(Trust)))
    rates = st.integers(1, 10**6).map(lambda parts: Fraction(parts, 10**6)) if trust is Trust.LOCAL else st.none()
    repeats = st.integers(1, 1000)
    sums = st.builds(Step, NAMES, repeats, st.none() | multipliers, st.none() | rates)
    learnt = st.builds(
        lambda kind, count, within, certified: Step(kind, count, within=tuple(within), certified=certified),
        NAMES, repeats, st.lists(sums, min_size=1, max_size=3), st.none() | multipliers,
    )  # fmt: skip
    steps = sums | learnt if trust is Trust.LOCAL else sums
    keys = st.binary(min_size=32, max_size=32).map(bytes.hex)
    # members of a secure sum fit together: test_secagg_study.py
    agents = st.just("") if trust is Trust.SECURE_SUM else keys
    members = st.builds(Member, NAMES, st.integers(1, 2**40), agents, st.just("") | keys)
    return Study(
        name=draw(NAMES),
        schema=schema,
        budget=Budget(
            draw(st.floats(1e-3, 50) | st.just(float("inf"))), draw(st.floats(1e-12, 0.5)), draw(st.integers(1, 9))
        ),
        target=draw(st.none() | st.sampled_from(names[1:])),
        unit=draw(st.none() | st.just(names[0])),
        holdout=draw(st.floats(0, 0.9)),
        trust=trust,
        rows=draw(st.none() | st.integers(1, 2**40)),
        units=draw(st.none() | st.integers(1, 2**40)),
        max_rows_per_unit=draw(st.integers(1, 5040)),
        settings=tuple(draw(st.dictionaries(WORDS, st.floats(-1e9, 1e9), max_size=4)).items()),
        roster=tuple(
            draw(st.lists(members, max_size=3, unique_by=(lambda one: one.name, lambda one: one.key or one.name)))
        ),
        plan=tuple(draw(st.lists(steps, max_size=3))),
        purpose=draw(WORDS | st.just("")),
        threshold=draw(st.none() | st.integers(1, 256)),
        attempts=draw(st.integers(1, 100)),
        code=draw(st.just("") | keys),
    )


@given(studies())
@settings(deadline=None, max_examples=60)
def test_writing_and_reading_keeps_the_digest(study):
    assert read_study(write_study(study), source="s").digest == study.digest


@given(
    WORDS,
    st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=40)
    | st.floats(allow_nan=False)
    | st.integers(),
)
@settings(deadline=None)
def test_entries_are_read_back_by_toml(key, value):
    big = isinstance(value, int) and abs(value) >= 2**63
    assert big or tomllib.loads(entry(key, value)) == {key: value}
