"""The coordinator's loop and the sum over a Grid: all or nothing, each reply bound to what was asked, resumable."""

import dataclasses
import threading

import numpy as np
import pytest
from small_study import Codec, Half, Sum, study

from silosynth.client.app import client_app
from silosynth.common import wire
from silosynth.common.engine import Parts
from silosynth.common.errors import QuorumLost, StudyRefused
from silosynth.common.progress import silent
from silosynth.server import coordinator
from silosynth.server.app import server_app
from silosynth.server.coordinator import Total, run
from silosynth.server.journal import Journal
from silosynth.server.sites import GridSites, Patience, exact_sum
from silosynth.simulations.grid import LocalGrid

HASTY = Patience(roll_call_s=0.2, round_s=0.2, pull_s=0.01)
NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def _toy_engine(monkeypatch):
    monkeypatch.setattr(coordinator, "ENGINES", {"autoregressive": Half})
    monkeypatch.setattr(coordinator, "CODECS", {"autoregressive": Codec()})


class Site:
    """Answers release r with (place + 1) * (r + 1), and remembers what it was asked."""

    def __init__(self, place):
        self.place, self.name, self.asked = place, NAMES[place], []

    def reply(self, request):
        vector = np.full(2, (self.place + 1) * (request.release + 1), dtype=np.int64)
        about = (request.study, request.release, request.attempt, request.nonce)
        return wire.Reply(*about, vector, None, f"receipt {self.name} {request.release}")

    def answer_frame(self, frame):
        request = wire.decode_request(frame)
        self.asked.append(request)
        return wire.encode_reply(self.reply(request))


def grid_of(sites):
    return LocalGrid(client_app(lambda context: sites[int(context.node_config["partition-id"])]), len(sites))


def ask(sites, **options):
    return GridSites(grid_of(sites), silent, HASTY, **options).total(study(), 2, Parts("count", ((2,),)))


def broken(change):
    """Three sites, the second of which answers with a changed reply."""
    sites = [Site(0), Site(1), Site(2)]
    honest = sites[1].reply
    sites[1].reply = lambda request: change(honest(request))
    return sites


def changed(**fields):
    return lambda reply: dataclasses.replace(reply, **fields)


def test_the_total_is_the_sum_over_all_and_every_nonce_is_fresh():
    sites = [Site(0), Site(1), Site(2)]
    total = ask(sites)
    assert total.vector.tolist() == [18, 18]
    assert total.receipts == tuple((name, f"receipt {name} 2") for name in NAMES)
    requests = [request for site in sites for request in site.asked]
    assert len({request.nonce for request in requests}) == 3
    assert len({request.context for request in requests}) == 1
    assert {(r.study, r.release, r.attempt) for r in requests} == {(study().digest, 2, 0)}


def test_one_refusal_and_nothing_is_summed():
    with pytest.raises(StudyRefused, match="site b: lifetime cap exhausted"):
        ask(broken(changed(vector=None, refusal="lifetime cap exhausted")))


@pytest.mark.parametrize(
    "fields",
    [
        {"nonce": bytes(16)},
        {"study": "00" * 32},
        {"release": 1},
        {"attempt": 1},
    ],
)
def test_a_reply_to_something_else_does_not_count(fields):
    with pytest.raises(QuorumLost, match="no valid answer from b"):
        ask(broken(changed(**fields)))


def test_a_reply_that_cannot_be_read_does_not_count():
    sites = [Site(0), Site(1), Site(2)]
    sites[2].answer_frame = lambda _frame: b"nonsense"
    with pytest.raises(QuorumLost, match="no valid answer from c"):
        ask(sites)


def test_vectors_of_unequal_length_are_not_summed():
    with pytest.raises(QuorumLost, match="unequal length"):
        ask(broken(changed(vector=np.zeros(3, dtype=np.int64))))


def test_a_silent_site_is_waited_for_until_the_deadline():
    class Deaf(LocalGrid):
        def pull_messages(self, message_ids):
            replies = super().pull_messages(message_ids)
            return [r for r in replies if r.metadata.src_node_id != 4 or r.metadata.message_type == "query.name"]

    sites = [Site(0), Site(1), Site(2)]
    grid = Deaf(client_app(lambda context: sites[int(context.node_config["partition-id"])]), 3)
    with pytest.raises(QuorumLost, match="no valid answer from c"):
        GridSites(grid, silent, HASTY).total(study(), 0, Parts("count", ((0,),)))


def test_a_site_that_is_not_connected_is_named():
    with pytest.raises(QuorumLost, match="not connected: c"):
        ask([Site(0), Site(1)])


def test_setting_stop_ends_the_wait():
    stop = threading.Event()
    stop.set()
    with pytest.raises(QuorumLost):
        ask([Site(0), Site(1)], stop=stop)


def test_sums_are_exact_or_an_error():
    low, high = -(2**62), 2**62
    halves = [np.array([low + 1, high - 1]), np.array([low, high - 1])]
    assert exact_sum(halves).tolist() == [2 * low + 1, 2 * high - 2]
    with pytest.raises(OverflowError):
        exact_sum([np.array([high]), np.array([high])])
    with pytest.raises(OverflowError):
        exact_sum([np.array([-(2**63)]), np.array([-1])])
    assert exact_sum([np.zeros(0, dtype=np.int64)] * 2).size == 0


class Totals:
    """Sites that answer with a known total and can die at a release."""

    def __init__(self, dies_at=None):
        self.dies_at, self.asked = dies_at, []

    def total(self, asked_study, release, parts):
        self.asked.append((asked_study.digest, release, parts.lists))
        if release == self.dies_at:
            raise QuorumLost("gone")
        return Total(np.array([release, -release]), (("a", "x"),))


def test_a_study_is_asked_summed_and_learnt_to_its_end(tmp_path):
    told = []
    sites, journal = Totals(), Journal(tmp_path, study(), "stamp")
    learnt = run(study(), sites, journal, 7, lambda *where: told.append(where))
    assert learnt.generator == Sum(((0, 0), (1, -1), (2, -2), (3, -3)))
    assert learnt.units == 3.0
    assert [release for _, release, _ in sites.asked] == [0, 1, 2, 3]
    assert [entry.kind for entry in journal.entries] == ["first", "more", "more", "more"]
    assert told[-1][0] == "fit"


@pytest.mark.parametrize("dies_at", [0, 1, 3])
def test_it_goes_on_with_the_release_that_was_not_journaled(tmp_path, dies_at):
    whole = run(study(), Totals(), Journal(_fresh(tmp_path / "whole"), study(), "stamp"), 7, silent)
    first = Totals(dies_at)
    with pytest.raises(QuorumLost):
        run(study(), first, Journal(_fresh(tmp_path / "broken"), study(), "stamp"), 7, silent)
    second = Totals()
    again = run(study(), second, Journal(tmp_path / "broken", study(), "stamp"), 7, silent)
    assert second.asked[0] == first.asked[-1]  # the same words
    assert len(first.asked) + len(second.asked) == study().releases + 1
    assert again == whole


def test_the_server_app_runs_the_same_loop_over_a_grid(tmp_path):
    delivered = []
    sites = [Site(0), Site(1), Site(2)]
    grid = grid_of(sites)
    journal = Journal(tmp_path, study(), "stamp")
    server_app(study(), journal, 7, silent, delivered.append, threading.Event())(grid, grid.context())
    assert delivered[0].generator == Sum(((6, 6), (12, 12), (18, 18), (24, 24)))


def _fresh(path):
    path.mkdir()
    return path
