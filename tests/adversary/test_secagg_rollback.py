"""A site's ledger restored from an old copy between sessions: its peers say so, if all of them must be asked.

The story of the review: in session 1 the site publishes a newer head, which colluders and one honest peer acknowledge.
It is restored. In session 2 colluders and *another* honest peer acknowledge. c + 1 acknowledgements are there each
time, and no honest peer that was asked knows anything.
"""

import pytest
from secagg_made import agreement_of, asked, head_of, own_chain, signer_of, site_session, transcript_of

from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg import messages, site
from silosynth.common.secagg.faults import Fault, Locked, SumRefused
from silosynth.common.secagg.messages import Kind

AGREEMENT = agreement_of(4)
VICTIM, ASKED_FIRST, ASKED_LATER, COLLUDER = range(4)
OLD, NEW = 10, 60
"""Entries in the victim's ledger: in the copy, and when it was lost."""


def session(number, count, memory):
    """Openings, transcript, and what each site acknowledges from what it remembers, which it then updates."""
    sites = [site_session(AGREEMENT, i, session=number, count=count if i == VICTIM else 5) for i in range(4)]
    transcript = transcript_of(AGREEMENT, [one.opening for one in sites])
    said = []
    for i, one in enumerate(sites):
        joined = one.join(transcript, memory[i])
        said.append(joined.acknowledgement)
        if i != COLLUDER:
            memory[i] = dict(joined.heads)
    return sites, said


def rolled_back(choose):
    """The victim's pad in the session after its restoration; `choose` bundles what the coordinator passes on."""
    memory = [{} for _ in range(4)]
    _, before = session(1, NEW, memory)
    assert before
    memory[ASKED_LATER] = {}  # it took no part in session 1: it knows nothing
    memory[VICTIM] = {}  # nor does who was restored
    sites, said = session(2, OLD, memory)
    sites[VICTIM].confirm(choose(said), own_chain(VICTIM, OLD))
    return sites[VICTIM].begin(asked((0, 1, 2, 3)))


def everybody(said):
    return messages.write_bundle(Kind.CONFIRMATION, said, AGREEMENT)


def test_a_restored_site_locks_when_everybody_is_asked():
    with pytest.raises(Locked) as locked:
        rolled_back(everybody)
    assert (locked.value.fault, locked.value.site) == (Fault.ROLLED_BACK, ASKED_FIRST)


def some(said):
    """Acknowledgements of c + 1 others, and the own one, in a bundle of a length of their own."""
    chosen = [said[VICTIM], said[ASKED_LATER], said[COLLUDER]]
    top = everybody(said)[: messages._TOP.size]
    return top[:-2] + len(chosen).to_bytes(2, "little") + b"".join(chosen)


def test_acknowledgements_of_c_plus_1_sites_are_refused():
    with pytest.raises(SumRefused) as refused:
        rolled_back(some)
    assert refused.value.fault is Fault.INCOMPLETE


def test_the_newer_head_stays_unseen_where_c_plus_1_would_do(monkeypatch):
    def split(kind, bundle, agreement):
        size = messages._size(messages._BUNDLED[kind], agreement)
        return tuple(bundle[at : at + size] for at in range(messages._TOP.size, len(bundle), size))

    monkeypatch.setattr(site, "read_bundle", split)
    monkeypatch.setattr(site, "_require_each_once", lambda _sites: None)
    assert rolled_back(some)  # it answers, and everything charged since the copy is forgotten


def doubled(said):
    """As many frames as members, but one member twice and the one who knows not at all."""
    return everybody([said[VICTIM], said[ASKED_LATER], said[ASKED_LATER], said[COLLUDER]])


def test_one_acknowledgement_does_not_count_twice():
    with pytest.raises(SumRefused) as refused:
        rolled_back(doubled)
    assert refused.value.fault is Fault.INCOMPLETE


def test_an_acknowledgement_is_signed_by_who_gives_it():
    def rewritten(said):
        honest = messages.read_acknowledgement(said[ASKED_FIRST], AGREEMENT)
        blank = messages.Acknowledgement(ASKED_FIRST, honest.transcript, (messages.NOTHING,) * 4)
        return everybody([*said[:1], messages.write_acknowledgement(blank, AGREEMENT, signer_of(COLLUDER)), *said[2:]])

    with pytest.raises(SumRefused) as refused:
        rolled_back(rewritten)
    assert (refused.value.fault, refused.value.site) == (Fault.BAD_SIGNATURE, ASKED_FIRST)


def test_acknowledgements_of_the_last_session_are_not_of_this_one():
    """The coordinator keeps what was said when nobody knew anything, and shows it again."""
    memory = [{} for _ in range(4)]
    _, blank = session(1, NEW, memory)
    sites, _ = session(2, OLD, memory)
    with pytest.raises(SumRefused) as refused:
        sites[VICTIM].confirm(everybody(blank), own_chain(VICTIM, OLD))
    assert refused.value.fault is Fault.OTHER_TRANSCRIPT


def test_a_site_that_went_on_after_restoration_is_found_by_its_chain():
    """Restored at 10, it wrote 55 other entries: a counter would see 65 > 60. The entry 60 of old is not among them."""
    memory = [{} for _ in range(4)]
    session(1, NEW, memory)
    sites, said = session(2, 65, memory)
    fork = lambda head: head.count <= OLD and head == head_of(VICTIM, head.count)  # noqa: E731
    with pytest.raises(Locked):
        sites[VICTIM].confirm(everybody(said), fork)


def test_a_transcript_is_no_confirmation():
    sites, _ = session(1, NEW, [{} for _ in range(4)])
    with pytest.raises(MalformedFrame):
        sites[VICTIM].confirm(transcript_of(AGREEMENT, [one.opening for one in sites]), own_chain(VICTIM, NEW))
