"""Any receipt survives its bytes; no bytes do harm."""

import contextlib
import json
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from silosynth.common.errors import MalformedFrame
from silosynth.common.privacy import Certified, Composed, Gaussian, NoPrivacy, Repeated, Sampled
from silosynth.common.receipt import Charges, Cost, Receipt, Run, pack, read, sign, unpack, verified
from silosynth.common.secagg.messages import Head

digests = st.binary(min_size=32, max_size=32)
ratios = st.fractions(min_value=0, max_value=10**6)
positive = st.fractions(min_value=Fraction(1, 10**6), max_value=10**6)
gaussians = st.builds(Gaussian, positive, st.integers(1, 300))
rates = st.fractions(min_value=Fraction(1, 1000), max_value=1)
samples = st.builds(Sampled, rates, st.builds(Gaussian, positive, st.just(1)))
events = st.recursive(
    st.one_of(gaussians, samples, st.builds(NoPrivacy)),
    lambda inner: st.one_of(
        st.builds(Repeated, st.integers(1, 10**6), inner),
        st.builds(Composed, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Certified, inner, positive),
    ),
    max_leaves=4,
)
costs = st.builds(Cost, ratios, ratios)
runs = st.builds(Run, st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 99), events)
charges = st.builds(
    Charges, digests.map(bytes.hex), st.booleans(), costs, st.lists(runs, max_size=4).map(tuple),
    st.lists(costs, max_size=3).map(tuple), costs,
)  # fmt: skip
receipts = st.builds(Receipt, st.text(max_size=30), st.builds(Head, st.integers(1, 2**63), digests), charges)
numbers = st.one_of(st.booleans(), st.none(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.none()))


@settings(deadline=None)
@given(receipts)
def test_receipts_round_trip(receipt):
    signed = sign(receipt, None)
    assert verified(unpack(pack(signed)), "") == receipt


@settings(deadline=None, max_examples=300)
@given(receipts, st.data())
def test_a_changed_receipt_is_refused_or_says_something_else(receipt, data):
    raw = json.loads(sign(receipt, None).body)
    name = data.draw(st.sampled_from(sorted(raw)))
    raw[name] = data.draw(numbers)
    body = json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()
    with contextlib.suppress(MalformedFrame):
        assert sign(read(body), None).body == body


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_no_bytes_do_harm(frame):
    with contextlib.suppress(MalformedFrame):
        read(unpack(frame).body)
    with contextlib.suppress(MalformedFrame):
        read(frame)
