"""Columns, pairs and marginals of a synthetic table, measured and scored."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silosynth.common.arrays import Index, Real
from silosynth.common.evaluate.associations import correlation_differences, equivalence, pair_measures
from silosynth.common.evaluate.case import Behaviour, Case, Found
from silosynth.common.evaluate.columns import ColumnMeasures, measure
from silosynth.common.evaluate.details import column_details, pair_details
from silosynth.common.evaluate.fidelity import Counted, Sides, distances, marginal_cells, pair_trends, trend_tables
from silosynth.common.evaluate.rules import any_broken, order_rules
from silosynth.common.evaluate.scores import Better
from silosynth.common.evaluate.tables import Panel, panel

_CHUNK = 100
"""Pairs between two signs of life."""

K_MARGINAL = 1000.0
"""The best k-marginal score, as NIST counts."""

RARE = 0.01
LEAST_OF_RARE = 5
"""A rare code: of fewer than 1 % of training rows, but of five or more."""

LEAST_RARE_CODES = 5
"""Rare codes in all columns together below which their coverage is no score."""

_PAIRS_OF_EQUIVALENCE = 300
_RULES_NAMED = 3
_BROKEN_OFTEN = 0.001
"""Rules broken by as many synthetic rows are named in a note."""

_OF_COLUMNS: tuple[tuple[str, str, Better, Behaviour], ...] = (
    ("column_shapes", "shape", "higher", "smooth"),
    ("mean_error", "mean_error", "lower", "smooth"),
    ("sd_error", "sd_error", "lower", "smooth"),
    ("quantile_error", "quantile_error", "lower", "smooth"),
    ("missing_value_similarity", "missing_similarity", "higher", "smooth"),
    ("boundary_adherence", "boundary_adherence", "higher", "rate"),
    ("range_coverage", "range_coverage", "higher", "jumpy"),
    ("category_adherence", "category_adherence", "higher", "rate"),
    ("category_coverage", "category_coverage", "higher", "jumpy"),
    ("validity", "validity", "higher", "rate"),
    ("constants_kept", "constant_kept", "higher", "rate"),
)
"""Name of a score, what it is the mean of, which way is better, and what its interval must know."""


@dataclass(frozen=True)
class Likeness:
    """What was measured, for those who measure parts of it: `rows` are the training rows of `sides`."""

    sides: Sides
    cells: Counted
    rows: Index


def ticks(case: Case) -> int:
    """Signs of life that `score_likeness` gives."""
    return len(case.labels) + 2 * -(-many_subsets(len(case.labels), 2, case.budget.pairs) // _CHUNK) + 1


def score_likeness(case: Case, found: Found) -> Likeness:
    """Scores of columns, pairs and triples, with the details a report shows."""
    most = max(1_000, case.budget.cells // len(case.labels))
    picked = [_some(rows, most, case.rng) for rows in (case.train.table.rows, case.holdout.table.rows)]
    real, held = (one.table.take(rows) for one, rows in zip((case.train, case.holdout), picked, strict=True))
    made, floor = (
        table.take(_some(table.rows, most, case.rng)) if table.rows > most else table
        for table in (case.synthetic, case.floor)
    )
    views = panel(made, floor, held if held.rows else None, case.rng, case.holdout.units[picked[1]])
    sides = Sides(real, views, case.labels)
    cells = marginal_cells(sides)
    found.rows |= {"marginals_train": real.rows, "marginals_synthetic": made.rows}
    if views.matched_rows is not None:
        found.rows["matched"] = views.matched_rows
    _columns(case, sides, cells, found)
    if real.rows == case.train.table.rows:
        _weigh_persons(case, cells, found)
    _pairs(case, sides, cells, found)
    triples = subsets(len(case.labels), 3, case.budget.triples)
    if triples:
        found.add("tvd3", distances(sides, cells, triples), views, "lower")
    found.tick("triples of columns")
    found.rows["triples"] = len(triples)
    return Likeness(sides, cells, picked[0])


def _some(rows: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(rows) if rows <= most else np.sort(rng.permutation(rows)[:most])


def _columns(case: Case, sides: Sides, cells: Counted, found: Found) -> None:
    measured: list[ColumnMeasures] = []
    for at, column in enumerate(case.schema.columns):
        measured.append(measure(sides, at, column))
        found.tick("columns")
    for name, what, better, behaves in _OF_COLUMNS:
        items = np.stack([getattr(one, what) for one in measured])
        if np.isfinite(items).any():
            found.add(name, items, sides.panel, better, math.inf if name.endswith("_error") else 1.0, behaves=behaves)
    one = distances(sides, cells, [(at,) for at in range(len(case.labels))])
    found.add("tvd1", one, sides.panel, "lower")
    _rare_codes(sides, found)
    found.columns = column_details(case.schema, sides, np.stack([each.shape for each in measured]), one)
    _collapsed(case, sides, found)


def _rare_codes(sides: Sides, found: Found) -> None:
    """Share of the rare codes of training rows that each view has; which are lost is in the columns' details."""
    present = []
    for at in np.flatnonzero(sides.coded):
        many, codes = len(sides.labels[at]), sides.train.columns[at]
        own = np.bincount(codes[codes >= 0], minlength=many)
        rare = np.flatnonzero((own >= LEAST_OF_RARE) & (own < RARE * len(codes)))
        seen = sides.panel.table.columns[at]
        counts = np.bincount((sides.panel.part * (many + 1) + seen + 1), minlength=sides.panel.parts * (many + 1))
        present.append((sides.panel.views @ counts.reshape(-1, many + 1)[:, rare + 1] > 0).T)
    if sum(map(len, present)) >= LEAST_RARE_CODES:
        items = np.concatenate(present).astype(np.float64)
        found.rows["rare_codes"] = len(items)
        found.add("rare_code_coverage", items, sides.panel, "higher", behaves="jumpy")


