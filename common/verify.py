"""Whether a certificate proves what it says: everything that follows is computed again, everything signed is checked.

`verify` names the first thing that does not hold. Its steps, followed literally below:
  V1  the certificate is JSON of this format, in which no key stands twice;
  V2  the study is the one that study.toml says, word for word, by its digest, and the one that was expected, if any;
  V3  every file that a study publishes is there, and is the one that was certified;
  V4  the plan has a price: one that it states for sampled sums is not believed but computed again (sampled.covers);
  V5  the noise is one of three kinds, and none exactly where the plan has none;
  V6  what was asked fits the study: its releases in order, attempts counted, enough sites each time;
  V7  every site of the roster has signed what its ledger charged, and it is what was asked (verify_receipts.py);
  V8  every claim, both epsilons included, is the one that follows from the study and what was asked; and there is no
      other claim.

It reads bytes and touches no data: common/verify_words.py says what is proved by this and what is not. What comes from
outside is bounded before it is computed with, and whatever it holds, NotCertified is all that is raised.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from silosynth.common.certificate import FORMAT, Asked, Noise, Prices, claims, prices, rounds
from silosynth.common.errors import NotCertified, SilosynthError
from silosynth.common.privacy import Certified
from silosynth.common.receipt import Receipt
from silosynth.common.sampled import MOST_CERTIFIED, covers
from silosynth.common.study import Study
from silosynth.common.study_file import read_study
from silosynth.common.verify_receipts import Check, check_charges, everybody, receipts_of

CERTIFICATE: Final = "certificate.json"
STUDY: Final = "study.toml"
REQUIRED: Final = ("generator.safetensors", STUDY, "synthetic.csv", "synthetic.parquet")
DESCRIPTIONS: Final = ("croissant.json", "metrics.json", "model_card.md", "report.html", "sdv_metadata.json")
ARTEFACTS: Final = (*REQUIRED, *DESCRIPTIONS)
"""Files that a certificate covers, where they are published; the first four always are."""

CERTIFICATE_BYTES: Final = 1 << 26
MOST_RELEASES: Final = 1 << 20
MOST_STEPS: Final = 64
"""Of a plan, sums within steps counted: many more than any engine asks for."""
MOST_SAMPLED: Final = 8
"""Of these, sums over samples: the loss of each is computed again, which takes seconds."""
MOST_ANSWERS: Final = 1 << 22
"""Attempts times sites: each is held against a receipt."""

_BESIDE: Final = ("code", "artefacts", "receipts")
"""What stands in a certificate beside its claims."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CLOSE: Final = 1e-9  # relative: the same epsilon on another machine


@dataclass(frozen=True)
class Bundle:
    """What is verified: certificate.json, study.toml if it is there, and SHA-256 of each file that is there, in hex."""

    certificate: bytes
    study: str | None
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class Verified:
    """A certificate that holds: of which study, noise and epsilons, and what each site of the roster said, in order."""

    study: Study
    noise: Noise
    epsilon: Prices
    receipts: tuple[Receipt, ...]

    @property
    def promises_nothing(self) -> bool:
        """Whether the noise was none, or such that somebody can predict it."""
        return self.noise is not Noise.SYSTEM


def verify(bundle: Bundle, expected: str | None = None) -> Verified:
    """What a bundle proves. Raises NotCertified, which says what does not hold, and then nothing else is said of it.

    `expected`: the digest of the study that the sites approved, from them: it binds their keys. Whoever does not know
    it, nor their keys, cannot tell a certificate from one about sites that do not exist.
    """
    content = _content(bundle.certificate)  # V1
    study = _study(bundle.study, content)  # V2
    if expected is not None and study.digest != expected:
        raise NotCertified(Check.STUDY, f"{STUDY} is not the study that was expected")
    _check_artefacts(bundle.hashes, content.get("artefacts"))  # V3
    if _hash(bundle.study or "") != bundle.hashes[STUDY]:  # only so much of a file is read: is that all of it?
        raise NotCertified(Check.STUDY, f"{STUDY} is longer than a study may be, or changed while it was read")
    _check_plan(study)  # V4
    noise = _noise(study, content)  # V5
    asked = _asked(study, content)  # V6
    receipts = receipts_of(study, content.get("receipts"))  # V7
    check_charges(study, noise, asked, receipts)
    _check_claims(study, noise, asked if study.masked else (), content)  # V8
    found = prices(study, study.releases, asked if study.masked else ())
    return Verified(study, noise, found if noise is Noise.SYSTEM else Prices(math.inf, math.inf), receipts)


