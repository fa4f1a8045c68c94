"""What a site sends looks uniform whatever it hides, and so does every sum that lacks an honest member.

Chi-square of 10^6 bytes against the uniform law: 255 degrees of freedom exceed 400 with probability 1.3e-8, so of the
40 statistics here one does by chance with probability below 1e-6 over random keys (these are fixed: it does or not).
"""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from secagg_enemy import Colluder, stripped
from secagg_made import R32, R64, Session, agreement_of, asked, elements

from silosynth.common.secagg import masks

AGREEMENT = agreement_of(4)
ALL = (0, 1, 2, 3)
BAR = 400.0
RINGS = {32: R32, 64: R64}
HIDDEN = {
    "nothing": lambda size: np.zeros(size, dtype=np.int64),
    "the largest": lambda size: np.full(size, 2**31 - 1),
    "a ramp": lambda size: np.arange(size, dtype=np.int64),
}


def chi_square(vector):
    seen = np.bincount(np.frombuffer(vector.tobytes(), dtype=np.uint8), minlength=256)
    return float(((seen - seen.mean()) ** 2 / seen.mean()).sum())


def sent(ring, values, release=0):
    """What the sites send, and the vectors that are left when the colluder, site 3, has taken its masks off."""
    size = 10**6 // ring.itemsize
    session = Session.confirmed(AGREEMENT)
    question = asked(ALL, ring=ring, size=size, release=release)
    masked = [one.begin(question).mask(values(size)) for one in session.sites[:3]]
    transcript, colluder = session.coordinator.transcript, [Colluder(AGREEMENT, 3)]
    left = [stripped(one, i, question, transcript, colluder) for i, one in enumerate(masked)]
    return [elements(one, ring) for one in masked], left


def test_the_bar_is_rare():
    assert stats.chi2.sf(BAR, 255) * 40 < 1e-5


@pytest.mark.parametrize("bits", RINGS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_masked_vector_is_uniform(hidden, bits):
    whole, left = sent(RINGS[bits], HIDDEN[hidden])
    for vector in (*whole, *left):
        assert chi_square(vector) < BAR
    for some in combinations(left, 2):  # two honest sites of three
        assert chi_square(sum(some)) < BAR
    assert chi_square(sum(left)) > 10 * BAR  # all of them: the total, which is what it is for


def test_the_test_sees_a_vector_that_is_masked_in_part(monkeypatch):
    full = masks.add_mask
    monkeypatch.setattr(
        masks, "add_mask", lambda vector, key, negative: full(vector[: -vector.size // 50], key, negative=negative)
    )
    whole, _ = sent(R32, HIDDEN["nothing"])
    assert chi_square(whole[0]) > BAR


def test_a_masked_vector_does_not_depend_on_what_it_hides():
    """Bits of the hidden value against bits sent, 10^6 / 4 elements: a correlation has |z| < 5.5 but for 4e-8 each."""
    rng = np.random.default_rng(0)
    size = 10**6 // 4
    hidden = rng.integers(-(2**31), 2**31, size)
    whole, left = sent(R32, lambda size: hidden[:size])
    for vector in (*whole, *left):
        for bit in (0, 7, 15, 31):
            one, other = ((value >> bit & 1).astype(bool) for value in (hidden, vector.astype(np.int64)))
            agree = np.count_nonzero(one == other)
            assert abs(agree - size / 2) / np.sqrt(size / 4) < 5.5


def test_two_rounds_are_as_if_independent():
    whole, left = sent(R32, HIDDEN["a ramp"])
    later, after = sent(R32, HIDDEN["a ramp"], release=1)
    for one, other in zip((*whole, *left), (*later, *after), strict=True):
        assert chi_square(one - other) < BAR