def _collapsed(case: Case, sides: Sides, found: Found) -> None:
    """A note on columns that vary among training rows and not among synthetic ones."""
    names = [
        column.name
        for at, column in enumerate(case.schema.columns)
        if _varies(sides.train.columns[at]) and not _varies(sides.panel.table.columns[at][sides.panel.blocks[0]])
    ]
    if names:
        found.notes.append(f"columns that vary among training rows hold one synthetic value: {', '.join(names)}")


def _varies(values: NDArray[np.float64]) -> bool:
    return bool((values != values[0]).any()) and not np.isnan(values.astype(np.float64)).all()


def _pairs(case: Case, sides: Sides, cells: Counted, found: Found) -> None:
    pairs = subsets(len(case.labels), 2, case.budget.pairs)
    found.rows["pairs"] = len(pairs)
    if not pairs:
        found.notes.append("one column only: no scores of pairs")
        return
    tables = trend_tables(sides)
    two, linked, similar, strong = [], [], [], []
    impossible = np.zeros(sides.panel.table.rows, dtype=np.bool_)
    for at in range(0, len(pairs), _CHUNK):
        some = pairs[at : at + _CHUNK]
        measured = pair_measures(sides, cells, some)
        two.append(measured.distance)
        linked.append(measured.association)
        impossible |= measured.impossible
        found.tick("pairs of columns")
        trends = pair_trends(sides, tables, [(first, second) for first, second in some])
        similar.append(trends.similarity)
        strong.append(trends.strong)
        found.tick("pairs of columns")
    distance = np.vstack(two)
    found.pairs = pair_details(pairs, distance, sides.panel)
    _trends(found, np.vstack(similar), np.concatenate(strong), sides.panel)
    found.add("tvd2", distance, sides.panel, "lower")
    found.add("k_marginal", K_MARGINAL * (1 - distance), sides.panel, "higher", most=K_MARGINAL)
    found.add("association_difference", np.vstack(linked), sides.panel, "lower")
    if len(tables.place) > 1:
        found.add("correlation_difference", correlation_differences(tables), sides.panel, "lower", most=2.0)
    _rules(case, sides, impossible, found)
    _equivalent(case, sides, pairs, distance, found)


