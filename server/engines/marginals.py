"""The coordinator's half of the marginals engine: what to count next, and the model that explains all counts.

Pure, and told nothing but noisy totals: which tables are worth counting, and the model fitted to them, are
post-processing. Every random number comes from the seed and the number of the round, so a study that was interrupted
ends alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real, Vector
from silosynth.common.engines import marginals as engine
from silosynth.common.engines.marginals_choice import Candidates, chosen, errors
from silosynth.common.engines.marginals_generator import MarginalsGenerator, Model, counted
from silosynth.common.engines.marginals_heads import Evidence, head
from silosynth.common.engines.marginals_learning import (
    LEAST_DEVIATION,
    Counted,
    counted_from,
    misfit,
    noise,
    prepared_from,
    screens,
)
from silosynth.common.engines.marginals_products import Products
from silosynth.common.engines.marginals_tables import MOST_COLUMNS, Table, all_pairs
from silosynth.common.engines.marginals_tilt import Looked, tilt
from silosynth.common.engines.preparation import Preparation
from silosynth.common.study import Study

FIRST, LOOKS, LAST, TILT = range(1, 5)
"""Streams of a study's seed: of the first model, of the rows by which a model is compared with counts, of weights."""

_FEWEST_ROWS, _MOST_ROWS, _ROWS_FOR_A_UNIT = 4096, 400_000, 4  # of those
_OF_NOISE = 0.25  # variance that comparing rows may add to counts, on average
_NONE: Final = -1  # in place of a column of a table that has fewer
_COUNTS: Final = ("one_ways", "pairs", "target", "counts")


@dataclass(frozen=True)
class State:
    """Everything known after `released` totals; an array is empty until there is something in it.

    `asked` names the tables of all rounds, those of the next one included: the round, then the columns, shape
    (tables, 1 + MOST_COLUMNS). `counts` are their totals so far, one after the other; `parameters` those of the model.
    """

    released: int
    one_ways: Vector = field(repr=False)
    pairs: Vector = field(repr=False)
    target: Vector = field(repr=False)
    counts: Vector = field(repr=False)
    asked: Index = field(repr=False)
    parameters: Real = field(repr=False)
    prepared: Preparation | None = field(default=None, repr=False)  # follows from one_ways, hence not frozen

    @property
    def ready(self) -> Preparation:
        """What the 1-ways tell."""
        if self.prepared is None:
            raise ValueError("the 1-ways come first")
        return self.prepared

    def tables(self, number: int) -> tuple[Table, ...]:
        """Those of one round."""
        named = self.asked[self.asked[:, 0] == number, 1:]
        return tuple(tuple(column for column in table if column != _NONE) for table in named.tolist())


