"""The whole story of a lab: four hosts, a study between them from `init` to the certificate, and the proofs.

1  every party types what the manual tells it (`scene.py`); nothing but the sites' way to one port is connected
2  what holds the containers of sites that run in such
3  a first study, undisturbed: its table, report and certificate; an account of every byte that left a site
4  attacks from a site, from a stranger, and on an agent's own socket
5  a second study, while links fail and processes are killed: it completes, and every ledger is right
"""

from collections.abc import Callable
from typing import Final

from lab import attacks, disturb, evidence
from lab.accounts import account
from lab.contained import Contained
from lab.evidence import Check
from lab.hardened import boxed
from lab.installed import Bare
from lab.scene import How, Lab, agreed, finished, journal, raised
from silosynth.simulations import simulate

FIRST: Final = "undisturbed"
SECOND: Final = "disturbed"

_CANARIES: Final = 100
_PUBLISHED: Final = ("synthetic.csv", "synthetic.parquet", "generator.safetensors", "report.html", "certificate.json")


def campaign(how: How, tell: Callable[[str], None]) -> list[Check]:
    """Run all of it in the folder `how.out`, which is made; gives what was checked. Nothing is left running.

    Raises CommandFailed, NotReady where the story breaks off.
    """
    with raised(how, tell) as lab:
        _contained(lab)
        _first(lab)
        attacks.on_everything(lab, FIRST)
        _second(lab)
        for name, site in lab.sites.items():
            lab.check(*evidence.way_out(name, site.host, lab.wire.seen[name]))
    lab.check(_like_a_simulation(lab))
    return lab.checks


def _contained(lab: Lab) -> None:
    hub = (lab.coordinator.host.address, lab.coordinator.port)
    boxes = {name: site.installation for name, site in lab.sites.items()}
    plain = next((box.pid("relay") for box in boxes.values() if isinstance(box, Bare)), 0)
    for name, box in boxes.items():
        if isinstance(box, Contained):
            lab.check(*boxed(name, box, hub, plain))


def _first(lab: Lab) -> None:
    agreed(lab, FIRST, lab.how.steps[0])
    lab.tell(f"study {FIRST} begins")
    finished(lab, FIRST, lab.coordinator.launch(FIRST, lab.how.out / f"{FIRST}.log"))
    there = [name for name in _PUBLISHED if (lab.coordinator.folder(FIRST) / name).exists()]
    lab.check(Check(f"study {FIRST} published all", there == list(_PUBLISHED), ", ".join(there)))
    for line in evidence.framing(account(lab.heard("north").spoken)):
        lab.tell(f"     {line}")
    for name, site in lab.sites.items():
        heard = lab.heard(name)
        lab.check(*evidence.way_out(name, site.host, lab.wire.seen[name]), evidence.no_code(name, heard))
        lab.check(*evidence.accounted(name, heard, site.outbox()))
        lab.check(evidence.no_canary(name, heard, lab.rows.canaries(name, _CANARIES)))
        lab.check(*evidence.books_right(name, site.ledger, lab.digest(FIRST), journal(lab, FIRST)))


def _second(lab: Lab) -> None:
    agreed(lab, SECOND, lab.how.steps[1])
    disturb.disturbed(lab, SECOND)
    for name, site in lab.sites.items():
        heard = lab.heard(name)
        lab.check(*evidence.accounted(name, heard, site.outbox(), killed=True))
        lab.check(evidence.no_canary(name, heard, lab.rows.canaries(name, _CANARIES)))
        lab.check(*evidence.books_right(name, site.ledger, lab.digest(SECOND), journal(lab, SECOND)))


def _like_a_simulation(lab: Lab) -> Check:
    """The first study again, by the simulation, on the same rows."""
    draft, out = lab.how.out / f"{FIRST}.toml", lab.how.out / "simulation"
    paper = simulate(draft, lab.rows.tables, out=out, seed=lab.how.seed).certificate
    return evidence.same_certificate(lab.coordinator.certificate(FIRST), paper)
