"""Honest certificates of every shape hold; one that was changed anywhere, however cleverly, does not, and says why."""

import json
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256

import pytest
from certified_made import FIRST, NAMES, SECOND, learning, made, smooth, study, troubled
from certified_spoilt import (
    edited,
)

from silosynth.common import accounting
from silosynth.common.certificate import Asked, Noise
from silosynth.common.errors import InvalidInput, NotCertified
from silosynth.common.privacy import Composed, Gaussian
from silosynth.common.receipt import Run
from silosynth.common.sampled import certify, epsilon_of
from silosynth.common.study import Step, Trust
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


def restated(finished, asked):
    """The same certificate beside another study, every digest and hash made to fit."""
    honest = deepcopy(finished)
    honest.study, honest.text = asked, write_study(asked)
    honest.content["study"] = asked.digest
    digest = sha256(honest.text.encode()).hexdigest()
    honest.hashes["study.toml"] = honest.content["artefacts"]["study.toml"] = digest
    return honest


def test_a_price_for_samples_that_does_not_cover_them_is_refused(tmp_path):
    asked = learning()
    cheap = replace(asked.plan[1], certified=asked.plan[1].certified / 2)
    finished = made(tmp_path, asked)
    for plan in ((asked.plan[0], cheap), (asked.plan[0], replace(cheap, certified=None))):
        with pytest.raises(NotCertified, match="price for sampled sums") as failed:
            verify(restated(finished, replace(asked, plan=plan)).bundle)
        assert failed.value.check == Check.STUDY


def test_a_price_where_nothing_is_sampled_is_refused(tmp_path):
    """It is of the whole step, however often that was asked: sixty retries would cost nothing more."""
    plain = Step("more", 1, Fraction(20))
    priced = replace(plain, certified=certify(plain.history(3)))
    asked = study(plan=(Step("first", 1, Fraction(20)), priced), attempts=100)
    rounds = (Asked(0, 0, (0, 1, 2, 3), FIRST), *(Asked(1, at, (0, 1, 2, 3), FIRST) for at in range(60)))
    with pytest.raises(ValueError, match="more often than its price"):
        made(tmp_path, asked, asked=rounds)
    (tmp_path / "learning").mkdir()
    finished = made(tmp_path / "learning", learning())
    with pytest.raises(NotCertified, match="or one for others"):
        verify(restated(finished, asked).bundle)
    inner = replace(learning().plan[1], within=(replace(plain, certified=priced.certified),))
    with pytest.raises(NotCertified, match="or one for others"):
        verify(restated(finished, replace(learning(), plan=(learning().plan[0], inner))).bundle)


def test_a_study_whose_end_is_not_read_is_refused(tmp_path):
    """Only so much of a file is read; what a reader finds behind it must not be another study."""
    (tmp_path / "run").mkdir()
    honest = made(tmp_path)
    head = honest.text.encode() + b"\n# "
    comment = ("\N{GRINNING FACE}" * (((1 << 24) - len(head)) // 4)).encode()
    filled = head + comment + b"x" * ((1 << 24) - len(head) - len(comment))
    honest.text = (filled + b'\n[[plan]]\nkind = "secret"\nrepeats = 1000\nmultiplier = "0.01"\n').decode()
    digest = sha256(honest.text.encode()).hexdigest()
    honest.hashes["study.toml"] = honest.content["artefacts"]["study.toml"] = digest
    folder = honest.publish(tmp_path / "run")
    with pytest.raises(NotCertified, match="longer than a study may be"):
        verified(folder)


def test_whatever_stands_for_a_receipt_nothing_else_is_raised(fresh):
    honest = fresh()
    honest.content["receipts"]["a"]["receipt"] = "here"
    bundle = honest.bundle
    for depth in range(850, 1050, 3):  # JSON that can be read may be too deep to be written
        nested = bundle.certificate.replace(b'"here"', b"[" * depth + b"]" * depth)
        with pytest.raises(NotCertified):
            verify(replace(bundle, certificate=nested))


def test_work_is_bounded_before_it_is_done(tmp_path):
    """Kilobytes could ask for hours: sums within a step, samples, releases times sites."""
    asked = learning()
    finished = made(tmp_path, asked)
    (first, learn), (sums, *_) = asked.plan, asked.plan[1].within
    many = tuple(replace(sums, kind=f"k{at}", rate=None) for at in range(130))
    sampled = tuple(replace(sums, kind=f"k{at}", rate=Fraction(1 + at, 1000)) for at in range(9))
    roster = tuple(replace(asked.roster[0], name=f"s{at}", key=f"{at:064x}") for at in range(9))
    plans = ((first, replace(learn, within=many)), (first, replace(learn, within=sampled)))
    large = [replace(asked, plan=plan) for plan in plans]
    large.append(replace(asked, roster=roster, plan=(replace(first, repeats=1 << 19), learn)))
    began = time.process_time()
    for one in large:
        with pytest.raises(NotCertified, match="longer than this version verifies"):
            verify(restated(finished, one).bundle)
    assert time.process_time() - began < 10


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
