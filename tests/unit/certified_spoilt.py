"""Certificates that are changed in one thing, and what verify must say of each."""

from dataclasses import replace
from fractions import Fraction
from hashlib import sha256

from certified_made import FIRST, NAMES, RELEASES, key_of, learning, study
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silosynth.common.certificate import Noise
from silosynth.common.privacy import Gaussian
from silosynth.common.receipt import Cost, Run, Signed, sign
from silosynth.common.secagg.messages import Head
from silosynth.common.study import Budget, Step, Trust
from silosynth.common.verify_receipts import Check

# One change each. A plain edit first; then what a coordinator can do that writes all of it anew, and has no site's key.


def edited(*path, to):
    """A value in the certificate, whatever follows from it."""

    def change(honest):
        place = honest.content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to(place[path[-1]]) if callable(to) else to

    return change


def without(*path):
    def change(honest):
        place = honest.content
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def rewritten(**story):
    """Everything consistent with another story; receipts stay."""
    return lambda honest: honest.rewrite(**{name: tell(honest) for name, tell in story.items()})


def other_study(**changes):
    return rewritten(study=lambda honest: replace(honest.study, **changes))


def of_another_study(name, keep=()):
    """The receipt that the same site signed in another study."""

    def change(honest):
        other = study(name="another")
        head, charges = Head(3, bytes(32)), replace(honest.receipt(name).charges, study=other.digest)
        honest.rewrite(
            receipts=honest.receipts
            | {name: sign(replace(honest.receipt(name), head=head, charges=charges), key_of(name))}
        )

    return change


def earlier(honest):
    """What site b would have said one answer earlier: with its own signature, had it ever given it."""

    def change(receipt):
        shorter = replace(receipt.charges, reserved=receipt.charges.reserved[:-1])
        return replace(receipt, head=Head(receipt.head.count - 3, bytes(32)), charges=shorter)

    honest.resign("b", change)


def charges(name="b", **changes):
    return lambda honest: honest.resign(name, lambda one: replace(one, charges=replace(one.charges, **changes)))


def swapped_receipts(honest):
    both = honest.receipts
    honest.rewrite(receipts=both | {"a": both["b"], "b": both["a"]})


def without_a_key(honest):
    """Site c's receipt says less, and nobody signs it."""
    honest.rewrite(receipts=honest.receipts | {"c": Signed(honest.receipts["c"].body)})


def cut(text):
    return lambda honest: setattr(honest, "text", text(honest.text))


def swapped(name):
    return lambda honest: honest.hashes.update({name: sha256(b"another").hexdigest()})


def dropped_site(honest):
    """A study of three sites instead of four, under the same certificate's words."""
    fewer = replace(honest.study, roster=honest.study.roster[:3])
    asked = tuple(replace(one, members=one.members[:3]) for one in honest.asked)
    honest.rewrite(study=fewer, asked=asked, receipts={name: honest.receipts[name] for name in NAMES[:3]})


def sessions_merged(honest):
    honest.rewrite(asked=[replace(one, session=FIRST) for one in honest.asked])


def fewer_asked(*places):
    return rewritten(asked=lambda honest: [one for at, one in enumerate(honest.asked) if at not in places])


