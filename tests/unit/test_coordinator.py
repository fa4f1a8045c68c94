"""The coordinator's loop and the sum over a Grid: all or nothing, each reply bound to what was asked, resumable."""

import dataclasses
import hashlib
import threading

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from small_study import Codec, Half, Sum, study

from silosynth.client.app import client_app
from silosynth.client.keys import public_key
from silosynth.common import wire
from silosynth.common.engine import Each, Parts
from silosynth.common.errors import QuorumLost, StudyRefused
from silosynth.common.progress import silent
from silosynth.common.receipt import Charges, Cost, Receipt, Signed, pack, sign, verified
from silosynth.common.secagg.messages import Head
from silosynth.common.study import Trust
from silosynth.server import coordinator
from silosynth.server.app import server_app
from silosynth.server.carrier import Patience
from silosynth.server.coordinator import Total, run
from silosynth.server.journal import Journal
from silosynth.server.sites import GridSites, exact_sum
from silosynth.simulations.grid import LocalGrid

HASTY = Patience(roll_call_s=0.2, round_s=0.2, pull_s=0.01)
NAMES = ("a", "b", "c")
NOBODY = None  # asks who has attempts to write down: plain sums have none


@pytest.fixture(autouse=True)
def _toy_engine(monkeypatch):
    monkeypatch.setattr(coordinator, "ENGINES", {"autoregressive": Half})
    monkeypatch.setattr("silosynth.common.engines.CODECS", {"autoregressive": Codec()})


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
    return GridSites(grid_of(sites), silent, HASTY, **options).total(study(), 2, Parts("count", ((2,),)), NOBODY)


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
        GridSites(grid, silent, HASTY).total(study(), 0, Parts("count", ((0,),)), NOBODY)


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


class Apart:
    """A coordinator's half that asks each site for itself, and remembers each answer."""

    def __init__(self, study, seed):
        self.study = study

    def start(self):
        return ()

    def next(self, state):
        if len(state) == self.study.releases:
            return None
        return Each({name: 10 * len(state) + at for at, name in enumerate(NAMES)})

    def absorb_each(self, state, tasks, answers):
        assert tasks == self.next(state).tasks
        return (*state, {name: answers[name].tolist() for name in answers})

    def finish(self, state):
        return Sum(state)

    def units(self, state):
        return 3.0

    def freeze(self, state):
        return {name: np.array([answers[name] for answers in state], dtype=np.int64) for name in NAMES}

    def thaw(self, arrays):
        return tuple({name: arrays[name][at].tolist() for name in NAMES} for at in range(len(arrays["a"])))


def alone(**options):
    """The small study where nobody is trusted."""
    return dataclasses.replace(study(**options), trust=Trust.LOCAL)


def test_each_site_answers_its_own_task_under_its_own_name():
    sites = [Site(0), Site(1), Site(2)]
    parts = {name: Parts("count", ((at,),)) for at, name in enumerate(NAMES)}
    answers = GridSites(grid_of(sites), silent, HASTY).each(alone(), 2, parts)
    assert {name: vector.tolist() for name, vector in answers.vectors.items()} == {
        "a": [3, 3],
        "b": [6, 6],
        "c": [9, 9],
    }
    assert answers.receipts == tuple((name, f"receipt {name} 2") for name in NAMES)
    assert [site.asked[0].parts.lists for site in sites] == [((0,),), ((1,),), ((2,),)]
    assert len({site.asked[0].nonce for site in sites}) == 3


def test_answers_of_one_site_are_never_asked_for_under_secure_sums():
    sites = [Site(0), Site(1), Site(2)]
    parts = dict.fromkeys(NAMES, Parts("count"))
    with pytest.raises(ValueError, match="local"):
        GridSites(grid_of(sites), silent, HASTY).each(study(), 0, parts)
    for wrong in ({"a": parts["a"]}, parts | {"d": parts["a"]}):
        with pytest.raises(ValueError, match="all of them"):
            GridSites(grid_of(sites), silent, HASTY).each(alone(), 0, wrong)
    assert not any(site.asked for site in sites)


def test_one_refusal_or_one_missing_answer_and_no_site_is_heard():
    parts = dict.fromkeys(NAMES, Parts("count"))
    with pytest.raises(StudyRefused, match="site b: lifetime cap exhausted"):
        GridSites(grid_of(broken(changed(vector=None, refusal="lifetime cap exhausted"))), silent, HASTY).each(
            alone(), 0, parts
        )
    with pytest.raises(QuorumLost, match="no valid answer from b"):
        GridSites(grid_of(broken(changed(nonce=bytes(16)))), silent, HASTY).each(alone(), 0, parts)


def test_answers_may_differ_in_length():
    sites = broken(changed(vector=np.zeros(5, dtype=np.int64)))
    answers = GridSites(grid_of(sites), silent, HASTY).each(alone(), 0, dict.fromkeys(NAMES, Parts("count")))
    assert [answers.vectors[name].size for name in NAMES] == [2, 5, 2]


