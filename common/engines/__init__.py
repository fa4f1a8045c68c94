"""The engines there are. Literal tables: no engine is ever found by a name received from outside.

What is here needs no network and loads no torch: how tasks travel, and how a budget is divided.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from silosynth.common.engine import Parts
from silosynth.common.engines import autoregressive, gan, heldout, marginals
from silosynth.common.engines.share import Share
from silosynth.common.privacy import Part
from silosynth.common.study import Study


class TaskCodec(NamedTuple):
    """An engine's tasks, to and from the wire, and the length of a task's answer.

    `put_together` raises MalformedFrame on what is not a task.
    """

    take_apart: Callable[[Any], Parts]
    put_together: Callable[[Study, Parts], Any]
    answer_size: Callable[[Study, Any], int]


CODECS: Final[Mapping[str, TaskCodec]] = {
    "autoregressive": TaskCodec(autoregressive.take_apart, autoregressive.put_together, autoregressive.answer_size),
    "gan": TaskCodec(gan.take_apart, gan.put_together, gan.answer_size),
    "marginals": TaskCodec(marginals.take_apart, marginals.put_together, marginals.answer_size),
}

_HELD_OUT: Final = TaskCodec(heldout.take_apart, heldout.put_together, heldout.answer_size)


def codec_of(study: Study, part: Part) -> TaskCodec:
    """How the tasks of one part of a study travel."""
    match part:
        case Part.TRAIN:
            return CODECS[study.engine]
        case Part.HOLDOUT:
            return _HELD_OUT


SPLITS: Final[Mapping[str, Callable[[Study], tuple[Share, ...]]]] = {
    "autoregressive": autoregressive.split,
    "gan": gan.split,
    "marginals": marginals.split,
}
