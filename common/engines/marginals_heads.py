"""The two models that the marginals engine can fit to what was counted, behind one face.

Which of them a study takes follows from public facts alone (marginals.has_products). A model's parameters are one flat
vector, so that a coordinator can keep them between rounds without knowing which model it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from silosynth.common.arrays import Real
from silosynth.common.engines import marginals as engine
from silosynth.common.engines import marginals_products as products
from silosynth.common.engines.marginals_fit import Fitted, MeasuredTable, Misfit, fitted, independent
from silosynth.common.engines.marginals_generator import Model, TreeModel, most_cells
from silosynth.common.engines.marginals_learning import Counted, one_way_measured
from silosynth.common.engines.marginals_products import Products
from silosynth.common.engines.marginals_tables import Table
from silosynth.common.engines.marginals_tree import Tree, carried, eliminate, maximal
from silosynth.common.engines.preparation import Preparation
from silosynth.common.study import Study

_RARE: Final = 10  # a bin is begun with a tenth of a unit at least, so that later counts can find something in it


@dataclass(frozen=True)
class Evidence:
    """All that was counted: the 1-ways, then tables over merged bins and over all bins; `chosen` are the latter's."""

    prepared: Preparation
    counted: tuple[Counted, ...] = field(repr=False)
    chosen: tuple[Table, ...]


class Head(Protocol):
    """A model to be fitted. Pure; parameters are float64, of any shape that is theirs."""

    def begun(self, prepared: Preparation, rng: np.random.Generator) -> Real:
        """Parameters of independent columns with their noisy frequencies."""
        ...

    def fitted(self, parameters: Real, before: Sequence[Table], evidence: Evidence, iterations: int) -> Real:
        """Parameters fitted to all of the evidence, from those of a model to which the tables `before` belonged."""
        ...

    def model(self, parameters: Real, prepared: Preparation, chosen: Sequence[Table]) -> Model:
        """The model with these parameters."""
        ...

    def fits(self, prepared: Preparation, tables: Sequence[Table], share: float) -> bool:
        """Whether the model, at a share of its full size, can hold these tables."""
        ...


class TreeHead:
    """A Head: the graphical model whose cliques hold the chosen tables."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def begun(self, prepared: Preparation, rng: np.random.Generator) -> Real:  # noqa: ARG002  # nothing is random here
        """See Head."""
        least = 1 / (_RARE * prepared.units)
        return independent(prepared.coarsening.sizes, prepared.marginals, least).potentials

    def fitted(self, parameters: Real, before: Sequence[Table], evidence: Evidence, iterations: int) -> Real:
        """See Head. Coarse tables count where a clique holds them."""
        tree = _tree(evidence.prepared, evidence.chosen)
        start = Fitted(tree, carried(_tree(evidence.prepared, before), parameters, tree))
        return fitted(start, Misfit.of(tree, [*_held(tree, evidence)]), iterations).potentials

    def model(self, parameters: Real, prepared: Preparation, chosen: Sequence[Table]) -> TreeModel:
        """See Head."""
        return TreeModel(Fitted(_tree(prepared, chosen), parameters))

    def fits(self, prepared: Preparation, tables: Sequence[Table], share: float) -> bool:
        """See Head."""
        most = share * most_cells(self._study, prepared.coarsening)
        return eliminate(prepared.coarsening.sizes, tables).cells <= most


class ProductsHead:
    """A Head: the mixture of products, which holds any tables."""

    def __init__(self, study: Study) -> None:
        self._components = engine.settings(study).components

    def begun(self, prepared: Preparation, rng: np.random.Generator) -> Real:
        """See Head."""
        return _flat(products.begun(prepared, self._components, rng))

    def fitted(self, parameters: Real, before: Sequence[Table], evidence: Evidence, iterations: int) -> Real:  # noqa: ARG002  # it has no structure
        """See Head."""
        start = self.model(parameters, evidence.prepared, evidence.chosen)
        return _flat(products.fitted(start, evidence.prepared, evidence.counted, iterations))

    def model(self, parameters: Real, prepared: Preparation, chosen: Sequence[Table]) -> Products:  # noqa: ARG002  # it has no structure
        """See Head."""
        logits = parameters.reshape(self._components, -1).astype(np.float32)
        return Products(prepared.coarsening.sizes, logits)

    def fits(self, prepared: Preparation, tables: Sequence[Table], share: float) -> bool:  # noqa: ARG002  # it always does
        """See Head."""
        return True


def head(study: Study) -> Head:
    """The study's."""
    return ProductsHead(study) if engine.has_products(study) else TreeHead(study)


def _tree(prepared: Preparation, chosen: Sequence[Table]) -> Tree:
    sizes = prepared.coarsening.sizes
    return Tree(sizes, maximal(len(sizes), chosen))


def _held(tree: Tree, evidence: Evidence) -> Iterator[MeasuredTable]:
    """What was measured of the tables that some clique holds."""
    yield from one_way_measured(evidence.prepared)
    cliques = [set(clique) for clique in tree.cliques]
    for counted in evidence.counted:
        for one in counted.measured(evidence.prepared.units):
            if any(clique.issuperset(one.table) for clique in cliques):
                yield one


def _flat(model: Products) -> Real:
    return model.logits.ravel().astype(np.float64)