@pytest.mark.parametrize("dies_at", [None, 0, 2])
def test_a_study_of_sites_apart_is_asked_learnt_and_resumed(tmp_path, monkeypatch, dies_at):
    monkeypatch.setattr(coordinator, "ENGINES", {"autoregressive": Apart})

    class Dying(GridSites):
        def each(self, asked_study, release, parts):
            if release == dies_at:
                raise QuorumLost("gone")
            return super().each(asked_study, release, parts)

    sites = [Site(0), Site(1), Site(2)]
    if dies_at is not None:
        with pytest.raises(QuorumLost):
            run(alone(), Dying(grid_of(sites), silent, HASTY), Journal(tmp_path, alone(), "stamp"), 7, silent)
    journal = Journal(tmp_path, alone(), "stamp")
    learnt = run(alone(), GridSites(grid_of(sites), silent, HASTY), journal, 7, silent)
    assert learnt.generator.totals == tuple(
        {name: [(at + 1) * (release + 1)] * 2 for at, name in enumerate(NAMES)} for release in range(4)
    )
    assert [[request.parts.lists for request in site.asked] for site in sites] == [
        [((10 * release + at,),) for release in range(4)] for at in range(3)
    ]
    one = np.array([1, 1, 2, 2, 3, 3], dtype="<i8")  # what the journal's line binds: all answers, by name
    assert journal.entries[0].total == hashlib.sha256(one.tobytes()).hexdigest()


class Signs(Site):
    """Says a receipt at the end, as `told` tells it to."""

    told = staticmethod(lambda receipt, key: pack(sign(receipt, key)))

    def session_frame(self, frame):
        request = wire.decode_session_request(frame)
        assert (request.phase, request.frame) == (wire.Phase.SETTLE, b"")
        charges = Charges(request.study, True, Cost(), (), (), Cost())
        receipt = Receipt(self.name, Head(9, bytes(32)), charges)
        said = self.told(receipt, KEYS[self.place])
        refusal = "study closed" if said is None else None
        return wire.encode_session_reply(wire.SessionReply(request.study, request.phase, request.nonce, said, refusal))


KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32) for at in range(3)]


def keyed():
    roster = tuple(dataclasses.replace(one, key=public_key(key)) for one, key in zip(study().roster, KEYS, strict=True))
    return dataclasses.replace(study(), roster=roster)


BAD_RECEIPTS = {
    "of another site": lambda receipt, key: pack(sign(dataclasses.replace(receipt, site="a"), key)),
    "of another study": lambda receipt, key: pack(
        sign(dataclasses.replace(receipt, charges=dataclasses.replace(receipt.charges, study="00" * 32)), key)
    ),
    "signed by another site": lambda receipt, _key: pack(sign(receipt, KEYS[0])),
    "not signed": lambda receipt, _key: pack(sign(receipt, None)),
    "cut off": lambda receipt, key: pack(sign(receipt, key))[:-1],
    "empty": lambda _receipt, _key: b"",
    "refused": lambda _receipt, _key: None,
}


def test_every_receipt_is_asked_for_and_checked():
    sites = [Signs(0), Signs(1), Signs(2)]
    receipts = GridSites(grid_of(sites), silent, HASTY).settle(keyed())
    assert [verified(receipts[name], public_key(key)).site for name, key in zip(NAMES, KEYS, strict=True)] == list(
        NAMES
    )


@pytest.mark.parametrize("how", BAD_RECEIPTS)
def test_a_receipt_that_does_not_hold_is_as_none(how):
    sites = [Signs(0), Signs(1), Signs(2)]
    sites[1].told = BAD_RECEIPTS[how]
    assert set(GridSites(grid_of(sites), silent, HASTY).settle(keyed())) == {"a", "c"}


def test_a_site_that_was_never_connected_gives_no_receipt_and_the_others_do():
    sites = [Signs(0), Signs(2)]
    assert set(GridSites(grid_of(sites), silent, HASTY).settle(keyed())) == {"a", "c"}


class Totals:
    """Sites that answer with a known total and can die at a release."""

    def __init__(self, dies_at=None):
        self.dies_at, self.asked = dies_at, []

    def total(self, asked_study, release, parts, _attempts):
        self.asked.append((asked_study.digest, release, parts.lists))
        if release == self.dies_at:
            raise QuorumLost("gone")
        return Total(np.array([release, -release]), (("a", "x"),))

    def settle(self, asked_study):
        return {"a": Signed(b"receipt of " + asked_study.digest.encode())}


def test_a_study_is_asked_summed_and_learnt_to_its_end(tmp_path):
    told = []
    sites, journal = Totals(), Journal(tmp_path, study(), "stamp")
    learnt = run(study(), sites, journal, 7, lambda *where: told.append(where))
    assert learnt.generator == Sum(((0, 0), (1, -1), (2, -2), (3, -3)))
    assert learnt.units == 3.0
    assert learnt.receipts == {"a": Signed(b"receipt of " + study().digest.encode())}
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
