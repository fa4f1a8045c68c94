"""An approval binds study, site, policy and software to the officer's key: each rule, and a mutant for each fact."""

import json
import logging
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import site_made
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silosynth.client import approval
from silosynth.client.approval import Approval, Facts, load, read_approval, sign, verify, write_approval
from silosynth.client.keys import agent_key
from silosynth.client.officer import officer_key
from silosynth.client.refusal import Reason, Refused
from silosynth.common.errors import InvalidInput
from silosynth.common.framing import framed
from silosynth.common.secagg.encoding import PROTOCOL, prefixed
from silosynth.common.study_file import write_study

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "approval.json").read_text())
FACTS = Facts(**VECTOR["facts"])
KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTOR["officer_seed"]))
OTHERS = {"study": "33" * 32, "site": "ward-8", "policy": "44" * 32, "code": "55" * 32}
BOUND = tuple(OTHERS)


def test_the_golden_vector():
    parts = [approval.LABEL, bytes.fromhex(FACTS.study), FACTS.site.encode(), bytes.fromhex(FACTS.policy),
             bytes.fromhex(FACTS.code)]  # fmt: skip
    by_hand = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    assert FACTS.signed() == by_hand == bytes.fromhex(VECTOR["signed"])
    assert sign(KEY, FACTS).signature.hex() == VECTOR["signature"]
    verify(Approval(FACTS, bytes.fromhex(VECTOR["signature"])), FACTS, VECTOR["officer"])


def check_bound():
    """Every fact is in what is signed: the officer's signature of one list is none of a list that differs in one."""
    for name in BOUND:
        other = replace(FACTS, **{name: OTHERS[name]})
        with pytest.raises(Refused, match=Reason.NOT_APPROVED.value):
            verify(Approval(other, sign(KEY, FACTS).signature), other, VECTOR["officer"])


def test_every_fact_is_bound():
    check_bound()


@pytest.mark.parametrize("dropped", BOUND)
def test_the_check_finds_a_fact_that_is_not_signed(dropped, monkeypatch):
    def signed(facts):
        named = {"study": facts.study, "site": facts.site, "policy": facts.policy, "code": facts.code}
        return framed(approval.LABEL, *(value.encode() for name, value in named.items() if name != dropped))

    monkeypatch.setattr(Facts, "signed", signed)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        check_bound()


def test_names_and_digests_cannot_be_shifted_into_each_other():
    """Without lengths, a name that ends in the policy's first bytes would be signed like a shorter one."""
    seen = {replace(FACTS, site=name).signed() for name in ("w", "w\x22", "w\x22\x22", "")}
    assert len(seen) == 4
    for digest in ("", "11" * 31, "11" * 33):
        with pytest.raises(ValueError, match="SHA-256"):
            replace(FACTS, study=digest).signed()


def test_the_label_keeps_other_uses_of_a_key_apart():
    body = FACTS.signed().removeprefix(framed(approval.LABEL))
    other = KEY.sign(framed(b"silosynth/approval/2") + body)
    with pytest.raises(Refused):
        verify(Approval(FACTS, other), FACTS, VECTOR["officer"])
    assert not prefixed(b"").startswith(framed(approval.LABEL))
    assert len(PROTOCOL) != len(approval.LABEL)  # already the first byte differs: no message of secure sums is one


@pytest.mark.parametrize(
    "forged",
    [
        Approval(replace(FACTS, site="ward-8"), sign(KEY, FACTS).signature),
        Approval(FACTS, sign(Ed25519PrivateKey.generate(), FACTS).signature),
        Approval(FACTS, sign(KEY, FACTS).signature[:-1]),
        Approval(FACTS, bytes(64)),
        Approval(FACTS, b""),
    ],
)
def test_whatever_is_not_signed_by_the_officer_is_refused(forged):
    with pytest.raises(Refused, match=Reason.NOT_APPROVED.value):
        verify(forged, FACTS, VECTOR["officer"])


def test_an_approval_reads_back():
    first = sign(KEY, FACTS)
    assert read_approval(write_approval(first), "s") == first
    for wrong in ("", "[]", "{", '{"format": 2}', write_approval(first).replace('"code"', '"coda"')):
        with pytest.raises(InvalidInput, match=r"s\.json"):
            read_approval(wrong, "s.json")


@pytest.fixture
def home(tmp_path):
    made, _ = site_made.made(tmp_path / "site")
    made.policy.write_text(site_made.ALLOWS)
    return made


@pytest.fixture
def study(home):
    return site_made.study_of(approval.read_request(home.request.read_text(), "r"))


def approve(home, study):
    facts = approval.facts_of(home, study, home.policy.read_text())
    home.study(study.digest).write_text(write_study(study))
    home.approval(study.digest).write_text(write_approval(sign(officer_key(home.officer_key, None), facts)))


def test_what_was_approved_is_loaded_with_the_sites_policy(home, study):
    approve(home, study)
    loaded = load(home, study.digest)
    assert loaded.study == study
    assert loaded.policy.studies == {study.digest}
    assert loaded.policy.engines == {"autoregressive"}
    assert loaded.policy.study_caps.local.epsilon == 4.0


