"""The two models that judge synthetic rows: gradient boosting and logistic regression, and how rows enter them.

Scalings and code lists are fixed by the training rows for all tables alike. scikit-learn is imported when first used.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.tables import Binning, Table, binning

_CODES_IN_BOOSTING = 200
_CODES_IN_REGRESSION = 50
_FARTHEST = 8.0
"""Standard deviations at which regression inputs are cut off."""


class Model(Protocol):
    """Learns classes from rows of a table."""

    def probabilities(self, table: Table, classes: Index, test: Table, seed: int) -> Real:
        """P(class) for rows of `test`, (rows, max(classes) + 1), after learning from `table` and its `classes`."""
        ...


@dataclass(frozen=True)
class Inputs:
    """Which columns a model sees, and how their codes are numbered: by frequency among training rows."""

    used: tuple[int, ...]
    codes: tuple[Binning | None, ...] = field(repr=False)
    centre: tuple[float, ...]
    spread: tuple[float, ...]


def inputs(train: Table, labels: tuple[tuple[str, ...], ...], leave_out: int | None = None) -> Inputs:
    """All columns but `leave_out` and those that hold one value in training rows, or none."""
    used, codes, centre, spread = [], [], [], []
    for at, values in enumerate(train.columns):
        observed = values[values >= 0] if labels[at] else values[~np.isnan(values)]
        levels = len(np.unique(observed)) + (len(observed) < len(values))
        if at == leave_out or levels <= 1:
            continue
        used.append(at)
        codes.append(binning(values, labels[at]) if labels[at] else None)
        centre.append(0.0 if labels[at] or not len(observed) else float(observed.mean()))
        spread.append(1.0 if labels[at] or not len(observed) else float(observed.std()) or 1.0)
    return Inputs(tuple(used), tuple(codes), tuple(centre), tuple(spread))


@dataclass(frozen=True)
class Boosting:
    """Histogram gradient boosting with scikit-learn's defaults; codes as categories, missing as missing."""

    of: Inputs

    def probabilities(self, table: Table, classes: Index, test: Table, seed: int) -> Real:
        """See Model."""
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415

        if _one_class(classes) or not self.of.used:
            return _frequencies(classes, test.rows)
        categorical = [codes is not None for codes in self.of.codes]
        model = HistGradientBoostingClassifier(
            random_state=seed, categorical_features=categorical, early_stopping=_may_hold_back(classes)
        )
        model.fit(self._rows(table), classes)
        return _aligned(model, self._rows(test), int(classes.max()) + 1)

    def _rows(self, table: Table) -> Real:
        out = np.empty((table.rows, len(self.of.used)))
        for at, (column, codes) in enumerate(zip(self.of.used, self.of.codes, strict=True)):
            values = table.columns[column]
            if codes is None:
                out[:, at] = values
            else:
                out[:, at] = np.where(values < 0, np.nan, np.minimum(codes(values), _CODES_IN_BOOSTING))
        return out


@dataclass(frozen=True)
class Regression:
    """Logistic regression (ridge, C = 1) on standardised numbers, missing indicators and one indicator a code."""

    of: Inputs

    def probabilities(self, table: Table, classes: Index, test: Table, seed: int) -> Real:
        """See Model. Deterministic: `seed` is not used."""
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        if _one_class(classes) or not self.of.used:
            return _frequencies(classes, test.rows)
        model = LogisticRegression(max_iter=100, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a hundred steps are close enough for a yardstick
            model.fit(encoded(self.of, table), classes)
        return _aligned(model, encoded(self.of, test), int(classes.max()) + 1)


def encoded(of: Inputs, table: Table) -> Any:
    """Rows as numbers, a sparse array (rows, inputs): standardised values, missing indicators, an indicator a code."""
    from scipy.sparse import csr_array, hstack  # noqa: PLC0415

    blocks = []
    for column, codes, centre, spread in zip(of.used, of.codes, of.centre, of.spread, strict=True):
        values = table.columns[column]
        if codes is None:
            absent = np.isnan(values)
            scaled = np.clip((np.where(absent, centre, values) - centre) / spread, -_FARTHEST, _FARTHEST)
            blocks.append(csr_array(np.column_stack([scaled, absent])))
            continue
        size = _inputs_of(codes)
        cells = np.where(values < 0, size - 1, np.minimum(codes(values), size - 2))
        ones, starts = np.ones(table.rows), np.arange(table.rows + 1)
        blocks.append(csr_array((ones, cells, starts), shape=(table.rows, size)))
    return hstack(blocks, format="csr")


def placed(of: Inputs, table: Table) -> Real:
    """Rows as points, (rows, inputs): as `encoded`, with unlike codes at distance 1."""
    scale = [np.full(2, 1.0) if codes is None else np.full(_inputs_of(codes), np.sqrt(0.5)) for codes in of.codes]
    points: Real = encoded(of, table).toarray() * np.concatenate(scale)
    return points


def _inputs_of(codes: Binning) -> int:
    return min(codes.size, _CODES_IN_REGRESSION + 2)


def _one_class(classes: Index) -> bool:
    return len(np.unique(classes)) <= 1


def _may_hold_back(classes: Index) -> bool | str:
    """Early stopping splits by class, which needs two rows of each: scikit-learn's rule, where that holds."""
    return "auto" if np.unique(classes, return_counts=True)[1].min() > 1 else False


def _frequencies(classes: Index, rows: int) -> Real:
    seen = np.bincount(classes) / len(classes)
    return np.tile(seen, (rows, 1))


def _aligned(model: Any, rows: Any, classes: int) -> NDArray[np.float64]:
    out = np.zeros((len(rows) if isinstance(rows, np.ndarray) else rows.shape[0], classes))
    out[:, model.classes_] = model.predict_proba(rows)
    return out
