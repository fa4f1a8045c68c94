"""Honest certificates of every shape hold; one that was changed anywhere, however cleverly, does not, and says why."""

import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256

import pytest
from certified_made import FIRST, NAMES, RELEASES, SECOND, key_of, learning, made, smooth, study, troubled
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silosynth.common import accounting
from silosynth.common.certificate import Asked, Noise
from silosynth.common.errors import InvalidInput, NotCertified
from silosynth.common.privacy import Composed, Gaussian
from silosynth.common.receipt import Cost, Run, Signed, sign
from silosynth.common.sampled import epsilon_of
from silosynth.common.secagg.messages import Head
from silosynth.common.study import Budget, Step, Trust
from silosynth.common.study_file import write_study
from silosynth.common.verify import verify
from silosynth.common.verify_receipts import Check
from silosynth.common.verify_words import fingerprints, headline, not_proved, proved
from silosynth.server.bundle import verified

HONEST = {
    "masked": made,
    "masked, with retries and two sessions": lambda folder: made(folder, asked=troubled()),
    "local": lambda folder: made(folder, study(trust=Trust.LOCAL)),
    "local, without keys": lambda folder: made(folder, study(trust=Trust.LOCAL, keyed=False)),
    "local, sampled": lambda folder: made(folder, learning()),
    "plain": lambda folder: made(folder, study(keyed=False)),
    "rows without persons": lambda folder: made(folder, study(unit=None)),
    "persons": lambda folder: made(folder, study(unit="person")),
    "without noise": lambda folder: made(folder, study(multiplier=None), noise=Noise.NONE),
    "seeded": lambda folder: made(folder, noise=Noise.SEEDED),
    "seeded, local": lambda folder: made(folder, study(trust=Trust.LOCAL), noise=Noise.SEEDED),
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A certificate with retries and two sessions, which holds; a copy each time."""
    honest = made(tmp_path_factory.mktemp("honest"), asked=troubled())
    verify(honest.bundle)
    return lambda: deepcopy(honest)


@pytest.mark.parametrize("shape", HONEST)
def test_honest_certificates_of_every_shape_hold(tmp_path, shape):
    honest = HONEST[shape](tmp_path)
    found = verify(honest.bundle)
    assert found.study == honest.study
    assert [one.site for one in found.receipts] == list(NAMES)
    assert found.promises_nothing == (honest.noise is not Noise.SYSTEM)
    said = "\n".join([*headline(found), *proved(found), *not_proved(found)])
    assert ("PROMISES NOTHING" in said) == found.promises_nothing
    assert ("UNSIGNED" in said) == ("not signed" in said) == ("keys" in shape or shape == "plain")
    assert all(
        bool(shown) == bool(member.key)
        for member, shown in zip(found.study.roster, fingerprints(found.study).values(), strict=True)
    )


def test_what_is_proved_is_the_epsilon_of_everything_that_was_asked(tmp_path):
    found = verify(made(tmp_path, asked=troubled()).bundle)
    assert found.epsilon.aggregate == accounting.epsilon(Fraction(6, 400), 1e-5)  # six attempts
    assert found.epsilon.local == accounting.epsilon(
        Fraction(4 * 3 + 2 * 2, 400), 1e-5
    )  # two of them among three sites
    asked = learning()
    sampled = verify(made(tmp_path, asked).bundle)
    assert sampled.epsilon.local == epsilon_of(Composed(tuple(step.history(1) for step in asked.plan)), 1e-5)


def test_floats_may_differ_in_their_last_digits_on_another_machine(tmp_path):
    honest = made(tmp_path)
    honest.content["epsilon"]["local"] *= 1 + 1e-12
    verify(honest.bundle)


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


@pytest.mark.parametrize("how", SPOILT)
def test_what_was_changed_is_named(fresh, how):
    spoil, check, cause = SPOILT[how]
    honest = fresh()
    spoil(honest)
    with pytest.raises(NotCertified, match=cause) as failed:
        verify(honest.bundle)
    assert failed.value.check == check


def test_a_study_without_sites_is_no_study(fresh):
    honest = fresh()
    nobody = replace(honest.study, roster=())
    honest.text, honest.content["study"] = write_study(nobody), nobody.digest
    with pytest.raises(NotCertified, match="never launched"):
        verify(honest.bundle)


SPOILT_BYTES = {
    "cut off": lambda text: text[:-20],
    "empty": lambda _: b"",
    "not JSON": lambda _: b"\xff\xfe",
    "a list": lambda _: b"[]",
    "no number": lambda text: text.replace(b'"delta": 1e-05', b'"delta": NaN'),
    "two epsilons": lambda text: text.replace(b'"epsilon":', b'"epsilon": {"aggregate": 0, "local": 0}, "epsilon":', 1),
    "very deep": lambda _: b"[" * 100_000,
    "very long": lambda text: text + b" " * (1 << 26),
    "a number of many digits": lambda text: text.replace(b'"accounting": 1', b'"accounting": ' + b"9" * 5000),
}


@pytest.mark.parametrize("how", SPOILT_BYTES)
def test_bytes_that_are_no_certificate_are_refused(fresh, how):
    bundle = fresh().bundle
    changed = SPOILT_BYTES[how](bundle.certificate)
    assert changed != bundle.certificate
    with pytest.raises(NotCertified) as failed:
        verify(replace(bundle, certificate=changed))
    assert failed.value.check == Check.CERTIFICATE


def test_every_value_of_a_certificate_matters(fresh):
    """Whatever leaf is changed, it no longer holds: nothing in it is decoration, but the name of the software."""

    def leaves(node, path=()):
        if isinstance(node, dict | list):
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                yield from leaves(value, (*path, key))
        else:
            yield path

    honest = fresh()
    found = [path for path in leaves(honest.content) if path != ("code",)]
    assert len(found) > 200
    for path in found:
        spoilt = replace(honest, content=json.loads(json.dumps(honest.content)))
        edited(*path, to=lambda value: f"{value}0" if isinstance(value, str) else 77)(spoilt)
        if path[0] == "rounds" and path[-1] == "session":
            edited(*path, to="77" * 32)(spoilt)
            if path[1] == 0 or path[1] == len(honest.content["rounds"]) - 1:
                continue  # which session it was is the coordinator's word
        with pytest.raises(NotCertified):
            verify(spoilt.bundle)


def test_a_coordinator_with_the_key_of_one_site_cannot_hide_what_the_others_answered(fresh):
    """It knows everything but the other sites' keys; the retry that it wants to hide stands in their receipts."""
    honest = fresh()
    honest.resign(
        "a",
        lambda one: replace(
            one,
            charges=replace(
                one.charges,
                reserved=(Run(0, 4, 0, Gaussian(Fraction(20), 3)),),
                sessions=one.charges.sessions[:1],
                charged=one.charges.planned,
            ),
        ),
    )
    honest.rewrite(asked=smooth(honest.study))
    with pytest.raises(NotCertified, match="site 'b': answered release 1, attempt 1"):
        verify(honest.bundle)


def test_noise_that_was_seeded_cannot_be_passed_for_real(tmp_path):
    honest = made(tmp_path, noise=Noise.SEEDED)
    honest.rewrite(noise=Noise.SYSTEM)
    with pytest.raises(NotCertified, match="site 'a': says that its noise can be predicted"):
        verify(honest.bundle)


def test_unsigned_receipts_prove_nothing_but_are_held_to_what_they_say(tmp_path):
    honest = made(tmp_path, study(trust=Trust.LOCAL, keyed=False))
    assert "anybody can have written them: 'a', 'b', 'c', 'd'" in "".join(not_proved(verify(honest.bundle)))
    honest.content["receipts"]["b"]["signature"] = honest.content["receipts"]["a"]["signature"] = "00" * 64
    with pytest.raises(NotCertified, match="signed, but the roster has no key"):
        verify(honest.bundle)
    (tmp_path / "again").mkdir()
    again = made(tmp_path / "again", study(trust=Trust.LOCAL, keyed=False))
    again.content["receipts"]["b"]["receipt"]["reserved"][0]["count"] = 3
    with pytest.raises(NotCertified, match="site 'b': has not answered release 3"):
        verify(again.bundle)


def test_a_price_for_samples_that_does_not_cover_them_is_refused(tmp_path):
    asked = learning()
    cheap = replace(asked.plan[1], certified=asked.plan[1].certified / 2)
    finished = made(tmp_path, asked)
    for plan in ((asked.plan[0], cheap), (asked.plan[0], replace(cheap, certified=None))):
        honest = deepcopy(finished)
        honest.study = replace(asked, plan=plan)
        honest.text = write_study(honest.study)
        honest.content["study"] = honest.study.digest
        honest.hashes["study.toml"] = honest.content["artefacts"]["study.toml"] = sha256(
            honest.text.encode()
        ).hexdigest()
        with pytest.raises(NotCertified, match="price for sampled sums") as failed:
            verify(honest.bundle)
        assert failed.value.check == Check.STUDY


def test_a_folder_or_the_certificate_in_it(tmp_path):
    (tmp_path / "run").mkdir()
    folder = made(tmp_path).publish(tmp_path / "run")
    assert verified(folder) == verified(folder / "certificate.json") == verified(str(folder))
    for missing in (tmp_path, tmp_path / "nothing", tmp_path / "nothing.json"):
        with pytest.raises(InvalidInput, match="give the folder"):
            verified(missing)
    (folder / "study.toml").write_bytes(b"\xff")
    with pytest.raises(NotCertified, match="not text"):
        verified(folder)
    (folder / "study.toml").unlink()
    with pytest.raises(NotCertified, match=r"study\.toml is missing"):
        verified(folder)


def test_a_study_that_was_not_expected_is_refused(tmp_path):
    """Made up whole, keys and receipts included: it agrees with itself, and only its digest gives it away."""
    folders = [tmp_path / name for name in ("real", "forged")]
    for at, folder in enumerate(folders):
        folder.mkdir()
        (folder / "run").mkdir()
        made(folder, study(purpose=f"{at}")).publish(folder / "run")
    real, forged = (verified(folder / "run").study.digest for folder in folders)
    assert verified(folders[0] / "run", real).study.digest == real != forged
    with pytest.raises(NotCertified, match="not the study that was expected"):
        verified(folders[1] / "run", real)
    for wrong in ("", real[:-1], real.upper()):
        with pytest.raises(InvalidInput, match="64 hex digits"):
            verified(folders[0] / "run", wrong)


def test_it_needs_neither_torch_nor_any_framework(tmp_path):
    (tmp_path / "run").mkdir()
    folder = made(tmp_path).publish(tmp_path / "run")
    code = (
        "import sys\n"
        "from silosynth.simulations.cli import _run\n"
        f"assert _run(['verify', {str(folder)!r}, '--explain']) == 0\n"
        "assert not {'torch', 'flwr', 'sklearn', 'opacus', 'ray'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120, capture_output=True)


def test_an_attempt_may_be_asked_that_a_site_never_heard_of(fresh):
    """It was written down before it was sent: the certificate counts it, no ledger does."""
    honest = fresh()
    lost = Asked(1, 0, (0, 1, 2, 3), FIRST)
    assert honest.asked[1] == lost
    of = honest.study
    for name in NAMES:
        first, *rest = honest.receipt(name).charges.reserved
        assert first.count == 2
        runs = (replace(first, count=1), *rest)
        honest.resign(name, lambda one, runs=runs: replace(one, charges=replace(one.charges, reserved=runs)))
    assert verify(honest.bundle).study == of
    assert SECOND in json.dumps(honest.content)
