"""kill -9 of two processes that write one ledger: no charge is lost or doubled, and nothing uncommitted leaves.

One study's sums are plain; the other's are masked: its worker opens a session first, and each start but the first pays
for what is left of the plan.

A worker plays a site that answers its own study, release after release, each with fresh bytes, every fifth one twice
(a retry). What it has committed it "sends": it appends a line to a file. The parent kills both at random moments and
starts them again, each asked for the first release that it has not sent.
"""

import hashlib
import random  # noqa: TID251  # moments to kill at, no noise
import signal
import subprocess
import sys
import time
from fractions import Fraction

from silosynth.client.entries import Committed, Planned, PlannedStep, Reserved, Sessioned
from silosynth.client.ledger import Ledger, listing
from silosynth.common.privacy import Gaussian, View

EVENT = Gaussian(Fraction(35, 2), 5)
RELEASES = 100_000
SECONDS = 8.0
KILLS, FEWEST = 25, 3
FLOOR = 2

WORKER = """
import hashlib, os, sys
from fractions import Fraction
from pathlib import Path
from silosynth.client.entries import Planned, PlannedStep, Reserved
from silosynth.client.ledger import Ledger
from silosynth.client.refusal import Reason, Refused
from silosynth.common.privacy import Gaussian

path, sent, study, releases = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
floor = 2 if sys.argv[5] == "masked" else None
event = Gaussian(Fraction(35, 2), 5)
ledger = Ledger(path)
steps = (PlannedStep("sum", releases, event),)
ledger.plan(Planned(study, study[:4], "1e-05", True, steps, 1000, floor), lambda after: None)
ledger.lose_sessions(() if floor else [one for one in ledger._books.live])
number, head = ledger.open_session(study, os.urandom(32), lambda after: None) if floor else (0, None)
session = head.hash.hex() if floor else ""
lines = sent.read_text().splitlines() if sent.exists() else []
whole = [line.split() for line in lines if len(line.split()) == 3 and len(line.split()[2]) == 64]

def following(release, attempt):
    return (release, attempt + 1) if release % 5 == 0 and attempt == 0 else (release + 1, 0)

release, attempt = following(*map(int, whole[-1][:2])) if whole else (0, 0)
with sent.open("a") as out:
    out.write("\\n")
    print("ready", flush=True)
    while True:
        context = f"{release}.{attempt}"
        kept = ledger.recall(study, release, attempt, context)
        if kept is None:
            try:
                ledger.reserve(Reserved(study, release, attempt, context, event, session, number), lambda after: None)
            except Refused as refused:  # begun in sessions that died with their processes
                assert session and refused.reason in {Reason.ANSWERED_DIFFERENTLY, Reason.OUT_OF_ORDER}
                attempt += 1
                continue
            kept = ledger.commit(study, release, attempt, os.urandom(800), 100)
        out.write(f"{release} {attempt} {hashlib.sha256(kept.payload).hexdigest()}\\n")
        out.flush()
        release, attempt = following(release, attempt)
"""


def started(tmp_path, study, how):
    arguments = [tmp_path / "ledger.sqlite", tmp_path / study[:4], study, str(RELEASES), how]
    return subprocess.Popen([sys.executable, "-c", WORKER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def sent_by(tmp_path, study):
    lines = (line.split() for line in (tmp_path / study[:4]).read_text().splitlines())
    return [(int(line[0]), int(line[1]), line[2]) for line in lines if len(line) == 3 and len(line[2]) == 64]


def test_kill_9_loses_no_charge_doubles_none_and_sends_nothing_uncommitted(tmp_path):
    studies = [hashlib.sha256(name).hexdigest() for name in (b"one", b"two")]
    moments = random.Random(1)
    until, kills = time.monotonic() + SECONDS, 0
    while kills < FEWEST or (kills < KILLS and time.monotonic() < until):
        workers = [started(tmp_path, *each) for each in zip(studies, ("plain", "masked"), strict=True)]
        for worker in workers:
            worker.stdout.readline()  # it has the ledger open, however busy this machine is
        time.sleep(moments.uniform(0.0, 0.3))
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        complaints = [worker.communicate()[1].decode() for worker in workers]
        assert complaints == ["", ""]
        kills += 1

    records = [entry.record for entry in listing(tmp_path / "ledger.sqlite")]  # the chain holds
    assert sum(isinstance(record, Planned) for record in records) == 2
    reserved = [(record.study, record.release, record.attempt) for record in records if isinstance(record, Reserved)]
    committed = {
        (record.study, record.release, record.attempt): record.payload
        for record in records
        if isinstance(record, Committed)
    }
    assert len(reserved) == len(set(reserved))  # no charge doubled
    assert set(committed) <= set(reserved)  # none lost
    for study in studies:
        sent = sent_by(tmp_path, study)
        assert len(sent) > kills
        assert len({place[:2] for place in sent}) == len(sent)
        for release, attempt, payload in sent:
            assert (
                committed[study, release, attempt] == payload
            )  # nothing left uncommitted, nothing left in two versions

    ledger = Ledger(tmp_path / "ledger.sqlite")
    retries = sum(attempt > 0 for *_, attempt in reserved)
    assert retries
    again = left_at_each_start(records)
    assert len(again) == kills
    assert again[0] == RELEASES  # in the plan already
    forgotten = (EVENT.shares - FLOOR + 1) * len(again[1:])  # retries, as many as a session allows
    assert ledger.spent(View.AGGREGATE) == (2 * RELEASES + retries + forgotten + sum(again[1:])) / EVENT.multiplier**2
    ledger.close()


def left_at_each_start(records):
    """Releases of the masked study that were not begun, at each of its sessions."""
    left, found = RELEASES, []
    masked = {record.study for record in records if isinstance(record, Sessioned)}
    for record in records:
        if isinstance(record, Sessioned):
            found.append(left)
        elif isinstance(record, Reserved) and record.study in masked:
            left = RELEASES - 1 - record.release
    return found


def test_two_processes_may_create_one_ledger_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from silosynth.client.ledger import Ledger; Ledger(Path(sys.argv[1]))"
    for n in range(3):
        path = tmp_path / f"{n}.sqlite"
        both = [subprocess.Popen([sys.executable, "-c", code, path], stderr=subprocess.PIPE) for _ in range(4)]
        for process in both:
            _, errors = process.communicate()
            assert (process.returncode, errors) == (0, b"")
        assert len(listing(path)) == 1


def test_a_reservation_of_a_process_that_died_is_used_again(tmp_path):
    path, study = tmp_path / "ledger.sqlite", "a" * 64
    steps = (PlannedStep("sum", 2, EVENT),)
    dead = Ledger(path)
    dead.plan(Planned(study, "s", "1e-05", True, steps), lambda after: None)
    dead.reserve(Reserved(study, 0, 0, "c", EVENT), lambda after: None)
    alive = Ledger(path)
    before = alive.spent(View.LOCAL)
    alive.reserve(Reserved(study, 0, 0, "c", EVENT), lambda after: None)
    assert alive.commit(study, 0, 0, b"x", 1).payload == b"x"
    assert alive.spent(View.LOCAL) == before
    for ledger in (dead, alive):
        ledger.close()