SPOILT = {
    "epsilon lowered": (edited("epsilon", "aggregate", to=lambda value: value / 2), Check.CLAIM, "'epsilon'"),
    "the local epsilon lowered": (edited("epsilon", "local", to=0.1), Check.CLAIM, "'epsilon'"),
    "epsilon a little lower": (
        edited("epsilon", "local", to=lambda value: value * (1 - 1e-6)),
        Check.CLAIM,
        "'epsilon'",
    ),
    "mu^2 of an event": (edited("events", 0, "mu_squared", "local", to="1/400"), Check.CLAIM, "'events'"),
    "count of an event": (edited("events", 1, "count", to=2), Check.CLAIM, "'events'"),
    "a truth value for a count": (edited("events", 0, "count", to=True), Check.CLAIM, "'events'"),
    "multiplier of an event": (edited("events", 0, "multiplier", to="40"), Check.CLAIM, "'events'"),
    "shares of an event": (edited("events", 0, "shares", to=2), Check.CLAIM, "'events'"),
    "kind of an event": (edited("events", 0, "kind", to="other"), Check.CLAIM, "'events'"),
    "events in another order": (edited("events", to=lambda events: events[::-1]), Check.CLAIM, "'events'"),
    "an event dropped": (without("events", 1), Check.CLAIM, "'events'"),
    "delta": (edited("delta", to=1e-6), Check.CLAIM, "'delta'"),
    "the unit": (edited("unit", to="person: ward"), Check.CLAIM, "'unit'"),
    "neighbours": (edited("neighbours", to="replacing one row"), Check.CLAIM, "'neighbours'"),
    "colluders": (edited("assumptions", "colluders", to=3), Check.CLAIM, "'assumptions'"),
    "trust": (edited("assumptions", "trust", to="local"), Check.CLAIM, "'assumptions'"),
    "the adversary": (edited("holds_against", "aggregate", to="everybody"), Check.CLAIM, "'holds_against'"),
    "aggregation": (edited("aggregation", to="plain-sum"), Check.CLAIM, "'aggregation'"),
    "accountant": (edited("accountant", to="mine"), Check.CLAIM, "'accountant'"),
    "version of the accountant": (edited("accounting", to=2), Check.CLAIM, "'accounting'"),
    "retries kept quiet in the summary": (edited("attempts", "retries", to=[]), Check.CLAIM, "'attempts'"),
    "a claim of its own": (lambda honest: honest.content.update(press=0.01), Check.CLAIM, "'press'"),
    "a claim left out": (without("holds_against"), Check.CLAIM, "'holds_against'"),
    "no software named": (edited("code", to=None), Check.CLAIM, "'code'"),
    "the name": (edited("name", to="better"), Check.CLAIM, "'name'"),
    "format": (edited("format", to=1), Check.CERTIFICATE, "format 2"),
    "receipts are no object": (edited("receipts", to=[]), Check.CERTIFICATE, "'receipts'"),
    "artefacts are no object": (edited("artefacts", to=["synthetic.csv"]), Check.CERTIFICATE, "'artefacts'"),
    "digest of another study": (edited("study", to="ab" * 32), Check.STUDY, "another study"),
    "other study.toml": (
        cut(lambda text: text.replace('name = "small"', 'name = "smell"')),
        Check.STUDY,
        "another study",
    ),
    "another delta in study.toml": (
        cut(lambda text: text.replace("delta = 1e-05", "delta = 1e-06")),
        Check.STUDY,
        "another study",
    ),
    "study.toml cut off": (cut(lambda text: text[:-9]), Check.STUDY, "no study"),
    "study.toml missing": (cut(lambda _: None), Check.STUDY, "missing"),
    "a comment in study.toml": (swapped("study.toml"), Check.ARTEFACT, "study.toml is not the file"),
    "another synthetic.csv": (swapped("synthetic.csv"), Check.ARTEFACT, "synthetic.csv is not the file"),
    "another synthetic.parquet": (swapped("synthetic.parquet"), Check.ARTEFACT, "synthetic.parquet is not"),
    "another generator": (swapped("generator.safetensors"), Check.ARTEFACT, "generator.safetensors is not"),
    "other scores": (swapped("metrics.json"), Check.ARTEFACT, "metrics.json is not"),
    "another report": (swapped("report.html"), Check.ARTEFACT, "report.html is not"),
    "a file missing": (lambda honest: honest.hashes.pop("synthetic.csv"), Check.ARTEFACT, "synthetic.csv is missing"),
    "a file no longer certified": (without("artefacts", "generator.safetensors"), Check.ARTEFACT, "is not certified"),
    "scores no longer certified": (without("artefacts", "metrics.json"), Check.ARTEFACT, "there and is not certified"),
    "a file from elsewhere": (edited("artefacts", to=lambda named: named | {"../x": "00"}), Check.ARTEFACT, "no file"),
    "noise of no known kind": (edited("noise", to="plenty"), Check.NOISE, "where the noise came from"),
    "noise said to be none": (edited("noise", to=str(Noise.NONE)), Check.NOISE, "not what the study plans"),
    "noise said to be seeded": (rewritten(noise=lambda _: Noise.SEEDED), Check.NOISE, "cannot be predicted"),
    "a retry left out": (fewer_asked(2), Check.CHARGES, "site 'a': answered release 1, attempt 1"),
    "the first attempt left out": (fewer_asked(1), Check.ROUNDS, "release 1, attempt 1 is out of order"),
    "the last release left out": (fewer_asked(5), Check.ROUNDS, "4 releases, and 3 were asked"),
    "releases in another order": (edited("rounds", to=lambda rows: rows[::-1]), Check.ROUNDS, "out of order"),
    "a row of rounds twice": (edited("rounds", to=lambda rows: [*rows, rows[-1]]), Check.ROUNDS, "out of order"),
    "rounds written in pieces": (
        edited("rounds", 0, to=lambda row: row | {"count": 1}),
        Check.ROUNDS,
        "out of order|one way",
    ),
    "a round without a session": (edited("rounds", 0, "session", to="none"), Check.ROUNDS, "cannot be read"),
    "back to a session that was left": (
        rewritten(asked=lambda honest: [*honest.asked[:5], replace(honest.asked[5], session=FIRST)]),
        Check.ROUNDS,
        "a session that was left",
    ),
    "an attempt too many": (
        rewritten(asked=lambda honest: [*honest.asked, *(replace(honest.asked[5], attempt=at) for at in (1, 2, 3))]),
        Check.ROUNDS,
        "is not in the plan",
    ),
    "too few sites asked": (
        rewritten(asked=lambda honest: [*honest.asked[:5], replace(honest.asked[5], members=(0, 1))]),
        Check.ROUNDS,
        "too few sites",
    ),
    "a site on no roster asked": (edited("rounds", 0, "sites", to=[0, 1, 2, 9]), Check.ROUNDS, "or of others"),
    "sites out of order": (edited("rounds", 0, "sites", to=[1, 0, 2, 3]), Check.ROUNDS, "or of others"),
    "rounds that cannot be read": (edited("rounds", 0, to="all"), Check.ROUNDS, "cannot be read"),
    "no rounds": (without("rounds"), Check.ROUNDS, "does not say what"),
    "noise shared by more than answered": (
        rewritten(
            asked=lambda honest: [*honest.asked[:3], replace(honest.asked[3], members=(0, 1, 2, 3)), *honest.asked[4:]]
        ),
        Check.CHARGES,
        "site 'a': was charged another event for release 2, attempt 0",
    ),
    "a site taken out of a round": (
        rewritten(asked=lambda honest: [*honest.asked[:5], replace(honest.asked[5], members=(1, 2, 3))]),
        Check.CHARGES,
        "site 'a': answered release 3, attempt 0, of which",
    ),
    "an attempt that nobody answered": (
        rewritten(asked=lambda honest: [*honest.asked, replace(honest.asked[5], attempt=1)]),
        Check.CHARGES,
        "site 'a': has not answered release 3, attempt 1",
    ),
    "a receipt missing": (without("receipts", "c"), Check.RECEIPT, "site 'c': has given no receipt"),
    "a receipt of a stranger": (
        edited("receipts", to=lambda said: said | {"e": said["a"]}),
        Check.RECEIPT,
        "'e' has a receipt and is not",
    ),
    "receipts of each other": (swapped_receipts, Check.SIGNATURE, "site 'a'"),
    "one receipt for two": (
        lambda honest: honest.rewrite(receipts=honest.receipts | {"b": honest.receipts["a"]}),
        Check.SIGNATURE,
        "site 'b'",
    ),
    "a receipt signed by somebody else": (
        lambda honest: honest.resign("b", lambda one: one, Ed25519PrivateKey.generate()),
        Check.SIGNATURE,
        "site 'b'",
    ),
    "a receipt signed by another site": (
        lambda honest: honest.resign("b", lambda one: one, key_of("a")),
        Check.SIGNATURE,
        "site 'b'",
    ),
    "a signature cut off": (edited("receipts", "b", "signature", to=lambda one: one[:-2]), Check.SIGNATURE, "site 'b'"),
    "a signature of no digits": (
        edited("receipts", "b", "signature", to="zz"),
        Check.RECEIPT,
        "site 'b'.*cannot be read",
    ),
    "no signature": (without_a_key, Check.SIGNATURE, "site 'c'"),
    "a changed head": (edited("receipts", "b", "receipt", "head", "number", to=5), Check.SIGNATURE, "site 'b'"),
    "a changed charge": (
        edited("receipts", "b", "receipt", "charged", "local", to="1/400"),
        Check.SIGNATURE,
        "site 'b'",
    ),
    "a changed event in a receipt": (
        edited("receipts", "b", "receipt", "reserved", 0, "event", "multiplier", to="40/1"),
        Check.SIGNATURE,
        "site 'b'",
    ),
    "a receipt's events in another order": (
        edited("receipts", "b", "receipt", "reserved", to=lambda runs: runs[::-1]),
        Check.SIGNATURE,
        "site 'b'",
    ),
    "a receipt that holds more": (
        edited("receipts", "b", to=lambda row: row | {"and": 1}),
        Check.RECEIPT,
        "site 'b'.*holds more than one",
    ),
    "a receipt with a key too many": (
        edited("receipts", "b", "receipt", to=lambda row: row | {"and": 1}),
        Check.RECEIPT,
        "site 'b'.*cannot be read",
    ),
    "a receipt of another format": (
        edited("receipts", "b", "receipt", "format", to=2),
        Check.RECEIPT,
        "cannot be read",
    ),
    "a receipt of another study": (of_another_study("b"), Check.RECEIPT, "site 'b': its receipt is of another study"),
    "a site that signs for another": (
        lambda honest: honest.resign("b", lambda one: replace(one, site="a")),
        Check.RECEIPT,
        "is that of site 'a'",
    ),
    "a receipt of an earlier head": (earlier, Check.CHARGES, "site 'b': has not answered release 3, attempt 0"),
    "two sites with one ledger": (
        lambda honest: honest.resign("b", lambda one: replace(one, head=honest.receipt("a").head)),
        Check.RECEIPT,
        "head of another site",
    ),
    "a plan paid at half its price": (
        charges(planned=Cost(Fraction(2, 400), Fraction(6, 400))),
        Check.CHARGES,
        "another price",
    ),
    "charges that do not add up": (charges(charged=Cost(Fraction(4, 400), Fraction(12, 400))), Check.CHARGES, "add up"),
    "sessions left out": (charges(sessions=()), Check.CHARGES, "sessions"),
    "a site that says its noise is known": (
        charges(private=False),
        Check.NOISE,
        "site 'b': says that its noise can be",
    ),
    "answers listed twice": (
        lambda honest: honest.resign(
            "b", lambda one: replace(one, charges=replace(one.charges, reserved=one.charges.reserved * 2))
        ),
        Check.CHARGES,
        "out of order, or twice",
    ),
    "answers without end": (
        charges(reserved=(Run(0, 10**12, 0, Gaussian(Fraction(20), 3)),)),
        Check.CHARGES,
        "more releases than",
    ),
    "another event answered": (
        charges(reserved=(Run(0, RELEASES, 0, Gaussian(Fraction(10), 3)),)),
        Check.CHARGES,
        "another event",
    ),
    "a site dropped from the roster": (dropped_site, Check.RECEIPT, "site 'a': its receipt is of another study"),
    "keys of the coordinator's making, receipts of the sites": (
        other_study(roster=study(trust=Trust.LOCAL).roster[:1] + learning().roster[1:], purpose="x"),
        Check.RECEIPT,
        "another study",
    ),
    "a study with a smaller budget": (other_study(budget=Budget(0.5, 1e-5, 1)), Check.RECEIPT, "another study"),
    "a study with more noise": (other_study(plan=study(multiplier=Fraction(40)).plan), Check.RECEIPT, "another study"),
    "a study with another threshold": (other_study(threshold=4), Check.ROUNDS, "too few sites"),
    "a file neither certified nor there": (
        lambda honest: (honest.hashes.pop("synthetic.parquet"), honest.content["artefacts"].pop("synthetic.parquet")),
        Check.ARTEFACT,
        "synthetic.parquet is not certified",
    ),
    "a hash that is a number": (edited("artefacts", "synthetic.csv", to=5), Check.CERTIFICATE, "'artefacts'"),
    "one row of rounds as two": (
        edited("rounds", to=lambda rows: [rows[0] | {"count": 1}, rows[0] | {"count": 1, "release": 1}, *rows[1:]]),
        Check.ROUNDS,
        "the one way it is written",
    ),
    "rounds beyond the plan": (edited("rounds", 0, "count", to=10**9), Check.ROUNDS, "is not in the plan"),
    "a receipt that is a word": (
        edited("receipts", "b", to="charged"),
        Check.RECEIPT,
        "site 'b': its receipt is not one",
    ),
    "a plan of too many steps": (
        lambda honest: honest.rewrite(
            study=replace(honest.study, plan=tuple(Step(f"{at}", 1, Fraction(20)) for at in range(65)))
        ),
        Check.STUDY,
        "longer than this version verifies",
    ),
    "a plan without end": (
        lambda honest: honest.rewrite(
            study=replace(honest.study, plan=(Step("first", 10**6, Fraction(20)), Step("more", 10**6, Fraction(20))))
        ),
        Check.STUDY,
        "longer than this version verifies",
    ),
    "a signature in large letters": (
        edited("receipts", "b", "signature", to=str.upper),
        Check.RECEIPT,
        "site 'b'.*cannot be read",
    ),
    "a signature with a space": (
        edited("receipts", "b", "signature", to=lambda one: one[:2] + " " + one[2:]),
        Check.RECEIPT,
        "cannot be read",
    ),
    "a study that was never launched": (
        rewritten(study=lambda honest: replace(honest.study, plan=()), asked=lambda _: ()),
        Check.STUDY,
        "no plan",
    ),
}
