"""The lab's instruments, each with a positive control: what must be found is found, what is not there is not."""

import hashlib
import struct

import numpy as np
import pytest

from lab import evidence
from lab.accounts import Answer, account, torn, unlisted, unsent
from lab.canaries import search
from lab.evidence import Heard
from lab.packets import RST, SYN, TCP, Packet, Tape, played, reset_of
from lab.streams import Spoken, conversations, requests
from silosynth.common import wire
from silosynth.common.secagg.messages import Masked

STUDY = "ab" * 32
SITE, HUB = "10.77.1.1", "10.77.0.1"


def tcp(payload, sequence, *, flags=0x18, back=False):
    """A packet from the site to the hub, or back."""
    ports = (443, 5000) if back else (5000, 443)
    segment = struct.pack(">HHIIBBHHH", *ports, sequence % 2**32, 0, 5 << 4, flags, 0, 0, 0) + payload
    ends = [bytes(map(int, address.split("."))) for address in ((HUB, SITE) if back else (SITE, HUB))]
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, TCP, 0, *ends) + segment


def taped(path, *packets):
    with Tape(path) as tape:
        for packet in packets:
            tape.add(packet)
    return path


def test_a_stream_is_joined_whatever_the_order_and_repeats_of_its_packets(tmp_path):
    start = 2**32 - 3  # the numbers wrap
    packets = [tcp(b"", start, flags=SYN), tcp(b"", 99, flags=SYN | 0x10, back=True), tcp(b"cdef", start + 3)]
    packets += [tcp(b"yes", 100, back=True), tcp(b"ab", start + 1), tcp(b"ab", start + 1), tcp(b"efgh", start + 5)]
    packets += [tcp(b"lost before this", start + 50)]
    path = taped(tmp_path / "t.pcap", *packets)
    assert list(played(path)) == packets
    (talk,) = conversations(path, SITE)
    assert (talk.said(), talk.answered()) == (b"abcdefgh", b"yes")


def test_a_port_used_again_is_another_conversation(tmp_path):
    both = [tcp(b"", 1, flags=SYN), tcp(b"one", 2), tcp(b"", 900, flags=SYN), tcp(b"two", 901)]
    found = conversations(taped(tmp_path / "t.pcap", *both), SITE)
    assert [talk.said() for talk in found] == [b"one", b"two"]


def test_a_reset_answers_the_packet_it_ends():
    asked = Packet.read(tcp(b"", 41, flags=SYN))
    reset = Packet.read(reset_of(asked))
    assert (reset.source, reset.sport, reset.target, reset.dport) == (HUB, 443, SITE, 5000)
    assert reset.flags & RST
    assert struct.unpack_from(">I", reset.content, 28) == (42,)  # acknowledges the greeting
    halves = struct.unpack(">10H", reset.content[:20])
    assert sum(halves) % 0xFFFF == 0  # RFC 1071: a header with its checksum sums to nothing


def test_requests_are_told_apart_by_their_lengths():
    one = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nGET "
    two = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    found = list(requests(one + two + one[:-2]))
    assert [(spoken.path, spoken.body) for spoken in found] == [("/a", b"GET "), ("/b", b""), ("/a", b"GE")]
    assert [spoken.cut for spoken in found] == [False, False, True]
    assert [spoken.cut for spoken in requests(two + one[:20])] == [False, True]
    assert sum(len(spoken.head) + len(spoken.body) for spoken in found) == len(one + two + one[:-2])
    with pytest.raises(ValueError, match="not HTTP"):
        list(requests(b"\x16\x03\x01 something else\r\n\r\n"))


VALUES = [37.1234 + n / 64 for n in range(20)]


@pytest.mark.parametrize(
    ("form", "leak"),
    [
        ("float64, little end first", np.asarray(VALUES, "<f8").tobytes()),
        ("float64, big end first", np.asarray(VALUES, ">f8").tobytes()),
        ("float32, little end first", np.asarray(VALUES, "<f4").tobytes()),
        ("float32, big end first", np.asarray(VALUES, ">f4").tobytes()),
        ("text", ",".join(map(repr, VALUES)).encode()),
    ],
)
def test_a_planted_leak_is_found_in_every_form(form, leak):
    noise = np.random.default_rng(1).bytes(100_000)
    found = search([noise, noise[:501] + leak + noise], VALUES)
    assert {one.form for one in found} == {form}
    assert {one.value for one in found} == set(VALUES)


def test_one_value_of_64_bits_is_enough_and_noise_is_not():
    noise = np.random.default_rng(2).bytes(4_000_000)
    assert not search([noise], VALUES)
    assert search([noise, struct.pack("<d", VALUES[3])], VALUES)
    assert not search([struct.pack("<f", VALUES[3])], VALUES)  # by chance, once in a while
    assert search([b"..Elisabeth.."], ["Elisabeth"])