class Marginals:
    """An engine.CoordinatorHalf."""

    def __init__(self, study: Study, seed: int) -> None:
        torch.set_num_threads(1)  # one thread: the same totals give the same generator
        self._study = study
        self._seed = seed
        self._settings = engine.settings(study)
        self._head = head(study)

    def start(self) -> State:
        """See engine.CoordinatorHalf."""
        none = np.zeros(0, dtype=np.int64)
        return State(0, none, none, none, none, np.zeros((0, 1 + MOST_COLUMNS), dtype=np.int64), np.zeros(0))

    def next(self, state: State) -> engine.Task | None:
        """See engine.CoordinatorHalf."""
        if state.released == self._study.releases:
            return None
        kind = self._study.step_of(state.released).kind
        if kind == engine.ONE_WAYS:
            return engine.CountOneWays()
        coarsening = screens(self._study, state.ready)[kind].coarsening
        if kind == engine.MARGINALS:
            return engine.CountTables(kind, coarsening, state.tables(self._rounds(state)))
        return engine.CountTables(kind, coarsening, engine.screened(self._study, kind))

    def absorb(self, state: State, task: engine.Task, total: Vector) -> State:
        """See engine.CoordinatorHalf."""
        if total.shape != (engine.answer_size(self._study, task),):
            raise ValueError("a total has the size its task claims")
        after = replace(state, released=state.released + 1)
        match task:
            case engine.CountOneWays():
                prepared = prepared_from(self._study, total)
                first = self._head.begun(prepared, self._rng(FIRST))
                after = replace(after, one_ways=total, prepared=prepared, parameters=first)
            case engine.CountTables(engine.MARGINALS):
                after = self._fitted(replace(after, counts=np.append(state.counts, total)), self._known(state))
            case engine.CountTables(engine.PAIRS):
                after = replace(after, pairs=total)
            case engine.CountTables():
                after = replace(after, target=total)
        more = after.released < self._study.releases
        return self._chosen(after) if more and self._study.step_of(after.released).kind == engine.MARGINALS else after

    def absorb_each(self, state: State, tasks: Mapping[str, engine.Task], answers: Mapping[str, Vector]) -> State:
        """See engine.CoordinatorHalf. Sites are never asked one by one: a sum of histograms loses nothing."""
        raise NotImplementedError("sums only")

    def finish(self, state: State) -> MarginalsGenerator:
        """See engine.CoordinatorHalf."""
        prepared, model, screened = state.ready, self._model(state), [*self._screened(state)]
        counts = [*screened, *self._fine(state)]
        rows, rng = self._rows(state, counts), self._rng(LAST)
        looks = [Looked(one, counted(model, one.layout, rows, rng), rows) for one in counts]
        off = misfit([(look.counted, look.frequencies) for look in looks], prepared.units, rows)
        made = MarginalsGenerator(model, prepared.coarsening, prepared.within, off)
        if isinstance(model, Products) or not self._settings.tilt:
            return made
        return replace(made, tilt=tilt(model, prepared, looks[: len(screened)], self._settings.tilt, self._rng(TILT)))

    def units(self, state: State) -> float:
        """See engine.CoordinatorHalf."""
        return state.ready.units

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """See engine.CoordinatorHalf."""
        return {name: np.asarray(getattr(state, name)) for name in ("released", *_COUNTS, "asked", "parameters")}

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """See engine.CoordinatorHalf."""
        one_ways, pairs, target, counts = (arrays[name] for name in _COUNTS)
        state = State(int(arrays["released"]), one_ways, pairs, target, counts, arrays["asked"], arrays["parameters"])
        prepared = prepared_from(self._study, state.one_ways) if state.one_ways.size else None
        return replace(state, prepared=prepared)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *stream])

    def _rounds(self, state: State) -> int:
        """Rounds of chosen tables in the first `released` releases."""
        return max(0, state.released - sum(step.repeats for step in self._study.plan if step.kind != engine.MARGINALS))

    def _rows(self, state: State, counts: Sequence[Counted]) -> int:
        """Of a model, to be compared with counts: more rows where there is less noise."""
        units = state.ready.units
        wanted = [len(one.tables) / one.counts.size * (units / one.deviation) ** 2 / _OF_NOISE for one in counts]
        most = min(_ROWS_FOR_A_UNIT * units, _MOST_ROWS)
        return round(max(_FEWEST_ROWS, min(max(wanted, default=0.0), most)))

    def _known(self, state: State) -> tuple[Table, ...]:
        """The chosen tables that were counted so far, each once."""
        rounds = range(self._rounds(state))
        return tuple(dict.fromkeys(table for number in rounds for table in state.tables(number)))

    def _model(self, state: State) -> Model:
        return self._head.model(state.parameters, state.ready, self._known(state))

    def _screened(self, state: State) -> Iterator[Counted]:
        """The tables of the screen that were counted so far."""
        merges = screens(self._study, state.ready)
        for kind, total in ((engine.PAIRS, state.pairs), (engine.TARGET, state.target)):
            if total.size:
                yield counted_from(self._study, kind, merges[kind], engine.screened(self._study, kind), total)

    def _fine(self, state: State) -> Iterator[Counted]:
        """The chosen tables, round by round, that were counted so far."""
        merges, begin = screens(self._study, state.ready)[engine.MARGINALS], 0
        for number in range(self._rounds(state)):
            task = engine.CountTables(engine.MARGINALS, merges.coarsening, state.tables(number))
            end = begin + engine.answer_size(self._study, task)
            yield counted_from(self._study, task.kind, merges, task.tables, state.counts[begin:end])
            begin = end

    def _fitted(self, state: State, before: Sequence[Table]) -> State:
        """With the model fitted to all counts, from the one that held the tables `before`."""
        evidence = Evidence(state.ready, (*self._screened(state), *self._fine(state)), self._known(state))
        last = state.released == self._study.releases
        iterations = self._settings.iterations * (1 + last)
        return replace(state, parameters=self._head.fitted(state.parameters, before, evidence, iterations))

    def _chosen(self, state: State) -> State:
        """With the next round's tables."""
        prepared, number, known = state.ready, self._rounds(state), self._known(state)
        model, screened, rng = self._model(state), [*self._screened(state)], self._rng(LOOKS, number)
        rows = self._rows(state, screened)
        off: dict[Table, float] = {}
        for coarse in screened:
            found = errors(coarse, prepared.units, counted(model, coarse.layout, rows, rng), rows)
            off |= zip(coarse.tables, found.tolist(), strict=True)

        def fits(more: Sequence[Table]) -> bool:
            return self._head.fits(prepared, [*known, *more], (number + 1) / self._settings.rounds)

        among = Candidates.of(prepared.coarsening.sizes, off, self._deviations(state))
        first = () if number else engine.with_each(self._study)
        taken = chosen(among, noise(self._study, engine.MARGINALS, 1), prepared.units, fits, first)
        taken = taken or all_pairs(len(prepared.coarsening.sizes))[:1]  # something must be asked
        padded = [[number, *table, *[_NONE] * (MOST_COLUMNS - len(table))] for table in taken]
        return replace(state, asked=np.concatenate([state.asked, np.array(padded, dtype=np.int64)]))

    def _deviations(self, state: State) -> dict[Table, float]:
        """Of the noise in the counts of chosen tables, all rounds together."""
        precisions: dict[Table, float] = {}
        for number in range(self._rounds(state)):
            tables = state.tables(number)
            deviation = max(noise(self._study, engine.MARGINALS, len(tables)), LEAST_DEVIATION)
            for table in tables:
                precisions[table] = precisions.get(table, 0.0) + deviation**-2
        return {table: precision**-0.5 for table, precision in precisions.items()}
