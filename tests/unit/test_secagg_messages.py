"""Messages of a secure sum: golden vectors, one encoding, limits, and no reading without a signature."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from secagg_made import R32, Session, agreement_of, asked, derived, elements, head_of, secrets_of, signer_of

from silosynth.common.errors import MalformedFrame
from silosynth.common.secagg import messages
from silosynth.common.secagg.faults import Fault, SumRefused
from silosynth.common.secagg.messages import NOTHING, Acknowledgement, Head, Kind, Opening, Reply

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "secagg.json").read_text())
AGREEMENT = agreement_of(3)
OPENING = Opening(1, 7, head_of(1, 12), derived("x"), derived("nonce"), (head_of(1, 4), NOTHING, head_of(1, 11)))
ACKNOWLEDGEMENT = Acknowledgement(2, derived("T"), (head_of(0, 3), head_of(1, 12), NOTHING))
REPLY = Reply(0, derived("context"), derived("vector"))
CASES = {
    "opening": (OPENING, messages.write_opening, messages.read_opening),
    "acknowledgement": (ACKNOWLEDGEMENT, messages.write_acknowledgement, messages.read_acknowledgement),
    "reply": (REPLY, messages.write_reply, messages.read_reply),
}
each = pytest.mark.parametrize("name", CASES)


def written(name):
    message, write, _ = CASES[name]
    return write(message, AGREEMENT, signer_of(message.site))


@each
def test_golden_frames(name):
    """Format 1 never changes: these bytes were written once and must decode and encode for ever."""
    assert written(name).hex() == VECTORS[name]


def test_golden_session():
    """Every derivation, from fixed secrets to masked vectors."""
    session = Session.confirmed(AGREEMENT)
    question = asked((0, 1, 2), release=2, attempt=1, size=5)
    pads = [site.begin(question) for site in session.sites]
    masked = [pad.mask(answer) for pad, answer in zip(pads, _small(), strict=True)]
    assert AGREEMENT.roster.digest.hex() == VECTORS["roster"]
    assert messages.transcript_hash(session.coordinator.transcript).hex() == VECTORS["transcript"]
    assert pads[0].context.hex() == VECTORS["context"]
    assert pads[0].noise_key.hex() == VECTORS["noise_key"]
    assert [one.payload.hex() for one in masked] == VECTORS["payloads"]
    assert masked[0].header.hex() == VECTORS["header"]
    assert R32.decode(sum(elements(one) for one in masked)).tolist() == [15, -15, 0, 30, 3]


@each
def test_round_trips_are_exact(name):
    message, _, read = CASES[name]
    assert read(written(name), AGREEMENT) == message


@each
def test_every_truncation_and_every_extension_is_refused(name):
    frame, read = written(name), CASES[name][2]
    for wrong in (*(frame[:end] for end in range(len(frame))), frame + b"\0", frame + frame):
        with pytest.raises(MalformedFrame):
            read(wrong, AGREEMENT)


@each
def test_every_flipped_bit_is_refused(name):
    frame, read = written(name), CASES[name][2]
    for bit in range(8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedFrame, SumRefused)):
            read(bytes(changed), AGREEMENT)


@each
def test_a_frame_is_of_one_study_roster_and_member(name):
    frame, read = written(name), CASES[name][2]
    site = CASES[name][0].site
    beside = agreement_of(3, study=derived("another"))
    elsewhere = replace(AGREEMENT, roster=replace(AGREEMENT.roster, members=AGREEMENT.roster.members[::-1]))
    assert _fault(read, frame, beside) is Fault.OTHER_STUDY
    assert _fault(read, frame, elsewhere) is Fault.OTHER_ROSTER
    _, write, _ = CASES[name]
    stolen = write(replace(CASES[name][0], site=(site + 1) % 3), AGREEMENT, signer_of(site))
    assert _fault(read, stolen, AGREEMENT) is Fault.BAD_SIGNATURE
    outside = write(replace(CASES[name][0], site=3), AGREEMENT, signer_of(site))
    assert _fault(read, outside, AGREEMENT) is Fault.NOT_A_MEMBER


def test_a_signature_for_one_kind_is_none_for_another():
    """M1: even with equal lengths and a changed kind byte; and a bare signature over the frame is none."""
    frame = bytearray(written("reply"))
    frame[6] = Kind.OPENING
    padded = bytes(frame) + bytes(len(written("opening")) - len(frame))
    with pytest.raises(SumRefused, match="signature"):
        messages.read_opening(padded, AGREEMENT)
    said = written("reply")[:-64]
    assert _fault(messages.read_reply, said + signer_of(0).sign(said), AGREEMENT) is Fault.BAD_SIGNATURE


@pytest.mark.parametrize("at", [0, 4, 5, 6], ids=["magic", "format", "format", "kind"])
def test_another_magic_format_or_kind_is_refused(at):
    bundle = messages.write_bundle(Kind.TRANSCRIPT, [written("opening")] * 3, AGREEMENT)
    for frame, read in (
        *((written(name), CASES[name][2]) for name in CASES),
        (bundle, lambda changed, agreement: messages.read_bundle(Kind.TRANSCRIPT, changed, agreement)),
    ):
        changed = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        with pytest.raises(MalformedFrame, match="format and kind"):
            read(changed, AGREEMENT)


@pytest.mark.parametrize("change", [{"session": -1}, {"session": 2**64}, {"site": -1}, {"site": 2**16}, {"key": b""}])
@pytest.mark.parametrize("head", [OPENING.head, Head(-1, bytes(32)), Head(2**63, bytes(32)), Head(1, bytes(31))])
def test_what_is_out_of_range_is_not_sent(change, head):
    with pytest.raises(MalformedFrame):
        messages.write_opening(replace(OPENING, head=head, **change), AGREEMENT, signer_of(1))


def test_openings_and_acknowledgements_speak_of_every_member():
    for heads in (ACKNOWLEDGEMENT.heads[:2], (*ACKNOWLEDGEMENT.heads, NOTHING)):
        with pytest.raises(MalformedFrame, match="every member"):
            messages.write_acknowledgement(replace(ACKNOWLEDGEMENT, heads=heads), AGREEMENT, signer_of(2))
        with pytest.raises(MalformedFrame, match="every member"):
            messages.write_opening(replace(OPENING, named=heads), AGREEMENT, signer_of(1))


def test_a_count_that_no_database_holds_is_read_from_nobody(monkeypatch):
    """It would stop whoever keeps it, or looks for it, in the middle of a step."""
    monkeypatch.setattr(messages, "_LAST_COUNT", 2**64)
    most = Head(2**63, bytes(32))
    frames = [
        messages.write_opening(replace(OPENING, head=most), AGREEMENT, signer_of(1)),
        messages.write_opening(replace(OPENING, named=(most, NOTHING, NOTHING)), AGREEMENT, signer_of(1)),
        messages.write_acknowledgement(replace(ACKNOWLEDGEMENT, heads=(most,) * 3), AGREEMENT, signer_of(2)),
    ]
    monkeypatch.undo()
    reads = (messages.read_opening, messages.read_opening, messages.read_acknowledgement)
    for frame, read in zip(frames, reads, strict=True):
        with pytest.raises(MalformedFrame, match="so many entries"):
            read(frame, AGREEMENT)


def test_bundles_hold_one_frame_of_every_member():
    frames = [written("opening")] * 3
    bundle = messages.write_bundle(Kind.TRANSCRIPT, frames, AGREEMENT)
    assert messages.read_bundle(Kind.TRANSCRIPT, bundle, AGREEMENT) == tuple(frames)
    for wrong in (frames[:2], [*frames, frames[0]], [*frames[:2], frames[0][:-1]]):
        with pytest.raises(MalformedFrame, match="one frame of every member"):
            messages.write_bundle(Kind.TRANSCRIPT, wrong, AGREEMENT)


def test_bundles_are_as_long_as_they_say():
    bundle = messages.write_bundle(Kind.TRANSCRIPT, [written("opening")] * 3, AGREEMENT)
    for wrong in (b"", bundle[:10], bundle[:-1], bundle + b"\0"):
        with pytest.raises(MalformedFrame):
            messages.read_bundle(Kind.TRANSCRIPT, wrong, AGREEMENT)
    for count in (0, 2, 4, 65535):
        changed = bundle[:71] + struct.pack("<H", count) + bundle[73:]
        assert _fault(messages.read_bundle, Kind.TRANSCRIPT, changed, AGREEMENT) is Fault.INCOMPLETE
    with pytest.raises(MalformedFrame):
        messages.read_bundle(Kind.CONFIRMATION, bundle, AGREEMENT)
    other = agreement_of(3, study=derived("another"))
    assert _fault(messages.read_bundle, Kind.TRANSCRIPT, bundle, other) is Fault.OTHER_STUDY


def test_secrets_are_not_shown():
    assert secrets_of(0).key.hex() not in repr(secrets_of(0))
    assert repr(secrets_of(0).key) not in repr(secrets_of(0))
    assert repr(secrets_of(0).noise) not in repr(secrets_of(0))


def _small():
    return [np.array([5, -5, i - 1, 10, 1]) for i in range(3)]


def _fault(read, *given):
    with pytest.raises(SumRefused) as refused:
        read(*given)
    return refused.value.fault
