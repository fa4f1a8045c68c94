"""Policies: the empty one allows nothing, each rule refuses what it is there for, files are read strictly."""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from masked_made import masked_study

from silosynth.client.books import Price, Spending
from silosynth.client.policy import Cap, Caps, Policy, just_this, read_policy, write_policy
from silosynth.client.refusal import Reason, Refused
from silosynth.common.accounting import mu_squared_for
from silosynth.common.errors import InvalidInput, NotPossible
from silosynth.common.sampled import certify, epsilon_of
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Budget, Member, Step, Study, Trust

STUDY = Study(
    name="t",
    schema=Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")),)),
    budget=Budget(1.0, 1e-5, 1),
    roster=tuple(Member(name, 100) for name in "abcde"),
    plan=(Step("count", 1, Fraction(20)), Step("sum", 3, Fraction(30))),
)
COST = Price(Fraction(1, 400) + Fraction(3, 900), Fraction(4, 400) + Fraction(12, 900))
POLICY = just_this(STUDY)


def allowing(study, policy=POLICY):
    return replace(policy, studies=frozenset({study.digest}))


def refused_with(reason):
    return pytest.raises(Refused, match=f"^{reason.value}$")


def test_a_policy_for_one_study_allows_it_at_its_price_and_hardly_more():
    POLICY.check(STUDY)
    POLICY.check_price(Spending(COST, COST))
    dearer = Price(COST.aggregate * Fraction(1002, 1000), COST.local)
    with refused_with(Reason.STUDY_CAP):
        POLICY.check_price(Spending(dearer, COST))
    with refused_with(Reason.LIFETIME_CAP):
        POLICY.check_price(Spending(COST, dearer))


def test_room_for_restarts_is_as_many_prices_more():
    policy = just_this(STUDY, restarts=2)
    thrice = Price(3 * COST.aggregate, 3 * COST.local)
    policy.check_price(Spending(thrice, thrice))
    with refused_with(Reason.STUDY_CAP):
        policy.check_price(Spending(Price(thrice.aggregate * Fraction(1002, 1000), thrice.local), COST))


def test_the_floor_is_that_of_the_fewest_who_may_answer():
    study = masked_study(threshold=3)
    just_this(study).check(study)
    with refused_with(Reason.FLOOR_TOO_LOW):
        replace(just_this(study), least_floor=3).check(study)
    more = masked_study(threshold=4)
    replace(just_this(more), least_floor=3).check(more)


def test_sums_that_64_bits_would_not_hold_are_refused():
    study = masked_study()
    large = tuple(replace(member, capacity=1 << 48) for member in study.roster)
    study = replace(study, roster=large, plan=(Step("gradient", 1, Fraction(20)),))
    with refused_with(Reason.BAD_PLAN):
        just_this(study).check(study)


def test_the_empty_policy_allows_nothing():
    for policy in (Policy(), read_policy("", "policy.toml")):
        with refused_with(Reason.NOT_APPROVED):
            policy.check(STUDY)
        with refused_with(Reason.ENGINE_NOT_ALLOWED):
            allowing(STUDY, policy).check(STUDY)
        for price in (Price(Fraction(1, 10**9)), Price(local=Fraction(1, 10**9))):
            with refused_with(Reason.STUDY_CAP):
                policy.check_price(Spending(price, price))


@pytest.mark.parametrize(
    ("study", "reason"),
    [
        (replace(STUDY, engine="other"), Reason.ENGINE_NOT_ALLOWED),
        (replace(STUDY, roster=STUDY.roster[:4]), Reason.TOO_FEW_SITES),
        (replace(STUDY, roster=(*STUDY.roster[:4], STUDY.roster[0])), Reason.TOO_FEW_SITES),
        (replace(STUDY, budget=Budget(1.0, 1e-5, 2)), Reason.FLOOR_TOO_LOW),
        (replace(STUDY, budget=Budget(1.0, 1e-5, 0)), Reason.FLOOR_TOO_LOW),
        (replace(STUDY, budget=Budget(0.01, 1e-5, 1)), Reason.BAD_PLAN),
        (replace(STUDY, plan=()), Reason.BAD_PLAN),
        (replace(STUDY, plan=(Step("count", 1, None),)), Reason.BAD_PLAN),
        (replace(STUDY, plan=(*STUDY.plan, *STUDY.plan), budget=Budget(9.0, 1e-5, 1)), Reason.BAD_PLAN),
    ],
)
def test_each_rule_refuses_what_it_is_there_for(study, reason):
    with refused_with(reason):
        allowing(study).check(study)
    with refused_with(Reason.NOT_APPROVED):  # any change makes it another study
        POLICY.check(study)


