"""The artefact: the same rows after a round trip, and clear words for anything that is not one."""

import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from engine_fixtures import SCHEMA, rows, shards, study, total

from silosynth.client.engines import ENGINES as SITE_HALVES
from silosynth.common.engines.layouts import Pairs
from silosynth.common.engines.tilt import BinsAndPairs, Tilt
from silosynth.common.errors import MalformedFrame
from silosynth.common.generator import BLOCK_ROWS, load, sample_blocks, save
from silosynth.server.engines import ENGINES as COORDINATOR_HALVES

HEADER = {"epsilon": {"aggregate": 1.0}, "note": "žluťoučký"}


@pytest.fixture(scope="module")
def made():
    of = study(math.inf, steps=30)
    site, half, units = SITE_HALVES[of.engine](of), COORDINATOR_HALVES[of.engine](of, 0), shards(rows(900))
    state = half.start()
    while (task := half.next(state)) is not None:
        state = half.absorb(state, task, total(of, site, task, units))
    generator = half.finish(state)
    cells = len(generator.shifts) + int(Pairs(generator.coarsening).offsets[-1])
    # whether so few rows allow a tilt is the engine's to say: here there is one
    return of, replace(
        generator, tilt=Tilt(BinsAndPairs(generator.coarsening), np.random.default_rng(0).normal(0, 0.1, cells))
    )


def test_a_generator_comes_back_and_samples_the_same_rows(made):
    of, generator = made
    artefact = load(save(generator, of, HEADER))
    assert (artefact.schema, artefact.study, artefact.study_digest) == (SCHEMA, of, of.digest)
    assert artefact.header == HEADER
    one, other = (g.sample(5000, np.random.default_rng(1)) for g in (generator, artefact.generator))
    assert np.array_equal(one, other)
    assert save(artefact.generator, artefact.study, HEADER) == save(generator, of, HEADER)


def test_a_generator_without_a_tilt_comes_back_without(made):
    of, generator = made
    assert generator.tilt is not None
    plain = load(save(replace(generator, tilt=None), of, {})).generator
    assert plain.tilt is None
    assert plain.sample(10, np.random.default_rng(0)).shape == (10, 4)


def test_codes_are_cells_of_the_schema(made):
    _, generator = made
    codes = generator.sample(20_000, np.random.default_rng(2))
    assert codes.dtype == np.int32
    assert codes.shape == (20_000, 4)
    assert (codes >= 0).all()
    assert (codes < np.array(SCHEMA.sizes)).all()
    assert generator.sample(0, np.random.default_rng(2)).shape == (0, 4)
    assert generator.sample(1, np.random.default_rng(2)).shape == (1, 4)


def test_blocks_depend_on_seed_and_place_only(made):
    _, generator = made
    long, short = (list(sample_blocks(generator, n, 7)) for n in (BLOCK_ROWS + 10, BLOCK_ROWS))
    assert [len(block) for block in long] == [BLOCK_ROWS, 10]
    assert np.array_equal(long[0], short[0])
    assert not np.array_equal(long[0], next(sample_blocks(generator, BLOCK_ROWS, 8)))


def told(content):
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["silosynth"])


def with_metadata(content, **changes):
    metadata = {"silosynth": json.dumps(told(content) | changes)}
    return safetensors.numpy.save(safetensors.numpy.load(content), metadata=metadata)


def with_array(content, name, change):
    arrays = dict(safetensors.numpy.load(content))
    arrays[name] = change(arrays[name])
    return safetensors.numpy.save(arrays, metadata={"silosynth": json.dumps(told(content))})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: b"",
        lambda c: c[:7],
        lambda c: b"\xff" * 64,
        lambda c: struct.pack("<Q", 1 << 62) + c[8:],
        lambda c: c[:-1],
        lambda c: c[: len(c) // 2],
        lambda c: struct.pack("<Q", 2) + b"[]",
        lambda c: struct.pack("<Q", 1 << 20) + b"[" * (1 << 20),
        lambda c: with_metadata(c, format=2),
        lambda c: with_metadata(c, format="1"),
        lambda c: with_metadata(c, digest="0" * 64),
        lambda c: with_metadata(c, engine="gan"),
        lambda c: with_metadata(c, study="[study]"),
        lambda c: with_metadata(c, study=7),
        lambda c: with_metadata(c, header=[]),
        lambda c: safetensors.numpy.save(safetensors.numpy.load(c)),
        lambda c: safetensors.numpy.save(safetensors.numpy.load(c), metadata={"silosynth": "7"}),
        lambda c: with_array(c, "maps", lambda a: a + 1),
        lambda c: with_array(c, "maps", lambda a: a[:-1]),
        lambda c: with_array(c, "maps", lambda a: a.astype(np.int32)),
        lambda c: with_array(c, "weights", lambda a: a[:-1]),
        lambda c: with_array(c, "weights", lambda a: a * np.float32(np.nan)),
        lambda c: with_array(c, "shifts", lambda a: a[:-1]),
        lambda c: with_array(c, "within", lambda a: -a),
        lambda c: with_array(c, "tilt", lambda a: a[:-1]),
        lambda c: with_array(c, "tilt", lambda a: a.reshape(1, -1)),
    ],
)
def test_what_is_not_a_generator_is_refused_in_words(made, spoil):
    of, generator = made
    with pytest.raises(MalformedFrame, match=r"generator|coarsening|bins"):
        load(spoil(save(generator, of, HEADER)))
