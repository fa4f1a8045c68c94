"""What a certificate that holds proves, and what it does not, in words: a person must not read more into it."""

import math
from collections.abc import Iterator
from hashlib import sha256

from silosynth.common.certificate import holds_against
from silosynth.common.secagg.roster import grouped
from silosynth.common.study import Study, Trust
from silosynth.common.verify import Verified

NOTHING = "NO PRIVACY: THIS CERTIFICATE PROMISES NOTHING TO ANYBODY. Its noise was {noise}."


def headline(found: Verified) -> list[str]:
    """What holds, in short: the study, both epsilons, who signed."""
    study = found.study
    lines = [f"The certificate of study {_shown(study.name)} holds ({study.digest[:16]})."]
    if found.promises_nothing:
        lines.append(NOTHING.format(noise=found.noise.split(":")[0]))
    for view, against in holds_against(study).items():
        value = found.epsilon.aggregate if view == "aggregate" else found.epsilon.local
        shown = "infinite" if math.isinf(value) else f"{value:.4g}"
        lines.append(f"  epsilon {shown} at delta {study.budget.delta:g} against {against}")
    signed = sum(bool(member.key) for member in study.roster)
    lines.append(f"  {signed} of {len(study.roster)} sites have signed what they were charged")
    if signed < len(study.roster):
        lines.append("  UNSIGNED: whoever wrote the certificate can have written the receipts of the others")
    return lines


def fingerprints(study: Study) -> dict[str, str]:
    """What to compare with each institution, by the name of its site; empty where it has no key in the study."""
    return {
        member.name: grouped(sha256(bytes.fromhex(member.key)).digest()) if member.key else ""
        for member in study.roster
    }


def proved(found: Verified) -> list[str]:
    """What follows, if signatures and hashes are sound."""
    study = found.study
    sums = "sums" if study.trust is Trust.SECURE_SUM else "answers of each site"
    lines = [
        f"The study is the one in study.toml, word for word: {study.digest}.",
        "Every file that is certified is the one published here, to the last byte.",
        f"What was asked, {study.releases} {sums} and every attempt at them, is the plan of that study.",
        "Both epsilons follow from those events: they were computed again here, and nothing else was believed.",
    ]
    if study.asks_held_out:
        lines.append(
            "The sums that evaluate the table were asked of held-out persons, all others of those learnt from. A "
            "person is in one of these parts, so both epsilons are those of the dearer part."
        )
    if all(member.key for member in study.roster):
        lines.append(
            "The holder of each key on the roster has signed how many answers its ledger charged, each with its noise, "
            "that they are those that the certificate counts, and that its ledger has closed the study."
        )
    return lines


def not_proved(found: Verified) -> list[str]:
    """What has to be believed, or asked elsewhere."""
    return list(_not_proved(found))


def _not_proved(found: Verified) -> Iterator[str]:
    study = found.study
    if found.promises_nothing:
        yield NOTHING.format(noise=found.noise.split(":")[0])
    if unsigned := [member.name for member in study.roster if not member.key]:
        names = ", ".join(map(_shown, unsigned))
        yield f"What these sites were charged: their receipts are not signed, anybody can have written them: {names}."
    if len(unsigned) < len(study.roster):
        yield (
            "Whose keys they are: whoever made the study chose them. Ask each institution for its key's fingerprint, "
            "or for the digest of the study that it approved, which binds all keys (verify --study DIGEST)."
        )
    yield "That a site runs this software unmodified: that it clips, adds its noise and keeps its ledger is its word."
    if study.asks_held_out:
        yield "That a site kept held-out persons apart from those it learnt from: by this software, which is its word."
    if study.trust is Trust.SECURE_SUM:
        yield f"That no more than {study.budget.colluders} of the sites work together against the others."
    if study.trust is Trust.SECURE_SUM and not study.masked:
        yield "That only totals were seen: sums were plain here, so the coordinator saw every site's own answer."
    yield (
        "That the table and the generator were made from these answers. Sites do not sign them: a coordinator can "
        "certify files of its own making. Epsilon covers whatever is made from the answers and from nothing else."
    )
    yield (
        "The scores in metrics.json and report.html: they are not computed again, and those of a simulation are taken "
        "from real rows, outside epsilon."
    )
    yield "What the same persons' records gave in other studies, and a person at several sites: those costs add up."
    if study.masked:
        yield "What restarts made ledgers put aside beside the study: that is the sites' own reckoning."


def _shown(text: str) -> str:
    """A name that comes from outside, as a terminal may see it."""
    return ascii(text)