def test_a_twin_on_the_roster_does_not_count_even_where_few_sites_are_enough():
    study = replace(STUDY, roster=(*STUDY.roster, STUDY.roster[0]))
    with refused_with(Reason.TOO_FEW_SITES):
        replace(allowing(study), least_sites=2).check(study)


def test_no_floor_is_asked_for_where_nobody_is_trusted():
    study = replace(STUDY, trust=Trust.LOCAL, budget=Budget(1.0, 1e-5, 0))
    allowing(study).check(study)


def test_a_plan_may_cost_exactly_what_the_study_says():
    budget = mu_squared_for(1.0, 1e-5)
    root = Fraction(math.isqrt(int(10**20 / budget)) + 1, 10**10)  # multiplier rounded up
    study = replace(STUDY, plan=(Step("count", 1, root),))
    allowing(study).check(study)
    dearer = replace(STUDY, plan=(Step("count", 1, root - Fraction(2, 10**10)),))
    with refused_with(Reason.BAD_PLAN):
        allowing(dearer).check(dearer)


LEARN = Step("learn", 3, within=(Step("sum", 20, Fraction(2), Fraction(1, 20)),))
LEARN = replace(LEARN, certified=certify(LEARN.history(1)))
LOCAL = replace(
    STUDY,
    trust=Trust.LOCAL,
    budget=Budget(1.0, 1e-5, 0),
    roster=STUDY.roster[:2],
    plan=(Step("count", 1, Fraction(20)), LEARN),
)


def test_a_study_of_two_sites_that_learn_by_themselves_is_allowed():
    policy = just_this(LOCAL)
    policy.check(LOCAL)
    (charged,) = {policy.study_caps.aggregate, policy.study_caps.local}
    assert charged.epsilon > epsilon_of(LEARN.history(1), 1e-5)
    replace(policy, least_sites=3).rules[0].check(LOCAL)
    with refused_with(Reason.TOO_FEW_SITES):  # the owner's word counts
        replace(policy, least_sites=3).check(LOCAL)


@pytest.mark.parametrize(
    "plan",
    [
        (replace(LEARN, certified=None),),
        (replace(LEARN, certified=LEARN.certified * Fraction(99, 100)),),
        (replace(LEARN, repeats=4),),
        (replace(LEARN, multiplier=Fraction(100)),),
        (replace(LEARN, rate=Fraction(1, 100)),),
        (Step("learn", 1, within=(replace(LEARN.within[0], rate=None), LEARN)),),
        (Step("learn", 1, within=(replace(LEARN.within[0], rate=None, certified=Fraction(1)),)),),
        (Step("learn", 1, within=(replace(LEARN.within[0], rate=None, repeats=0),)),),
        (Step("count", 1, Fraction(20), certified=Fraction(1, 400)),),
        (Step("count", 1, Fraction(20), rate=Fraction(1, 2)),),
        (Step("count", 1, Fraction(20), rate=Fraction(3, 2), certified=Fraction(1)),),
    ],
)
def test_a_plan_that_prices_its_samples_wrongly_or_not_at_all_is_refused(plan):
    study = replace(LOCAL, plan=plan, budget=Budget(9.0, 1e-5, 0))
    with refused_with(Reason.BAD_PLAN):
        allowing(study, just_this(LOCAL)).check(study)


def test_samples_under_a_shared_noise_are_refused():
    study = replace(LOCAL, trust=Trust.SECURE_SUM, budget=Budget(9.0, 1e-5, 1), roster=STUDY.roster)
    policy = replace(just_this(STUDY), studies=frozenset({study.digest}))
    with refused_with(Reason.BAD_PLAN):
        policy.check(study)


def test_a_sampled_plan_without_noise_is_for_simulations():
    bare = replace(LEARN, certified=None, within=(replace(LEARN.within[0], multiplier=None),))
    study = replace(LOCAL, plan=(bare,), budget=Budget(math.inf, 1e-5, 0))
    just_this(study, allow_no_privacy=True).check(study)


def test_caps_are_exact_and_for_each_view():
    cap = Cap(1.0, 1e-5)
    over = cap.mu_squared + Fraction(1, 10**40)
    Caps(cap, cap).check(Price(cap.mu_squared, cap.mu_squared), Reason.STUDY_CAP)
    for spent in (Price(over, Fraction(0)), Price(Fraction(0), over)):
        with refused_with(Reason.STUDY_CAP):
            Caps(cap, cap).check(spent, Reason.STUDY_CAP)


