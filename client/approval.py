"""An officer's approval: a signature over which study, at which site, under which policy and software. See `load`.

Rules, each named where it is checked:
  A1  the study is the one whose digest is asked for, computed from the file that is taken, not read from a name;
  A2  the site is this one, by its site.toml;
  A3  the policy is the present policy.toml, byte for byte: after any change, a person approves again;
  A4  the software is the one that the study names, and the one that is installed;
  A5  the key is this site's own officer's, by its request.json, and the study's roster names the same one: neither a
      coordinator that writes rosters nor whoever writes into studies/ can put another officer in;
  A6  the signature is of that key, over the facts found here by A1 to A4, never over bytes that came with it.

What is signed is `framed(LABEL, digest, site, policy, code)`. Every part is after its length, so two different lists of
facts never give the same bytes; the label is first, so no signature of another use of any key is an approval, nor the
other way round. Digest, policy and code are SHA-256: to reuse an approval for anything else takes a collision.

An approval is not secret, and holds until one of its facts changes. To take one back, delete it; where somebody could
put it back, change policy.toml, too. What has been spent, the ledger knows, and `void` closes a study for ever.

Formal guarantee: if `load` returns, and Ed25519 cannot be forged (EUF-CMA) and SHA-256 is collision-free, the holder of
the officer's key has signed for exactly this study, site name, policy file and software.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from silosynth.client.home import SiteHome, read_site, read_text
from silosynth.client.installed import code_digest
from silosynth.client.policy import Policy, read_policy
from silosynth.client.refusal import Reason, Refused
from silosynth.common.errors import InvalidInput, InvalidStudy
from silosynth.common.framing import framed
from silosynth.common.site_request import read_request
from silosynth.common.study import Study
from silosynth.common.study_file import read_study
from silosynth.common.toml_read import TableReader

log = logging.getLogger(__name__)

FORMAT: Final = 1
LABEL: Final = b"silosynth/approval/1"

_HIGH: Final = 10**9


@dataclass(frozen=True)
class Facts:
    """What an officer approves: digests of study, policy.toml and software, 64 hex digits each, and the site's name."""

    study: str
    site: str
    policy: str
    code: str

    def signed(self) -> bytes:
        """The bytes that are signed. Raises ValueError where a digest is none."""
        digests = [bytes.fromhex(text) for text in (self.study, self.policy, self.code)]
        if any(len(digest) != hashlib.sha256().digest_size for digest in digests):
            raise ValueError("an approval names study, policy and software by SHA-256")
        study, policy, code = digests
        return framed(LABEL, study, self.site.encode(), policy, code)


@dataclass(frozen=True)
class Approval:
    """Facts, and a signature of theirs, 64 bytes."""

    facts: Facts
    signature: bytes


@dataclass(frozen=True)
class Approved:
    """A study that the site's officer approved, and the policy that holds for it: the site's, this study listed."""

    study: Study
    policy: Policy


def sign(key: Ed25519PrivateKey, facts: Facts) -> Approval:
    """The officer's approval. Raises ValueError for facts that are none."""
    return Approval(facts, key.sign(facts.signed()))


def verify(approval: Approval, facts: Facts, officer: str) -> None:
    """Raise Refused(NOT_APPROVED) unless `approval` is of `facts`, by the key `officer` (64 hex digits). See A6."""
    if approval.facts != facts:
        different = [key for key, value in asdict(facts).items() if asdict(approval.facts)[key] != value]
        log.error("the approval of study %s is for another %s: approve it again", facts.study, ", ".join(different))
        raise Refused(Reason.NOT_APPROVED) from ValueError(f"the approval is for another {', '.join(different)}")
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(officer)).verify(approval.signature, facts.signed())
    except (InvalidSignature, ValueError):
        log.error("the approval of study %s is not signed by this site's officer", facts.study)  # noqa: TRY400
        raise Refused(Reason.NOT_APPROVED) from ValueError("it is not signed by this site's officer")


def load(home: SiteHome, digest: str) -> Approved:
    """A study of studies/, if it may be taken part in: its file, its approval, and the policy that holds for it.

    Raises Refused: UNKNOWN_STUDY where it is not there, OTHER_CODE, OTHER_KEY, NOT_A_MEMBER, NOT_APPROVED; InvalidInput
    where a file of the site cannot be read. A refusal's __cause__ says more, to people of this site. The ledger and its
    caps have not been asked.
    """
    try:
        text = home.study(digest).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Refused(Reason.UNKNOWN_STUDY) from error
    study = read_study(text, source=str(home.study(digest)))
    if study.digest != digest:
        log.error("%s holds another study: put it in by `silosynth site approve`", home.study(digest))
        raise Refused(Reason.NOT_APPROVED) from ValueError("its file holds another study")  # A1
    policy = read_text(home.policy, "put the site's policy back; an empty one allows nothing")  # once: A3
    facts = facts_of(home, study, policy)
    officer = officer_of(home, study, facts.site)
    try:
        approval = read_approval(home.approval(digest).read_text(encoding="utf-8"), str(home.approval(digest)))
    except OSError as error:
        raise Refused(Reason.NOT_APPROVED) from ValueError(f"no approval can be read: {error.strerror}")
    verify(approval, facts, officer)
    return Approved(study, listing(read_policy(policy, str(home.policy)), study))


def facts_of(home: SiteHome, study: Study, policy: str) -> Facts:
    """What an approval of `study` is about, here and now; `policy` is the text of policy.toml. Raises Refused."""
    if study.code != code_digest():
        raise Refused(Reason.OTHER_CODE)  # A4
    name = read_site(home.config).name  # A2
    return Facts(study.digest, name, hashlib.sha256(policy.encode()).hexdigest(), study.code)


def officer_of(home: SiteHome, study: Study, name: str) -> str:
    """The public key of this site's officer, if it is the one that a study pins for site `name`. Raises Refused. A5."""
    request = read_request(read_text(home.request, "put back what `site init` wrote"), str(home.request))
    member = next((member for member in study.roster if member.name == name), None)
    if member is None:
        raise Refused(Reason.NOT_A_MEMBER)
    if (member.officer, member.key) != (request.officer, request.agent):
        raise Refused(Reason.OTHER_KEY)
    return request.officer


def listing(policy: Policy, study: Study) -> Policy:
    """The policy with a study listed: an approval says by name what `studies` in policy.toml would."""
    return replace(policy, studies=policy.studies | {study.digest})


def write_approval(approval: Approval) -> str:
    """The text of DIGEST.approval.json."""
    return json.dumps({"format": FORMAT} | asdict(approval.facts) | {"signature": approval.signature.hex()}) + "\n"


def read_approval(text: str, source: str) -> Approval:
    """The approval in a text; `source` names it in errors. Raises InvalidInput."""
    try:
        table = TableReader(source, "approval", json.loads(text))
        if table.whole("format", 1, _HIGH) != FORMAT:
            raise table.wrong("format", f"this version reads format {FORMAT} only")
        facts = Facts(*map(table.text, ("study", "site", "policy", "code")))
        approval = Approval(facts, bytes.fromhex(table.text("signature")))
        table.done()
    except ValueError as error:
        raise InvalidInput(f"{source}: is no approval: {error}; approve the study again") from error
    except InvalidStudy as error:
        raise InvalidInput(str(error)) from error
    return approval