def _rules(case: Case, sides: Sides, impossible: NDArray[np.bool_], found: Found) -> None:
    """Rows that break what holds in all training rows."""
    found.add_views("structural_zeros", sides.panel.rates(impossible), sides.panel, "lower", behaves="rate")
    rules = order_rules(case.schema, sides)
    found.rows["order_rules"] = len(rules.pairs)
    if not rules.pairs:
        return
    found.add_views("order_violations", sides.panel.rates(any_broken(rules)), sides.panel, "lower", behaves="rate")
    rates = rules.broken[:, sides.panel.blocks[0]].mean(axis=1)
    for at in np.argsort(-rates, kind="stable")[:_RULES_NAMED]:
        if rates[at] >= _BROKEN_OFTEN:
            low, high = (case.schema.columns[column].name for column in rules.pairs[at])
            found.notes.append(f"{rates[at]:.1%} of synthetic rows have {low} above {high}, and no training row has")


def _equivalent(case: Case, sides: Sides, pairs: Sequence[tuple[int, ...]], distance: Real, found: Found) -> None:
    """As good as which share of the training rows? On at most so many pairs, the same for both questions."""
    chosen = np.sort(case.rng.permutation(len(pairs))[:_PAIRS_OF_EQUIVALENCE])
    curve = equivalence(sides.train, sides.labels, [pairs[at] for at in chosen], case.rng)
    if curve is not None:
        found.add_views("sample_equivalence", curve(distance[chosen].mean(axis=0)), sides.panel, "higher")


def _trends(found: Found, similarity: Real, strong: NDArray[np.bool_], views: Panel) -> None:
    """SDMetrics counts strongly associated pairs only; where there is none, all are counted and a note says so."""
    counted = strong & np.isfinite(similarity[:, 0])
    if not counted.any():
        found.notes.append("pair_trends: no pair of columns is strongly associated, so all pairs are counted")
    found.rows["pairs_strong"] = int(counted.sum())
    found.add("pair_trends", similarity[counted] if counted.any() else similarity, views, "higher", behaves="jumpy")
    found.add("pair_trends_all", similarity, views, "higher", behaves="jumpy")


def _weigh_persons(case: Case, cells: Counted, found: Found) -> None:
    """A note where persons have unlike numbers of rows: a generator learns from persons, scores compare rows."""
    rows_of = np.bincount(case.train.units)
    if rows_of.min() == rows_of.max():
        return
    weights = 1 / rows_of[case.train.units]
    moved = [
        np.abs(np.bincount(own, weights) / weights.sum() - np.bincount(own) / len(own)).sum() / 2 for own in cells.own
    ]
    found.notes.append(
        "persons have unlike numbers of rows, and each counts once in training: that alone moves single columns by "
        f"{np.mean(moved):.3f} on average (tvd1 of training rows weighted by person)"
    )


def many_subsets(columns: int, size: int, most: int) -> int:
    """How many `subsets` gives."""
    return min(most, math.comb(columns, size))


def subsets(columns: int, size: int, most: int) -> tuple[tuple[int, ...], ...]:
    """All subsets of `size` columns, or `most` of them drawn without replacement, in order.

    Which are drawn depends on nothing else: two evaluations of one table compare the same columns.
    """
    if math.comb(columns, size) <= most:
        return tuple(itertools.combinations(range(columns), size))
    rng = np.random.default_rng([columns, size])
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < most:
        drawn[tuple(sorted(int(column) for column in rng.choice(columns, size, replace=False)))] = None
    return tuple(sorted(drawn))
