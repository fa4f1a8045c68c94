"""One regression, fitted to real and to synthetic rows: would an analyst report the same coefficients?

Synthpop's comparison of fitted models (Nowok, Raab, Dibben 2016, compare.fit.synds): difference of coefficients in
standard errors, and the overlap of confidence intervals of Karr, Kohnen, Oganian, Reiter, Sanil (2006). Logistic
regression with main effects, and a ridge as weak as one row's, so that it is defined where a code never occurs.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.associations import corrected_v
from silosynth.common.evaluate.tables import Table, binning

MOST_COLUMNS = 20
"""Predictors: the columns most associated with the outcome among training rows."""

_MOST_CODES = 10
_LEAST_SHARE = 0.01
"""Codes rarer than this among training rows, and all beyond ten, are of the reference category."""

_FARTHEST = 8.0
_RIDGE = 1.0
_STEPS = 50
_CLOSE = 1e-8
_Z = 1.959963984540054


@dataclass(frozen=True)
class Term:
    """Inputs of one column: its standardised value and an indicator of missing, or indicators of codes."""

    column: int
    codes: tuple[int, ...]
    centre: float
    spread: float
    missing: bool

    def __call__(self, table: Table) -> Real:
        """(rows, inputs)."""
        values = table.columns[self.column]
        if self.codes:
            return np.stack([values == code for code in self.codes], axis=1).astype(np.float64)
        absent = np.isnan(values)
        scaled = np.clip((np.where(absent, self.centre, values) - self.centre) / self.spread, -_FARTHEST, _FARTHEST)
        return np.stack([scaled, absent], axis=1) if self.missing else scaled[:, None]


def terms(train: Table, labels: tuple[tuple[str, ...], ...], positive: NDArray[np.bool_], target: int) -> list[Term]:
    """Inputs that training rows call for; `positive`: their outcome, (rows,)."""
    strength = {}
    for at, values in enumerate(train.columns):
        cells = binning(values, labels[at])
        table = np.bincount(cells(values) * 2 + positive, minlength=cells.size * 2).reshape(1, cells.size, 2)
        strength[at] = float(corrected_v(table / train.rows, np.array([float(train.rows)]))[0])
    chosen = sorted((at for at in strength if at != target), key=lambda at: -strength[at])[:MOST_COLUMNS]
    out = (_term(at, train.columns[at], labels[at]) for at in sorted(chosen))
    return [term for term in out if term is not None]


def _term(at: int, values: NDArray[np.float64], labels: tuple[str, ...]) -> Term | None:
    if labels:
        frequency = np.bincount(values[values >= 0].astype(np.int64), minlength=len(labels)) / len(values)
        order = np.argsort(-frequency, kind="stable")[1 : _MOST_CODES + 1]
        codes = tuple(int(code) for code in order if frequency[code] >= _LEAST_SHARE)
        return Term(at, codes, 0.0, 1.0, missing=False) if codes else None
    seen = values[~np.isnan(values)]
    if not len(seen) or not seen.std() > 0:
        return None
    missing = bool(len(seen) < (1 - _LEAST_SHARE) * len(values))
    return Term(at, (), float(seen.mean()), float(seen.std()), missing)


@dataclass(frozen=True)
class Fitted:
    """Coefficients and standard errors without the intercept, each (1 + groups, inputs): without one group at a time.

    Those without a group are one Newton step from all: with n rows the error of that is of the order of 1 / n.
    """

    coefficients: Real = field(repr=False)
    errors: Real = field(repr=False)

    def as_of(self, rows: int, others: int) -> "Fitted":
        """The fit to `rows` rows, with the standard errors it would have with `others`."""
        return Fitted(self.coefficients, self.errors * math.sqrt(rows / others))


def fit(inputs: Real, positive: NDArray[np.bool_], groups: Index) -> Fitted:
    """Of inputs (rows, inputs) and outcomes (rows,); `groups`: the jackknife's group of each row."""
    x = np.column_stack([np.ones(len(inputs)), inputs])
    penalty = np.full(x.shape[1], _RIDGE)
    penalty[0] = 1e-6
    at = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        chance = _logistic(x @ at)
        hessian = (x * (chance * (1 - chance))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(hessian, x.T @ (positive - chance) - penalty * at)
        at = at + step * min(1.0, 5 / max(1e-12, float(np.abs(step).max())))  # a long step may leave the valley
        if np.abs(step).max() < _CLOSE:
            break
    chance = _logistic(x @ at)
    weights = chance * (1 - chance)
    hessian = (x * weights[:, None]).T @ x + np.diag(penalty)
    many = int(groups.max()) + 1
    coefficients, errors = [at], [_errors(hessian)]
    for group in range(many if many > 1 else 0):
        rows = groups == group
        left = hessian - (x[rows] * weights[rows, None]).T @ x[rows]
        coefficients.append(at - np.linalg.solve(left, x[rows].T @ (positive[rows] - chance[rows])))
        errors.append(_errors(left))
    return Fitted(np.stack(coefficients)[:, 1:], np.stack(errors)[:, 1:])


def _logistic(score: Real) -> Real:
    chance: Real = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
    return chance


def _errors(hessian: Real) -> Real:
    errors: Real = np.sqrt(np.diag(np.linalg.inv(hessian)))
    return errors


def compared(real: Fitted) -> NDArray[np.bool_]:
    """Coefficients whose interval in the real fit excludes 0, which a paper would report; all, where none does."""
    apart: NDArray[np.bool_] = np.abs(real.coefficients[0]) > _Z * real.errors[0]
    return apart if apart.any() else np.ones_like(apart)


def coefficient_difference(real: Fitted, other: Fitted) -> Real:
    """Mean |difference| of compared coefficients in standard errors of the real fit, (1 + groups of other,)."""
    gaps: Real = np.abs(other.coefficients - real.coefficients[0]) / real.errors[0]
    mean: Real = gaps[:, compared(real)].mean(axis=1)
    return mean


def interval_overlap(real: Fitted, other: Fitted) -> Real:
    """Mean overlap of 95 % intervals of compared coefficients, as a share of their lengths: (1 + groups of other,).

    0 where they are disjoint, which Karr and others leave negative: one coefficient would otherwise outweigh all.
    """
    centre, half = real.coefficients[0], _Z * real.errors[0]
    low = np.maximum(centre - half, other.coefficients - _Z * other.errors)
    high = np.minimum(centre + half, other.coefficients + _Z * other.errors)
    lengths = 1 / half + 1 / (_Z * other.errors)
    overlap: Real = (np.maximum(0, high - low) * lengths / 4)[:, compared(real)].mean(axis=1)
    return overlap
