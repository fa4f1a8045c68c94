"""Sites and messages fail at every phase: a smaller sum, or an end that says what was spent; charges equal attempts."""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from made import totals

from silosynth.client.app import client_app
from silosynth.client.books import price
from silosynth.client.entries import Planned, Reserved, Sessioned
from silosynth.client.policy import just_this, write_policy
from silosynth.common.column import Column, Kind
from silosynth.common.engine import Parted, Units
from silosynth.common.errors import NotCertified, QuorumLost
from silosynth.common.plan import resolve
from silosynth.common.privacy import View
from silosynth.common.progress import silent
from silosynth.common.schema import Schema
from silosynth.common.study import Budget, Member, Study
from silosynth.common.study_file import write_study
from silosynth.common.verify import ARTEFACTS, Bundle, verify
from silosynth.server.carrier import Patience
from silosynth.server.certificate import Noise, certificate, completed
from silosynth.server.coordinator import run
from silosynth.server.journal import Journal
from silosynth.server.sites import GridSites
from silosynth.simulations.faults import ROUND, Fault, FaultyGrid, Moment, Strike
from silosynth.simulations.homes import Homes, with_keys

SITES, LEAST, RELEASES = 5, 3, 5
SCHEMA = Schema((Column("SEX", Kind.CATEGORICAL, codes=("f", "m")), Column("ILL", Kind.CATEGORICAL, codes=("y", "n"))))
HASTY = Patience(roll_call_s=3.0, round_s=0.06, pull_s=0.005)
ROUNDS = ("open", "join", "confirm", ROUND)


def asked(sites=SITES, epsilon=1.0, threshold=LEAST):
    steps = (("steps", float(RELEASES - 2)),)
    study = Study("t", SCHEMA, Budget(epsilon, 1e-5, 1), threshold=threshold, settings=steps, evaluate=False)
    return resolve(study, tuple(Member(f"s{at}", 1024) for at in range(sites)))


def units_of(sites=SITES):
    rng = np.random.default_rng(0)
    return {
        f"s{at}": Units(rng.integers(0, 2, (40, 2)).astype(np.int32), np.arange(40, dtype=np.int64))
        for at in range(sites)
    }


class World:
    """Five sites with homes, and a coordinator that can be started again, between them a network that is struck."""

    def __init__(self, folder, *strikes, epsilon=1.0, masked=True, sites=SITES, prices=9, threshold=LEAST):
        self.folder, self.noise = folder, Noise.NONE if epsilon == float("inf") else Noise.SYSTEM
        study, self.root = asked(sites, epsilon, threshold if masked else None), folder / "sites"
        self.study = replace(study, roster=with_keys(self.root, study.roster, self.noise, 0)) if masked else study
        self.homes, self.units = Homes(self.root, self.study, self.noise, 0), units_of(sites)
        for name in self.units:
            if self.noise is Noise.SYSTEM:  # a person allows so many restarts and attempts
                (self.root / name / "policy.toml").write_text(write_policy(just_this(self.study, restarts=prices)))
        self.sites, self.ledgers = {}, {}
        for place in range(sites):
            self.start(place)
        app = client_app(lambda context: self.sites[int(context.node_config["partition-id"])])
        self.grid = FaultyGrid(app, sites, [*strikes], self.start)
        self.restarted = set()

    def start(self, place):
        """A site, in a new process if it had one."""
        name = f"s{place}"
        if place in self.ledgers:
            self.restarted.add(place)
            self.ledgers[place].close()
        self.ledgers[place] = self.homes.ledger(name)
        self.sites[place] = self.homes.site(name, self.ledgers[place], Parted.none_held_out(self.units[name]))
        self.sites[place].approve(self.study)

    def run(self):
        """A coordinator, from its journal on."""
        self.journal = Journal(self.folder, self.study, "stamp")
        learnt = self.learnt = run(self.study, GridSites(self.grid, silent, HASTY), self.journal, 0, silent)
        assert not self.grid.differed
        self.check_charges()
        return learnt

    def check_charges(self):
        """Every site has paid for the plan, once for each further attempt that reached it, and for nothing else."""
        asked = {(one.release, one.attempt): one.members for one in self.journal.asked}
        if not self.study.masked:
            return
        for place, ledger in self.ledgers.items():
            records = [entry.record for entry in ledger.entries()]
            reserved = [(r.release, r.attempt) for r in records if isinstance(r, Reserved)]
            heard = {(m.release, m.attempt) for m in self.grid.heard if (m.site, m.what) == (place, ROUND)}
            assert len(reserved) == len(set(reserved))
            assert set(reserved) <= heard
            assert all(place in asked[one] for one in reserved)
            if self.noise is Noise.NONE or place in self.restarted:
                continue
            retries = [price(r.event) for r in records if isinstance(r, Reserved) and r.attempt]
            whole = sum(retries, price(Planned.of(self.study, private=True).event()))
            assert {view: ledger.spent(view) for view in View} == {view: whole.within(view) for view in View}

    def verify(self):
        """Publish the certificate, beside files of no meaning, and verify it."""
        paper = certificate(self.study, self.journal.releases, self.noise, self.journal.asked)
        text = write_study(self.study)
        hashes = dict.fromkeys(ARTEFACTS, "00") | {"study.toml": sha256(text.encode()).hexdigest()}
        content = json.dumps(completed(paper, hashes, self.learnt.receipts)).encode()
        return verify(Bundle(content, text, hashes))

    def sessions(self, place):
        return sum(isinstance(entry.record, Sessioned) for entry in self.ledgers[place].entries())

    def attempts(self):
        """How many sites each attempt at each release was asked of."""
        return [(one.release, one.attempt, len(one.members)) for one in self.journal.asked]


