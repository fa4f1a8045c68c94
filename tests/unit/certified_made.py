"""Certificates of small studies, with receipts out of real ledgers; what a coordinator can do to them afterwards."""

import json
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from small_study import SCHEMA

from silosynth.client.entries import Planned, Reserved
from silosynth.client.keys import public_key
from silosynth.client.ledger import Ledger
from silosynth.common.certificate import Asked, Noise
from silosynth.common.receipt import Receipt, Signed, read, sign
from silosynth.common.sampled import certify
from silosynth.common.study import Budget, Member, Step, Study, Trust
from silosynth.common.study_file import write_study
from silosynth.common.verify import ARTEFACTS, Bundle
from silosynth.common.verify_receipts import everybody, shares
from silosynth.server.certificate import certificate, completed

NAMES = ("a", "b", "c", "d")
RELEASES = 4
FIRST, SECOND = "11" * 32, "22" * 32  # sessions


def key_of(name):
    return Ed25519PrivateKey.from_private_bytes(sha256(f"agent {name}".encode()).digest())


def study(*, keyed=True, trust=Trust.SECURE_SUM, multiplier=Fraction(20), **changes):
    """A count, then three sums of another kind, at four sites of which one may drop out."""
    plan = (Step("first", 1, multiplier), Step("more", RELEASES - 1, multiplier))
    roster = tuple(Member(name, 1024, public_key(key_of(name)) if keyed else "") for name in NAMES)
    threshold = 3 if keyed and trust is Trust.SECURE_SUM else None
    budget = Budget(1.0 if multiplier else float("inf"), 1e-5, 1)
    made = Study("small", SCHEMA, budget, trust=trust, threshold=threshold, roster=roster, plan=plan)
    return replace(made, **changes)


def learning(**changes):
    """A count, then a model that each site trains by itself on sums over samples."""
    step = Step("learn", 1, within=(Step("gradient", 20, Fraction(2), Fraction(1, 20)),))
    step = replace(step, certified=certify(step.history(1)))
    return study(trust=Trust.LOCAL, plan=(Step("first", 1, Fraction(20)), step), **changes)


def smooth(of, session=FIRST):
    """Every release asked once, of all."""
    return tuple(replace(one, session=session) for one in everybody(of))


def troubled():
    """Release 1 was asked again without site 3, which is back in a second session that asks release 2 twice."""
    rounds = [
        (0, 0, 4, FIRST),
        (1, 0, 4, FIRST),
        (1, 1, 3, FIRST),
        (2, 0, 3, FIRST),
        (2, 1, 4, SECOND),
        (3, 0, 4, SECOND),
    ]
    return tuple(Asked(release, attempt, tuple(range(sites)), session) for release, attempt, sites, session in rounds)


@dataclass
class Made:
    """A published study: `content` is its certificate, `hashes` are those of the files that are there."""

    study: Study
    asked: tuple[Asked, ...]
    noise: Noise
    receipts: dict[str, Signed]
    content: dict
    hashes: dict[str, str]
    text: str | None
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def bundle(self):
        return Bundle(json.dumps(self.content).encode(), self.text, self.hashes)

    def rewrite(self, *, asked=None, noise=None, receipts=None, study=None):
        """The certificate that would be written for another story: everything a coordinator can do by itself."""
        self.study, self.asked = study or self.study, self.asked if asked is None else tuple(asked)
        self.noise, self.receipts = noise or self.noise, self.receipts if receipts is None else receipts
        if study:
            self.text = write_study(study)
            self.hashes["study.toml"] = sha256(self.text.encode()).hexdigest()
        claimed = certificate(self.study, self.study.releases, self.noise, self.asked if self.study.masked else ())
        self.content = json.loads(json.dumps(completed(claimed, self.hashes, self.receipts)))

    def receipt(self, name):
        return read(self.receipts[name].body)

    def resign(self, name, change, key=None):
        """Another receipt of a site, signed under `key` or its own: what a site could have said."""
        signed = sign(change(self.receipt(name)), key or key_of(name))
        self.rewrite(receipts=self.receipts | {name: signed})

    def publish(self, folder: Path):
        """All of it as files."""
        for name in self.hashes:
            (folder / name).write_bytes(self.files[name] if name != "study.toml" else self.text.encode())
        (folder / "certificate.json").write_text(json.dumps(self.content))
        return folder


def made(folder: Path, of: Study | None = None, *, asked=None, noise=Noise.SYSTEM, silent=()):
    """A study that has run to its end at sites with ledgers in `folder`."""
    of = of or study()
    asked = smooth(of, FIRST if of.masked else "") if asked is None else asked
    receipts = {
        member.name: receipt_of(folder / f"{member.name}.sqlite", of, place, asked, private=noise is Noise.SYSTEM)
        for place, member in enumerate(of.roster)
        if member.name not in silent
    }
    text = write_study(of)
    files = {name: f"the {name} of {of.name}\n".encode() for name in ARTEFACTS}
    hashes = {name: sha256(content).hexdigest() for name, content in files.items()}
    hashes["study.toml"] = sha256(text.encode()).hexdigest()
    result = Made(of, asked, noise, receipts, {}, hashes, text, files)
    result.rewrite()
    return result


def receipt_of(path: Path, of: Study, place: int, asked, *, private=True):
    """What a site signs whose ledger is at `path`, after it answered what it was `asked`."""
    ledger, member = Ledger(path), of.roster[place]
    try:
        ledger.plan(Planned.of(of, private=private), _anything)
        ledger.end_session(of.digest, answer(ledger, of, place, asked))
        head, charges = ledger.settle(of.digest)
    finally:
        ledger.close()
    return sign(Receipt(member.name, head, charges), key_of(member.name) if member.key else None)


def answer(ledger, of, place, asked):
    """Reserve and commit everything that site number `place` is `asked`; the number of the last session."""
    session, number = "", 0
    for one in asked:
        if place not in one.members:
            continue
        if one.session != session:
            session = one.session
            ledger.end_session(of.digest, number)
            number, _ = ledger.open_session(of.digest, sha256(session.encode()).digest(), _anything)
        event = of.step_of(one.release).event(shares(of, one))
        context = f"{one.release}.{one.attempt}"
        ledger.reserve(Reserved(of.digest, one.release, one.attempt, context, event, session, number), _anything)
        ledger.commit(of.digest, one.release, one.attempt, context.encode(), 1)
    return number


def _anything(_spending):
    return None
