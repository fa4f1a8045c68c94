"""One evaluation under way: its tables and its randomness, and what has been found so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from silosynth.common.arrays import Real
from silosynth.common.evaluate.detection import Grouped
from silosynth.common.evaluate.intervals import JACKKNIFE, jackknife, way_interval, wilson
from silosynth.common.evaluate.scores import Better, ColumnDetail, GroupDetail, Matched, PairDetail, Score
from silosynth.common.evaluate.sections import Curve
from silosynth.common.evaluate.tables import APART, LEFT_OUT, Panel, Table
from silosynth.common.evaluate.utility import Limits
from silosynth.common.schema import Schema

Behaviour: TypeAlias = Literal["smooth", "rate", "jumpy"]
"""What a jackknife does not know of a score. A rate of few events: Wilson's interval is held too. One that jumps with a
table's largest value, or with whether a code occurs at all: the spread over fifths of the rows, more than that of all.
"""

_FURTHER: Mapping[Behaviour, str] = {
    "smooth": "",
    "rate": "; held beside Wilson's interval",
    "jumpy": "; with the spread over fifths of the synthetic rows",
}


@dataclass(frozen=True)
class Budget:
    """How much is measured. What was sampled is said in `Scores.rows`."""

    cells: int = 10_000_000  # rows times columns of one table, for marginals
    pairs: int = 5_000
    triples: int = 150
    detection: int = 5_000  # rows on each side
    neighbours: int = 3_000  # rows on each side
    groups: int = 30  # subgroups, and sites
    group_pairs: int = 40  # pairs of columns within each
    persons: int = 5_000  # of each side, for their histories
    models: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Case:
    """All tables, and the randomness of one evaluation."""

    schema: Schema
    labels: tuple[tuple[str, ...], ...]
    train: Grouped
    holdout: Grouped
    synthetic: Table
    floor: Table
    budget: Budget
    rng: np.random.Generator


@dataclass
class Found:
    """What is known so far."""

    tick: Callable[[str], None]
    scores: dict[str, Score] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    columns: tuple[ColumnDetail, ...] = ()
    pairs: tuple[PairDetail, ...] = ()
    groups: tuple[GroupDetail, ...] = ()
    curves: tuple[Curve, ...] = ()

    def add(
        self, name: str, items: Real, views: Panel, better: Better, most: float = 1.0, *, behaves: Behaviour = "smooth"
    ) -> None:
        """The mean over columns, pairs or triples, (items, views), of every view; undefined items are left out."""
        defined = np.isfinite(items)
        many = defined.sum(axis=0)
        means = np.divide(
            np.where(defined, items, 0).sum(axis=0), many, out=np.full(many.shape, np.nan), where=many > 0
        )
        if not self.add_views(name, means, views, better, most, behaves=behaves):
            self.notes.append(f"{name}: undefined for every column, pair or triple (constant or missing throughout)")

    def add_views(
        self, name: str, means: Real, views: Panel, better: Better, most: float = 1.0, *, behaves: Behaviour = "smooth"
    ) -> bool:
        """A score from its value in each view, (views,); False, and no score, where it is undefined."""

        def of(view: str) -> float | None:
            value = float(means[views.named[view]].mean()) if view in views.named else float("nan")
            return value if np.isfinite(value) else None

        value = of("value")
        if value is None:
            return False

        def left_out(view: str) -> Real:
            draws: Real = means[views.named[LEFT_OUT + view]].mean(axis=0)
            return draws

        luck = 0.0
        if behaves == "jumpy" and len(views.named[APART]) > 1:
            luck = float(np.nan_to_num(np.std(means[views.named[APART]], ddof=1)))
        sides = of("matched_value"), of("matched_floor"), of("matched_ceiling")
        matched, between = None, None
        if views.matched_rows is not None and sides[0] is not None and sides[1] is not None and sides[2] is not None:
            matched = Matched(views.matched_rows, sides[0], sides[1], sides[2])
            if sides[1] != sides[2]:
                left = [left_out(f"matched_{side}") for side in ("value", "floor", "ceiling")]
                between = way_interval((sides[0], sides[1], sides[2]), (left[0], left[1], left[2]), (luck, luck, luck))
        interval = jackknife(value, left_out("value"), most, luck)
        if behaves == "rate" and interval is not None:
            rows = len(views.rows_of[views.named["value"][0]])
            low, high = wilson(value * rows, rows)
            interval = min(interval[0], low), max(interval[1], high)
        method = JACKKNIFE + _FURTHER[behaves]
        self.scores[name] = Score(value, of("floor"), of("ceiling"), interval, better, method, matched, between)
        return True

    def add_samples(
        self, name: str, sides: Mapping[str, Real], better: Better, most: float = 1.0, *, method: str = JACKKNIFE
    ) -> None:
        """A score whose value, floor and ceiling were measured on samples of one size.

        Args:
            name: of the score.
            sides: "value", "floor" and, where there are held-out rows, "ceiling": (1 + groups,), the measure on all
                rows of a sample, then without one group of the jackknife at a time.
            better: which way.
            most: the largest value it can have.
            method: how its interval is made.
        """
        value, floor = float(sides["value"][0]), float(sides["floor"][0])
        ceiling = float(sides["ceiling"][0]) if "ceiling" in sides else None
        between = None
        if ceiling is not None and ceiling != floor:
            left = (sides["value"][1:], sides["floor"][1:], sides["ceiling"][1:])
            between = way_interval((value, floor, ceiling), left)
        interval = jackknife(value, sides["value"][1:], most)
        self.scores[name] = Score(value, floor, ceiling, interval, better, method, None, between)