SMOOTH = [(release, 0, SITES) for release in range(RELEASES)]


@pytest.mark.parametrize("fault", [Fault.TWICE, Fault.LATE_REPLY])
def test_what_comes_twice_or_in_another_order_changes_nothing(tmp_path, fault):
    world = World(tmp_path, Strike(fault, Moment(), times=10_000))
    world.run()
    assert world.attempts() == SMOOTH
    assert len(world.verify().receipts) == SITES


@pytest.mark.parametrize("what", ["call", "open", "join", "confirm"])
@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.LATE_REQUEST])
def test_what_is_lost_before_the_first_question_is_said_again_and_costs_nothing(tmp_path, what, fault):
    world = World(tmp_path, Strike(fault, Moment(2, what)))
    world.run()
    assert world.attempts() == SMOOTH
    assert world.sessions(2) == 1


@pytest.mark.parametrize("release", [0, 2, RELEASES - 1])
@pytest.mark.parametrize(
    "fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.LATE_REQUEST, Fault.DEATH, Fault.LAST_WORD]
)
def test_a_site_that_drops_out_costs_one_attempt_and_stays_out(tmp_path, fault, release):
    world = World(tmp_path, Strike(fault, Moment(2, ROUND, release)))
    world.run()
    assert world.attempts() == [
        *[(one, 0, SITES) for one in range(release + 1)],
        (release, 1, SITES - 1),
        *[(one, 0, SITES - 1) for one in range(release + 1, RELEASES)],
    ]
    paper = certificate(world.study, RELEASES, Noise.SYSTEM, world.journal.asked)
    assert paper["attempts"]["retries"] == [{"release": release, "attempt": 1, "sites": SITES - 1}]
    assert sum(event["count"] for event in paper["events"]) == RELEASES + 1
    assert paper["epsilon"]["aggregate"] > 1.0  # more than planned, and said
    if fault in (Fault.DEATH, Fault.LAST_WORD):
        with pytest.raises(NotCertified, match="site 's2': has given no receipt"):
            world.verify()
    else:
        assert world.verify().epsilon.aggregate == paper["epsilon"]["aggregate"]


def test_sums_after_a_drop_out_are_those_of_the_sites_that_are_left(tmp_path):
    world = World(tmp_path / "masked", Strike(Fault.LAST_WORD, Moment(4, ROUND, 0)), epsilon=float("inf"))
    world.run()
    plain = World(tmp_path / "plain", epsilon=float("inf"), masked=False, sites=4)
    plain.run()
    assert totals(tmp_path / "masked") == totals(tmp_path / "plain")


def test_sites_drop_out_one_after_the_other_until_one_too_many(tmp_path):
    strikes = [Strike(Fault.DEATH, Moment(place, ROUND, place)) for place in range(3)]
    world = World(tmp_path, *strikes)
    with pytest.raises(QuorumLost, match=r"release 2: 2 of at least 3 .* Spent: attempt 0: asked \[2, 3, 4\]"):
        world.run()
    world.check_charges()
    assert world.attempts() == [(0, 0, 5), (0, 1, 4), (1, 0, 4), (1, 1, 3), (2, 0, 3)]
    assert world.journal.releases == 2
    with pytest.raises(QuorumLost, match="not connected: s0, s1, s2"):
        world.run()
    assert world.attempts()[-1] == (2, 0, 3)  # nobody was asked


@pytest.mark.parametrize("what", ROUNDS[:3])
def test_a_site_that_is_dead_before_the_first_question_leaves_nothing_spent(tmp_path, what):
    world = World(tmp_path, Strike(Fault.DEATH, Moment(2, what)))
    if what == "confirm":
        world.run()
        assert world.attempts() == [(release, 0, SITES - 1) for release in range(RELEASES)]
    else:
        with pytest.raises(QuorumLost, match="no valid answer from s2, and a session"):
            world.run()
        assert world.attempts() == []
        world.check_charges()


