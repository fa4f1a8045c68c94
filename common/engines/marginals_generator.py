"""Rows from what the marginals engine has learnt, back to fine cells, in blocks of bounded memory."""

from collections.abc import Mapping
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
from silosynth.common.engines.marginals_tables import MOST_COLUMNS, Tables
from silosynth.common.engines.marginals_tree import Tree, drawn, maximal
from silosynth.common.engines.sampling import fine_cells
from silosynth.common.errors import MalformedFrame
from silosynth.common.study import Study

TOGETHER: Final = 16_384
"""Rows sampled at once."""

_COMMON: Final = {"maps": "<i2", "within": "<f8", "misfit": "<f8"}
_TREE: Final = _COMMON | {"cliques": "<i2", "potentials": "<f8"}
_PRODUCTS: Final = _COMMON | {"logits": "<f4"}
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

    `misfit` is chi-square per measured cell: about 1 where the model misses nothing of the counts but their noise.
    """

    model: Model = field(repr=False)
    coarsening: Coarsening = field(repr=False)
    within: tuple[Real, ...] = field(repr=False)
    misfit: float

    def sample(self, rows: int, rng: np.random.Generator) -> Codes:
        """Fine cells of synthetic rows, shape (rows, columns)."""
        codes = np.empty((rows, len(self.within)), dtype=np.int32)
        for begin in range(0, rows, TOGETHER):
            block = codes[begin : begin + TOGETHER]
            bins = self.model.bins(len(block), rng)
            for column, (bin_of, share) in enumerate(zip(self.coarsening.arrays, self.within, strict=True)):
                block[:, column] = fine_cells(bins[column], bin_of, share, rng)
        return codes


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
            padded = [(*clique, *[_NONE] * (MOST_COLUMNS - len(clique))) for clique in tree.cliques]
            return arrays | {"cliques": np.array(padded, dtype=np.int16), "potentials": potentials}
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
    model = _products(coarsening, arrays) if engine.has_products(study) else _tree(study, coarsening, arrays)
    return MarginalsGenerator(model, coarsening, within, float(arrays["misfit"][0]))


def _tree(study: Study, coarsening: Coarsening, arrays: Mapping[str, NDArray[Any]]) -> TreeModel:
    """The graphical model in a file: no larger than its study allows, whoever wrote it."""
    padded, potentials = arrays["cliques"], arrays["potentials"]
    if padded.ndim != 2 or padded.shape[1] != MOST_COLUMNS:  # noqa: PLR2004
        raise MalformedFrame("cliques of other than three columns")
    cliques = tuple(tuple(column for column in clique if column != _NONE) for clique in padded.tolist())
    Tables(coarsening, cliques).check()
    tree = Tree(coarsening.sizes, cliques)
    if cliques != maximal(len(coarsening.sizes), cliques):
        raise MalformedFrame("cliques that hold each other, or not every column")
    if tree.elimination.cells > most_cells(study, coarsening) or potentials.shape != (tree.offsets[-1],):
        raise MalformedFrame("a generator's potentials do not fit its cliques, or those are too many")
    if np.isnan(potentials).any() or (potentials == np.inf).any():
        raise MalformedFrame("a generator's potentials must be numbers")
    return TreeModel(Fitted(tree, potentials))


def _products(coarsening: Coarsening, arrays: Mapping[str, NDArray[Any]]) -> Products:
    logits = arrays["logits"]
    if logits.ndim != 2 or not len(logits) or logits.shape[1] != sum(coarsening.sizes):  # noqa: PLR2004
        raise MalformedFrame("a generator's products do not fit its bins")
    return Products(coarsening.sizes, logits)


def most_cells(study: Study, coarsening: Coarsening) -> int:
    """Of a model's elimination: as the study says, beside the columns by themselves."""
    return engine.settings(study).cells + sum(coarsening.sizes)
