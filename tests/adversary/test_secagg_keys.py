"""Attacks on the keys of a session. Each fails, and succeeds when the defence that its mutant names is taken away."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from secagg_enemy import Colluder, confirmed_by_force, forged, opens, stripped
from secagg_made import (
    Session,
    agreement_of,
    answers,
    asked,
    derived,
    elements,
    frames_of,
    own_chain,
    secrets_of,
    signer_of,
    site_session,
    transcript_of,
)

from silosynth.common.errors import InvalidStudy
from silosynth.common.secagg import masks, messages, roster, site
from silosynth.common.secagg.encoding import prefixed
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.messages import read_opening, transcript_hash
from silosynth.common.secagg.roster import Roster

AGREEMENT = agreement_of(3)
ALL = (0, 1, 2)
VALUES = answers(3, 8)
TOP_BIT = 0x80


class AnySignature:
    """Stands for the library where nobody checks."""

    @classmethod
    def from_public_bytes(cls, _key):
        return cls()

    def verify(self, _signature, _said):
        pass


def without_ids(agreement, transcript, one, other):
    return prefixed(b"pair", agreement.study, agreement.roster.digest, transcript, *sorted((one[1], other[1])))


def without_ids_and_keys(agreement, transcript, _one, _other):
    return prefixed(b"pair", agreement.study, agreement.roster.digest, transcript)


# A colluder announces the key of the honest site 0: between the victim and both stands one secret, with opposite signs.


def copied(change):
    """What the victim, site 1, sends, if colluder 2 announces site 0's key, perhaps in another form."""
    openings = [site_session(AGREEMENT, i).opening for i in (0, 1)]
    key = bytearray(read_opening(openings[0], AGREEMENT).key)
    key[31] ^= change
    openings.append(forged(AGREEMENT, 2, key=bytes(key)))
    _, sites = confirmed_by_force(AGREEMENT, (0, 1), openings)
    return elements(sites[1].begin(asked(ALL)).mask(VALUES[1]))


@pytest.mark.parametrize("change", [0, TOP_BIT], ids=["same bytes", "top bit, which X25519 ignores"])
def test_a_copied_key_opens_nothing(change):
    assert not opens(copied(change), VALUES[1])


def test_a_copied_key_opens_the_victim_where_identities_are_not_derived_from(monkeypatch):
    monkeypatch.setattr(masks, "pair_info", without_ids)
    assert opens(copied(0), VALUES[1])


def test_a_key_in_another_form_opens_the_victim_too(monkeypatch):
    monkeypatch.setattr(masks, "pair_info", without_ids)
    assert not opens(copied(TOP_BIT), VALUES[1])  # the keys' bytes differ: that alone stops this form
    monkeypatch.setattr(masks, "pair_info", without_ids_and_keys)
    assert opens(copied(TOP_BIT), VALUES[1])


# The coordinator puts its own keys into honest sites' openings: a man in the middle.


def substituted():
    """What is left of site 0's vector when it believes keys of the coordinator's making to be its peers'."""
    victim = site_session(AGREEMENT, 0)
    own = {i: derived("man in the middle", i) for i in (1, 2)}
    publics = {i: X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw() for i, key in own.items()}
    openings = [victim.opening]
    for i in (1, 2):
        said = replace(read_opening(site_session(AGREEMENT, i).opening, AGREEMENT), key=publics[i])
        openings.append(messages.write_opening(said, AGREEMENT, signer_of("coordinator")))
    transcript = transcript_of(AGREEMENT, openings)
    victim.join(transcript, {})
    victim._confirmed = True  # acknowledgements are forged in the same way
    masked = victim.begin(asked(ALL)).mask(VALUES[0])
    return stripped(masked, 0, asked(ALL), transcript, [Colluder(AGREEMENT, i, own[i]) for i in (1, 2)])


def test_a_substituted_key_is_refused():
    with pytest.raises(SumRefused) as refused:
        substituted()
    assert (refused.value.fault, refused.value.site) == (Fault.BAD_SIGNATURE, 1)


def test_a_substituted_key_opens_everything_where_signatures_are_not_checked(monkeypatch):
    monkeypatch.setattr(messages, "Ed25519PublicKey", AnySignature)
    assert opens(substituted(), VALUES[0])


# One institution on two seats, or a roster that one site does not know.


def sybil():
    agreement = agreement_of(4)
    members = agreement.roster.members
    return Roster((*members[:3], replace(members[2], name="another name")), 1, 3)


def test_an_institution_has_one_seat():
    with pytest.raises(InvalidStudy, match="the same key"):
        sybil()


def test_a_second_seat_passes_where_keys_are_not_compared(monkeypatch):
    monkeypatch.setattr(roster, "set", list, raising=False)
    assert len(sybil()) == 4


def test_a_session_under_another_roster_is_refused():
    """A seat more, under a key of the coordinator's: the fingerprint that people compare differs, and so do frames."""
    mine, theirs = agreement_of(3), agreement_of(4)
    assert mine.roster.fingerprint != theirs.roster.fingerprint
    transcript = Session.opened(theirs).coordinator.transcript
    with pytest.raises(SumRefused) as refused:
        site_session(mine, 0).join(transcript, {})
    assert refused.value.fault is Fault.OTHER_ROSTER


# Openings reflected, replayed or put at another place.


