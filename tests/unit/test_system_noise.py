"""The source of noise: keyed by the operating system, its own for every question, the same for the same one."""

import copy

import numpy as np
import pytest

from silosynth.client.mechanism import SystemNoise

ZEROS = np.zeros(1000, dtype=np.int64)


def test_repeats_itself_for_the_same_question_and_never_else():
    noise, variance = SystemNoise(), 10**6
    first = noise.add(ZEROS, variance, b"a")
    assert (noise.add(ZEROS, variance, b"a") == first).all()
    other_value = ZEROS.copy()
    other_value[999] = 1
    for other in (
        noise.add(ZEROS, variance, b"b"),
        noise.add(other_value, variance, b"a") - other_value,
        noise.add(ZEROS, variance + 1, b"a"),
        SystemNoise().add(ZEROS, variance, b"a"),
    ):
        assert (other == first).mean() < 0.05


def test_puts_rows_elsewhere_in_every_context():
    noise = SystemNoise()
    keys = {noise.slots(b"a").bytes(32), noise.slots(b"b").bytes(32), SystemNoise().slots(b"a").bytes(32)}
    assert len(keys) == 3
    assert noise.slots(b"a").bytes(32) in keys


def test_parts_of_a_question_cannot_be_shifted_into_each_other():
    noise = SystemNoise()
    assert noise._stream(b"noise", b"ab", b"c").bytes(32) != noise._stream(b"noise", b"a", b"bc").bytes(32)


def test_takes_no_seed_and_is_not_copied():
    with pytest.raises(TypeError):
        SystemNoise(bytes(32))
    for copied in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither copied nor stored"):
            copied(SystemNoise())
    with pytest.raises(AttributeError):
        SystemNoise().key = bytes(32)
