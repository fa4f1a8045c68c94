"""A certificate that was changed is refused, with its cause."""

from copy import deepcopy
from dataclasses import replace

import pytest
from certified_made import made, troubled
from certified_spoilt import SPOILT

from silosynth.common.errors import NotCertified
from silosynth.common.study_file import write_study
from silosynth.common.verify import verify
from silosynth.common.verify_receipts import Check


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A certificate with retries and two sessions, which holds; a copy each time."""
    honest = made(tmp_path_factory.mktemp("honest"), asked=troubled())
    verify(honest.bundle)
    return lambda: deepcopy(honest)


@pytest.mark.parametrize("how", SPOILT)
def test_what_was_changed_is_named(fresh, how):
    spoil, check, cause = SPOILT[how]
    honest = fresh()
    spoil(honest)
    with pytest.raises(NotCertified, match=cause) as failed:
        verify(honest.bundle)
    assert failed.value.check == check


def test_a_study_without_sites_is_no_study(fresh):
    honest = fresh()
    nobody = replace(honest.study, roster=())
    honest.text, honest.content["study"] = write_study(nobody), nobody.digest
    with pytest.raises(NotCertified, match="never launched"):
        verify(honest.bundle)


SPOILT_BYTES = {
    "cut off": lambda text: text[:-20],
    "empty": lambda _: b"",
    "not JSON": lambda _: b"\xff\xfe",
    "a list": lambda _: b"[]",
    "no number": lambda text: text.replace(b'"delta": 1e-05', b'"delta": NaN'),
    "two epsilons": lambda text: text.replace(b'"epsilon":', b'"epsilon": {"aggregate": 0, "local": 0}, "epsilon":', 1),
    "very deep": lambda _: b"[" * 100_000,
    "very long": lambda text: text + b" " * (1 << 26),
    "a number of many digits": lambda text: text.replace(b'"accounting": 1', b'"accounting": ' + b"9" * 5000),
}


@pytest.mark.parametrize("how", SPOILT_BYTES)
def test_bytes_that_are_no_certificate_are_refused(fresh, how):
    bundle = fresh().bundle
    changed = SPOILT_BYTES[how](bundle.certificate)
    assert changed != bundle.certificate
    with pytest.raises(NotCertified) as failed:
        verify(replace(bundle, certificate=changed))
    assert failed.value.check == Check.CERTIFICATE
