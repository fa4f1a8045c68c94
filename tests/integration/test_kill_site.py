"""kill -9 of whole sites at random moments, in two masked studies at once: what was sent is what was paid for.

Sites and a coordinator for each study live in one process, which is forked and killed again and again; whatever a site
says goes to a file, the network of this test. What holds after any kill: the chain of each ledger; no answer is on the
network that its ledger has not committed, byte for byte; nobody answered one (study, release, attempt) in two ways; and
each ledger has charged at least what its answers cost.
"""

import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from masked_made import masked_study

from silosynth.client.entries import Committed
from silosynth.client.ledger import Ledger, listing
from silosynth.common.privacy import View
from silosynth.common.study import Step

SITES, COST = 3, Fraction(1, 160_000)
HERE = Path(__file__).parent

ZYGOTE = """
import logging, os, random, signal, sys, threading, time, traceback
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

sys.path[:0] = sys.argv[1].split(os.pathsep)
import masked_made
from masked_made import Fake, Federation, TaskCodec, masked_study
from test_kill_site import studies
from silosynth.client import engines as client_engines
from silosynth.common import engines as common_engines
from silosynth.client.entries import Reserved
from silosynth.client.policy import Cap, Caps, just_this

logging.disable()
client_engines.ENGINES = {"fake": Fake}
common_engines.CODECS = {"fake": TaskCodec(lambda task: task, lambda _s, parts: parts, lambda _s, _t: masked_made.SIZE)}
root, kills, seed = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

def child():
    network = os.open(root / "network", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    one, two = studies()
    caps = Caps(Cap.covering(10**9, 1e-5), Cap.covering(10**9, 1e-5))
    policy = replace(just_this(one), studies=frozenset({one.digest, two.digest}), study_caps=caps, lifetime_caps=caps)
    federation = Federation(root, one)
    for site in range(len(one.roster)):
        federation.start(site, policy=policy)
        federation.sites[site].approve(two)
    def coordinate(study):
        mine = Federation(root, study, ledgers=federation.ledgers, sites=federation.sites)
        def sent(site, release, attempt):
            reply = mine.ask(site, release, attempt)
            if reply.masked:
                payload = sha256(b"".join(reply.masked)).hexdigest()
                os.write(network, f"{study.digest} {site} {release} {attempt} {payload}\\n".encode())
            return reply.masked is not None
        while mine.session() is not None:  # until both studies have seen each other's newest heads
            pass
        os.write(up, b".")
        asked = [
            (one.record.release, one.record.attempt)
            for ledger in federation.ledgers.values()
            for one in ledger.entries()
            if isinstance(one.record, Reserved) and one.record.study == study.digest
        ]
        release, attempt = max(asked, default=(-1, 0))
        if asked and attempt + 1 < study.attempts:  # what was asked when the kill came is asked again
            for site in range(len(study.roster)):
                sent(site, release, attempt + 1)
        for release in range(release + 1, study.releases):
            for site in range(len(study.roster)):
                sent(site, release, 0)
    threads = [threading.Thread(target=coordinate, args=(study,)) for study in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

moments = random.Random(seed)
for kill in range(kills):
    seen, up = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    if kill % 5:  # every fifth may still be starting
        os.read(seen, 1)
    time.sleep(moments.uniform(0.0, 0.4))
    os.kill(pid, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it ended by itself"
    os.close(seen), os.close(up)
"""


def studies():
    """Two studies of the same sites, longer than anybody lives here."""
    plan = (Step("one-ways", 100_000, Fraction(400)),)
    return tuple(masked_study(SITES, threshold=3, name=name, plan=plan) for name in ("one", "two"))


def killed(folder, kills, seed):
    """Sites killed so many times, and then checked: answers on the network."""
    paths = ":".join(str(path) for path in (HERE, HERE.parent / "unit"))
    arguments = [sys.executable, "-c", ZYGOTE, paths, str(folder), str(kills), str(seed)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = [line.split() for line in (folder / "network").read_text().splitlines()]
    sent = {(study, int(site), int(release), int(attempt), payload) for study, site, release, attempt, payload in lines}
    assert len({answer[:4] for answer in sent}) == len(sent)  # none in two ways
    for site, name in enumerate("abc"):
        records = [entry.record for entry in listing(folder / f"{name}.sqlite")]  # the chain holds
        committed = {(r.study, site, r.release, r.attempt, r.payload) for r in records if isinstance(r, Committed)}
        own = {answer for answer in sent if answer[1] == site}
        assert own <= committed
        ledger = Ledger(folder / f"{name}.sqlite")
        assert ledger.spent(View.AGGREGATE) >= len(own) * COST
        assert ledger.spent(View.LOCAL) >= len(own) * 2 * COST
        ledger.close()
    return Counter(answer[0] for answer in sent)


def test_kill_9_of_sites_in_two_studies(tmp_path):
    assert len(killed(tmp_path, 25, 1)) == 2


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_kill_9_a_thousand_times(tmp_path):
    for lot in range(20):
        (tmp_path / str(lot)).mkdir()
        answers = killed(tmp_path / str(lot), 50, 100 + lot)
        assert len(answers) == 2
        assert min(answers.values()) > 10
