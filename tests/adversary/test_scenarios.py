"""Every attack on whole sites learns nothing but totals; with its defence taken out, it gets through."""

from dataclasses import replace

import numpy as np
import pytest

from silosynth.client.refusal import Reason
from silosynth.common.column import Column, Kind
from silosynth.common.engine import Units
from silosynth.common.plan import resolve
from silosynth.common.schema import Schema
from silosynth.common.secagg import masks
from silosynth.common.secagg.roster import Roster
from silosynth.common.secagg.rounds import Round
from silosynth.common.study import Budget, Member, Study
from silosynth.simulations.adversary import Enemy, Victims, keyed
from silosynth.simulations.attacks import ATTACKS

SCHEMA = Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")), Column("ILL", Kind.CATEGORICAL, codes=("y", "n"))))
COLLUDERS, VICTIMS = (0, 4), (1, 2, 3)

SAID = {
    "asked_twice": {Reason.OUT_OF_ORDER},
    "too_few": {Reason.BAD_SET},
    "key_without_secret": {Reason.BAD_SESSION, Reason.NO_SESSION},
    "substituted_key": {Reason.BAD_SESSION, Reason.NO_SESSION},
    "reflected_opening": {Reason.BAD_SESSION, Reason.NO_SESSION},
    "split_transcripts": {Reason.BAD_SESSION, Reason.NO_SESSION},
    "few_acknowledgements": {Reason.BAD_SESSION, Reason.NO_SESSION},
    "before_confirmation": {Reason.NO_SESSION},
    "replayed_session": {Reason.BAD_SESSION, Reason.NO_SESSION},
}
"""What is refused on the way. Attacks that are not here are answered, in vain."""


def study(threshold=4):
    """Two colluders of five, without noise: only masks hide what a site answers."""
    asked = Study("t", SCHEMA, Budget(float("inf"), 1e-5, 2), settings=(("steps", 1.0),), threshold=threshold)
    return keyed(resolve(asked, tuple(Member(f"s{at}", 1024) for at in range(5))))


def rows(place):
    rng = np.random.default_rng(place)
    return Units(rng.integers(0, 2, (20 + place, 2)).astype(np.int32), np.arange(20 + place, dtype=np.int64))


@pytest.fixture
def attacked(tmp_path):
    """Runs an attack; the enemy after it."""
    made = []

    def run(attack, **options):
        made.append(Victims(tmp_path, study(**options), {place: rows(place) for place in VICTIMS}))
        enemy = Enemy(made[-1])
        ATTACKS[attack](enemy)
        return enemy

    yield run
    for victims in made:
        victims.close()


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_opens_but_totals(attacked, attack):
    enemy = attacked(attack)
    assert not enemy.exposed
    refused = {reason for reason in enemy.refused if not reason.endswith("bytes")}
    assert refused == SAID.get(attack, set())
    assert enemy.answers or refused


def test_a_total_over_all_victims_does_open(attacked):
    enemy = attacked("nested_sets")
    assert enemy.opens(enemy.answers[:3], [1, 1, 1])
    assert enemy.opens(enemy.answers[3:], [1, 1])
    assert not any(enemy.opens([one], [1]) for one in enemy.answers)


def test_what_is_no_frame_is_answered_with_a_refusal_of_one_size(attacked):
    sizes = [said for said in attacked("malformed").refused if said.endswith("bytes")]
    assert len(sizes) == 8 * len(VICTIMS)
    assert len(set(sizes)) <= 3  # two kinds of replies; a refused round has a receipt


ANSWERED = [attack for attack in ATTACKS if attack not in SAID or attack in ("asked_twice", "replayed_session")]


@pytest.mark.parametrize("attack", ANSWERED)
def test_without_masks_all_of_them_would(attacked, monkeypatch, attack):
    monkeypatch.setattr(masks, "add_mask", lambda *_, **__: None)
    assert attacked(attack).exposed


def unbound(**fields):
    """A round whose name leaves some of it out."""
    honest = Round.context
    return lambda asked, *rest: honest(replace(asked, **fields), *rest)


@pytest.mark.parametrize(
    ("attack", "fields"),
    [
        ("different_sets", {"members": (0,)}),
        ("different_attempts", {"attempt": 0}),
        ("different_tasks", {"task": bytes(32)}),
    ],
)
def test_a_round_is_bound_to_all_of_it(attacked, monkeypatch, attack, fields):
    monkeypatch.setattr(Round, "context", unbound(**fields))
    assert attacked(attack).exposed


@pytest.mark.parametrize("attack", ["copied_key", "copied_key_in_other_bytes"])
def test_a_secret_is_bound_to_its_two_members_and_their_keys(attacked, monkeypatch, attack):
    monkeypatch.setattr(masks, "pair_info", lambda *_: b"pair")
    assert attacked(attack).exposed


def test_a_set_of_a_victim_and_colluders_would_open(attacked, monkeypatch):
    monkeypatch.setattr(Roster, "__post_init__", lambda _self: None)
    assert attacked("too_few", threshold=3).exposed