@pytest.mark.parametrize("frames", [(0, 0, 2), (0, 1, 0), (0, 1, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_openings_stand_in_their_place_once(frames):
    session = Session.opened(AGREEMENT)
    made = [one.opening for one in session.sites]
    with pytest.raises(SumRefused):
        session.sites[0].join(transcript_of(AGREEMENT, [made[i] for i in frames]), {})


def test_a_doubled_member_passes_where_places_are_not_checked(monkeypatch):
    monkeypatch.setattr(site, "_require_each_once", lambda _sites: None)
    session = Session.opened(AGREEMENT)
    made = [one.opening for one in session.sites]
    assert session.sites[0].join(transcript_of(AGREEMENT, [made[0], made[1], made[1]]), {})


def test_a_reflected_key_opens_nothing():
    """The victim's own key in a colluder's opening: a secret of the victim with itself, which nobody else has."""
    openings = [site_session(AGREEMENT, i).opening for i in (0, 1)]
    victim_key = read_opening(openings[0], AGREEMENT).key
    openings.append(forged(AGREEMENT, 2, key=victim_key))
    transcript, sites = confirmed_by_force(AGREEMENT, (0, 1), openings)
    sent = [sites[i].begin(asked(ALL)).mask(VALUES[i]) for i in (0, 1)]
    colluder = [Colluder(AGREEMENT, 2)]
    left = [stripped(one, i, asked(ALL), transcript, colluder) for i, one in enumerate(sent)]
    assert not opens(left[0], VALUES[0])
    assert not opens(left[0] + left[1], VALUES[0] + VALUES[1])


def replayed(monkeypatch=None):
    """A site restored from an old copy is shown the whole session of that time, so that nobody tells it what is new."""
    old = Session.confirmed(AGREEMENT, session=1, count=10)
    transcript, confirmation = old.coordinator.transcript, old.coordinator.confirmation
    restored = site_session(AGREEMENT, 0, session=2, count=10)
    if monkeypatch:
        monkeypatch.setattr(restored, "opening", frames_of(transcript, AGREEMENT)[0])
    restored.join(transcript, {})
    restored.confirm(confirmation, own_chain(0, 10))
    return restored.begin(asked(ALL))


def test_an_old_session_is_not_this_one():
    with pytest.raises(SumRefused) as refused:
        replayed()
    assert refused.value.fault is Fault.NOT_OWN_OPENING


def test_an_old_session_passes_where_the_own_opening_is_not_looked_for(monkeypatch):
    assert replayed(monkeypatch)


# A point of low order: the secret is zero, whoever computes it.


def weak():
    """What is left of site 0's vector after taking masks off that follow from public bytes alone."""
    openings = [
        site_session(AGREEMENT, 0).opening,
        forged(AGREEMENT, 1, key=bytes(32)),
        forged(AGREEMENT, 2, key=bytes(32)),
    ]
    transcript, sites = confirmed_by_force(AGREEMENT, (0,), openings)
    vector = elements(sites[0].begin(asked(ALL)).mask(VALUES[0])).copy()
    own = read_opening(openings[0], AGREEMENT).key
    for i in (1, 2):
        info = masks.pair_info(AGREEMENT, transcript_hash(transcript), (0, own), (i, bytes(32)))
        ratchet = masks.Ratchet(masks._hkdf(info).derive(bytes(32)), AGREEMENT.releases)
        masks.add_mask(vector, ratchet.derive(b"mask", sites[0].context(asked(ALL))), negative=False)
    return vector


def test_a_zero_secret_is_refused():
    with pytest.raises(SumRefused) as refused:
        weak()
    assert refused.value.fault is Fault.WEAK_KEY


def test_a_zero_secret_opens_the_victim_where_it_is_not(monkeypatch):
    monkeypatch.setattr(masks, "pair_secret", lambda _own, _peer, info: masks._hkdf(info).derive(bytes(32)))
    assert opens(weak(), VALUES[0])


# A site is taken over, memory and all, after it has gone on to the next release.


def seized():
    """What is left of site 0's vector of release 0, with all that colluder 2 and the seized site 1 still hold."""
    session = Session.confirmed(AGREEMENT)
    transcript = session.coordinator.transcript
    before, after = asked(ALL), asked(ALL, release=1)
    sent = session.sites[0].begin(before).mask(VALUES[0])
    for one in session.sites:
        one.begin(after)
    vector = stripped(sent, 0, before, transcript, [Colluder(AGREEMENT, 2)])
    held = session.sites[1]._pairs[0]
    masks.add_mask(vector, held.derive(b"mask", session.sites[0].context(before)), negative=False)
    return vector


def test_what_a_site_holds_opens_no_earlier_release():
    assert not opens(seized(), VALUES[0])


def test_it_opens_them_where_secrets_do_not_move_forward(monkeypatch):
    monkeypatch.setattr(masks.Ratchet, "forward", lambda _self, _release: None)
    assert opens(seized(), VALUES[0])


def test_the_enemy_is_able():
    """The attacks above fail by the defence, not by a clumsy attacker: with all other sites' keys it does open one."""
    session = Session.confirmed(AGREEMENT)
    sent = session.sites[0].begin(asked(ALL)).mask(VALUES[0])
    everybody = [Colluder(AGREEMENT, i, secrets_of(i).key) for i in (1, 2)]
    assert opens(stripped(sent, 0, asked(ALL), session.coordinator.transcript, everybody), VALUES[0])
