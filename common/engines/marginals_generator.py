"""Rows from what the marginals engine has learnt, back to fine cells, in blocks of bounded memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Codes, Index, Real
from silosynth.common.engines import marginals as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.layouts import rising
from silosynth.common.engines.marginals_fit import Fitted
from silosynth.common.engines.marginals_products import Products
from silosynth.common.engines.marginals_tables import MOST_COLUMNS, Table, Tables
from silosynth.common.engines.marginals_tree import Tree, drawn, maximal
from silosynth.common.engines.sampling import fine_cells
from silosynth.common.engines.tilt import Grouped, Tilt, weighted
from silosynth.common.errors import MalformedFrame
from silosynth.common.study import Study

TOGETHER: Final = 16_384
"""Rows sampled at once."""

_COMMON: Final = {"maps": "<i2", "within": "<f8", "misfit": "<f8"}
_TREE: Final = _COMMON | {"cliques": "<i2", "potentials": "<f8", "tilt": "<f8", "merges": "<i2"}
_PRODUCTS: Final = _COMMON | {"logits": "<f4"}
_MOST_DUAL: Final = 1e6  # sums of as many as there are tables stay finite
_NONE: Final = -1  # in place of a column of a clique that has fewer


class TreeModel:
    """A graphical model, with its conditional distributions at hand."""

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted
        self._conditionals = fitted.tree.conditionals(fitted.potentials)

    def bins(self, rows: int, rng: np.random.Generator) -> Index:
        """Bins of rows, shape (columns, rows)."""
        return drawn(self.fitted.tree, self._conditionals, rows, rng)


Model: TypeAlias = TreeModel | Products
"""A distribution over rows of bins."""


@dataclass(frozen=True)
class MarginalsGenerator:
    """An engine.Generator. `within[j]` holds the share of each fine cell of column j in its bin.

    `misfit` is chi-square per measured cell: about 1 where the model misses nothing of the counts but their noise; the
    model by itself, before its rows are weighted by `tilt`, whose layout is that of `looked_at`.
    """

    model: Model = field(repr=False)
    coarsening: Coarsening = field(repr=False)
    within: tuple[Real, ...] = field(repr=False)
    misfit: float
    tilt: Tilt | None = field(default=None, repr=False)

    def sample(self, rows: int, rng: np.random.Generator) -> Codes:
        """Fine cells of synthetic rows, shape (rows, columns)."""
        codes = np.empty((rows, len(self.within)), dtype=np.int32)
        for begin in range(0, rows, TOGETHER):
            block = codes[begin : begin + TOGETHER]
            bins = self.bins(len(block), rng)
            for column, (bin_of, share) in enumerate(zip(self.coarsening.arrays, self.within, strict=True)):
                block[:, column] = fine_cells(bins[column], bin_of, share, rng)
        return codes

    def bins(self, rows: int, rng: np.random.Generator) -> Index:
        """Bins of rows, shape (columns, rows)."""
        if self.tilt is None:
            return self.model.bins(rows, rng)
        return weighted(self.tilt, lambda count: self.model.bins(count, rng), rows, rng)


def counted(model: Model, tables: Tables, rows: int, rng: np.random.Generator) -> Real:
    """Frequencies of tables, whose coarsening maps bins, in rows of a model; shape (cells,)."""
    counts = np.zeros(int(tables.offsets[-1]))
    for begin in range(0, rows, TOGETHER):
        bins = tables.coarsening.bins(model.bins(min(TOGETHER, rows - begin), rng).T.astype(np.int32))
        for at in np.array_split(bins, max(1, bins.shape[0] * len(tables.tables) // (1 << 22))):
            counts += np.bincount(tables.cells_of_bins(at).ravel(), minlength=counts.size)
    frequencies: Real = counts / rows
    return frequencies


def freeze(made: MarginalsGenerator) -> Mapping[str, NDArray[Any]]:
    """A generator as named arrays, without what follows from its study."""
    arrays: dict[str, NDArray[Any]] = {
        "maps": np.concatenate(made.coarsening.arrays).astype(np.int16),
        "within": np.concatenate(made.within),
        "misfit": np.array([made.misfit]),
    }
    match made.model:
        case TreeModel(fitted=Fitted(tree, potentials)):
            padded = [_padded(clique) for clique in tree.cliques]
            own: dict[str, NDArray[Any]] = {"cliques": np.array(padded, dtype=np.int16), "potentials": potentials}
            return arrays | own | _frozen_tilt(made)
        case Products(_, logits):
            return arrays | {"logits": logits}


def thaw(study: Study, arrays: Mapping[str, NDArray[Any]]) -> MarginalsGenerator:
    """The generator that `freeze` gave. Raises MalformedFrame unless its arrays fit each other and the study."""
    ends, dtypes = rising(study.schema.sizes), _PRODUCTS if engine.has_products(study) else _TREE
    if arrays.keys() != dtypes.keys() or any(arrays[name].dtype != dtype for name, dtype in dtypes.items()):
        raise MalformedFrame("a generator has other arrays than these")
    if any(arrays[name].shape != (ends[-1],) for name in ("maps", "within")) or arrays["misfit"].shape != (1,):
        raise MalformedFrame("a generator must say something of every fine cell")
    coarsening = Coarsening(tuple(tuple(part.tolist()) for part in np.split(arrays["maps"], ends[1:-1])))
    coarsening.check(study.schema.sizes)
    numbers = [values for name, values in arrays.items() if name != "potentials"]
    if not all(np.isfinite(values).all() for values in numbers) or (arrays["within"] < 0).any():
        raise MalformedFrame("a generator's numbers must be finite, and its shares not negative")
    within = tuple(np.split(arrays["within"], ends[1:-1]))
    misfit = float(arrays["misfit"][0])
    if engine.has_products(study):
        return MarginalsGenerator(_products(coarsening, arrays), coarsening, within, misfit)
    model = _tree(study, coarsening, arrays)
    return MarginalsGenerator(model, coarsening, within, misfit, _tilt(study, coarsening, arrays))


def _tree(study: Study, coarsening: Coarsening, arrays: Mapping[str, NDArray[Any]]) -> TreeModel:
    """The graphical model in a file: no larger than its study allows, whoever wrote it."""
    padded, potentials = arrays["cliques"], arrays["potentials"]
    if padded.ndim != 2 or padded.shape[1] != MOST_COLUMNS:  # noqa: PLR2004
        raise MalformedFrame("cliques of other than three columns")
    cliques = _unpadded(padded)
    Tables(coarsening, cliques).check()
    tree = Tree(coarsening.sizes, cliques)
    if cliques != maximal(len(coarsening.sizes), cliques):
        raise MalformedFrame("cliques that hold each other, or not every column")
    if tree.elimination.cells > _largest(study, coarsening) or potentials.shape != (tree.offsets[-1],):
        raise MalformedFrame("a generator's potentials do not fit its cliques, or those are too many")
    if np.isnan(potentials).any() or (potentials == np.inf).any():
        raise MalformedFrame("a generator's potentials must be numbers")
    return TreeModel(Fitted(tree, potentials))


def _products(coarsening: Coarsening, arrays: Mapping[str, NDArray[Any]]) -> Products:
    logits = arrays["logits"]
    if logits.ndim != 2 or not len(logits) or logits.shape[1] != sum(coarsening.sizes):  # noqa: PLR2004
        raise MalformedFrame("a generator's products do not fit its bins")
    return Products(coarsening.sizes, logits)


def _frozen_tilt(made: MarginalsGenerator) -> dict[str, NDArray[Any]]:
    """Duals, and where each screen's groups send the bins of all columns, shape (screens, bins): its tables follow."""
    match made.tilt:
        case None:
            return {"tilt": np.zeros(0), "merges": np.zeros((0, sum(made.coarsening.sizes)), dtype=np.int16)}
        case Tilt(Grouped((_, *screens)), duals):
            merges = [np.concatenate(group.coarsening.arrays) for group in screens]
            return {"tilt": duals, "merges": np.array(merges, dtype=np.int16)}
        case _:
            raise TypeError("rows of a graphical model are weighted by Grouped tables")