def refused(home, digest):
    with pytest.raises(Refused) as caught:
        load(home, digest)
    return caught.value.reason


def test_an_unknown_study_is_refused(home):
    assert refused(home, "0" * 64) is Reason.UNKNOWN_STUDY
    assert refused(home, "../officer.key") is Reason.UNKNOWN_STUDY


def test_a_study_that_nobody_approved_is_refused(home, study):
    home.study(study.digest).write_text(write_study(study))
    assert refused(home, study.digest) is Reason.NOT_APPROVED


def test_a_study_that_was_exchanged_is_refused(home, study, caplog):
    approve(home, study)
    home.study(study.digest).write_text(write_study(replace(study, purpose="another one")))
    assert refused(home, study.digest) is Reason.NOT_APPROVED  # A1
    assert "another study" in caplog.text


def test_an_approved_study_under_another_ones_name_is_refused(home, study):
    """Both files of a study that was approved, renamed to those of one that was not."""
    other = replace(study, name="another one")
    approve(home, other)
    home.study(other.digest).rename(home.study(study.digest))
    home.approval(other.digest).rename(home.approval(study.digest))
    assert refused(home, study.digest) is Reason.NOT_APPROVED  # A1


def test_a_roster_with_another_agent_is_refused(home, study):
    member = replace(study.roster[0], key="12" * 32)
    approved = replace(study, roster=(member, *study.roster[1:]))
    approve(home, approved)
    assert refused(home, approved.digest) is Reason.OTHER_KEY  # A5


def test_a_changed_policy_is_approved_again(home, study, caplog):
    approve(home, study)
    home.policy.write_text(site_made.ALLOWS + "# a comment, even\n")
    with caplog.at_level(logging.ERROR):
        assert refused(home, study.digest) is Reason.NOT_APPROVED  # A3
    assert "another policy" in caplog.text
    approve(home, study)
    assert load(home, study.digest).study == study


def test_line_ends_count(home, study):
    approve(home, study)
    home.policy.write_bytes(site_made.ALLOWS.replace("\n", "\r\n").encode())
    assert refused(home, study.digest) is Reason.NOT_APPROVED  # A3: byte for byte


def test_the_policy_is_hashed_as_sha256sum_does(home, study):
    approve(home, study)
    signed = json.loads(home.approval(study.digest).read_text())
    assert signed["policy"] == sha256(home.policy.read_bytes()).hexdigest()


def test_other_software_is_refused(home, study, monkeypatch):
    approve(home, study)
    monkeypatch.setattr(approval, "code_digest", lambda: "0" * 64)
    assert refused(home, study.digest) is Reason.OTHER_CODE  # A4


def test_a_study_that_pins_no_software_is_refused(home, study):
    free = replace(study, code="")
    home.study(free.digest).write_text(write_study(free))
    assert refused(home, free.digest) is Reason.OTHER_CODE


def test_another_site_name_is_refused(home, study):
    approve(home, study)
    home.config.write_text(home.config.read_text().replace('name = "a"', 'name = "b"'))
    assert refused(home, study.digest) is Reason.OTHER_KEY  # A2: b is on the roster, with other keys
    home.config.write_text(home.config.read_text().replace('name = "b"', 'name = "z"'))
    assert refused(home, study.digest) is Reason.NOT_A_MEMBER


def test_an_approval_of_another_site_does_not_count(home, study):
    approve(home, study)
    facts = replace(approval.facts_of(home, study, home.policy.read_text()), site="b")
    home.approval(study.digest).write_text(write_approval(sign(officer_key(home.officer_key, None), facts)))
    assert refused(home, study.digest) is Reason.NOT_APPROVED


def test_a_coordinator_cannot_bring_an_officer_of_its_own(home, study):
    """A roster that pins another officer for this site, and an approval that this officer signed: both are refused."""
    own = Ed25519PrivateKey.generate()
    member = replace(study.roster[0], officer=own.public_key().public_bytes_raw().hex())
    forged = replace(study, roster=(member, *study.roster[1:]))
    facts = approval.facts_of(home, forged, home.policy.read_text())
    home.study(forged.digest).write_text(write_study(forged))
    home.approval(forged.digest).write_text(write_approval(sign(own, facts)))
    assert refused(home, forged.digest) is Reason.OTHER_KEY  # A5


def test_an_approval_by_the_agents_key_does_not_count(home, study):
    approve(home, study)
    facts = approval.facts_of(home, study, home.policy.read_text())
    home.approval(study.digest).write_text(write_approval(sign(agent_key(home.agent), facts)))
    assert refused(home, study.digest) is Reason.NOT_APPROVED  # A6


def test_a_policy_with_a_typo_is_said(home, study):
    approve(home, study)
    home.policy.write_text(site_made.ALLOWS.replace("engines", "engine"))
    with pytest.raises((Refused, InvalidInput)):
        load(home, study.digest)
