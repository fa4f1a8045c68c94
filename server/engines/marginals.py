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
from silosynth.common.engines.layouts import rising
from silosynth.common.engines.marginals_choice import candidates, chosen, errors
from silosynth.common.engines.marginals_fit import Fitted, Measured, Misfit, fitted, independent
from silosynth.common.engines.marginals_generator import MarginalsGenerator, TreeModel, counted, most_cells
from silosynth.common.engines.marginals_learning import (
    Counted,
    counted_from,
    noise,
    one_way_measured,
    prepared_from,
    screens,
)
from silosynth.common.engines.marginals_tables import MOST_COLUMNS, Table, all_pairs
from silosynth.common.engines.marginals_tree import Tree, carried, eliminate, maximal
from silosynth.common.engines.preparation import Preparation
from silosynth.common.study import Study

_LOOKS: Final = 1
"""Stream of a study's seed: of the rows by which a model is compared with coarse counts."""

_FEWEST_ROWS, _MOST_ROWS, _ROWS_FOR_A_UNIT = 50_000, 400_000, 4  # of those
_NONE: Final = -1  # in place of a column of a table that has fewer
_COUNTS: Final = ("one_ways", "pairs", "triples", "counts")


@dataclass(frozen=True)
class State:
    """Everything known after `released` totals; an array is empty until there is something in it.

    `asked` names the tables of all rounds, those of the next one included: the round, then the columns, shape
    (tables, 1 + MOST_COLUMNS). `counts` are their totals so far, one after the other; `potentials` those of the model.
    """

    released: int
    one_ways: Vector = field(repr=False)
    pairs: Vector = field(repr=False)
    triples: Vector = field(repr=False)
    counts: Vector = field(repr=False)
    asked: Index = field(repr=False)
    potentials: Real = field(repr=False)
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
                after = self._begun(replace(after, one_ways=total))
            case engine.CountTables(engine.MARGINALS):
                after = self._fitted(replace(after, counts=np.append(state.counts, total)), self._tree(state))
            case engine.CountTables(kind):
                after = replace(after, **{kind: total})
        released, plan = after.released, self._study
        if released < plan.releases and plan.step_of(released).kind == engine.MARGINALS:
            return self._chosen(after)
        return after

    def absorb_each(self, state: State, tasks: Mapping[str, engine.Task], answers: Mapping[str, Vector]) -> State:
        """See engine.CoordinatorHalf. Sites are never asked one by one: a sum of histograms loses nothing."""
        raise NotImplementedError("sums only")

    def finish(self, state: State) -> MarginalsGenerator:
        """See engine.CoordinatorHalf."""
        prepared, tree = state.ready, self._tree(state)
        marginals = tree.marginals(state.potentials)
        misfit = Misfit.of(tree, [*self._measured(state, tree)]).per_cell(marginals)
        model = TreeModel(Fitted(tree, state.potentials))
        return MarginalsGenerator(model, prepared.coarsening, prepared.within, misfit)

    def units(self, state: State) -> float:
        """See engine.CoordinatorHalf."""
        return state.ready.units

    def freeze(self, state: State) -> Mapping[str, NDArray[Any]]:
        """See engine.CoordinatorHalf."""
        return {name: np.asarray(getattr(state, name)) for name in ("released", *_COUNTS, "asked", "potentials")}

    def thaw(self, arrays: Mapping[str, NDArray[Any]]) -> State:
        """See engine.CoordinatorHalf."""
        counts = [arrays[name] for name in _COUNTS]
        state = State(int(arrays["released"]), *counts, arrays["asked"], arrays["potentials"])
        prepared = prepared_from(self._study, state.one_ways) if state.one_ways.size else None
        return replace(state, prepared=prepared)

    def _rounds(self, state: State) -> int:
        """Rounds of chosen tables in the first `released` releases."""
        return max(0, state.released - sum(step.repeats for step in self._study.plan if step.kind != engine.MARGINALS))

    def _begun(self, state: State) -> State:
        """Independent columns, with the noisy frequencies."""
        prepared = prepared_from(self._study, state.one_ways)
        model = independent(prepared.coarsening.sizes, prepared.marginals, 1 / (10 * prepared.units))
        return replace(state, prepared=prepared, potentials=model.potentials)

    def _tree(self, state: State) -> Tree:
        """The structure that holds all tables counted so far."""
        sizes = state.ready.coarsening.sizes
        tables = [table for number in range(self._rounds(state)) for table in state.tables(number)]
        return Tree(sizes, maximal(len(sizes), tables))

    def _coarse(self, state: State) -> Iterator[Counted]:
        """The tables of the screen that were counted so far."""
        merges = screens(self._study, state.ready)
        for kind, total in ((engine.PAIRS, state.pairs), (engine.TRIPLES, state.triples)):
            if total.size:
                tables = engine.screened(self._study, kind)
                yield counted_from(self._study, kind, merges[kind], tables, total)

    def _measured(self, state: State, tree: Tree) -> Iterator[Measured]:
        """Everything counted so far that some clique holds."""
        prepared = state.ready
        yield from one_way_measured(prepared)
        for coarse in self._coarse(state):
            for one in coarse.measured(prepared.units):
                if any(set(one.table) <= set(clique) for clique in tree.cliques):
                    yield one
        merges = screens(self._study, prepared)[engine.MARGINALS]
        kinds = [state.tables(number) for number in range(self._rounds(state))]
        sizes = [
            engine.CountTables(engine.MARGINALS, prepared.coarsening, tables).layout.offsets[-1] for tables in kinds
        ]
        for tables, total in zip(kinds, np.split(state.counts, rising(tuple(map(int, sizes)))[1:-1]), strict=True):
            found = counted_from(self._study, engine.MARGINALS, merges, tables, total)
            yield from found.measured(prepared.units)

    def _fitted(self, state: State, before: Tree) -> State:
        """The model after a round, fitted to all counts, from the one before."""
        tree = self._tree(state)
        start = Fitted(tree, carried(before, state.potentials, tree))
        last = state.released == self._study.releases
        misfit = Misfit.of(tree, [*self._measured(state, tree)])
        found = fitted(start, misfit, self._settings.iterations * (1 + last))
        return replace(state, potentials=found.potentials)

    def _chosen(self, state: State) -> State:
        """The next round's tables."""
        prepared, tree, number = state.ready, self._tree(state), self._rounds(state)
        sizes = prepared.coarsening.sizes
        model = TreeModel(Fitted(tree, state.potentials))
        rows = round(min(max(_FEWEST_ROWS, _ROWS_FOR_A_UNIT * prepared.units), _MOST_ROWS))
        rng = np.random.default_rng([self._seed, _LOOKS, number])
        tables: list[Table] = []
        found: list[Real] = []
        for coarse in self._coarse(state):
            tables += coarse.tables
            found.append(errors(coarse, prepared.units, counted(model, coarse.layout, rows, rng), rows))
        most = most_cells(self._study, prepared.coarsening) * (number + 1) / self._settings.rounds

        def fits(more: Sequence[Table]) -> bool:
            return eliminate(sizes, [*tree.cliques, *more]).cells <= most

        known = [table for earlier in range(number) for table in state.tables(earlier)]
        among = candidates(sizes, tables, np.concatenate(found or [np.zeros(0)]), known)
        taken = chosen(among, noise(self._study, engine.MARGINALS, 1), prepared.units, fits)
        taken = taken or tuple(dict.fromkeys(known)) or all_pairs(len(sizes))[:1]  # something must be asked
        padded = [[number, *table, *[_NONE] * (MOST_COLUMNS - len(table))] for table in taken]
        return replace(state, asked=np.concatenate([state.asked, np.array(padded, dtype=np.int64)]))