def _tilt(study: Study, coarsening: Coarsening, arrays: Mapping[str, NDArray[Any]]) -> Tilt | None:
    """The weights in a file, of as many tables as its study's screens have."""
    merges, duals = arrays["merges"], arrays["tilt"]
    if not duals.size and merges.shape == (0, sum(coarsening.sizes)):
        return None
    screens = engine.screens_of(study)
    if merges.shape != (len(screens), sum(coarsening.sizes)) or not engine.settings(study).tilt:
        raise MalformedFrame("a tilt must say for every screen of its study where bins go")
    ends, merged = rising(coarsening.sizes)[1:-1], list[Coarsening]()
    for flat in merges:
        merged.append(Coarsening(tuple(tuple(part.tolist()) for part in np.split(flat, ends))))
        merged[-1].check(coarsening.sizes)
    layout = looked_at(study, coarsening, merged)
    if duals.shape != (sum(layout.sizes),) or (np.abs(duals) > _MOST_DUAL).any():
        raise MalformedFrame("a tilt's duals do not fit its tables, or are too large")
    return Tilt(layout, duals)


def looked_at(study: Study, coarsening: Coarsening, merged: Sequence[Coarsening]) -> Grouped:
    """What weights look at: the bins of each column, and the tables of each screen, over what it merges them to."""
    own = Coarsening(tuple(tuple(range(size)) for size in coarsening.sizes))
    screens = zip(merged, engine.screens_of(study), strict=True)
    groups = [Tables(own, tuple((column,) for column in range(len(coarsening.sizes))))]
    return Grouped((*groups, *(Tables(one, engine.screened(study, kind)) for one, kind in screens)))


def _padded(table: Table) -> Table:
    return (*table, *[_NONE] * (MOST_COLUMNS - len(table)))


def _unpadded(tables: NDArray[Any]) -> tuple[Table, ...]:
    """Raises MalformedFrame for a column after none."""
    found = tuple(tuple(column for column in table if column != _NONE) for table in tables.tolist())
    if [_padded(table) for table in found] != [tuple(table) for table in tables.tolist()]:
        raise MalformedFrame("a clique's columns come first")
    return found


def _largest(study: Study, coarsening: Coarsening) -> int:
    """With what is counted even where a study allows fewer cells: the target's tables, and one more in each round."""
    sizes, forced = coarsening.sizes, engine.with_each(study)
    anyway = sum(sizes[first] * sizes[second] for first, second in forced)
    target = 1 if study.target is None else sizes[study.schema.index(study.target)]
    return most_cells(study, coarsening) + anyway + engine.settings(study).rounds * sizes[0] * sizes[1] * target


def most_cells(study: Study, coarsening: Coarsening) -> int:
    """Of a model's elimination: as the study says, beside the columns by themselves."""
    return engine.settings(study).cells + sum(coarsening.sizes)