def _content(certificate: bytes) -> Mapping[str, Any]:
    """See V1."""
    if len(certificate) > CERTIFICATE_BYTES:
        raise NotCertified(Check.CERTIFICATE, "certificate.json is larger than a certificate may be")
    try:
        content = json.loads(certificate, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NotCertified(Check.CERTIFICATE, "certificate.json is cut off, or is not JSON") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise NotCertified(Check.CERTIFICATE, f"certificate.json is not of format {FORMAT}, which this version reads")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _study(text: str | None, content: Mapping[str, Any]) -> Study:
    """See V2."""
    if text is None:
        raise NotCertified(Check.STUDY, f"{STUDY} is missing: nobody can tell what was agreed")
    try:
        study = read_study(text, source=STUDY)
    except (SilosynthError, ValueError, RecursionError) as error:
        raise NotCertified(Check.STUDY, f"{STUDY} is no study: {error}") from error
    if content.get("study") != study.digest:
        raise NotCertified(Check.STUDY, f"{STUDY} is another study than the one that was certified")
    if not study.roster or not study.plan:
        raise NotCertified(Check.STUDY, f"{STUDY} has no roster or no plan: it was never launched")
    return study


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check_artefacts(found: Mapping[str, str], named: object) -> None:
    """See V3."""
    if not isinstance(named, dict) or not all(isinstance(digest, str) for digest in named.values()):
        raise NotCertified(Check.CERTIFICATE, "'artefacts' is not an object of hashes")
    for name in named:
        if name not in ARTEFACTS:
            raise NotCertified(Check.ARTEFACT, f"{name!r} is no file that a study publishes")
    for name in ARTEFACTS:
        if name not in named:
            if name in REQUIRED:
                raise NotCertified(Check.ARTEFACT, f"{name} is not certified")
            if name in found:
                raise NotCertified(Check.ARTEFACT, f"{name} is there and is not certified")
        elif name not in found:
            raise NotCertified(Check.ARTEFACT, f"{name} is missing")
        elif found[name] != named[name]:
            raise NotCertified(Check.ARTEFACT, f"{name} is not the file that was certified")


def _check_plan(study: Study) -> None:
    """See V4."""
    sums = [one for step in study.plan for one in (step.within or (step,))]
    sampled, answers = sum(one.rate is not None for one in sums), study.releases * len(study.roster)
    if len(sums) > MOST_STEPS or sampled > MOST_SAMPLED or study.releases > MOST_RELEASES or answers > MOST_ANSWERS:
        raise NotCertified(Check.STUDY, f"the plan in {STUDY} is longer than this version verifies")
    if not all(step.states_its_price for step in study.plan):
        raise NotCertified(Check.STUDY, f"the plan in {STUDY} states no price for sampled sums, or one for others")
    if sum(step.certified is not None for step in study.plan) > MOST_CERTIFIED:
        raise NotCertified(Check.STUDY, f"the plan in {STUDY} has more sampled histories than one ledger may")
    try:
        certified = [step.history(study.shares) for step in study.plan]
        covered = all(covers(one) for one in certified if isinstance(one, Certified))
    except ValueError as error:
        raise NotCertified(Check.STUDY, f"the plan in {STUDY} has no price") from error
    if not covered:
        raise NotCertified(Check.STUDY, f"the plan in {STUDY} states a price for sampled sums that does not cover them")


def _noise(study: Study, content: Mapping[str, Any]) -> Noise:
    """See V5."""
    if content.get("noise") not in list(Noise):
        raise NotCertified(Check.NOISE, "the certificate does not say where the noise came from")
    noise = Noise(content["noise"])
    if (noise is Noise.NONE) != any(step.noiseless for step in study.plan):
        raise NotCertified(Check.NOISE, f"the noise is {str(noise)!r}, and that is not what the study plans")
    return noise


def _asked(study: Study, content: Mapping[str, Any]) -> tuple[Asked, ...]:
    """See V6."""
    if not study.masked:
        return everybody(study)
    listed = content.get("rounds")
    if not isinstance(listed, list):
        raise NotCertified(Check.ROUNDS, "the certificate does not say what the sites were asked")
    release, attempt, sessions = -1, 0, [""]
    asked: list[Asked] = []
    for one in _attempts(study, listed):
        again = (one.release, one.attempt) == (release, attempt + 1)
        if not again and (one.release, one.attempt) != (release + 1, 0):
            raise NotCertified(Check.ROUNDS, f"release {one.release}, attempt {one.attempt} is out of order")
        if one.session != sessions[-1]:
            sessions.append(one.session)
            if one.session in sessions[:-1]:
                raise NotCertified(Check.ROUNDS, f"release {one.release} is asked in a session that was left")
        release, attempt = one.release, one.attempt
        asked.append(one)
    if release != study.releases - 1:
        raise NotCertified(Check.ROUNDS, f"the plan has {study.releases} releases, and {release + 1} were asked")
    if rounds(asked) != listed:
        raise NotCertified(Check.ROUNDS, "what was asked is not written in the one way it is written")
    return tuple(asked)


def _attempts(study: Study, listed: list[Any]) -> Iterator[Asked]:
    """The attempts of all rows, as many as are verified."""
    answers = 0
    for row in listed:
        for one in _round(study, row):
            answers += len(study.roster)
            if answers > MOST_ANSWERS:
                raise NotCertified(Check.ROUNDS, "more was asked than this version verifies")
            yield one


def _round(study: Study, row: Any) -> Iterator[Asked]:
    """The attempts of one row, each within the study's bounds."""
    match row:
        case {"release": int(release), "count": int(count), "attempt": int(attempt), "sites": list(sites)} if (
            isinstance(session := row.get("session"), str) and _DIGEST.fullmatch(session)
        ):
            pass
        case _:
            raise NotCertified(Check.ROUNDS, "what was asked cannot be read")
    if not 0 <= release < release + count <= study.releases or not 0 <= attempt < study.attempts:
        raise NotCertified(Check.ROUNDS, f"release {release}, attempt {attempt} is not in the plan")
    least, places = study.threshold or len(study.roster), range(len(study.roster))
    if sites != sorted({site for site in sites if type(site) is int and site in places}) or len(sites) < least:
        raise NotCertified(
            Check.ROUNDS, f"release {release}, attempt {attempt} was asked of too few sites, or of others"
        )
    for at in range(count):
        yield Asked(release + at, attempt, tuple(sites), session)


def _check_claims(study: Study, noise: Noise, asked: tuple[Asked, ...], content: Mapping[str, Any]) -> None:
    """See V8."""
    try:
        expected = claims(study, study.releases, noise, asked)
    except (ValueError, ArithmeticError, SilosynthError) as error:
        raise NotCertified(Check.STUDY, f"the plan in {STUDY} has no price") from error
    for name, value in expected.items():
        if not _alike(content.get(name), value):
            raise NotCertified(Check.CLAIM, f"{name!r} is not what follows from the study and what was asked")
    unknown = sorted(set(content) - set(expected) - set(_BESIDE))
    if unknown:
        raise NotCertified(Check.CLAIM, f"{unknown[0]!r} is no claim of a certificate of this study")
    if not isinstance(content.get("code"), str):
        raise NotCertified(Check.CLAIM, "'code' does not say which software wrote it")


def _alike(found: Any, expected: Any) -> bool:
    """Equality of JSON values: floats but for the last digits, objects in any order, a number is no truth value."""
    match expected:
        case float():
            return type(found) in (float, int) and math.isclose(float(str(found)), expected, rel_tol=_CLOSE)
        case dict():
            same = isinstance(found, dict) and set(found) == set(expected)
            return same and all(_alike(found[name], value) for name, value in expected.items())
        case list():
            same = isinstance(found, list) and len(found) == len(expected)
            return same and all(map(_alike, found, expected))
        case _:
            return type(found) is type(expected) and found == expected
