"""Contexts name one round of one session."""

from dataclasses import replace

import pytest
from secagg_made import R64, TASK, agreement_of, asked, derived

from silosynth.common.errors import MalformedFrame

AGREEMENT = agreement_of(5)
ROUND = asked((0, 2, 3), release=4, attempt=1)


def test_the_context_binds_every_field():
    rounds = [
        ROUND,
        replace(ROUND, release=5),
        replace(ROUND, attempt=2),
        replace(ROUND, release=1, attempt=4),
        replace(ROUND, members=(0, 2, 4)),
        replace(ROUND, members=(0, 2, 3, 4)),
        replace(ROUND, members=(0, 2)),
        replace(ROUND, task=derived("another")),
        replace(ROUND, ring=R64),
        replace(ROUND, size=9),
    ]
    contexts = {one.context(AGREEMENT, TASK) for one in rounds}
    contexts |= {ROUND.context(AGREEMENT, derived("T")), ROUND.context(agreement_of(5, study=derived("s")), TASK)}
    assert len(contexts) == len(rounds) + 2
    assert ROUND.context(AGREEMENT, TASK) == asked((0, 2, 3), release=4, attempt=1).context(AGREEMENT, TASK)


@pytest.mark.parametrize(
    "change",
    [
        {"release": -1},
        {"release": 2**32},
        {"attempt": -1},
        {"attempt": 2**32},
        {"members": (0, 0, 1)},
        {"members": (1, 0, 2)},
        {"members": (-1, 0, 2)},
        {"members": (0, 1, 256)},
        {"task": b"short"},
        {"size": 0},
        {"size": (1 << 24) + 1},
    ],
)
def test_what_has_no_encoding_is_no_round(change):
    with pytest.raises(MalformedFrame):
        replace(ROUND, **change)
