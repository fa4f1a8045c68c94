"""What approve tells a person is what the gate will say: the same yes or no, by the same rule, whatever the policy."""

from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
import site_made

from silosynth.client.appraisal import appraise, line_of
from silosynth.client.approval import listing
from silosynth.client.books import price
from silosynth.client.entries import Planned
from silosynth.client.gate import Gate
from silosynth.client.keys import agent_key
from silosynth.client.ledger import Ledger, books_at
from silosynth.client.mechanism import SystemNoise
from silosynth.client.policy import Cap, Caps, Policy
from silosynth.client.refusal import Reason, Refused
from silosynth.client.session import Sessions
from silosynth.common import accounting
from silosynth.common.study import Budget


@pytest.fixture
def home(tmp_path):
    return site_made.made(tmp_path / "site")


@pytest.fixture
def ledger(home):
    with closing(Ledger(home[0].ledger)) as opened:
        yield opened


@pytest.fixture
def study(home):
    return site_made.study_of(home[1])


def caps(aggregate, local):
    return Caps(aggregate and Cap(aggregate, 1e-5), local and Cap(local, 1e-5))


WIDE = caps(2.0, 4.0)
OPEN = Policy(engines=frozenset({"autoregressive"}), study_caps=WIDE, lifetime_caps=WIDE)


def gate_says(policy, home, ledger, study):
    """Why the gate refuses, or None."""
    sessions = Sessions(ledger, agent_key(home.agent))
    try:
        Gate(listing(policy, study), ledger, SystemNoise(), sessions).approve(study, study.roster[0])
    except Refused as refused:
        return refused.reason
    return None


POLICIES = {
    "open": OPEN,
    "empty": Policy(),
    "no engine": replace(OPEN, engines=frozenset()),
    "many sites": replace(OPEN, least_sites=4),
    "high floor": replace(OPEN, least_floor=3),
    "no cap per study": replace(OPEN, study_caps=caps(2.0, None)),
    "no cap for ever": replace(OPEN, lifetime_caps=caps(None, 4.0)),
    "low cap per study": replace(OPEN, study_caps=caps(0.1, 4.0)),
    "low cap for ever": replace(OPEN, lifetime_caps=caps(2.0, 0.1)),
}


def variants(study):
    first, more = study.plan
    return {
        "as it is": study,
        "another engine": replace(study, engine="gan"),
        "no noise": replace(study, plan=(replace(first, multiplier=None), more), budget=Budget(float("inf"), 1e-5, 1)),
        "dearer than it says": replace(study, plan=(first, replace(more, multiplier=Fraction(1)))),
        "a number that is none": replace(study, plan=(first, replace(more, multiplier=Fraction(-1)))),
        "no plan": replace(study, plan=()),
        "no keys": replace(study, roster=tuple(replace(member, key="") for member in study.roster)),
    }


@pytest.mark.parametrize(("policy", "variant"), list(product(POLICIES, range(7))))
def test_it_agrees_with_the_gate(home, ledger, study, policy, variant):
    asked = list(variants(study).values())[variant]
    found = appraise(asked, POLICIES[policy], "", books_at(home[0].ledger))
    said = gate_says(POLICIES[policy], home[0], ledger, asked)
    assert (said is None) == (not found.findings)
    if said:
        assert said in {finding.reason for finding in found.findings}


def test_what_other_studies_spent_counts(home, ledger, study):
    other = replace(study, name="before")
    assert gate_says(OPEN, home[0], ledger, other) is None
    found = appraise(study, OPEN, "", books_at(home[0].ledger))
    rooms = {room.table: room for room in found.rooms}
    spent, view = Planned.of(study, private=True).event(), rooms["caps.lifetime.aggregate"]
    assert view.before == accounting.epsilon(price(spent).aggregate, 1e-5)
    assert view.after > view.before
    assert rooms["caps.study.aggregate"].before == 0
    tight = replace(OPEN, lifetime_caps=caps(view.before * 1.1, 4.0))
    (finding,) = appraise(study, tight, "", books_at(home[0].ledger)).findings
    assert finding.reason is gate_says(tight, home[0], ledger, study) is Reason.LIFETIME_CAP


def test_restarts_that_there_is_room_for_are_those_the_ledger_lets_through(home, ledger, study):
    said = min(room.restarts for room in appraise(study, OPEN, "", books_at(home[0].ledger)).rooms)
    assert 0 < said < 50
    policy = listing(OPEN, study)
    assert gate_says(OPEN, home[0], ledger, study) is None
    ledger.open_session(study.digest, bytes(32), policy.check_price)
    for number in range(said):
        ledger.lose_sessions(())  # it was killed
        ledger.open_session(study.digest, number.to_bytes(32, "big"), policy.check_price)
    ledger.lose_sessions(())
    with pytest.raises(Refused, match="cap"):
        ledger.open_session(study.digest, bytes(31) + b"\xff", policy.check_price)


def test_a_study_that_was_paid_for_costs_nothing_again(home, ledger, study):
    assert gate_says(OPEN, home[0], ledger, study) is None
    found = appraise(study, OPEN, "", books_at(home[0].ledger))
    assert found.paid
    assert all(room.before == room.after for room in found.rooms if room.table.startswith("caps.lifetime"))
    assert not found.findings


@pytest.mark.parametrize(("do", "reason"), [("void", Reason.STUDY_CLOSED), ("bar", Reason.ROLLED_BACK)])
def test_what_the_ledger_refuses_is_told(home, ledger, study, do, reason):
    assert gate_says(OPEN, home[0], ledger, study) is None
    ledger.void(study.digest) if do == "void" else ledger.bar(study.digest, {})
    found = appraise(study, OPEN, "", books_at(home[0].ledger))
    assert [finding.reason for finding in found.findings] == [reason]
    assert gate_says(OPEN, home[0], ledger, study) is reason


TEXT = """\
engines = []   # none

[caps.study.aggregate]
epsilon = 1.0  # epsilon = 2
delta = 1e-5
[ caps.study.local ]
  epsilon=3
"""


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ("", "engines", "policy.toml line 1 says `engines = []`"),
        ("caps.study.aggregate", "epsilon", "policy.toml line 4 says `epsilon = 1.0`"),
        ("caps.study.local", "epsilon", "policy.toml line 7 says `epsilon=3`"),
        ("", "epsilon", "policy.toml has no `epsilon`"),
        ("caps.lifetime.local", "epsilon", "policy.toml has no `epsilon` under [caps.lifetime.local]"),
    ],
)
def test_lines_are_found(table, key, said):
    assert line_of(TEXT, table, key) == said
