"""A made table for attacks: mixed columns that hang together, missing values, a rare code, and planted failures."""

import numpy as np

from silosynth.common.evaluate.attacks.scene import Budget
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.tables import Table

SMALL = Budget(persons=750, published=200, reference=1_000, predicates=300, predicate_rows=2_000)


def people(rows: int, seed: int) -> Table:
    """Six columns: two numbers, one of them with gaps; an integer; three of codes, one of them missing at times."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=rows)
    cost = np.where(rng.random(rows) < 0.2, np.nan, np.round(np.exp(latent + rng.normal(size=rows)), 2))
    return Table(
        (
            np.round(50 + 15 * latent),
            cost,
            np.round(rng.normal(size=rows) + latent, 1),
            np.digitize(latent + rng.normal(size=rows), [-1, 0, 1]).astype(np.int32),
            rng.integers(-1, 3, size=rows).astype(np.int32),
            np.minimum(rng.geometric(0.2, size=rows), 40).astype(np.int32),
        ),
        rows,
    )


def each(table: Table) -> Grouped:
    """Every row a person."""
    return Grouped(table, np.arange(table.rows))


def together(first: Table, second: Table) -> Table:
    columns = tuple(np.concatenate(pair) for pair in zip(first.columns, second.columns, strict=True))
    return Table(columns, first.rows + second.rows)


def planted(train: Table, clean: Table, share: float, seed: int) -> Table:
    """`clean`, but for a share of its rows, which are rows of `train`."""
    rng = np.random.default_rng([seed, 1])  # another stream than the attack's, or it would draw the planted people
    count = round(share * clean.rows)
    return together(train.take(rng.permutation(train.rows)[:count]), clean.take(np.arange(clean.rows - count)))