@pytest.mark.parametrize("release", [0, 2])
@pytest.mark.parametrize("what", ["open", "join", "confirm", ROUND])
def test_a_site_that_is_restarted_pays_for_a_session_and_the_others_for_an_attempt(tmp_path, what, release):
    world = World(tmp_path, Strike(Fault.RESTART, Moment(2, what, release if what == ROUND else None)))
    world.run()
    # Restarted once others may have seen its opening, a site no longer knows what they know: it asks, and opens again.
    opened = {"open": 1, ROUND: 2}.get(what, 3)
    assert [world.sessions(place) for place in (1, 2)] == [opened, opened]
    if what != ROUND:
        assert world.attempts() == SMOOTH  # nothing was asked yet
        return
    again = [(release, 1, SITES), *[(one, 0, SITES) for one in range(release + 1, RELEASES)]]
    assert world.attempts() == [(one, 0, SITES) for one in range(release + 1)] + again
    plan = Planned.of(world.study, private=True)
    left, retried = plan.event(release), plan.step_of(release).event  # all from the one on that it had not answered
    extra = world.ledgers[2].spent(View.LOCAL) - price(plan.event()).local
    dearest = max(price(event).local for event in plan.kinds(release))  # of what it may have been asked again
    assert extra == price(left).local + price(retried).local + plan.retries * dearest
    certified = certificate(world.study, RELEASES, Noise.SYSTEM, world.journal.asked)["attempts"]
    assert (certified["sessions"], certified["asked"]) == (2, RELEASES + 1)
    costs = [one.charges.sessions for one in world.verify().receipts]
    assert [len(own) for own in costs] == [2, 2, 3, 2, 2]  # the session that was lost has a price of its own
    assert sum(one.local for one in costs[2]) == price(left).local + plan.retries * dearest


@pytest.mark.parametrize(("what", "release"), [(ROUND, 1), ("join", None)])
def test_a_site_that_is_restarted_again_and_again_ends_the_study(tmp_path, what, release):
    world = World(tmp_path, Strike(Fault.RESTART, Moment(2, what, release), times=9))
    with pytest.raises(QuorumLost, match="restarted again and again"):
        world.run()
    assert world.attempts() == ([(0, 0, SITES), *[(1, at, SITES) for at in range(3)]] if release else [])


@pytest.mark.parametrize("release", [0, 2])
def test_a_coordinator_that_was_stopped_goes_on_in_a_new_session(tmp_path, release):
    world = World(tmp_path, *[Strike(Fault.LOST_REPLY, Moment(at, ROUND, release)) for at in range(LEAST)])
    with pytest.raises(QuorumLost, match="Spent: attempt 0"):
        world.run()
    world.run()
    assert world.attempts() == [
        *[(one, 0, SITES) for one in range(release + 1)],
        (release, 1, SITES),
        *[(one, 0, SITES) for one in range(release + 1, RELEASES)],
    ]
    assert {world.sessions(place) for place in range(SITES)} == {2}
    world.verify()


def test_receipts_that_were_lost_are_asked_for_again(tmp_path):
    """Lost with a site that is down when the study ends; the next coordinator finds the study finished, and asks."""
    world = World(
        tmp_path, Strike(Fault.LOST_REPLY, Moment(1, "settle")), Strike(Fault.LOST_REQUEST, Moment(3, "settle"))
    )
    first = world.run().receipts
    assert set(first) == {"s0", "s2", "s4"}
    with pytest.raises(NotCertified, match="site 's1': has given no receipt"):
        world.verify()
    for place in range(SITES):
        world.start(place)
    again = world.run().receipts
    assert set(again) == {f"s{place}" for place in range(SITES)}
    assert {name: again[name] for name in first} == first
    assert len(world.verify().receipts) == SITES
    assert world.attempts() == SMOOTH


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 40))])
def test_whatever_fails_a_study_ends_finished_or_with_what_was_spent(tmp_path, seed):
    rng = np.random.default_rng(seed)
    kinds = list(Fault)
    strikes = [
        Strike(kinds[rng.integers(len(kinds))], Moment(int(rng.integers(SITES)), ROUNDS[min(3, rng.integers(6))], at))
        for at in rng.choice([None, *range(RELEASES)], size=4)
    ]
    world = World(tmp_path, *strikes, prices=30)
    for _ in range(4):  # a coordinator that gives up is started again
        try:
            world.run()
            break
        except QuorumLost as lost:
            said = str(lost)
            world.check_charges()
            assert any(word in said for word in ("Spent", "every site", "not connected", "restarted", "as the study"))
    assert world.journal.releases == RELEASES or any(s.fault in (Fault.DEATH, Fault.LAST_WORD) for s in strikes)