def masked(release, payload):
    reply = wire.Reply(STUDY, release, 0, bytes(16), None, None, "receipt", Masked(b"header", payload))
    return wire.encode_reply(reply)


def listed(release, payload):
    return Answer(STUDY, release, 0, hashlib.sha256(payload).hexdigest(), len(payload))


def test_every_byte_is_accounted_for_and_what_the_outbox_does_not_list_is_named():
    plain = wire.encode_reply(wire.Reply(STUDY, 0, 0, bytes(16), np.arange(5), None, "receipt"))
    refusal = wire.encode_reply(wire.Reply(STUDY, 2, 0, bytes(16), None, "over-budget", ""))
    session = wire.encode_session_reply(wire.SessionReply(STUDY, wire.Phase.OPEN, bytes(16), b"opening"))
    bodies = [b"..." + plain + b"..", masked(1, b"x" * 64), b"", session, refusal + masked(1, b"x" * 64)]
    said = [Spoken("POST", "/push", b"head", body) for body in bodies]
    found = account(said)
    assert found.octets == sum(len(one.head) + len(one.body) for one in said)
    assert (found.payload_octets, found.framing_octets) == (40 + 2 * 70, 5 * 4 + 5)
    assert (found.refusals["over-budget"], found.sessions) == (1, 1)
    outbox = [listed(0, np.arange(5).tobytes()), listed(1, b"header" + b"x" * 64)]
    assert (unlisted(found, outbox), unsent(found, outbox)) == ((), ())
    assert unlisted(found, outbox[1:]) == (outbox[0],)  # positive control
    late = listed(3, b"")
    assert unsent(found, [*outbox, late]) == (late,)


def test_a_frame_that_cannot_be_read_is_an_error_not_framing():
    with pytest.raises(ValueError, match="no reply left"):
        account([Spoken("POST", "/push", b"", masked(1, b"x" * 64)[:-1])])
    request = bytearray(masked(1, b"x" * 64))
    request[6] = 1
    with pytest.raises(ValueError, match="no reply left"):
        account([Spoken("POST", "/push", b"", bytes(request))])


def request(body):
    return b"POST /push HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def resent(frame):
    return frame[:47] + b"n" * 16 + frame[63:]  # a repetition repeats all but the nonce


def test_a_frame_that_was_cut_is_accounted_for_wherever_it_was_cut():
    outbox = [listed(1, b"header" + b"x" * 640)]
    whole = masked(1, b"x" * 640)
    session = wire.encode_session_reply(wire.SessionReply(STUDY, wire.Phase.OPEN, bytes(16), b"opening"))
    for frame in (whole, session):
        for length in range(4, len(frame)):
            said = [Spoken("POST", "/push", b"head", b".." + frame[:length], cut=True)]
            found = account(said)
            assert found.cut == [frame[:length]]
            assert found.octets == 4 + 2 + length
            assert torn(found, outbox) == ()
    assert account([Spoken("POST", "/push", b"", whole[:-1] + b"x", cut=True)]).cut == []  # whole, and nothing after it
    for killed, holds in ((True, True), (False, False)):
        heard = Heard((request(whole), request(resent(whole))[:-9]), 10_000)
        checks = list(evidence.accounted("north", heard, outbox, killed=killed))
        assert [check.holds for check in checks] == [True, holds, True, True]


def test_what_is_cut_must_be_of_an_answer_that_left_or_is_listed():
    whole = masked(1, b"x" * 640)
    other = whole[:-40] + b"y" * 20
    cut = [Spoken("POST", "/push", b"", whole), Spoken("POST", "/push", b"", resent(whole)[:-3], cut=True)]
    assert torn(account(cut), []) == ()  # it is the beginning of what left whole
    cut[1] = Spoken("POST", "/push", b"", other, cut=True)
    assert torn(account(cut), []) == (other,)  # it is not: no more is known of it
    assert torn(account(cut), [listed(1, b"x" * 640)]) == ()
    assert torn(account(cut), [listed(1, b"x" * 64)]) == (other,)  # longer than what is listed
    assert torn(account(cut), [listed(2, b"x" * 640)]) == (other,)


def test_certificates_are_compared_without_what_is_a_run_s_own():
    rounds = [{"release": 0, "count": 2, "attempt": 0, "sites": [0, 1, 2], "session": "ab"}]
    paper = {"study": "s", "epsilon": {"local": 1.0}, "rounds": rounds, "receipts": {"North": {}}}
    other = {**paper, "study": "t", "rounds": [{**rounds[0], "session": "cd"}], "receipts": {}}
    assert evidence.same_certificate(paper, other).holds
    assert not evidence.same_certificate(paper, {**other, "rounds": [{**rounds[0], "attempt": 1}]}).holds
    assert not evidence.same_certificate(paper, {**other, "epsilon": {"local": 2.0}}).holds
    assert not evidence.same_certificate(paper, {**other, "more": 1}).holds
