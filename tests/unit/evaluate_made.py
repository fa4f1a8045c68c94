"""Tables from a known source, to score: every kind of column, missing values, an order of dates, a rare code."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from silosynth.common.evaluate import Score
from silosynth.common.schema import Column, Kind, Schema

SCHEMA = Schema(
    (
        Column("age", Kind.INTEGER, low=0, high=99),
        Column("cost", Kind.NUMBER, low=-99, high=99),
        Column("area", Kind.CATEGORICAL, codes=("n", "e", "s", "w")),
        Column("drug", Kind.CATEGORICAL, codes=tuple(f"drug{at}" for at in range(12))),
        Column("start", Kind.DATE, low=0, high=30_000),
        Column("end", Kind.DATE, low=0, high=30_000),
        Column("ill", Kind.BOOLEAN),
    )
)

WIDER = 3.5
"""How much wider than a 95 % interval the checks look. Student's t with 19 degrees of freedom leaves 6e-7 outside on
both sides; seeds are fixed, so that this is the chance that another seed would have alarmed, a score at a time."""


def source(rows: int, seed: int, weak: float = 0.0) -> pd.DataFrame:
    """Rows in which one latent number moves all columns but `start`; a share `weak` of values does not follow it."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=rows)

    def followed() -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.where(rng.random(rows) < weak, rng.normal(size=rows), latent)

    age = np.clip(np.round(50 + 14 * followed()), 1, 99)
    start = np.round(rng.uniform(10_000, 10_200, rows))
    frame = pd.DataFrame(
        {
            "age": age,
            "cost": followed() + rng.normal(size=rows) * 0.5,
            "start": start,
            "end": start + np.round(rng.exponential(age / 2)),
        }
    )
    codes = {
        "area": np.digitize(followed() + 0.5 * rng.normal(size=rows), [-1, 0, 1]),
        "drug": np.minimum(11, np.floor(np.exp(followed() * 0.5 + rng.normal(size=rows) * 0.6)).astype(int)),
        "ill": (followed() + 0.6 * rng.normal(size=rows) > 0.7).astype(int),
    }
    for name, values in codes.items():
        frame[name] = pd.Categorical.from_codes(values, list(SCHEMA.columns[SCHEMA.index(name)].labels))
    frame.loc[rng.random(rows) < 0.1, "cost"] = np.nan
    return frame[list(SCHEMA.names)]


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Every column apart from the others."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: frame[name].array.take(rng.permutation(len(frame))) for name in frame})


def missed(scores: Mapping[str, Score], place: float, *, ceiling: bool, wider: float = WIDER) -> dict[str, object]:
    """Scores whose place between floor and ceiling is not `place` percent, to `wider` times their intervals.

    Where floor and ceiling lie too close to tell, the value itself must be the ceiling's, or the floor's.
    """
    wrong = {}
    for name, score in scores.items():
        at = score.rescaled
        if at is None:
            at, between = score.value, score.interval
            goal = score.ceiling if ceiling else score.floor
        else:
            between, goal = score.between, place
        if goal is None or at == goal:
            continue
        half = 0.0 if between is None else wider * max(at - between[0], between[1] - at)
        if abs(at - goal) > half:
            wrong[name] = (score, goal)
    return wrong