def test_no_cap_covers_a_release_without_noise_but_a_simulations_policy_can():
    study = replace(STUDY, plan=(Step("count", 2, None),), budget=Budget(math.inf, 1e-5, 1))
    nothing = Price(noiseless=True)
    policy = just_this(study)
    policy.check(study)
    huge = replace(policy, study_caps=Caps(Cap(1e3, 1e-5), Cap(1e3, 1e-5)))
    for strict in (policy, huge):
        with refused_with(Reason.NO_NOISE):
            strict.check_price(Spending(nothing, nothing))
    with refused_with(Reason.NO_NOISE):  # also when an earlier study had none
        huge.check_price(Spending(Price(), nothing))
    just_this(study, allow_no_privacy=True).check_price(Spending(nothing, nothing))


def test_what_a_simulation_pays_is_still_capped():
    policy = just_this(STUDY, allow_no_privacy=True)
    twice = replace(COST + COST, noiseless=True)
    with refused_with(Reason.LIFETIME_CAP):
        policy.check_price(Spending(COST, twice))


def test_too_many_refusals_lock():
    policy = replace(POLICY, lock_out_after=2)
    policy.check_refusals(1)
    with refused_with(Reason.LOCKED_OUT):
        policy.check_refusals(2)


ONE = mu_squared_for(1.0, 1e-5)
A_HAIR_OVER = ONE * (1 + Fraction(1, 10**10))  # epsilon still rounds to 1, whose mu^2, rounded down, does not cover it


@pytest.mark.parametrize("mu_squared", [Fraction(1, 10**6), Fraction(1, 7), Fraction(11, 3), ONE, A_HAIR_OVER])
def test_a_covering_cap_covers_and_hardly_more(mu_squared):
    cap = Cap.covering(mu_squared, 1e-5)
    assert mu_squared <= cap.mu_squared <= mu_squared * Fraction(1003, 1000) + Fraction(1, 10**5)
    assert float(f"{cap.epsilon:.4g}") == cap.epsilon


# --- files


def test_a_policy_comes_back_from_its_file():
    caps = Caps(Cap(1.0, 1e-5), Cap(4.5, 1e-6))
    policy = Policy(frozenset({STUDY.digest}), frozenset({"b", "a"}), 4, 3, 7, caps, Caps(aggregate=Cap(2.0, 1e-5)))
    text = write_policy(policy)
    assert text.startswith("format = 1\n")
    assert read_policy(text, "policy.toml") == policy
    assert read_policy(write_policy(Policy()), "policy.toml") == Policy()


def test_no_file_can_allow_plain_sums():
    assert not read_policy(write_policy(Policy(allow_plain_sums=True)), "policy.toml").allow_plain_sums
    with pytest.raises(InvalidInput, match="allow_plain_sums"):
        read_policy("allow_plain_sums = true", "policy.toml")


def test_no_file_can_allow_releases_without_noise():
    with pytest.raises(NotPossible, match="only a simulation"):
        write_policy(Policy(allow_no_privacy=True))
    with pytest.raises(InvalidInput, match="allow_no_privacy"):
        read_policy("allow_no_privacy = true", "policy.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("studies = [", "not TOML"),
        ("format = 2", "format 1"),
        ("studie = []", "studie.*did you mean 'studies'"),
        ('studies = "any"', "studies"),
        ('studies = ["any"]', "64 hex digits"),
        ("least_sites = 0", "least_sites"),
        ("least_sites = true", "least_sites"),
        ("lock_out_after = 1.5", "lock_out_after"),
        ("caps = 3", r"\[caps\]"),
        ("[caps.year]", r"\[caps\].*year"),
        ("[caps.study.everybody]", r"\[caps.study\].*everybody"),
        ("[caps.study.local]\nepsilon = inf\ndelta = 1e-5", r"\[caps.study.local\].*epsilon.*finite"),
        ("[caps.study.local]\nepsilon = nan\ndelta = 1e-5", r"epsilon"),
        ("[caps.study.local]\ndelta = 1e-5", "epsilon"),
        ("[caps.study.local]\nepsilon = 1", "delta"),
        ("[caps.study.local]\nepsilon = 1\ndelta = 1", "delta"),
        ("[caps.study.local]\nepsilon = 1\ndelta = 1e-5\nyear = 1", "year"),
    ],
)
def test_a_wrong_file_is_named_with_key_and_cure(text, says):
    with pytest.raises(InvalidInput, match=rf"(?s)policy\.toml.*{says}"):
        read_policy(text, "policy.toml")


def test_the_example_policy_is_one_and_lists_no_study():
    path = Path(__file__).parents[2] / "deploy" / "policy.example.toml"
    policy = read_policy(path.read_text(encoding="utf-8"), str(path))
    assert policy.lifetime_caps.local.epsilon == 9.0
    with refused_with(Reason.NOT_APPROVED):
        policy.check(STUDY)
