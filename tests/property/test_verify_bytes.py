"""Whatever stands in a certificate, a study file or a receipt: it holds, or it is NotCertified, and nothing else."""

import contextlib
import json
from dataclasses import replace

import pytest
from certified_made import made, troubled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from silosynth.common.errors import NotCertified
from silosynth.common.verify import verify

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), st.sampled_from(["11" * 32, "1/400", "inf", "a", "gaussian"]), st.just(10**400),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return made(tmp_path_factory.mktemp("honest"), asked=troubled()).bundle


def places(node, path=()):
    yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*path, key))


relaxed = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@relaxed
@given(data=st.data())
def test_any_value_anywhere(bundle, data):
    content = json.loads(bundle.certificate)
    *path, last = data.draw(st.sampled_from([path for path in places(content) if path]))
    node = content
    for key in path:
        node = node[key]
    before = node[last]
    node[last] = data.draw(values)
    with contextlib.suppress(NotCertified):
        verify(replace(bundle, certificate=json.dumps(content).encode()))
        assert node[last] == before or last in ("code", "session")


@relaxed
@given(data=st.data())
def test_any_bytes_anywhere(bundle, data):
    certificate = bytearray(bundle.certificate)
    at = data.draw(st.integers(0, len(certificate) - 1))
    certificate[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(NotCertified):
        verify(replace(bundle, certificate=bytes(certificate)))


@relaxed
@given(data=st.data())
def test_any_study_file(bundle, data):
    at = data.draw(st.integers(0, len(bundle.study)))
    text = bundle.study[:at] + data.draw(st.text(max_size=4)) + bundle.study[at + data.draw(st.integers(0, 4)) :]
    with contextlib.suppress(NotCertified):
        verify(replace(bundle, study=text))
