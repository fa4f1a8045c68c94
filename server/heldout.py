"""The coordinator's half of a whole study: its engine first, then the questions to held-out units, of any engine.

The questions are made once, when the engine has its last total, and are part of the state from then on: a study that is
resumed asks in the same words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Vector
from silosynth.common.engine import CoordinatorHalf, Each, Generator, Parts
from silosynth.common.engines import heldout
from silosynth.common.evaluate.asked import Heard, Questions, Shape
from silosynth.common.privacy import Part
from silosynth.common.study import Study
from silosynth.server import questions

_ENGINE: Final = "engine."
_TOTAL: Final = "heldout.total."
_TASK: Final = "heldout.task."
_SHARES: Final = "heldout.shares."
_SHAPE: Final = "heldout.shape."
_ROWS: Final = "heldout.rows"


@dataclass(frozen=True)
class State:
    """The engine's state; then the questions, and the totals that are known."""

    engine: Any
    questions: Questions | None = None
    totals: tuple[Vector, ...] = field(default=(), repr=False)
    generator: Generator | None = field(default=None, repr=False)  # follows from the engine's state, hence not frozen


class WholeStudy:
    """An engine.CoordinatorHalf around that of an engine."""

    def __init__(self, study: Study, half: CoordinatorHalf[Any, Any], seed: int) -> None:
        """Raises NotPossible where the questions need what is not installed."""
        self._study = study
        self._half = half
        self._seed = seed
        self._asks = study.asks_held_out
        if self._asks:
            questions.check_installed(study)

    def start(self) -> State:
        """See engine.CoordinatorHalf."""
        return State(self._half.start())

    def next(self, state: State) -> Any | Each[Any] | None:
        """See engine.CoordinatorHalf."""
        if state.questions is None:
            return self._half.next(state.engine)
        left = state.questions.tasks[len(state.totals) :]
        return left[0] if left else None

    def absorb(self, state: State, task: Any, total: Vector) -> State:
        """See engine.CoordinatorHalf."""
        if state.questions is None:
            return self._learnt(self._half.absorb(state.engine, task, total))
        if total.shape != (heldout.answer_size(self._study, task),):
            raise ValueError("a total has the size its task claims")
        return replace(state, totals=(*state.totals, total))

    def absorb_each(self, state: State, tasks: Mapping[str, Any], answers: Mapping[str, Vector]) -> State:
        """See engine.CoordinatorHalf."""
        return self._learnt(self._half.absorb_each(state.engine, tasks, answers))

    def finish(self, state: State) -> Generator:
        """See engine.CoordinatorHalf."""
        return state.generator or self._half.finish(state.engine)

    def units(self, state: State) -> float:
        """See engine.CoordinatorHalf."""
        return self._half.units(state.engine)

    def heard(self, state: State) -> Heard | None:
        """What the held-out units said, None where they are not asked."""
        return None if state.questions is None else Heard(state.questions, state.totals)

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """See engine.CoordinatorHalf."""
        arrays = {_ENGINE + name: array for name, array in self._half.freeze(state.engine).items()}
        arrays |= {f"{_TOTAL}{at}": total for at, total in enumerate(state.totals)}
        if state.questions is not None:
            for at, task in enumerate(state.questions.tasks):
                lists = heldout.take_apart(task).lists
                arrays[f"{_TASK}{at}.lengths"] = np.array([len(one) for one in lists], dtype=np.int64)
                arrays[f"{_TASK}{at}.values"] = np.array([value for one in lists for value in one], dtype=np.int64)
            arrays |= {f"{_SHARES}{at}": shares for at, shares in enumerate(state.questions.synthetic)}
            for at, shape in enumerate(state.questions.shapes):
                arrays |= {f"{_SHAPE}{at}.{one.name}": getattr(shape, one.name) for one in fields(shape)}
            arrays[_ROWS] = np.asarray(state.questions.rows)
        return arrays

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """See engine.CoordinatorHalf."""
        engine = {name.removeprefix(_ENGINE): array for name, array in arrays.items() if name.startswith(_ENGINE)}
        state = State(self._half.thaw(engine))
        if f"{_TASK}0.lengths" not in arrays:
            return state
        kinds = [step.kind for step in self._study.plan if step.part is Part.HOLDOUT]
        tasks = [heldout.put_together(self._study, _parts(kind, at, arrays)) for at, kind in enumerate(kinds)]
        shares = [arrays[f"{_SHARES}{at}"] for at in range(len(kinds))]
        totals = [arrays[f"{_TOTAL}{at}"] for at in range(len(kinds)) if f"{_TOTAL}{at}" in arrays]
        shapes = (
            Shape(**{one.name: arrays[f"{_SHAPE}{at}.{one.name}"] for one in fields(Shape)})
            for at in range(sum(name.startswith(_SHAPE) for name in arrays) // len(fields(Shape)))
        )
        asked = Questions(tuple(tasks), tuple(shares), tuple(shapes), int(arrays[_ROWS]))
        return replace(state, questions=asked, totals=tuple(totals))

    def _learnt(self, engine: Any) -> State:
        """The state after the engine's; with the questions, once it has asked its last."""
        if not self._asks or self._half.next(engine) is not None:
            return State(engine)
        generator = self._half.finish(engine)
        return State(engine, questions.made(self._study, generator, self._seed), (), generator)


def _parts(kind: str, at: int, arrays: Mapping[str, NDArray[Any]]) -> Parts:
    ends = np.cumsum(arrays[f"{_TASK}{at}.lengths"])
    return Parts(kind, tuple(tuple(one.tolist()) for one in np.split(arrays[f"{_TASK}{at}.values"], ends)[:-1]))
