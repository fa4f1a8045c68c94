"""The artefact of a study: its generator, and what is needed to use and to trust it, in one safetensors file.

The file's own header carries a format number, the whole study as text, its digest, the engine's name and what the
publisher adds (the certificate); all under one key, so that equal artefacts are equal bytes. Nothing in it is executed,
and nothing is allocated before its size was compared with `Limits`: a generator may come from anybody.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from silosynth.common.arrays import Codes
from silosynth.common.engine import Generator
from silosynth.common.engines import gan_generator, marginals_generator, mixture, sampling
from silosynth.common.engines.autoregressive import learns_at_sites
from silosynth.common.engines.gan import learns_for_each_site
from silosynth.common.errors import InvalidStudy, MalformedFrame, NotPossible
from silosynth.common.schema import Schema
from silosynth.common.study import Study
from silosynth.common.study_file import read_study, write_study

FORMAT: Final = 1
BLOCK_ROWS: Final = 16_384
"""Rows of one block of `sample_blocks`."""

_KEY: Final = "silosynth"
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True)
class Limits:
    """The most a file may hold."""

    file_bytes: int = 1 << 30
    header_bytes: int = 1 << 22
    tensors: int = 4096


LIMITS: Final = Limits()


@dataclass(frozen=True)
class Artefact:
    """A generator with the study that made it. `header` is what its publisher added: read it as a claim, not a fact."""

    study: Study
    header: Mapping[str, Any]
    generator: Generator

    @property
    def schema(self) -> Schema:
        """What the generator's codes mean."""
        return self.study.schema

    @property
    def study_digest(self) -> str:
        """Identity of the study, verified against its text."""
        return self.study.digest


class _Format(NamedTuple):
    """How an engine's generator becomes named arrays and back. `thaw` raises MalformedFrame where they do not fit."""

    freeze: Callable[[Any], Mapping[str, NDArray[Any]]]
    thaw: Callable[[Study, Mapping[str, NDArray[Any]]], Generator]


_FORMATS: Final[Mapping[str, _Format]] = {
    "autoregressive": _Format(sampling.freeze, sampling.thaw),
    "gan": _Format(gan_generator.freeze, gan_generator.thaw),
    "marginals": _Format(marginals_generator.freeze, marginals_generator.thaw),
}
_MIXED: Final[Mapping[str, Callable[[Study], bool]]] = {
    "autoregressive": learns_at_sites,
    "gan": learns_for_each_site,
    "marginals": lambda _study: False,
}
"""Whether an engine makes a generator for each site, and of them a mixture."""


def _format(study: Study) -> _Format:
    one = _FORMATS[study.engine]
    if not _MIXED[study.engine](study):
        return one
    return _Format(
        lambda mixed: mixture.freeze(mixed, one.freeze),
        lambda study, arrays: mixture.thaw(arrays, len(study.roster), lambda part: one.thaw(study, part)),
    )


def save(generator: Generator, study: Study, header: Mapping[str, Any]) -> bytes:
    """The file. `header` must be JSON."""
    arrays = dict(_format(study).freeze(generator))
    told = {
        "format": FORMAT,
        "engine": study.engine,
        "study": write_study(study),
        "digest": study.digest,
        "header": header,
    }
    content: bytes = safetensors.numpy.save(arrays, metadata={_KEY: json.dumps(told, sort_keys=True)})
    return content


def load(content: bytes) -> Artefact:
    """The artefact in a file. Raises MalformedFrame where it is none, or none of this version."""
    told = _told(content)
    if told.get("format") != FORMAT:
        raise MalformedFrame("a generator file of another version")
    try:
        study = read_study(str(told["study"]), source="the generator's study")
        header = told["header"]
        arrays = safetensors.numpy.load(content)
    except (KeyError, InvalidStudy, NotPossible, SafetensorError) as error:
        raise MalformedFrame(f"a generator file that cannot be read: {error}") from error
    if study.digest != told.get("digest") or study.engine != told.get("engine") or not isinstance(header, dict):
        raise MalformedFrame("a generator file whose parts contradict each other")
    return Artefact(study, header, _format(study).thaw(study, arrays))


def sample_blocks(generator: Generator, rows: int, seed: int) -> Iterator[Codes]:
    """Fine cells of `rows` rows, in blocks of at most BLOCK_ROWS; block i depends on seed and i only.

    So blocks may be made in any order, on any machine, and a longer table begins with a shorter one's whole blocks.
    """
    for block, begin in enumerate(range(0, rows, BLOCK_ROWS)):
        yield generator.sample(min(BLOCK_ROWS, rows - begin), np.random.default_rng([seed, block]))


def _told(content: bytes) -> Mapping[str, Any]:
    """What the file says about itself; sizes are checked before anything is parsed."""
    if not _LENGTH.size <= len(content) <= LIMITS.file_bytes:
        raise MalformedFrame("not a generator file, or larger than one may be")
    (length,) = _LENGTH.unpack_from(content)
    if length > min(LIMITS.header_bytes, len(content) - _LENGTH.size):
        raise MalformedFrame("not a generator file, or with a header larger than one may be")
    try:
        tensors = json.loads(content[_LENGTH.size : _LENGTH.size + length])
        told = json.loads(tensors["__metadata__"][_KEY])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedFrame("not a generator file") from error
    if not isinstance(told, dict) or len(tensors) > LIMITS.tensors + 1:
        raise MalformedFrame("not a generator file")
    return told
